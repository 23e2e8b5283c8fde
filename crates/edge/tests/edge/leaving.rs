//! The end of an edge.

use std::{
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use crate::support::{App, Client, PATIENCE, RawApp, Running, eventually, pool, to_pool, upstream};

#[test]
fn an_idle_edge_leaves_at_once_and_connections_get_their_last_answer() {
    let mut edge = Running::start();
    let app = App::saying("x");
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    assert_eq!(client.get("/").header("connection"), None);
    assert_eq!(edge.call("POST", "/quit", "").0, 200);
    eventually("nobody else is let in", || std::net::TcpStream::connect(edge.address).is_err());
    let answer = client.get("/");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert_eq!(client.rest().unwrap(), b"");
    edge.wait();
}

#[test]
fn requests_in_flight_finish_before_the_edge_leaves() {
    let mut edge = Running::start();
    let app = RawApp::start(|mut client, _| {
        client.request();
        client.write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf");
        std::thread::sleep(Duration::from_millis(300));
        client.write("half");
    });
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is in flight", || edge.status().upstreams["i"].requests == 1 && app.connections() == 1);
    edge.call("POST", "/quit", "");
    assert_eq!(client.answer("GET").text(), "halfhalf");
    edge.wait();
}

#[test]
fn tunnels_are_waited_for_until_the_deadline() {
    let mut edge =
        Running::with(&edge::Options { workers: 1, finish: Duration::from_millis(600), ..edge::Options::default() });
    let app = RawApp::start(|mut client, _| {
        client.request();
        client.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
        while let Ok(line) = client.line() {
            client.write(format!("{line}\n"));
        }
    });
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert_eq!(client.answer("GET").status, 101);
    edge.call("POST", "/quit", "");
    let before = std::time::Instant::now();
    client.write("still\n");
    assert_eq!(client.line().unwrap(), "still");
    edge.wait();
    assert!(before.elapsed() >= Duration::from_millis(500));
    assert!(client.rest().is_ok_and(|rest| rest.is_empty()), "closed when the edge left");
}

#[test]
fn http2_is_told_to_go_away() {
    use http_body_util::Empty;
    let mut edge = Running::start();
    let app = App::saying("x");
    edge.serve(vec![upstream("i", app.address)]);
    crate::support::block_on(async {
        let stream = tokio::net::TcpStream::connect(edge.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(
            hyper_util::rt::TokioExecutor::new(),
            hyper_util::rt::TokioIo::new(stream),
        )
        .await
        .unwrap();
        let ended = tokio::spawn(connection);
        let request = http::Request::get("http://a/").body(Empty::<bytes::Bytes>::new()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
        edge.call("POST", "/quit", "");
        ended.await.unwrap().unwrap();
    });
    edge.wait();
}

/// Not a test by itself: the process that the next test starts.
#[test]
fn as_a_process() {
    if let Some(folder) = std::env::var_os("EDGE_TEST_FOLDER") {
        let options = edge::Options { workers: 1, finish: Duration::from_secs(10), ..edge::Options::default() };
        assert_eq!(edge::main(folder.into(), options), ExitCode::SUCCESS);
    }
}

#[test]
fn sigterm_ends_the_process_with_0_after_the_request_in_flight() {
    let app = RawApp::start(|mut client, _| {
        client.request();
        client.write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf");
        std::thread::sleep(Duration::from_millis(300));
        client.write("half");
    });
    let other = Running::start();
    let table = other.table(vec![to_pool("/", "p")], &[("p", pool(vec![upstream("i", app.address)]))]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("table.json"), serde_json::to_vec(&table).unwrap()).unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "leaving::as_a_process"])
        .env("EDGE_TEST_FOLDER", folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it listens", || std::net::TcpStream::connect(other.address).is_ok());
    let mut client = Client::connect(other.address);
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    let head = client.head().unwrap();
    assert_eq!(head.status, 200);
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut body = [0; 8];
    std::io::Read::read_exact(&mut client.stream, &mut body).unwrap();
    assert_eq!(&body, b"halfhalf");
    drop(client);
    assert!(process.wait().unwrap().success());
}
