//! Each of the edge traps, once.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::support::{App, Client, RawApp, Running, eventually, pool, to_pool, upstream};

fn one_worker() -> Running {
    Running::with(&edge::Options { workers: 1, finish: Duration::from_secs(5), ..edge::Options::default() })
}

/// An instance that answers a POST from its head alone, leaving the body unread, keeps the connection.
#[test]
fn a_connection_whose_request_body_was_not_sent_is_not_used_again() {
    let edge = Running::start();
    let app = RawApp::start(|mut client, _| {
        while let Some(head) = client.request() {
            client.reply(if head.starts_with("POST") { "early" } else { "next" });
            if head.starts_with("POST") {
                // a careless instance that would take the rest of the body for the next request
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    edge.serve(vec![upstream("i", app.address)]);
    for _ in 0..5 {
        let mut first = edge.client();
        first.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nonly the beginning");
        assert_eq!(first.answer("POST").text(), "early");
        let second = edge.get("/");
        assert_eq!((second.status, second.text().as_str()), (200, "next"), "the next visitor must not hang");
    }
    eventually("nothing is in flight", || edge.status().upstreams["i"].requests == 0);
}

#[test]
fn a_connection_that_is_ready_is_used_again() {
    let edge = one_worker();
    let app = RawApp::start(|mut client, _| {
        while let Some(head) = client.request() {
            if head.starts_with("POST") {
                let mut body = [0; 4];
                std::io::Read::read_exact(&mut client.stream, &mut body).unwrap();
            }
            if head.contains("/chunked") {
                client.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
            } else {
                client.reply(if head.contains("/empty") { "" } else { "ok" });
            }
        }
    });
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "ok");
        assert_eq!(client.get("/empty").text(), "");
        assert_eq!(client.get("/chunked").text(), "ok");
        assert_eq!(client.post("/", b"body").text(), "ok");
    }
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_dead_idle_connection_is_replaced_without_the_visitor_noticing() {
    let edge = Running::start();
    // answers once per connection and closes without saying so
    let app = RawApp::start(|mut client, _| {
        let Some(head) = client.request() else { return };
        if head.starts_with("POST") {
            // unread bytes would turn the close into a reset, which can overtake the answer
            std::io::Read::read_exact(&mut client.stream, &mut [0; 4]).unwrap();
        }
        client.reply("once");
    });
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "once");
    }
    for _ in 0..20 {
        // the close has not always been seen when the next request is sent, and a POST is never repeated once sent
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(client.post("/", b"body").text(), "once");
    }
}

#[test]
fn a_request_that_died_on_the_way_is_repeated_only_if_it_may_be() {
    let posts = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&posts);
    // the first request of each connection is answered, the second read and dropped
    let app = RawApp::start(move |mut client, _| {
        if client.request().is_some() {
            client.reply("first");
        }
        if let Some(head) = client.request()
            && head.starts_with("POST")
        {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let edge = one_worker();
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "first", "repeated on a fresh connection");
    }
    client.get("/");
    let before = app.connections();
    let answer = client.post("/", b"");
    assert_eq!(answer.status, 502, "a POST that may have been carried out is not repeated");
    assert_eq!(posts.load(Ordering::SeqCst), 1);
    assert_eq!(app.connections(), before);
}

#[test]
fn a_declared_length_over_the_limit_is_refused_before_connecting() {
    let edge = Running::start();
    let app = RawApp::start(|_, _| {});
    let mut small = to_pool("/", "p");
    small.max_body = Some(1000);
    edge.put(&edge.table(vec![small], &[("p", pool(vec![upstream("i", app.address)]))]));
    let mut client = edge.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
    let answer = client.head().unwrap();
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    assert_eq!(app.connections(), 0);
}

#[test]
fn a_body_that_grows_over_the_limit_is_cut_off_with_413() {
    let edge = Running::start();
    let app = App::start(axum::Router::new().fallback(|body: axum::body::Bytes| async move { body.len().to_string() }));
    let mut small = to_pool("/", "p");
    small.max_body = Some(1000);
    edge.put(&edge.table(vec![small], &[("p", pool(vec![upstream("i", app.address)]))]));
    let mut client = edge.client();
    assert_eq!(client.post("/", &[b'x'; 1000]).text(), "1000");
    client.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        client.write(format!("{:x}\r\n{}\r\n", 400, "x".repeat(400)));
    }
    assert_eq!(client.head().unwrap().status, 413);
    eventually("nothing is in flight", || edge.status().upstreams["i"].requests == 0);
}

#[test]
fn a_drain_waits_for_tunnels_too() {
    let edge = Running::start();
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
    let status = edge.drain(&["i"], Duration::from_millis(100));
    assert_eq!((status.upstreams["i"].tunnels, status.upstreams["i"].requests), (1, 0));
    std::thread::scope(|scope| {
        let drained = scope.spawn(|| edge.drain(&["i"], Duration::from_secs(10)));
        client.write("still open\n");
        assert_eq!(client.line().unwrap(), "still open");
        assert!(!drained.is_finished());
        drop(client);
        assert_eq!(drained.join().unwrap().upstreams["i"].tunnels, 0);
    });
}

