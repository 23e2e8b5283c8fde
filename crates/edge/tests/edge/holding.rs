//! Requests that wait for an instance.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use observe::probe::Probe;

use crate::support::{App, Running, eventually, free_address, pool, to_pool, upstream};

#[test]
fn without_an_instance_the_answer_is_503_with_a_page_for_people() {
    let edge = Running::start();
    edge.serve(Vec::new());
    let mut client = edge.client();
    let answer = client.get_with("/", "Accept: text/html,*/*;q=0.8\r\n");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.text().contains("<h1>Service Unavailable</h1>"), "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer = client.get_with("/", "Accept: */*\r\n");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(!answer.text().contains('<'), "{}", answer.text());
}

#[test]
fn a_held_request_is_answered_by_the_next_tables_instance() {
    let edge = Running::start();
    let app = App::saying("arrived");
    let mut holding = pool(Vec::new());
    holding.hold = Duration::from_secs(15);
    edge.put(&edge.table(vec![to_pool("/", "p")], &[("p", holding.clone())]));
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| edge.client().post("/", b"held").text())).collect();
        eventually("all wait", || edge.status().requests == 8);
        assert!(waiting.iter().all(|one| !one.is_finished()));
        holding.upstreams = vec![upstream("i", app.address)];
        edge.put(&edge.table(vec![to_pool("/", "p")], &[("p", holding.clone())]));
        for one in waiting {
            assert_eq!(one.join().unwrap(), "arrived");
        }
    });
}

#[test]
fn a_held_request_survives_a_restart_of_the_only_instance() {
    let edge = Running::start();
    let address = free_address();
    let mut holding = pool(vec![upstream("i", address)]);
    holding.hold = Duration::from_secs(15);
    edge.put(&edge.table(vec![to_pool("/", "p")], &[("p", holding)]));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| edge.get("/").text());
        eventually("it waits", || edge.status().requests == 1);
        let _app = App::on(TcpListener::bind(address).unwrap(), axum::Router::new().fallback(|| async { "back" }));
        assert_eq!(waiting.join().unwrap(), "back");
    });
}

#[test]
fn a_held_request_goes_on_when_a_check_turns_good() {
    let edge = Running::start();
    let well = Arc::new(AtomicBool::new(false));
    let health = Arc::clone(&well);
    let app = App::start(
        axum::Router::new()
            .route(
                "/health",
                axum::routing::get(move || {
                    let well = health.load(Ordering::SeqCst);
                    async move { if well { http::StatusCode::OK } else { http::StatusCode::INTERNAL_SERVER_ERROR } }
                }),
            )
            .fallback(|| async { "well" }),
    );
    let mut checked = pool(vec![upstream("i", app.address)]);
    checked.hold = Duration::from_secs(15);
    checked.probe = Some(Probe {
        path: Some("/health".to_owned()),
        every: Duration::from_millis(10),
        timeout: Duration::from_secs(2),
        up: 1,
        down: 1,
    });
    edge.put(&edge.table(vec![to_pool("/", "p")], &[("p", checked)]));
    eventually("it is taken out", || !edge.status().upstreams["i"].healthy);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| edge.get("/").text());
        eventually("it waits", || edge.status().requests == 1);
        well.store(true, Ordering::SeqCst);
        assert_eq!(waiting.join().unwrap(), "well");
    });
}

#[test]
fn a_hold_ends_with_503() {
    let edge = Running::start();
    let mut holding = pool(Vec::new());
    holding.hold = Duration::from_millis(150);
    edge.put(&edge.table(vec![to_pool("/", "p")], &[("p", holding)]));
    let before = Instant::now();
    assert_eq!(edge.get("/").status, 503);
    assert!(before.elapsed() >= Duration::from_millis(150));
}

#[test]
fn a_visitor_who_leaves_while_held_is_forgotten() {
    let edge = Running::start();
    let mut holding = pool(Vec::new());
    holding.hold = Duration::from_mins(1);
    edge.put(&edge.table(vec![to_pool("/", "p")], &[("p", holding)]));
    let mut client = edge.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it waits", || edge.status().requests == 1);
    drop(client);
    eventually("the connection is gone", || edge.status().connections == 0);
}
