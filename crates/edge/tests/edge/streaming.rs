//! Bodies that are passed on as they come, both ways.

use std::{io::Read, sync::mpsc, time::Duration};

use crate::support::{App, PATIENCE, RawApp, Running, eventually, pool, to_pool, upstream};

#[test]
fn events_arrive_one_by_one() {
    let edge = Running::start();
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let app = RawApp::start(move |mut client, _| {
        client.request();
        client.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        for number in 0..5 {
            client.write(format!("9\r\ndata: {number}\n\n\r\n"));
            gone.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        client.write("0\r\n\r\n");
    });
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    assert_eq!(client.head().unwrap().status, 200);
    for number in 0..5 {
        // the instance writes the next event only after this one was read here
        let mut event = [0; 14];
        client.stream.read_exact(&mut event).unwrap();
        assert_eq!(String::from_utf8_lossy(&event), format!("9\r\ndata: {number}\n\n\r\n"));
        go.send(()).unwrap();
    }
    assert_eq!(client.line().unwrap(), "0");
}

#[test]
fn an_upload_arrives_piece_by_piece() {
    let edge = Running::start();
    let (seen, pieces) = mpsc::channel::<String>();
    let seen = std::sync::Mutex::new(seen);
    let app = RawApp::start(move |mut client, _| {
        client.request();
        for _ in 0..3 {
            let size = client.line().unwrap();
            let data = client.line().unwrap();
            seen.lock().unwrap().send(format!("{size} {data}")).unwrap();
        }
        client.line().unwrap();
        client.line().unwrap();
        client.reply("thanks");
    });
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in ["one", "two", "six"] {
        client.write(format!("3\r\n{piece}\r\n"));
        assert_eq!(pieces.recv_timeout(PATIENCE).unwrap(), format!("3 {piece}"));
    }
    client.write("0\r\n\r\n");
    assert_eq!(client.answer("POST").text(), "thanks");
}

#[test]
fn trailers_come_through() {
    let edge = Running::start();
    let app = RawApp::start(|mut client, _| {
        let head = client.request().unwrap();
        assert!(head.contains("te: trailers"), "{head}");
        client.write(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n",
        );
    });
    edge.serve(vec![upstream("i", app.address)]);
    let answer = edge.client().get_with("/", "TE: trailers\r\nConnection: TE\r\n");
    assert_eq!((answer.text().as_str(), answer.header("x-sum")), ("body", Some("42")));
}

#[test]
fn a_waiting_visitor_is_told_to_continue_only_when_the_body_is_wanted() {
    let edge = Running::start();
    let app = App::start(axum::Router::new().fallback(|body: String| async move { body }));
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().unwrap().status, 100);
    client.write("hello");
    assert_eq!(client.answer("POST").text(), "hello");
}

#[test]
fn large_bodies_come_through_whole() {
    let edge = Running::start();
    let app = App::start(
        axum::Router::new()
            .fallback(|body: axum::body::Body| async move { body })
            .layer(axum::extract::DefaultBodyLimit::disable()),
    );
    edge.serve(vec![upstream("i", app.address)]);
    let body: Vec<u8> = (0..8_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut client = edge.client();
    client.write(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    let mut writer = client.stream.get_ref().try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| std::io::Write::write_all(&mut writer, &body).unwrap());
        assert!(client.answer("POST").body == body);
    });
    assert_eq!(client.get("/").status, 200, "the connection is in order");
}

#[test]
fn a_visitor_who_leaves_cancels_the_request() {
    let edge = Running::start();
    let (left, seen) = mpsc::channel::<()>();
    let left = std::sync::Mutex::new(left);
    let app = RawApp::start(move |mut client, _| {
        client.request();
        if client.rest().is_ok_and(|rest| rest.is_empty()) {
            left.lock().unwrap().send(()).unwrap();
        }
    });
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is in flight", || edge.status().upstreams["i"].requests == 1 && app.connections() == 1);
    drop(client);
    seen.recv_timeout(PATIENCE).expect("the instance sees the end");
    eventually("nothing is in flight", || edge.status().upstreams["i"].requests == 0);
    assert_eq!(edge.drain(&["i"], Duration::from_secs(1)).upstreams["i"].requests, 0);
}

#[test]
fn old_visitors_are_served_too() {
    let edge = Running::start();
    let app = App::echoing();
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    client.write("GET /old HTTP/1.0\r\n\r\n");
    let text = String::from_utf8(client.rest().unwrap()).unwrap();
    assert!(text.starts_with("HTTP/1.0 200"), "{text}");
    assert!(text.contains("GET /old\n"), "{text}");
    let mut client = edge.client();
    client.write("GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    assert!(client.answer("GET").text().contains("host: a\n"));
    client.write("GET /b HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(client.answer("GET").text().contains("GET /b\n"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let edge = Running::start();
    let app = App::echoing();
    let mut rule = to_pool("/", "p");
    rule.max_body = Some(10);
    edge.put(&edge.table(vec![rule], &[("p", pool(vec![upstream("i", app.address)]))]));
    let mut client = edge.client();
    let three = ["0", "1", "2"].map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")).concat();
    client.write(three);
    for number in 0..3 {
        assert!(client.answer("GET").text().starts_with(&format!("GET /{number}\n")));
    }
}
