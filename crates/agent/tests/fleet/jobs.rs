//! A job runs on one of the hosts, and on the next one when that dies.

use std::{
    fs,
    time::{Duration, Instant},
};

use agent::protocol::{Call, Reply, Run};

use crate::{
    bed::{DEADLINE, eventually},
    hosts::Fleet,
};

/// Says that it began, and works until it may end.
const TICK: &str = r#"
[job.tick]
run = '''sh -c 'echo $SLIPWAY_INSTANCE >> $SLIPWAY_DATA/begun; while [ ! -e $SLIPWAY_DATA/go ]; do sleep 0.1; done' '''
schedule = "* * * * *"
retries = 2

[service.web]
run = "WEB"
port = 4000
health = { path = "/health", up = 1 }
"#;

/// Until the next minute has come, and a run with it.
const MINUTE: Duration = Duration::from_secs(90);

async fn runs(fleet: &Fleet, host: usize) -> Vec<Run> {
    match fleet.beds[host].call(Call::Runs).await {
        Ok(Reply::Runs { runs }) => runs,
        other => panic!("{other:?}"),
    }
}

/// Waits until a host has a run that is as wanted.
async fn until_run(fleet: &Fleet, host: usize, patience: Duration, what: &str, holds: impl Fn(&Run) -> bool) -> Run {
    let began = Instant::now();
    loop {
        let now = runs(fleet, host).await;
        if let Some(run) = now.iter().find(|run| holds(run)) {
            return run.clone();
        }
        assert!(began.elapsed() < patience, "{what}: {now:#?}\n{}", fleet.beds[host].agent_log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_once_per_fleet_and_again_where_its_host_dies() {
    // proves S1.3, S1.24: once per fleet, also when the first host is gone
    let mut fleet = Fleet::of(3).await;
    let revision = fleet.revision(TICK, &[0, 1, 2]).await;
    fleet.deploy(&revision, None).unwrap();
    let data = |fleet: &Fleet, host: usize| fleet.beds[host].folder().join("data");
    let first = until_run(&fleet, 0, MINUTE, "the first host begins", |run| run.code.is_none()).await;
    assert_eq!((first.attempt, first.host.as_deref()), (1, Some("h0")));
    eventually("it works", || data(&fleet, 0).join("begun").exists()).await;
    for other in [1, 2] {
        assert!(runs(&fleet, other).await.is_empty(), "only one host runs it");
    }

    // The first host falls silent in the middle.
    fleet.beds[0].kill_agent();
    let began = Instant::now();
    let second = until_run(&fleet, 1, 2 * DEADLINE, "the second takes over", |run| run.attempt == 2).await;
    println!("taken over {:?} after the host fell silent", began.elapsed());
    assert_eq!((second.name.as_str(), second.host.as_deref()), ("job.tick", Some("h1")));
    fs::write(data(&fleet, 1).join("go"), "").unwrap();
    until_run(&fleet, 1, DEADLINE, "it ends", |run| run.id == second.id && run.code == Some(0)).await;

    // What is due next is the second's from the beginning.
    let next = |run: &Run| run.started_at > second.started_at && run.attempt == 1 && run.code == Some(0);
    until_run(&fleet, 1, MINUTE, "the next run", next).await;
    assert!(runs(&fleet, 2).await.is_empty(), "the third never had to");

    // The first comes back: its run was never killed, ends, and is not repeated.
    fleet.beds[0].start_agent().await;
    fs::write(data(&fleet, 0).join("go"), "").unwrap();
    let ended = until_run(&fleet, 0, DEADLINE, "its run ends", |run| run.id == first.id && run.code.is_some()).await;
    assert_eq!(ended.code, Some(0));
    assert_eq!(fs::read_to_string(data(&fleet, 0).join("begun")).unwrap().lines().next(), Some(first.id.as_str()));
}
