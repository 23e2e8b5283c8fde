//! Listening sockets outlive programs, and shims.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use crate::bed::{Bed, DEADLINE, binary, eventually, is_alive};
use agent::shim::{self, control};

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn connections_wait_for_the_program_that_comes_next() {
    let bed = Bed::new();
    let address = free_port();
    let mut spec = bed.play(&["serve", &address.to_string()]);
    spec.keep = true;
    let running = bed.start(&spec).await;
    bed.line("listening").await;
    // The program answers one visitor and ends; the others wait in the socket the shim holds.
    let visitors: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
    let answers = tokio::task::spawn_blocking(move || {
        let answer = |mut visitor: TcpStream| {
            visitor.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut answer = String::new();
            visitor.read_to_string(&mut answer).unwrap();
            answer.parse::<u32>().unwrap()
        };
        visitors.into_iter().map(answer).collect::<Vec<_>>()
    });
    let mut pids = answers.await.unwrap();
    assert_eq!(pids[0], running.pid());
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 4, "each answered by another process");
    running.kill().await.unwrap();
}

#[tokio::test]
async fn sockets_are_given_again_and_taken_over_by_another_shim() {
    let bed = Bed::new();
    let running = bed.start(&bed.sh("exec sleep 600")).await;
    let old = bed.folder().join(control::SOCKET);
    let (address, first) = control::listen(&old, "127.0.0.1:0".parse().unwrap(), 2).unwrap();
    assert_eq!(first.len(), 2);
    assert_ne!(address.port(), 0);
    assert!(first[0].accept().is_err(), "non-blocking");
    drop(first);
    let mut visitor = TcpStream::connect(address).unwrap();

    let mut spec = bed.sh("exec sleep 600");
    spec.instance = "api-2".to_owned();
    spec.inherit = Some(old);
    let next = shim::start(binary(), &bed.path().join("next"), &spec).await.unwrap();
    running.kill().await.unwrap();

    let new = bed.path().join("next").join(control::SOCKET);
    let (again, sockets) = control::listen(&new, address, 2).unwrap();
    assert_eq!(again, address);
    let mut accepted = None;
    eventually("the waiting visitor", || {
        accepted = sockets.iter().find_map(|socket| socket.accept().ok());
        accepted.is_some()
    })
    .await;
    accepted.unwrap().0.write_all(b"hi").unwrap();
    let mut answer = [0; 2];
    visitor.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hi");
    next.kill().await.unwrap();
    drop(sockets);
    assert!(TcpStream::connect(address).is_err(), "nobody holds it any more");
}

#[tokio::test]
async fn a_port_that_is_taken_is_refused_with_a_mend() {
    let bed = Bed::new();
    let _running = bed.start(&bed.sh("exec sleep 600")).await;
    let socket = bed.folder().join(control::SOCKET);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let error = control::listen(&socket, taken, 1).unwrap_err().to_string();
    assert!(error.starts_with("address in use") && error.contains("ss -ltnp"), "{error}");
    drop(other);
    let (address, sockets) = control::listen(&socket, taken, 3).unwrap();
    assert_eq!((address, sockets.len()), (taken, 3));
    drop(sockets);
    let (_, fewer) = control::listen(&socket, taken, 1).unwrap();
    assert_eq!(fewer.len(), 1);
    drop(fewer);
    let error = control::listen(&socket, "127.0.0.1:1".parse().unwrap(), 1000).unwrap_err().to_string();
    assert!(error.contains("253"), "{error}");
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(format!("unlisten {taken}\nlisteners\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    while answer.lines().count() < 2 || !answer.ends_with('\n') {
        let mut bytes = [0; 256];
        let length = stream.read(&mut bytes).unwrap();
        answer.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    }
    assert_eq!(answer, "{\"ok\":true}\n{\"ok\":true,\"listeners\":[]}\n");
    assert!(TcpListener::bind(taken).is_ok());
}

#[tokio::test]
async fn a_folder_with_a_long_path_will_do() {
    let bed = Bed::new();
    let folder: PathBuf = bed.path().join("f".repeat(100)).join("g".repeat(100));
    let mut spec = bed.play(&["serve", "127.0.0.1:0"]);
    spec.log_folder = bed.logs();
    let running = shim::start(binary(), &folder, &spec).await.unwrap();
    bed.line("listening").await;
    assert_eq!(running.status().await.unwrap().pid, running.pid());
    assert!(control::listen(&folder.join(control::SOCKET), "127.0.0.1:0".parse().unwrap(), 1).is_ok());
    running.stop(Duration::from_secs(20)).await.unwrap();
    assert!(!is_alive(running.shim_pid()));
}

#[tokio::test]
async fn slow_and_silly_clients_keep_nobody_waiting() {
    let bed = Bed::new();
    let running = bed.start(&bed.sh("while :; do echo tick; sleep 0.01; done")).await;
    bed.line("tick").await;
    let path = bed.folder().join(control::SOCKET);
    // Half a command, commands without reading the answers, too long a line, no command at all, and too many clients.
    let mut half = UnixStream::connect(&path).unwrap();
    half.write_all(b"sta").unwrap();
    let mut deaf = UnixStream::connect(&path).unwrap();
    deaf.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    for _ in 0..20_000 {
        if deaf.write_all(b"status\nstatus\nstatus\nstatus\nstatus\n").is_err() {
            break;
        }
    }
    let mut long = UnixStream::connect(&path).unwrap();
    let _refused = long.write_all(&vec![b'x'; 100_000]);
    let crowd: Vec<UnixStream> = (0..40).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let before = bed.lines().len();
    assert!(running.status().await.unwrap().running);
    eventually("ticks go on", || bed.lines().len() > before + 5).await;
    let mut silly = UnixStream::connect(&path).unwrap();
    silly.set_read_timeout(Some(DEADLINE)).unwrap();
    silly.write_all(b"dance\n").unwrap();
    let mut answer = [0; 200];
    let length = silly.read(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer[..length]).contains("no command"));
    drop((half, deaf, long, crowd));
    running.kill().await.unwrap();
}
