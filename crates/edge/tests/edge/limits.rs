//! Rate limits.

use std::time::Duration;

use edge::table::Limit;

use crate::support::{App, Running, pool, to_pool, upstream};

#[test]
fn too_many_requests_are_told_when_to_come_back_and_a_swap_does_not_forgive_them() {
    let edge = Running::start();
    let app = App::saying("x");
    let mut limited = to_pool("/", "p");
    limited.limit = Some(Limit { requests: 10, period: Duration::from_mins(10), per_client: true });
    let pools = [("p", pool(vec![upstream("i", app.address)]))];
    edge.put(&edge.table(vec![limited.clone()], &pools));
    let mut client = edge.client();
    assert!((0..10).all(|_| client.get("/").status == 200));
    let answer = client.get_with("/", "Accept: text/html\r\n");
    assert_eq!(answer.status, 429);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((50..=60).contains(&wait), "{wait}");
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    edge.put(&edge.table(vec![limited.clone()], &pools));
    assert_eq!(client.get("/").status, 429, "the bucket is still empty after a swap");
    limited.limit = Some(Limit { requests: 20, period: Duration::from_mins(10), per_client: true });
    edge.put(&edge.table(vec![limited], &pools));
    assert_eq!(client.get("/").status, 200, "another limit, another bucket");
}

#[test]
fn a_bucket_fills_again() {
    let edge = Running::start();
    let app = App::saying("x");
    let mut limited = to_pool("/", "p");
    limited.limit = Some(Limit { requests: 2, period: Duration::from_millis(200), per_client: false });
    edge.put(&edge.table(vec![limited], &[("p", pool(vec![upstream("i", app.address)]))]));
    let mut client = edge.client();
    crate::support::eventually("the bucket is empty", || client.get("/").status == 429);
    crate::support::eventually("the bucket has a token again", || client.get("/").status == 200);
}
