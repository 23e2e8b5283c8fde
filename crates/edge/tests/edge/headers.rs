//! What is passed on, what is not, and what is added.

use crate::support::{App, RawApp, Running, pool, to_pool, upstream};

#[test]
fn hop_by_hop_headers_and_those_named_in_connection_stay_behind() {
    let edge = Running::start();
    let app = App::echoing();
    edge.serve(vec![upstream("i", app.address)]);
    let extra = "Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=9\r\nProxy-Connection: x\r\n\
        Proxy-Authorization: Basic eA==\r\nTE: gzip\r\nUpgrade: h2c\r\nAccept: a/b\r\nX-Other: 2\r\nVia: 1.1 other\r\n";
    let text = edge.client().get_with("/", extra).text();
    for gone in ["x-mine", "keep-alive", "proxy-", "te:", "upgrade", "connection"] {
        assert!(!text.contains(&format!("\n{gone}")), "{gone} in {text}");
    }
    for kept in ["host: test", "accept: a/b", "x-other: 2", "via: 1.1 other"] {
        assert!(text.contains(&format!("\n{kept}\n")), "{kept} not in {text}");
    }
}

#[test]
fn an_instances_hop_by_hop_headers_stay_behind_too() {
    let edge = Running::start();
    let app = RawApp::start(|mut client, _| {
        client.request();
        client.write(
            "HTTP/1.1 200 OK\r\nconnection: close, x-internal\r\nx-internal: secret\r\nkeep-alive: timeout=5\r\n\
             proxy-authenticate: Basic\r\nx-kept: 1\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 2\r\n\r\nok",
        );
    });
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!(answer.text(), "ok", "the visitor's connection stays open");
        for gone in ["connection", "x-internal", "keep-alive", "proxy-authenticate", "via"] {
            assert_eq!(answer.header(gone), None);
        }
        assert_eq!(answer.header("x-kept"), Some("1"));
        assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
    }
}

// proves S4.P9
#[test]
fn the_rules_headers_are_on_every_answer_unless_the_application_set_them() {
    let edge = Running::start();
    let app = App::start(
        axum::Router::new()
            .route("/own", axum::routing::get(|| async { ([("x-frame-options", "SAMEORIGIN")], "own") }))
            .route("/bad", axum::routing::get(|| async { http::StatusCode::INTERNAL_SERVER_ERROR }))
            .fallback(|| async { "plain" }),
    );
    let security = [
        ("Content-Security-Policy", "default-src 'self'"),
        ("Strict-Transport-Security", "max-age=63072000"),
        ("X-Frame-Options", "DENY"),
        ("X-Content-Type-Options", "nosniff"),
    ];
    let headers: Vec<_> = security.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (mut rule, mut none) = (to_pool("/", "p"), to_pool("/none", "empty"));
    (rule.headers, none.headers) = (headers.clone(), headers);
    let pools = [("p", pool(vec![upstream("i", app.address)])), ("empty", pool(Vec::new()))];
    edge.put(&edge.table(vec![rule, none], &pools));
    let mut client = edge.client();
    for (path, status, frame) in
        [("/", 200, "DENY"), ("/own", 200, "SAMEORIGIN"), ("/bad", 500, "DENY"), ("/none", 503, "DENY")]
    {
        let answer = client.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.all("x-frame-options"), [frame], "{path}");
        assert_eq!(answer.all("x-content-type-options"), ["nosniff"], "{path}");
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'self'"), "{path}");
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=63072000"), "{path}");
    }
}

#[test]
fn every_request_has_an_id_that_only_a_trusted_proxy_may_choose() {
    let edge = Running::start();
    let app = App::echoing();
    let mut table = edge.table(vec![to_pool("/", "p")], &[("p", pool(vec![upstream("i", app.address)]))]);
    edge.put(&table);
    let id = |text: &str| {
        text.lines().find_map(|line| line.strip_prefix("x-request-id: ")).map(str::to_owned).unwrap_or_default()
    };
    let mut client = edge.client();
    let (one, two) = (id(&client.get("/").text()), id(&client.get_with("/", "X-Request-Id: mine\r\n").text()));
    assert!(one.len() == 32 && two.len() == 32 && one != two, "{one} {two}");
    table.version = 2;
    table.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    edge.put(&table);
    assert_eq!(id(&client.get_with("/", "X-Request-Id: mine\r\n").text()), "mine");
}

#[test]
fn head_and_304_keep_the_length_they_speak_of() {
    let edge = Running::start();
    let app = RawApp::start(|mut client, _| {
        while let Some(head) = client.request() {
            if head.starts_with("HEAD") {
                client.write("HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n");
            } else {
                client.write("HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 99\r\n\r\n");
            }
        }
    });
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    for _ in 0..3 {
        let answer = client.ask("HEAD", "/", "");
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("12345")));
        let answer = client.get("/");
        assert_eq!((answer.status, answer.header("etag")), (304, Some("\"x\"")));
    }
}
