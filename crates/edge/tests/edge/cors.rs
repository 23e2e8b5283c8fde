//! Calls from other origins.

use crate::support::{Answer, App, Running, pool, to_pool, upstream};

fn edge(origins: &[&str]) -> (Running, App) {
    let edge = Running::start();
    let app = App::start(
        axum::Router::new()
            .fallback(|| async { ([("access-control-allow-origin", "*"), ("vary", "accept-language")], "answer") }),
    );
    let mut rule = to_pool("/", "p");
    rule.cors = Some(origins.iter().map(|one| (*one).to_owned()).collect());
    edge.put(&edge.table(vec![rule], &[("p", pool(vec![upstream("i", app.address)]))]));
    (edge, app)
}

fn allowed(answer: &Answer) -> (Vec<&str>, Option<&str>) {
    (answer.all("access-control-allow-origin"), answer.header("access-control-allow-credentials"))
}

#[test]
fn one_matching_origin_is_echoed_with_credentials() {
    let (edge, _app) = edge(&["https://a.test", "https://b.test/"]);
    let mut client = edge.client();
    for origin in ["https://a.test", "https://b.test"] {
        let answer = client.get_with("/", &format!("Origin: {origin}\r\n"));
        assert_eq!(allowed(&answer), (vec![origin], Some("true")));
        assert!(answer.all("vary").contains(&"Origin"), "{:?}", answer.headers);
        assert!(answer.all("vary").contains(&"accept-language"));
        assert_eq!(answer.text(), "answer");
    }
    for origin in ["https://evil.test", "http://a.test", "https://a.test.evil.test", "null"] {
        let answer = client.get_with("/", &format!("Origin: {origin}\r\n"));
        assert_eq!(allowed(&answer), (vec![], None), "{origin}");
        assert!(answer.all("vary").contains(&"Origin"), "caches must not mix them up");
    }
    assert!(client.get("/").all("vary").contains(&"Origin"));
}

#[test]
fn preflights_are_answered_without_asking_the_application() {
    let (edge, _app) = edge(&["https://a.test"]);
    let mut client = edge.client();
    let ask = "Access-Control-Request-Method: DELETE\r\nAccess-Control-Request-Headers: x-token, content-type\r\n";
    let answer = client.ask("OPTIONS", "/x", &format!("Origin: https://a.test\r\n{ask}"));
    assert_eq!(answer.status, 204);
    assert_eq!(allowed(&answer), (vec!["https://a.test"], Some("true")));
    assert_eq!(answer.header("access-control-allow-methods"), Some("DELETE"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-token, content-type"));
    assert!(answer.header("access-control-max-age").is_some());
    let answer = client.ask("OPTIONS", "/x", &format!("Origin: https://evil.test\r\n{ask}"));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, None));
    assert_eq!(answer.header("access-control-allow-methods"), None);
    assert_eq!(client.ask("OPTIONS", "/x", "Origin: https://a.test\r\n").text(), "answer", "not a preflight");
}

#[test]
fn anybody_may_call_only_without_credentials() {
    let (edge, _app) = edge(&["*"]);
    let answer = edge.client().get_with("/", "Origin: https://any.test\r\n");
    assert_eq!(allowed(&answer), (vec!["*"], None));
}
