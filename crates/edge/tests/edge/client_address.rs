//! The visitor's address behind proxies, and those who lie about it.

use std::time::Duration;

use edge::table::Limit;

use crate::support::{App, Running, pool, to_pool, upstream};

fn forwarded(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("x-forwarded-") || line.starts_with("forwarded")).collect()
}

#[test]
fn a_visitor_cannot_say_who_it_is() {
    let edge = Running::start();
    let app = App::echoing();
    edge.serve(vec![upstream("i", app.address)]);
    let lies = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: evil.test\r\nX-Forwarded-Prefix: /x\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n";
    let text = edge.client().get_with("/", lies).text();
    let mut told = forwarded(&text);
    told.sort_unstable();
    assert_eq!(told, ["x-forwarded-for: 127.0.0.1", "x-forwarded-host: test", "x-forwarded-proto: http"]);
    assert!(!text.contains("x-real-ip"), "{text}");
}

// proves S4.P10
#[test]
fn a_limit_counts_the_real_visitor_behind_a_trusted_proxy() {
    let edge = Running::start();
    let app = App::echoing();
    let mut limited = to_pool("/", "p");
    limited.limit = Some(Limit { requests: 2, period: Duration::from_hours(1), per_client: true });
    let mut table = edge.table(vec![limited], &[("p", pool(vec![upstream("i", app.address)]))]);
    table.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    edge.put(&table);
    let mut client = edge.client();
    let mut ask = |chain: &str| client.get_with("/", &format!("X-Forwarded-For: {chain}\r\n"));
    let answer = ask("9.9.9.9, 203.0.113.1, 10.1.1.1");
    assert!(answer.text().contains("x-forwarded-for: 203.0.113.1, 10.1.1.1, 127.0.0.1\n"), "{}", answer.text());
    // the left part changes with each request, as a liar's would; the visitor is the same
    assert_eq!(ask("8.8.8.8, 203.0.113.1, 10.1.1.1").status, 200);
    assert_eq!(ask("7.7.7.7, 203.0.113.1, 10.1.1.1").status, 429);
    assert_eq!(ask("203.0.113.1").status, 429);
    assert_eq!(ask("203.0.113.2").status, 200, "another visitor through the same proxy");
}

#[test]
fn a_limit_cannot_be_dodged_by_inventing_addresses() {
    let edge = Running::start();
    let app = App::saying("x");
    let mut limited = to_pool("/", "p");
    limited.limit = Some(Limit { requests: 3, period: Duration::from_hours(1), per_client: true });
    edge.put(&edge.table(vec![limited], &[("p", pool(vec![upstream("i", app.address)]))]));
    let mut client = edge.client();
    let passed = (0..20)
        .filter(|number| client.get_with("/", &format!("X-Forwarded-For: 1.1.1.{number}\r\n")).status == 200)
        .count();
    assert_eq!(passed, 3);
}
