//! Hosts, paths and redirects.

use std::collections::BTreeMap;

use edge::table::{Action, Listener, Table};

use crate::support::{App, Client, Running, pool, rule, to_pool, upstream};

fn host(client: &mut Client, host: &str, path: &str) -> String {
    client.write(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let answer = client.answer("GET");
    if answer.status == 200 { answer.text() } else { answer.status.to_string() }
}

#[test]
fn the_exact_host_then_the_wildcard_then_the_fallback_and_the_longest_path() {
    let edge = Running::start();
    let apps: BTreeMap<&str, App> =
        ["exact", "api", "deep", "wild", "rest"].into_iter().map(|name| (name, App::saying(name))).collect();
    let mut table = Table {
        version: 1,
        listeners: vec![Listener {
            address: edge.address,
            hosts: BTreeMap::from([
                (
                    "a.test".to_owned(),
                    vec![to_pool("/", "exact"), to_pool("/api/v1/users", "deep"), to_pool("/api", "api")],
                ),
                ("*.a.test".to_owned(), vec![to_pool("/", "wild")]),
            ]),
            fallback: None,
        }],
        ..Table::default()
    };
    for (name, app) in &apps {
        table.pools.insert((*name).to_owned(), pool(vec![upstream(name, app.address)]));
    }
    edge.put(&table);
    let mut client = edge.client();
    for (name, path, answer) in [
        ("a.test", "/", "exact"),
        ("A.Test:80", "/", "exact"),
        ("a.test.", "/apiary", "exact"),
        ("a.test", "/api", "api"),
        ("a.test", "/api/v1/user", "api"),
        ("a.test", "/api/v1/users?x=1", "deep"),
        ("a.test", "/x/../api/v1/users/1", "deep"),
        ("a.test", "//api", "api"),
        ("b.a.test", "/", "wild"),
        ("c.b.a.test", "/api", "wild"),
        ("b.test", "/", "404"),
    ] {
        assert_eq!(host(&mut client, name, path), answer, "{name}{path}");
    }
    table.version = 2;
    table.listeners[0].fallback = Some(vec![to_pool("/", "rest")]);
    edge.put(&table);
    assert_eq!(host(&mut client, "b.test", "/"), "rest", "the same connection, the new table");
}

#[test]
fn a_prefix_can_be_stripped() {
    let edge = Running::start();
    let app = App::echoing();
    let mut api = to_pool("/api", "p");
    api.strip = true;
    edge.put(&edge.table(vec![api], &[("p", pool(vec![upstream("i", app.address)]))]));
    let mut client = edge.client();
    for (asked, got) in [
        ("/api", "/"),
        ("/api/", "/"),
        ("/api/x/y?q=/api", "/x/y?q=/api"),
        ("/api?q", "/?q"),
        ("/%61pi/x%2Fy", "/x%2Fy"),
        ("/./api/x", "/x"),
    ] {
        let text = client.get(asked).text();
        assert_eq!(text.lines().next(), Some(format!("GET {got}").as_str()), "{asked}");
    }
    assert_eq!(client.get("/other").status, 404);
}

#[test]
fn redirects_keep_path_and_query() {
    let edge = Running::start();
    let rules = vec![
        rule("/", Action::Redirect("https://jobsprint.io".to_owned())),
        rule("/same", Action::Redirect("jobsprint.io".to_owned())),
    ];
    edge.put(&edge.table(rules, &[]));
    let mut client = edge.client();
    let answer = client.get("/a%20b?c=d");
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://jobsprint.io/a%20b?c=d")));
    assert_eq!(client.get("/same/x").header("location"), Some("http://jobsprint.io/same/x"));
}

#[test]
fn the_absolute_form_of_a_target_names_the_host() {
    let edge = Running::start();
    let app = App::echoing();
    edge.serve(vec![upstream("i", app.address)]);
    let mut client = edge.client();
    client.write("GET http://real.test/x?y HTTP/1.1\r\nHost: other.test\r\n\r\n");
    let text = client.answer("GET").text();
    assert!(text.starts_with("GET /x?y\n"), "{text}");
    assert!(text.contains("host: real.test\n"), "{text}");
    client.write("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer("OPTIONS").status, 200);
}
