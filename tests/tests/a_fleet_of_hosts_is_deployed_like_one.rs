//! Three machines from nothing are deployed to as if they were one: visitors of each reach instances of all, and neither
//! a deploy, a rollback, waves nor a held stage costs a request.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use stories::{Fleet, until};

const HOSTS: [usize; 3] = [0, 1, 2];

// proves issue 3, 4 (waves, canary by weight, pause and promote), S4.1 and S4.5 on many hosts
#[test]
fn visitors_of_every_host_reach_all_and_never_notice_a_deploy() {
    let fleet = Fleet::start(3);
    every_edge_reaches_all_hosts(&fleet);
    status_names_hosts_and_instances(&fleet);

    let load = fleet.load(&HOSTS);
    fleet.story.mark("two");
    let started = Instant::now();
    fleet.slipway(&["deploy", "--yes"]).expect(0);
    println!("deployed in {:.1?}", started.elapsed());
    fleet.level("two");
    let started = Instant::now();
    fleet.slipway(&["rollback", "--yes"]).expect(0);
    println!("rolled back in {:.1?}", started.elapsed());
    fleet.level("one");
    let healed = fleet.slipway(&["heal"]).expect(0).stderr;
    assert_eq!(healed.matches(": level").count(), 3, "{healed}");
    waves_are_whole_hosts(&fleet);
    a_held_stage_is_a_share_at_every_edge(&fleet);
    let report = load.stop();
    assert_eq!(report.failures, Vec::<String>::new(), "of {} requests", report.requests);
    println!("{} requests, the slowest took {:.1?}", report.requests, report.slowest);
    assert!(["one", "two", "three", "four"].iter().all(|marker| report.markers.iter().any(|seen| seen == marker)));
}

fn every_edge_reaches_all_hosts(fleet: &Fleet) {
    for index in HOSTS {
        let mut names = BTreeSet::new();
        until("answers of all three hosts", Duration::from_secs(20), || {
            names.extend(fleet.get(index, "/host"));
            (names.len() == 3).then_some(())
        });
    }
}

fn status_names_hosts_and_instances(fleet: &Fleet) {
    let status = fleet.slipway(&["status", "--json"]).expect(0).json();
    let texts = |list: &str, key: &str| -> BTreeSet<String> {
        let list = status[list].as_array().expect("a list");
        list.iter().map(|one| one[key].as_str().unwrap_or_default().to_owned()).collect()
    };
    let destinations: BTreeSet<String> = HOSTS.iter().map(|index| fleet.hosts.destination(*index)).collect();
    assert_eq!(texts("hosts", "destination"), destinations, "{status:#}");
    assert_eq!(texts("instances", "host"), texts("hosts", "name"), "one instance on each");
    assert!(status["hosts"].as_array().expect("hosts").iter().all(|host| host["alive"] == true), "{status:#}");
    assert_eq!(status["lost"], serde_json::json!([]));
    let table = fleet.slipway(&["status"]).expect(0).stdout;
    for name in texts("hosts", "name") {
        assert_eq!(table.lines().filter(|line| line.contains(&name)).count(), 2, "a host and its instance\n{table}");
    }
}

fn waves_are_whole_hosts(fleet: &Fleet) {
    fleet.rollout("waves 1 until promoted, 100%");
    let deploy = fleet.begin("three", &[]);
    until("the first wave", Duration::from_mins(1), || {
        (fleet.get(0, "/").as_deref() == Some("three") && waiting(fleet) == Some(33)).then_some(())
    });
    for (index, marker) in [(0, "three"), (1, "one"), (2, "one")] {
        fleet.serves(index, marker);
        fleet.serves(index, marker);
    }
    fleet.slipway(&["promote", "--yes"]).expect(0);
    assert_eq!(deploy.end(), 0, "{}", fleet.said());
    fleet.level("three");
}

fn a_held_stage_is_a_share_at_every_edge(fleet: &Fleet) {
    fleet.rollout("10% until promoted, 100%");
    let deploy = fleet.begin("four", &[]);
    until("the first stage", Duration::from_mins(1), || (waiting(fleet) == Some(10)).then_some(()));
    for index in HOSTS {
        let count = 300;
        let new = (0..count).filter(|_| fleet.get(index, "/").as_deref() == Some("four")).count();
        // 30 are expected; outside of this is one in a million
        assert!((8..=62).contains(&new), "{new} of {count} visitors of host {index} got the new release");
    }
    fleet.slipway(&["promote", "--yes"]).expect(0);
    assert_eq!(deploy.end(), 0, "{}", fleet.said());
    fleet.level("four");
    let nothing = fleet.slipway(&["promote", "--yes"]).expect(1).stderr;
    assert!(nothing.contains("no deploy of production is going on"), "{nothing}");
}

/// Percent of the stage that waits for a person.
fn waiting(fleet: &Fleet) -> Option<u64> {
    let status = fleet.status()?;
    status["stage"]["percent"].as_u64().filter(|_| status["stage"]["baking"] == true)
}
