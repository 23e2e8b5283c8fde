//! Deploys over three hosts.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use engine::{
    journal::{Outcome, Step},
    record::{committed, previous},
    target::Target,
    watcher::Progress,
};

use crate::bed::{Bed, eventually};

// proves S4.1, S4.E6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_shipped_to_every_host_serves_there_and_the_next_one_follows() {
    let bed = Bed::of(3).await;
    let fleet = bed.fleet();
    let first = bed.build(&[("web/page.txt", &vec![b'a'; 100_000])]);
    let report = bed.deploy(&fleet, &first, Bed::policy(), |_| {}).await.unwrap();
    assert_eq!((report.outcome, report.partial), (Outcome::Succeeded, false), "{:?}", report.notes);
    let seen = fleet.observe().await.unwrap();
    let mut hosts: Vec<&str> = seen.instances.iter().map(|instance| instance.host.as_str()).collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["a", "b", "c"], "three replicas, one on each");
    assert!(
        seen.serving.iter().any(|(revision, share)| revision.release == first.release && *share == 100),
        "{seen:#?}"
    );
    let members = fleet.members().await.unwrap();
    assert!(members.iter().all(|member| member.alive && !member.drained && member.version.is_some()));

    let second = bed.build(&[("web/page.txt", &vec![b'b'; 100_000])]);
    let fleet = bed.fleet();
    let report = bed.deploy(&fleet, &second, Bed::policy(), |_| {}).await.unwrap();
    assert_eq!(report.outcome, Outcome::Succeeded);
    let sent: Vec<(String, u64)> = fleet.sent().into_iter().map(|sent| (sent.host, sent.bytes)).collect();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|(_, bytes)| (1..3000).contains(bytes)), "{sent:?}");
    let journal = fleet.journal().await.unwrap();
    assert_eq!(committed(&journal).map(|revision| revision.release), Some(second.release.clone()));
    assert_eq!(previous(&journal).map(|revision| revision.release), Some(first.release.clone()));
    for index in 0..3 {
        let own = bed.fleet_of(&[bed.hosts[index].name.as_str()]);
        assert_eq!(own.journal().await.unwrap(), journal, "every host has the whole journal");
    }
    let lines = read(&fleet).await;
    assert!(lines.iter().filter(|(_, line)| line.starts_with("serves release")).count() >= 6, "{lines:?}");
    for host in ["a", "b", "c"] {
        assert!(lines.iter().any(|(from, _)| from == host), "{lines:?}");
    }
}

