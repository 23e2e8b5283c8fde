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

/// Says that it began, and works until it may end.
const WORK: &str = "echo $SLIPWAY_INSTANCE $SLIPWAY_RELEASE >> $SLIPWAY_DATA/begun-$JOB; \
                    while [ ! -e $SLIPWAY_DATA/go ]; do sleep 0.1; done";

fn overlapping(version: u32) -> String {
    let job = |name: &str, rest: &str| {
        format!(
            "[job.{name}]\nrun = '''sh -c '{WORK}' '''\nenv = {{ JOB = \"{name}\" }}\nschedule = \"* * * * *\"\n{rest}\n"
        )
    };
    format!(
        "{}{}{}\n[job.flaky]\nrun = '''sh -c '[ -e $SLIPWAY_DATA/tried ] || {{ touch $SLIPWAY_DATA/tried; exit 9; }}' '''\n\
         schedule = \"* * * * *\"\nretries = 1\n\n[job.endless]\nrun = \"sleep 1000\"\nschedule = \"* * * * *\"\n\
         timeout = \"200ms\"\n\n[job.tomorrow]\nrun = \"true\"\nschedule = \"0 0 1 1 *\"\n\
         time_zone = \"Pacific/Auckland\"\n\n[service.web]\nrun = \"WEB\"\nport = 4000\n\
         health = {{ path = \"/health\", up = 1 }}\nenv = {{ VERSION = \"{version}\" }}\n",
        job("skipping", "overlap = \"skip\""),
        job("queueing", "overlap = \"queue\""),
        job("replacing", "overlap = \"replace\""),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_while_it_runs_is_left_out_waits_or_takes_its_place_and_a_deploy_ends_nothing() {
    // proves S1.3, S1.24 and issue 3, 6: overlap, timeout, retries and history on a fleet
    let fleet = Fleet::of(2).await;
    let first = fleet.revision(&overlapping(1), &[0, 1]).await;
    fleet.deploy(&first, None).unwrap();
    let going = |run: &Run| run.code.is_none();
    let mut begun = Vec::new();
    for name in ["job.skipping", "job.queueing", "job.replacing"] {
        let run = until_run(&fleet, 0, MINUTE, name, |run| run.name == name && going(run)).await;
        assert_eq!((run.attempt, run.host.as_deref()), (1, Some("h0")));
        begun.push(run);
    }
    let second = fleet.revision(&overlapping(2), &[0, 1]).await;
    fleet.deploy(&second, None).unwrap();
    let of = |now: &[Run], name: &str| -> Vec<Run> {
        // oldest first
        now.iter().rev().filter(|run| run.name == name).cloned().collect()
    };

    // a minute later: one is replaced by the new release's, the others go on as they were
    let replaced = &begun[2];
    until_run(&fleet, 0, MINUTE, "another takes its place", |run| {
        run.name == "job.replacing" && run.id != replaced.id && going(run)
    })
    .await;
    let now = runs(&fleet, 0).await;
    let ended = now.iter().find(|run| run.id == replaced.id).unwrap();
    assert!(ended.code.is_some_and(|code| code != 0), "it was ended: {ended:?}");
    for run in &begun[..2] {
        let all = of(&now, &run.name);
        assert!(all.len() == 1 && all[0].id == run.id && going(&all[0]), "{all:#?}");
    }
    let begun_log = fleet.beds[0].folder().join("data/begun-replacing");
    let log = || fs::read_to_string(&begun_log).unwrap_or_default();
    eventually("both said that they began", || log().lines().count() == 2).await;
    let log = log();
    let releases: Vec<&str> = log.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(releases, [first.release.as_str(), second.release.as_str()]);

    // all may end: the one that waited begins at once, and nothing of the one that was left out ever does
    let freed = jiff::Timestamp::now();
    fs::write(fleet.beds[0].folder().join("data/go"), "").unwrap();
    let queued = |run: &Run| run.name == "job.queueing" && run.id != begun[1].id && run.code == Some(0);
    let queued = until_run(&fleet, 0, MINUTE, "the one that waited", queued).await;
    assert!(queued.started_at.duration_since(freed).as_secs() < 20, "{queued:?} after {freed}");
    let skipping = until_run(&fleet, 0, DEADLINE, "its end", |run| run.id == begun[0].id && !going(run)).await;
    assert_eq!(skipping.code, Some(0));
    let now = runs(&fleet, 0).await;
    assert!(of(&now, "job.skipping").iter().skip(1).all(|run| run.started_at > freed), "{now:#?}");

    // history: what failed was tried again, what took too long was ended, and nobody's new year has come
    let flaky: Vec<_> = of(&now, "job.flaky").iter().take(2).map(|run| (run.attempt, run.code)).collect();
    assert_eq!(flaky, [(1, Some(9)), (2, Some(0))]);
    assert!(of(&now, "job.endless").iter().any(|run| run.code == Some(124)), "{now:#?}");
    assert!(of(&now, "job.tomorrow").is_empty());
    assert!(runs(&fleet, 1).await.is_empty(), "once per fleet: {:#?}", runs(&fleet, 1).await);
}
