//! Visitors that stay on one instance.

use crate::support::{Answer, App, Running, pool, to_pool, upstream};

fn cookie(answer: &Answer) -> Option<String> {
    let line = answer.header("set-cookie")?;
    Some(line.split(';').next().unwrap().to_owned())
}

// proves S4.10
#[test]
fn a_cookie_keeps_a_visitor_until_the_instance_is_gone() {
    let edge = Running::start();
    let apps: Vec<App> = ["a", "b", "c"].into_iter().map(App::saying).collect();
    let mut all: Vec<_> = ["a", "b", "c"].iter().zip(&apps).map(|(id, app)| upstream(id, app.address)).collect();
    let mut rule = to_pool("/", "p");
    rule.sticky = true;
    edge.put(&edge.table(vec![rule.clone()], &[("p", pool(all.clone()))]));
    let mut client = edge.client();
    let first = client.get("/");
    let line = first.header("set-cookie").unwrap();
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{line}");
    let held = cookie(&first).unwrap();
    assert!(held.starts_with("slipway=") && !held.contains(&first.text()) || held.len() == 24, "{held}");
    for _ in 0..20 {
        let answer = client.get_with("/", &format!("Cookie: theme=dark; {held}\r\n"));
        assert_eq!((answer.text(), cookie(&answer)), (first.text(), None), "no second cookie");
    }
    all.retain(|one| one.id != first.text());
    edge.put(&edge.table(vec![rule], &[("p", pool(all))]));
    let moved = client.get_with("/", &format!("Cookie: {held}\r\n"));
    assert_ne!(moved.text(), first.text());
    let held = cookie(&moved).expect("a new cookie for the new instance");
    for _ in 0..20 {
        assert_eq!(client.get_with("/", &format!("Cookie: {held}\r\n")).text(), moved.text());
    }
}

#[test]
fn two_sticky_routes_share_the_cookie() {
    let edge = Running::start();
    let apps: Vec<App> = ["a1", "a2", "b1", "b2"].into_iter().map(App::saying).collect();
    let (mut a, mut b) = (to_pool("/a", "a"), to_pool("/b", "b"));
    (a.sticky, b.sticky) = (true, true);
    let pools = [
        ("a", pool(vec![upstream("a1", apps[0].address), upstream("a2", apps[1].address)])),
        ("b", pool(vec![upstream("b1", apps[2].address), upstream("b2", apps[3].address)])),
    ];
    edge.put(&edge.table(vec![a, b], &pools));
    let mut client = edge.client();
    let on_a = client.get("/a");
    let on_b = client.get_with("/b", &format!("Cookie: {}\r\n", cookie(&on_a).unwrap()));
    let held = cookie(&on_b).unwrap();
    for _ in 0..20 {
        let (again_a, again_b) = (
            client.get_with("/a", &format!("Cookie: {held}\r\n")),
            client.get_with("/b", &format!("Cookie: {held}\r\n")),
        );
        assert_eq!((again_a.text(), again_b.text()), (on_a.text(), on_b.text()));
        assert_eq!((cookie(&again_a), cookie(&again_b)), (None, None));
    }
}

#[test]
fn a_made_up_cookie_is_replaced() {
    let edge = Running::start();
    let app = App::saying("x");
    let mut rule = to_pool("/", "p");
    rule.sticky = true;
    edge.put(&edge.table(vec![rule], &[("p", pool(vec![upstream("i", app.address)]))]));
    for held in ["slipway=0000000000000000", "slipway=nonsense", "slipway=", "slipway=a.b.c.d"] {
        let answer = edge.client().get_with("/", &format!("Cookie: {held}\r\n"));
        assert_eq!(answer.text(), "x");
        assert!(cookie(&answer).is_some_and(|new| new.len() == "slipway=".len() + 16), "{held}");
    }
}
