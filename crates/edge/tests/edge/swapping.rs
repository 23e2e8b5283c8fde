//! Tables that change under open connections.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use edge::table::Upstream;

use crate::support::{App, Client, Running, eventually, pool, upstream};

#[test]
fn two_hundred_swaps_under_load_fail_no_request() {
    let edge = Running::start();
    let apps = [App::saying("0"), App::saying("1"), App::saying("2")];
    let revisions = |swap: usize| -> Vec<Upstream> {
        // each swap removes one instance, brings one back and moves the weights
        (0..2)
            .map(|offset| {
                let number = (swap + offset) % 3;
                let mut one = upstream(&format!("i{number}"), apps[number].address);
                one.revision = format!("r{number}");
                one.weight = if offset == 0 { 1 + u32::try_from(swap % 5).unwrap() } else { 3 };
                one
            })
            .collect()
    };
    edge.serve(revisions(0));
    let (stop, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for kind in 0..6 {
            let (edge, stop, answers) = (&edge, &stop, &answers);
            scope.spawn(move || {
                let mut client = edge.client();
                while !stop.load(Ordering::Relaxed) {
                    let answer = if kind % 2 == 0 { client.get("/") } else { client.post("/", &[b'x'; 2000]) };
                    assert_eq!(answer.status, 200, "{answer:?}");
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for swap in 1..=200 {
            edge.serve(revisions(swap));
            let seen = answers.load(Ordering::Relaxed);
            eventually("the load goes on", || answers.load(Ordering::Relaxed) > seen + 5);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let status = edge.status();
    assert_eq!(status.table, 201);
    let errors: u64 = status.traffic["p"].values().map(|one| one.errors).sum();
    let requests: u64 = status.traffic["p"].values().map(|one| one.requests).sum();
    assert_eq!((errors, requests), (0, answers.load(Ordering::Relaxed)));
}

/// The race that `Shared::epoch` explains: after a swap is answered and the drain too, an instance must never be asked
/// again, not even by a request that read the old table a moment before.
#[test]
fn after_swap_and_drain_an_instance_is_never_asked_again() {
    let edge = Running::start();
    let asked = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let apps: Vec<App> = asked
        .iter()
        .map(|count| {
            let count = Arc::clone(count);
            App::start(axum::Router::new().fallback(move || {
                count.fetch_add(1, Ordering::SeqCst);
                async { "x" }
            }))
        })
        .collect();
    let only = |number: usize, other: u32| -> Vec<Upstream> {
        let mut both = vec![upstream("a", apps[0].address), upstream("b", apps[1].address)];
        both[0].revision = "ra".to_owned();
        both[1].revision = "rb".to_owned();
        both[1 - number].weight = other;
        both
    };
    edge.serve(only(0, 0));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = edge.client();
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(client.get("/").status, 200);
                }
            });
        }
        for round in 1..=100 {
            let (new, old) = (round % 2, (round + 1) % 2);
            edge.serve(if round % 3 == 0 { vec![only(new, 0).swap_remove(new)] } else { only(new, 0) });
            edge.drain(&[["a", "b"][old]], Duration::from_secs(10));
            let silent = asked[old].load(Ordering::SeqCst);
            let busy = asked[new].load(Ordering::SeqCst);
            eventually("the other is asked", || asked[new].load(Ordering::SeqCst) > busy + 20);
            assert_eq!(asked[old].load(Ordering::SeqCst), silent, "round {round}: asked after swap and drain");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_slow_upload_finishes_on_the_instance_that_was_removed_and_the_drain_waits_for_it() {
    let edge = Running::start();
    let old = App::start(axum::Router::new().fallback(|body: String| async move { format!("old got {}", body.len()) }));
    let new = App::saying("new");
    edge.serve(vec![upstream("old", old.address)]);
    let mut upload = edge.client();
    upload.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n0123456789");
    eventually("it is in flight", || edge.status().upstreams["old"].requests == 1);
    edge.serve(vec![upstream("new", new.address)]);
    assert_eq!(edge.get("/").text(), "new");
    std::thread::scope(|scope| {
        let drained = scope.spawn(|| edge.drain(&["old"], Duration::from_secs(15)));
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(30));
            assert!(!drained.is_finished(), "the drain waits");
            upload.write("0123456789");
        }
        assert_eq!(upload.answer("POST").text(), "old got 30");
        let status = drained.join().unwrap();
        assert!(status.upstreams.get("old").is_none_or(|one| one.requests == 0));
    });
    assert_eq!(upload.get("/").text(), "new", "the same connection goes on with the new table");
}

#[test]
fn a_drain_gives_up_at_its_deadline_and_says_what_is_left() {
    let edge = Running::start();
    let app = crate::support::RawApp::start(|mut client, _| {
        client.request();
        let _ = client.rest();
    });
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is in flight", || edge.status().upstreams["i"].requests == 1);
    assert_eq!(edge.drain(&["i", "unknown"], Duration::from_millis(50)).upstreams["i"].requests, 1);
}

#[test]
fn an_instance_that_moved_keeps_its_id() {
    let edge = Running::start();
    let (first, second) = (App::saying("first"), App::saying("second"));
    edge.serve(vec![upstream("i", first.address)]);
    let mut client = edge.client();
    assert_eq!(client.get("/").text(), "first");
    let status = edge.serve(vec![upstream("i", second.address)]);
    assert_eq!(client.get("/").text(), "second");
    assert_eq!(status.upstreams.keys().collect::<Vec<_>>(), ["i"]);
}

#[test]
fn a_keep_alive_connection_on_a_removed_listener_gets_its_last_answer() {
    let edge = Running::start();
    let app = App::saying("x");
    edge.serve(vec![upstream("i", app.address)]);
    let (mut idle, mut used) = (edge.client(), edge.client());
    assert_eq!(idle.get("/").status, 200);
    assert_eq!(used.get("/").status, 200);
    let other = crate::support::free_address();
    let mut table =
        edge.table(vec![crate::support::to_pool("/", "p")], &[("p", pool(vec![upstream("i", app.address)]))]);
    table.listeners[0].address = other;
    let status = edge.put(&table);
    assert_eq!(status.listening, [other]);
    let answer = used.get("/");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(used.rest().unwrap(), b"");
    assert_eq!(idle.rest().unwrap(), b"", "an idle one is closed after a moment");
    assert!(std::net::TcpStream::connect(edge.address).is_err());
    assert_eq!(Client::connect(other).get("/").text(), "x");
}

#[test]
fn a_large_download_goes_on_over_swaps() {
    let edge = Running::start();
    let app = App::start(axum::Router::new().fallback(|| async { vec![b'x'; 20_000_000] }));
    let other = App::saying("other");
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head().unwrap();
    assert_eq!(head.header("content-length"), Some("20000000"));
    for _ in 0..5 {
        edge.serve(vec![upstream("other", other.address)]);
    }
    let mut body = vec![0; 20_000_000];
    std::io::Read::read_exact(&mut client.stream, &mut body).unwrap();
    assert!(body.iter().all(|byte| *byte == b'x'));
    client.stream.get_mut().flush().unwrap();
    let counts: BTreeMap<_, _> = edge.status().upstreams;
    assert!(counts.contains_key("other"));
}
