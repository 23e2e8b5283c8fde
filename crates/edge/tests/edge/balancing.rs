//! Weights, health and instances that refuse.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use observe::probe::Probe;

use crate::support::{App, Running, eventually, free_address, pool, to_pool, upstream};

fn count(edge: &Running, requests: usize) -> BTreeMap<String, usize> {
    let mut client = edge.client();
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let answer = client.get("/");
        *counts.entry(if answer.status == 200 { answer.text() } else { answer.status.to_string() }).or_default() += 1;
    }
    counts
}

#[test]
fn revisions_share_visitors_by_weight_and_zero_gets_none() {
    let edge = Running::start();
    let apps = [App::saying("old"), App::saying("new"), App::saying("off")];
    let mut upstreams: Vec<_> = ["old", "new", "off"]
        .iter()
        .zip(&apps)
        .map(|(name, app)| {
            let mut one = upstream(name, app.address);
            one.revision = (*name).to_owned();
            one
        })
        .collect();
    (upstreams[0].weight, upstreams[1].weight, upstreams[2].weight) = (90, 10, 0);
    edge.serve(upstreams.clone());
    let counts = count(&edge, 1000);
    assert!((50..200).contains(&counts["new"]), "{counts:?}");
    assert!(!counts.contains_key("off"), "{counts:?}");
    let traffic = &edge.status().traffic["p"];
    assert_eq!(traffic["new"].requests, counts["new"] as u64);
    assert_eq!(traffic["old"].requests, counts["old"] as u64);
    (upstreams[0].weight, upstreams[1].weight) = (0, 100);
    edge.serve(upstreams);
    assert_eq!(count(&edge, 50), BTreeMap::from([("new".to_owned(), 50)]));
}

#[test]
fn instances_of_one_revision_share() {
    let edge = Running::start();
    let apps: Vec<App> = ["a", "b", "c"].into_iter().map(App::saying).collect();
    edge.serve(apps.iter().enumerate().map(|(number, app)| upstream(&number.to_string(), app.address)).collect());
    let counts = count(&edge, 300);
    assert!(counts.len() == 3 && counts.values().all(|count| *count > 30), "{counts:?}");
}

#[test]
fn an_instance_that_refuses_connections_costs_no_request() {
    let edge = Running::start();
    let app = App::saying("alive");
    edge.serve(vec![upstream("dead", free_address()), upstream("alive", app.address)]);
    assert_eq!(count(&edge, 200), BTreeMap::from([("alive".to_owned(), 200)]));
    let answer = edge.client().post("/", b"a body that was not sent to the dead one");
    assert_eq!(answer.text(), "alive");
}

#[test]
fn an_instance_killed_under_load_costs_no_request_that_may_be_repeated() {
    let edge = Running::start();
    let (mut dying, alive) = (App::saying("dying"), App::saying("alive"));
    edge.serve(vec![upstream("dying", dying.address), upstream("alive", alive.address)]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = edge.client();
                    let mut answers = 0;
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(client.get("/").status, 200);
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        eventually("both were asked", || edge.status().requests > 200);
        dying.kill();
        let seen = edge.status().requests;
        eventually("the load went on", || edge.status().requests > seen + 500);
        stop.store(true, Ordering::Relaxed);
        assert!(load.into_iter().map(|one| one.join().unwrap()).sum::<u64>() > 500);
    });
    assert_eq!(edge.status().traffic["p"]["r1"].errors, 0);
}

// proves S4.10
#[test]
fn checks_take_an_instance_out_and_in_again_at_their_thresholds() {
    let edge = Running::start();
    let well = Arc::new(AtomicBool::new(true));
    let health = Arc::clone(&well);
    let sick = App::start(
        axum::Router::new()
            .route(
                "/health",
                axum::routing::get(move || {
                    let well = health.load(Ordering::SeqCst);
                    async move {
                        if well {
                            (http::StatusCode::OK, "fine")
                        } else {
                            (http::StatusCode::SERVICE_UNAVAILABLE, "no database")
                        }
                    }
                }),
            )
            .fallback(|| async { "sick" }),
    );
    let other = App::start(axum::Router::new().fallback(|| async { "other" }));
    let mut checked = pool(vec![upstream("sick", sick.address), upstream("other", other.address)]);
    checked.probe = Some(Probe {
        path: Some("/health".to_owned()),
        every: Duration::from_millis(20),
        timeout: Duration::from_secs(2),
        up: 2,
        down: 3,
    });
    let status = edge.put(&edge.table(vec![to_pool("/", "p")], &[("p", checked.clone())]));
    assert!(status.upstreams["sick"].healthy, "new instances begin healthy");
    well.store(false, Ordering::SeqCst);
    eventually("the check takes it out", || !edge.status().upstreams["sick"].healthy);
    let failure = edge.status().upstreams["sick"].failure.clone().unwrap();
    assert!(failure.contains("503") && failure.contains("no database"), "{failure}");
    assert_eq!(count(&edge, 50), BTreeMap::from([("other".to_owned(), 50)]));
    edge.put(&edge.table(vec![to_pool("/", "p")], &[("p", checked)]));
    assert!(!edge.status().upstreams["sick"].healthy, "a swap does not heal");
    well.store(true, Ordering::SeqCst);
    eventually("the check takes it in", || edge.status().upstreams["sick"].healthy);
    assert_eq!(edge.status().upstreams["sick"].failure, None);
    assert!(count(&edge, 100).contains_key("sick"));
}
