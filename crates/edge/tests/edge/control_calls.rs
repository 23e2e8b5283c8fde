//! What the agent asks over `control.sock`.

use edge::table::Action;

use crate::support::{App, Running, control, rule, to_pool, upstream};

#[test]
fn the_stored_table_is_served_from_the_start() {
    let app = App::saying("stored");
    let first = Running::start();
    let table = first.table(vec![to_pool("/", "p")], &[("p", crate::support::pool(vec![upstream("i", app.address)]))]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("table.json"), serde_json::to_vec(&table).unwrap()).unwrap();
    let mut edge = edge::Edge::start(folder.path(), &edge::Options { workers: 1, ..edge::Options::default() }).unwrap();
    assert_eq!(crate::support::Client::connect(first.address).get("/").text(), "stored");
    edge.quit();
    edge.wait();
}

#[test]
fn a_stored_table_that_cannot_be_served_does_not_keep_the_edge_down() {
    for (text, reason) in [
        ("{", "not a table"),
        (
            r#"{"version":1,"listeners":[{"address":"127.0.0.1:1","hosts":{},"fallback":[{"path":"/","action":{"Pool":"p"},"name":"r","strip":false,"limit":null,"cors":null,"sticky":false,"websocket":true,"max_body":null,"headers":[]}]}],"pools":{},"sites":{},"trusted_proxies":[]}"#,
            "the pool `p`",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("table.json"), text).unwrap();
        let mut edge =
            edge::Edge::start(folder.path(), &edge::Options { workers: 1, ..edge::Options::default() }).unwrap();
        let (_, body) = control(&folder.path().join("control.sock"), "GET", "/status", "");
        let status: edge::control::Status = serde_json::from_str(&body).unwrap();
        assert!(status.refused["table.json"].contains(reason), "{:?}", status.refused);
        edge.quit();
        edge.wait();
    }
}

#[test]
fn the_access_log_is_written_without_queries() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let edge = Running::with(&edge::Options { workers: 1, access_log: Some(log.clone()), ..edge::Options::default() });
    let app = App::saying("x");
    edge.serve(vec![upstream("i", app.address)]);
    edge.get("/path?token=secret");
    crate::support::eventually("the line is written", || std::fs::read_to_string(&log).unwrap().ends_with('\n'));
    let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!((&line["method"], &line["path"], &line["status"]), (&"GET".into(), &"/path".into(), &200.into()));
    assert_eq!((&line["client"], &line["host"]), (&"127.0.0.1".into(), &"test".into()));
}

#[test]
fn status_tells_what_is_served_and_counted() {
    let edge = Running::start();
    let app = App::start(
        axum::Router::new()
            .route("/bad", axum::routing::get(|| async { http::StatusCode::INTERNAL_SERVER_ERROR }))
            .fallback(|| async { "good" }),
    );
    let status = edge.serve(vec![upstream("i", app.address)]);
    assert_eq!((status.table, status.pid), (1, std::process::id()));
    assert_eq!(status.listening, [edge.address]);
    assert!(status.refused.is_empty());
    let mut client = edge.client();
    for path in ["/", "/", "/bad"] {
        client.get(path);
    }
    let status = edge.status();
    let traffic = &status.traffic["p"]["r1"];
    assert_eq!((traffic.requests, traffic.errors), (3, 1));
    assert_eq!(traffic.latency_ms_pow2.iter().sum::<u64>(), 3);
    assert_eq!((status.requests, status.connections), (3, 1));
    assert!(status.upstreams["i"].healthy);
    assert_eq!(status.upstreams["i"].requests, 0);
}

#[test]
fn a_wrong_table_changes_nothing_and_says_what_is_wrong() {
    let edge = Running::start();
    let app = App::saying("old");
    edge.serve(vec![upstream("i", app.address)]);
    let mut bad_path = to_pool("x", "p");
    bad_path.name = "r".to_owned();
    let mut bad_header = rule("/", Action::Redirect("a.test".to_owned()));
    bad_header.headers = vec![("bad name".to_owned(), "x".to_owned())];
    for (rules, message) in [
        (vec![to_pool("/", "missing")], "the pool `missing`"),
        (vec![rule("/", Action::Site("web".to_owned()))], "the site `web`"),
        (vec![bad_path], "must begin with `/`"),
        (vec![bad_header], "the header `bad name`"),
        (vec![rule("/", Action::Redirect("https://".to_owned()))], "is not a host"),
    ] {
        let pools = [("p", crate::support::pool(Vec::new()))];
        let table = serde_json::to_string(&edge.table(rules, &pools)).unwrap();
        let (status, body) = edge.call("PUT", "/table", &table);
        assert_eq!(status, 422, "{body}");
        assert!(body.contains(message), "{body}");
    }
    assert_eq!(edge.call("PUT", "/table", "{").0, 400);
    assert_eq!(edge.call("GET", "/nothing", "").0, 404);
    assert_eq!(edge.call("GET", "/quit", "").0, 405);
    assert_eq!(edge.status().table, 1);
    assert_eq!(edge.get("/").text(), "old");
}

#[test]
fn the_control_socket_is_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let edge = Running::start();
    let socket = edge.folder.path().join("control.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(control(&socket, "GET", "/status", "").0, 200);
}

#[test]
fn the_control_socket_of_an_edge_that_was_killed_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap()); // nobody answers on it any more
    let mut edge = edge::Edge::start(folder.path(), &edge::Options { workers: 1, ..edge::Options::default() }).unwrap();
    assert_eq!(control(&socket, "GET", "/status", "").0, 200);
    edge.quit();
    edge.wait();
}

#[test]
fn a_missing_folder_is_an_error_that_names_it() {
    let error = edge::Edge::start(std::path::Path::new("/nowhere/at/all"), &edge::Options::default()).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all/control.sock"), "{error}");
}
