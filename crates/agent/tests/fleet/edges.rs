//! What comes to one host is answered by the instances of all.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use engine::{desired::InstanceState, journal::Outcome};

use crate::{
    bed::{Bed, DEADLINE, get},
    hosts::Fleet,
};

const TWO: &str = r#"
[service.api]
run = "WEB"
port = 4000
health = { path = "/health", every = "500ms", timeout = "500ms", up = 1, down = 2 }
size = { replicas = 2 }
needs = ["service.mail"]

[service.mail]
run = "WEB"
port = 4001
health = { path = "/health", every = "500ms", timeout = "500ms", up = 1, down = 2 }
size = { replicas = 2 }

[variable]
TOKEN = { secret = true }
"#;

/// The process ids of a service's instances on a host.
async fn pids(bed: &Bed, service: &str) -> BTreeSet<u32> {
    let instances = bed.instances().await.into_iter();
    let ready = instances.filter(|one| one.service.as_str() == service && one.state == InstanceState::Ready);
    ready.filter_map(|one| one.pid).collect()
}

/// Which instances of `mail` answer the `api` of a host, and how often.
async fn answers(bed: &Bed, count: usize) -> BTreeMap<String, usize> {
    let api = bed.instances().await.into_iter().find(|one| one.service.as_str() == "api").unwrap();
    let address = ([127, 0, 0, 1], api.port.unwrap()).into();
    let mut seen = BTreeMap::new();
    for _ in 0..count {
        let answer = get(address, "api", "/call/mail").await.unwrap();
        *seen.entry(format!("{} {}", answer.0, answer.1)).or_default() += 1;
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_are_answered_by_the_instances_of_all_hosts_that_live() {
    // proves S4.10
    let mut fleet = Fleet::of(2).await;
    let revision = fleet.revision(TWO, &[0, 1]).await;
    let report = fleet.deploy(&revision, None).unwrap();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    let mut all = BTreeSet::new();
    for bed in &fleet.beds {
        let here = pids(bed, "mail").await;
        assert_eq!(here.len(), 1, "each host has its share");
        all.extend(here.into_iter().map(|pid| format!("200 pid {pid}")));
    }
    for bed in &fleet.beds {
        let began = Instant::now();
        loop {
            let seen = answers(bed, 40).await;
            let names: BTreeSet<String> = seen.keys().cloned().collect();
            if names == all && seen.values().all(|count| *count >= 8) {
                break;
            }
            assert!(names.is_subset(&all), "{seen:?}");
            assert!(began.elapsed() < DEADLINE, "not answered by both: {seen:?}\n{}", bed.agent_log());
        }
    }

    // A host that dies takes no request with it.
    let gone = format!("200 pid {}", pids(&fleet.beds[1], "mail").await.first().unwrap());
    let dead = fleet.beds.pop().unwrap();
    let dying = std::thread::spawn(move || drop(dead));
    let began = Instant::now();
    loop {
        let seen = answers(&fleet.beds[0], 10).await;
        assert!(seen.keys().all(|answer| answer.starts_with("200 ")), "{seen:?}");
        if !seen.contains_key(&gone) && dying.is_finished() {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{seen:?}");
    }
    let began = Instant::now();
    assert_eq!(answers(&fleet.beds[0], 20).await.len(), 1);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
