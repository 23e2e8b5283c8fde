//! Connections that become something else.

use std::{
    io::{Read, Write},
    net::TcpListener,
};

use axum::extract::ws::{Message, WebSocketUpgrade};

use crate::support::{App, Client, Running, eventually, pool, to_pool, upstream};

/// Echoes every text with its name before it.
fn echo(name: &'static str) -> App {
    App::start(axum::Router::new().fallback(move |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(move |mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if let Message::Text(text) = message
                    && socket.send(Message::Text(format!("{name}: {text}").into())).await.is_err()
                {
                    return;
                }
            }
        })
    }))
}

fn open(edge: &Running) -> Client {
    let mut client = edge.client();
    client.write(
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let answer = client.answer("GET");
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client
}

/// Sends a text of less than 126 bytes and reads the answer.
fn say(client: &mut Client, text: &str) -> String {
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 1, 2, 3, 4];
    frame.extend(text.bytes().zip([1, 2, 3, 4].into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    client.write(frame);
    let mut head = [0; 2];
    client.stream.read_exact(&mut head).unwrap();
    let mut answer = vec![0; usize::from(head[1])];
    client.stream.read_exact(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_websocket_lives_through_swaps_that_remove_its_instance_and_its_listener() {
    let edge = Running::start();
    let (old, new) = (echo("old"), echo("new"));
    edge.serve(vec![upstream("old", old.address)]);
    let mut first = open(&edge);
    assert_eq!(say(&mut first, "hello"), "old: hello");
    edge.serve(vec![upstream("new", new.address)]);
    let mut second = open(&edge);
    assert_eq!(say(&mut second, "hello"), "new: hello");
    assert_eq!(say(&mut first, "still"), "old: still");
    let status = edge.status();
    assert_eq!((status.upstreams["old"].tunnels, status.upstreams["new"].tunnels), (1, 1));
    let mut table = edge.table(Vec::new(), &[]);
    table.listeners.clear();
    edge.put(&table);
    assert_eq!(say(&mut first, "and"), "old: and");
    assert_eq!(say(&mut second, "on"), "new: on");
    drop((first, second));
    eventually("both tunnels are closed", || edge.status().connections == 0);
}

#[test]
fn a_route_without_websocket_never_upgrades() {
    let edge = Running::start();
    let app = App::echoing();
    let mut rule = to_pool("/", "p");
    rule.websocket = false;
    edge.put(&edge.table(vec![rule], &[("p", pool(vec![upstream("i", app.address)]))]));
    let answer = edge.client().get_with("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("upgrade"), "{}", answer.text());
}

#[test]
fn an_upgrade_nobody_asked_for_is_not_passed_on() {
    let edge = Running::start();
    let app = crate::support::RawApp::start(|mut client, _| {
        client.request();
        client.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
        let _ = client.rest();
    });
    edge.serve(vec![upstream("i", app.address)]);
    assert_eq!(edge.get("/").status, 502);
}

#[test]
fn an_instance_that_declines_to_upgrade_answers_as_usual() {
    let edge = Running::start();
    let app = App::echoing();
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    for _ in 0..2 {
        let answer = client.get_with("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("upgrade: websocket\n"), "{}", answer.text());
    }
    assert_eq!(edge.status().upstreams["i"].tunnels, 0);
}

#[test]
fn a_visitor_who_left_takes_the_tunnel_along_though_the_program_never_closes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let program = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
        let _ = wait.recv();
    });
    let edge = Running::start();
    edge.serve(vec![upstream("i", address)]);
    let mut client = edge.client();
    client.write("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.answer("GET").status, 101);
    assert_eq!(edge.status().upstreams["i"].tunnels, 1);
    drop(client);
    eventually("the tunnel is closed", || edge.status().upstreams["i"].tunnels == 0);
    drop(done);
    program.join().unwrap();
}
