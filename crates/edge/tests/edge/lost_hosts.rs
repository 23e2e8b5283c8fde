//! A host that says nothing any more, and one that only takes its time.

use std::{
    io::Read,
    net::IpAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    peers::{Host, NAME, identity, two},
    support::{App, RawApp, eventually, upstream},
};

/// What is asked of a lost host is over after so long; 3.3 s on a machine that has nothing else to do.
const OVER: Duration = Duration::from_secs(5);

/// Nothing that goes to or comes from an address arrives, as with a host whose cable was pulled.
struct Silence(IpAddr);

impl Silence {
    fn of(address: IpAddr) -> Self {
        for direction in ["-d", "-s"] {
            let done = rule("-I", address, direction);
            assert!(done, "packets cannot be dropped: run as root on a machine with iptables (tests/run installs it)");
        }
        Self(address)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        for direction in ["-d", "-s"] {
            rule("-D", self.0, direction);
        }
    }
}

fn rule(what: &str, address: IpAddr, direction: &str) -> bool {
    let mut command = Command::new("iptables");
    command.args(["--wait", what, "INPUT", direction, &address.to_string(), "-j", "DROP"]);
    command.status().is_ok_and(|status| status.success())
}

// proves issue 3, 4 (a lost host leaves within the health thresholds) for requests that were sent already
#[test]
fn what_waits_for_a_lost_host_is_over_within_seconds() {
    let (local, came) = (App::saying("here"), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&came);
    let silent = RawApp::start(move |mut client, _| {
        while let Some(head) = client.request() {
            if head.starts_with("GET /stream") {
                client.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            } else if head.starts_with("GET /tunnel") {
                client.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            }
            if !head.starts_with("GET /quick") {
                counter.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_mins(1));
            }
            client.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere");
        }
    });
    let (mut here, there) = two(vec![], vec![upstream("b", silent.address)]);
    let began = std::thread::scope(|scope| {
        let address = here.edge.address;
        let client = move || crate::support::Client::connect(address);
        let get = scope.spawn(move || (client().get("/"), Instant::now()));
        let post = scope.spawn(move || (client().ask("POST", "/", "Content-Length: 0\r\n"), Instant::now()));
        let stream = scope.spawn(move || {
            let mut client = client();
            client.write("GET /stream HTTP/1.1\r\nHost: test\r\n\r\n");
            (client.try_answer("GET"), Instant::now())
        });
        let tunnel = scope.spawn(move || {
            let mut client = client();
            client.write("GET /tunnel HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            assert_eq!(client.head().unwrap().status, 101);
            (client.stream.read(&mut [0; 8]).map_or(0, |read| read), Instant::now())
        });
        eventually("all four are there", || came.load(Ordering::Relaxed) == 4);
        here.mine.push(upstream("a", local.address));
        here.serve();
        let began = Instant::now();
        let _silence = Silence::of(there.door.ip());

        let (answer, at) = get.join().unwrap();
        assert_eq!(answer.text(), "here", "it may be repeated, so another host answers");
        let mut ends = vec![at];
        let (answer, at) = post.join().unwrap();
        assert_eq!(answer.status, 502, "it may not be repeated");
        ends.push(at);
        let (answer, at) = stream.join().unwrap();
        assert!(answer.is_err(), "half an answer never looks complete");
        ends.push(at);
        let (read, at) = tunnel.join().unwrap();
        assert_eq!(read, 0);
        ends.push(at);
        let took: Vec<Duration> = ends.iter().map(|at| at.duration_since(began)).collect();
        println!("GET, POST, an answer that had begun and a tunnel were over after {took:.1?}");
        assert!(took.iter().all(|took| *took < OVER), "{took:?}");
        // nobody is sent there meanwhile
        let asked = Instant::now();
        assert!((0..20).all(|_| here.edge.get("/quick").text() == "here"));
        assert!(asked.elapsed() < OVER, "{:?}", asked.elapsed());
        asked
    });
    eventually("the host that is back is asked again", || here.edge.get("/quick").text() == "there");
    println!("it is asked again after {:.1?}", began.elapsed());
}

#[test]
fn a_host_that_takes_its_time_is_waited_for() {
    let slow = RawApp::start(|mut client, _| {
        let head = client.request().unwrap_or_default().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or_default();
        // long enough for everything on the way to be full
        std::thread::sleep(Duration::from_secs(8));
        let mut body = vec![0; length];
        client.stream.read_exact(&mut body).unwrap();
        client.reply(&body.iter().map(|byte| u64::from(*byte)).sum::<u64>().to_string());
    });
    let identity = identity(NAME);
    let mut here = Host::new(&identity, vec![]);
    let there = Host::new(&identity, vec![upstream("b", slow.address)]);
    here.knows(&there, 1);
    there.serve();
    here.serve();
    let body = vec![7; 24 << 20];
    let began = Instant::now();
    let answer = here.edge.client().post("/", &body);
    assert_eq!((answer.status, answer.text()), (200, (7 * body.len()).to_string()), "{:?}", began.elapsed());
}
