//! Requests that are not quite HTTP, and visitors that take their time.

use crate::support::{App, Running, upstream};

fn edge() -> (Running, App) {
    let edge = Running::start();
    let app = App::echoing();
    edge.serve(vec![upstream("i", app.address)]);
    (edge, app)
}

#[test]
fn malformed_requests_are_refused_and_the_connection_closed() {
    let (edge, _app) = edge();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "501"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let mut client = edge.client();
        client.write(request);
        let text = client.rest().map(|rest| String::from_utf8_lossy(&rest).into_owned()).unwrap_or_default();
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status} ")) || text.starts_with(&format!("HTTP/1.0 {status} ")),
            "{request:?}: {text:?}"
        );
        assert_eq!(text.matches("HTTP/1.").count(), 1, "{request:?}: {text:?}");
    }
    assert_eq!(edge.get("/").status, 200);
}

#[test]
fn heads_and_targets_have_a_limit() {
    let (edge, _app) = edge();
    for (request, status) in [
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000)), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100_000)), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(150)), 431),
    ] {
        let mut client = edge.client();
        client.write(&request);
        assert_eq!(client.head().unwrap().status, status);
    }
    let extra = format!("X: {}\r\n", "x".repeat(10_000));
    assert_eq!(edge.client().get_with("/", &extra).status, 200, "what is common goes through");
}

#[test]
fn a_chunk_that_is_not_one_breaks_the_connection() {
    let (edge, _app) = edge();
    let mut client = edge.client();
    client.write(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let text = client.rest().map(|rest| String::from_utf8_lossy(&rest).into_owned()).unwrap_or_default();
    assert!(text.matches("HTTP/1.1 200").count() <= 1, "{text}");
    assert!(!text.contains("GET /\n") || !text.contains("400"), "{text}");
}

#[test]
fn connections_that_say_nothing_hold_nobody_up() {
    let (edge, _app) = edge();
    let mut silent: Vec<_> = (0..200).map(|_| edge.client()).collect();
    for client in &mut silent {
        client.write("GET / HT");
    }
    assert_eq!(edge.get("/").status, 200);
    crate::support::eventually("all are counted", || edge.status().connections >= 200);
    drop(silent);
    crate::support::eventually("all are gone", || edge.status().connections == 0);
}