async fn read(fleet: &fleet::Fleet) -> Vec<(String, String)> {
    let query = agent::LogQuery { lines: Some(100), ..agent::LogQuery::default() };
    let mut lines = fleet.logs(&query).await.unwrap();
    let mut found = Vec::new();
    let mut last = None;
    while let Some(line) = lines.next().await {
        let (host, line) = line.unwrap();
        assert!(last <= Some(line.at), "by time");
        last = Some(line.at);
        found.push((host, line.line));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_dies_before_the_commit_aborts_and_the_old_release_goes_on() {
    let bed = Bed::of(3).await;
    let first = bed.build(&[("web/page.txt", b"1")]);
    let fleet = bed.fleet();
    bed.deploy(&fleet, &first, Bed::policy(), |_| {}).await.unwrap();
    let second = bed.build(&[("web/page.txt", b"2")]);
    let bed = Mutex::new(bed);
    let fleet = bed.lock().unwrap().fleet();
    let kill = |progress: &Progress<'_>| {
        if matches!(progress, Progress::StepStarted { step: Step::Preflight | Step::Ship }) {
            kill_once(&bed, 2);
        }
    };
    let report = run(&bed, &fleet, &second, kill).await;
    assert!(matches!(report.outcome, Outcome::Failed { .. }), "{report:?}");
    assert_eq!(
        committed(&fleet.journal().await.unwrap()).map(|revision| revision.release),
        Some(first.release.clone())
    );
    let seen = fleet.observe().await.unwrap();
    let running: Vec<_> = seen.desired.running.iter().map(|revision| &revision.release).collect();
    assert_eq!(running, [&first.release]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_dies_after_the_commit_is_left_out_and_brought_level_when_it_returns() {
    let bed = Bed::of(3).await;
    let first = bed.build(&[("web/page.txt", b"1")]);
    let fleet = bed.fleet();
    bed.deploy(&fleet, &first, Bed::policy(), |_| {}).await.unwrap();
    let second = bed.build(&[("web/page.txt", b"2")]);
    let bed = Mutex::new(bed);
    let fleet = bed.lock().unwrap().fleet();
    let kill = |progress: &Progress<'_>| {
        if matches!(progress, Progress::StepStarted { step: Step::Drain }) {
            kill_once(&bed, 2);
        }
    };
    let report = run(&bed, &fleet, &second, kill).await;
    assert_eq!((report.outcome, report.partial), (Outcome::Succeeded, true), "{:?}", report.notes);
    let mut bed = bed.into_inner().unwrap();
    let members = bed.fleet().members().await.unwrap();
    assert_eq!(members.iter().map(|member| member.alive).collect::<Vec<_>>(), [true, true, false]);
    let problems = bed.fleet().launch().await.unwrap_err().to_string();
    assert!(problems.contains("slipway host add c"), "{problems}");

    bed.start(2).await;
    let fleet = bed.fleet();
    let healed = fleet.heal().await.unwrap();
    assert!(healed.iter().all(|host| host.failed.is_none()), "{healed:?}");
    let own = bed.fleet_of(&["c"]);
    let want = committed(&fleet.journal().await.unwrap()).unwrap();
    eventually("host c serves the release that is committed", || async {
        let seen = own.observe().await.map_err(|error| error.to_string())?;
        if seen.serving.get(&want) == Some(&100) { Ok(()) } else { Err(format!("{seen:#?}")) }
    })
    .await;
    assert_eq!(own.journal().await.unwrap(), fleet.journal().await.unwrap(), "{healed:?}");
}

// proves issue 3, 4: a lost host costs one bounded wait, and is named
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_falls_silent_after_the_commit_costs_one_wait_in_all() {
    let bed = Bed::of(3).await;
    let first = bed.build(&[("web/page.txt", b"1")]);
    bed.deploy(&bed.fleet(), &first, Bed::policy(), |_| {}).await.unwrap();
    let second = bed.build(&[("web/page.txt", b"2")]);
    let fleet = bed.fleet();
    let mut silent_since = None;
    let pause = |progress: &Progress<'_>| {
        if matches!(progress, Progress::StepStarted { step: Step::Drain }) {
            bed.pause(2);
            silent_since.get_or_insert_with(Instant::now);
        }
    };
    let report = Bed::deploy_over(&fleet, &second, Bed::policy(), pause).await.unwrap();
    assert_eq!((report.outcome, report.partial), (Outcome::Succeeded, true), "{:?}", report.notes);
    assert!(report.notes.iter().any(|note| note.starts_with("c is lost (")), "{:?}", report.notes);
    let deployed = silent_since.unwrap().elapsed();
    // what a command does after it: old releases go, the journal is shown, hosts are healed
    let pruned: Vec<String> = fleet.prune(1).await.into_iter().map(|(host, _)| host).collect();
    fleet.journal().await.unwrap();
    let healed = fleet.heal().await.unwrap();
    let all = silent_since.unwrap().elapsed();
    println!("deployed {deployed:.1?} after a host fell silent, and all else was done after {all:.1?}");
    assert_eq!(pruned, ["a", "b"]);
    assert!(healed[2].failed.as_ref().is_some_and(|why| why.starts_with("c does not answer")), "{healed:?}");
    // 5 s of patience, and what a busy machine takes for the rest; three such waits would be 15 s
    assert!(deployed < Duration::from_secs(9) && all < Duration::from_secs(10), "{deployed:.1?} {all:.1?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_host_is_named_soon_while_the_others_answer() {
    let bed = Bed::of(3).await;
    bed.pause(2);
    let fleet = bed.fleet();
    let began = Instant::now();
    let members = fleet.members().await.unwrap();
    let took = began.elapsed();
    println!("a silent host was named after {took:.1?}");
    assert_eq!(members.iter().map(|member| member.alive).collect::<Vec<_>>(), [true, true, false]);
    let why = members[2].why.clone().unwrap();
    assert!(why.starts_with("c cannot be reached (") && why.contains("check that it is up"), "{why}");
    assert_eq!(fleet.absent().await, [("c".to_owned(), why)]);
    assert!(took < Duration::from_secs(6), "{took:?}");
    // one that falls silent later costs a command one wait
    let fleet = bed.fleet_of(&["a", "b"]);
    assert_eq!(fleet.clients().await.len(), 2);
    bed.pause(1);
    let began = Instant::now();
    for _ in 0..3 {
        fleet.scopes().await.unwrap();
    }
    let took = began.elapsed();
    println!("one that fell silent later cost three calls {took:.1?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
}

fn kill_once(bed: &Mutex<Bed>, index: usize) {
    // the deploy only borrows it between steps
    if let Ok(mut bed) = bed.try_lock()
        && bed.runs(index)
    {
        bed.kill(index);
    }
}

async fn run(
    bed: &Mutex<Bed>,
    fleet: &fleet::Fleet,
    record: &release::Record,
    watch: impl FnMut(&Progress<'_>) + Send,
) -> engine::deployment::Report {
    Bed::deploy_over(fleet, record, Bed::policy(), watch).await.unwrap_or_else(|error| {
        panic!("{error}\n{}", bed.lock().unwrap().log(0));
    })
}