#[test]
fn an_instance_that_dies_in_the_middle_of_an_answer_breaks_the_visitors_connection() {
    let edge = Running::start();
    let app = RawApp::start(|mut client, _| {
        let head = client.request().unwrap_or_default();
        if head.contains("/sized") {
            client.write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf");
        } else {
            client.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        }
    });
    edge.serve(vec![upstream("i", app.address)]);
    for (path, version) in [("/sized", "1.1"), ("/chunked", "1.1"), ("/chunked", "1.0")] {
        let mut client = edge.client();
        client.write(format!("GET {path} HTTP/{version}\r\nHost: a\r\n\r\n"));
        let rest = client.rest();
        match rest {
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
            Ok(bytes) => panic!("{path} over {version} ended as if complete: {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    assert_eq!(edge.status().traffic["p"]["r1"].errors, 3, "a broken answer is an error of its revision");
}

#[test]
fn an_answer_that_breaks_off_over_http2_takes_no_other_stream_with_it() {
    use http_body_util::{BodyExt, Empty};
    let edge = Running::start();
    let app = RawApp::start(|mut client, _| {
        let head = client.request().unwrap_or_default();
        client.write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf");
        if head.contains("/whole") {
            std::thread::sleep(Duration::from_millis(200));
            client.write("half");
        }
    });
    edge.serve(vec![upstream("i", app.address)]);
    crate::support::block_on(async {
        let stream = tokio::net::TcpStream::connect(edge.address).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        let mut ask = |path: &str| {
            let uri = format!("http://a{path}");
            sender.send_request(http::Request::get(uri).body(Empty::<bytes::Bytes>::new()).unwrap())
        };
        let (whole, broken) = (ask("/whole"), ask("/broken"));
        let (whole, broken) = (whole.await.unwrap(), broken.await.unwrap());
        broken.into_body().collect().await.expect_err("a reset stream");
        assert_eq!(whole.into_body().collect().await.unwrap().to_bytes(), "halfhalf");
    });
}

#[test]
fn http2_streams_run_on_the_workers_own_thread() {
    use http_body_util::{BodyExt, Full};
    let edge = Running::start();
    let app = App::echoing();
    edge.serve(vec![upstream("i", app.address)]);
    crate::support::block_on(async {
        let stream = tokio::net::TcpStream::connect(edge.address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http2::handshake(
            hyper_util::rt::TokioExecutor::new(),
            hyper_util::rt::TokioIo::new(stream),
        )
        .await
        .unwrap();
        tokio::spawn(connection);
        let asks = (0..50).map(|number| {
            let mut sender = sender.clone();
            async move {
                let request = http::Request::get(format!("http://two.test/{number}"))
                    .body(Full::new(bytes::Bytes::from_static(b"body")))
                    .unwrap();
                let answer = sender.send_request(request).await.unwrap();
                assert_eq!(answer.status(), 200);
                let text = answer.into_body().collect().await.unwrap().to_bytes();
                let text = String::from_utf8(text.to_vec()).unwrap();
                assert!(text.starts_with(&format!("GET /{number}\n")), "{text}");
                assert!(text.contains("host: two.test\n"), "{text}");
            }
        });
        futures_util::future::join_all(asks).await;
    });
}

/// RFC 9113 section 8.2.3.
#[test]
fn cookies_of_http2_become_one_line() {
    use http_body_util::{BodyExt, Empty};
    let edge = Running::start();
    let app = App::echoing();
    edge.serve(vec![upstream("i", app.address)]);
    crate::support::block_on(async {
        let stream = tokio::net::TcpStream::connect(edge.address).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("http://a/")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let text = String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        assert!(text.contains("cookie: a=1; b=2\n"), "{text}");
    });
}

/// RFC 9112 section 9.6.
#[test]
fn a_refusal_reaches_a_visitor_who_is_still_sending() {
    let edge = Running::start();
    let app = RawApp::start(|_, _| {});
    let mut small = to_pool("/", "p");
    small.max_body = Some(1000);
    edge.put(&edge.table(vec![small], &[("p", pool(vec![upstream("i", app.address)]))]));
    for _ in 0..20 {
        let mut client = edge.client();
        client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
        for _ in 0..30 {
            client.write([b'x'; 10_000]);
        }
        assert_eq!(client.answer("POST").status, 413);
    }
}

#[test]
fn a_request_framed_twice_is_refused_and_the_connection_closed() {
    let edge = Running::start();
    let app = App::echoing();
    edge.serve(vec![upstream("i", app.address)]);
    for order in ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        let mut client = edge.client();
        assert_eq!(client.get("/").status, 200, "a connection that was in order before");
        client.write(format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{order}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        let rest = String::from_utf8(client.rest().unwrap()).unwrap();
        assert!(rest.starts_with("HTTP/1.1 400 "), "{rest}");
        assert!(!rest.contains("smuggled"), "{rest}");
    }
}

#[test]
fn after_an_early_answer_the_rest_of_the_request_is_read_and_the_connection_goes_on() {
    let edge = Running::start();
    let app = RawApp::start(|mut client, _| {
        if client.request().is_some() {
            client.reply("early");
        }
        let _ = client.rest();
    });
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    for _ in 0..5 {
        client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\nbeginning");
        assert_eq!(client.answer("POST").text(), "early");
        client.write(vec![b'x'; 200_000 - 9]);
    }
    assert_eq!(client.get("/").text(), "early");
}

#[test]
fn an_answer_that_needs_no_body_ends_before_the_upload() {
    let edge = Running::start();
    let app = RawApp::start(|mut client, _| {
        client.request();
        client.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
    });
    edge.serve(vec![upstream("i", app.address)]);
    let mut client: Client = edge.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n");
    let answer = client.answer("POST");
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    let _ = client.stream.get_mut().write_all(b"4\r\nmore\r\n");
    eventually("nothing is in flight", || edge.status().upstreams["i"].requests == 0);
}
