//! What does not work says so and disturbs nothing else.

use std::{fs, io::Write, time::Duration};

use agent::protocol::{Call, Reply};
use engine::{
    desired::InstanceState,
    journal::{DeployKind, Entry, Event, Outcome, Start, Step},
    target::{Fence, TargetError, Task, TaskEnd},
};
use stack::Revision;

use crate::bed::{Bed, DEADLINE, binary, eventually, kill9};

const ONE: &str = r#"
[service.api]
run = "WEB"
port = 4000
health = { path = "/health", every = "1s", timeout = "1s", up = 1, down = 1 }
stop = "2s"
drain = "1s"

[route."shop.test"]
"/" = "service.api"

[variable]
TOKEN = { secret = true, optional = true }
"#;

fn failure(state: &InstanceState) -> Option<&str> {
    match state {
        InstanceState::Failed { why } => Some(why),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_only_crashes_is_given_up_with_its_last_words_and_without_its_secrets() {
    // proves S4.P11, S4.P7
    let bed = Bed::new().await;
    let good = bed.revision(ONE, &[], &[]).await;
    bed.deploy(&good).await;
    let text = ONE.replace("\"WEB\"", r#""echo the token is $TOKEN >&2; exit 3""#);
    let bad = bed.revision(&text, &[], &[("TOKEN", "tr0ub4dor-and-3-horses")]).await;
    bed.want(&[&good, &bad], &[(&good, 100)]).await;
    let seen = bed.until("it is given up", |seen| seen.instances.iter().any(|one| failure(&one.state).is_some())).await;
    let failed = seen.instances.iter().find(|one| one.revision == bad).unwrap();
    let why = failure(&failed.state).unwrap();
    assert!(why.contains("exited with code 3"), "{why}");
    assert!(why.contains("the token is "), "{why}");
    assert!(!why.contains("tr0ub4dor"), "{why}");
    assert_eq!(failed.restarts, 3);
    assert_eq!(bed.get("shop.test", "/").await.unwrap().0, 200, "the good one never stopped answering");
    // Not wanted any more, it goes away.
    bed.want(&[&good], &[(&good, 100)]).await;
    bed.until("it is gone", |seen| seen.instances.len() == 1).await;
    // No file of the host but the values' own holds the secret.
    for folder in ["instances", "logs", "tasks", "state.json", "journal.jsonl"] {
        let found = std::process::Command::new("grep")
            .arg("-r")
            .arg("tr0ub4dor")
            .arg(bed.folder().join(folder))
            .output()
            .unwrap();
        assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
    }
    assert!(!bed.agent_log().contains("tr0ub4dor"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_become_ready_in_time_is_given_up() {
    let bed = Bed::new().await;
    let text = ONE.replace("stop = ", "start = \"500ms\"\nready = \"/nowhere\"\nstop = ");
    let revision = bed.revision(&text, &[], &[]).await;
    bed.want(&[&revision], &[]).await;
    let seen = bed.until("it is given up", |seen| seen.instances.iter().any(|one| failure(&one.state).is_some())).await;
    let why = failure(&seen.instances[0].state).unwrap();
    assert!(why.starts_with("it was not ready within 0.5 s, asked at /nowhere: answered 404"), "{why}");
    assert!(why.contains("listens on"), "its output is shown: {why}");
    assert_eq!(seen.instances[0].pid, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unwell_instance_is_seen_and_becomes_well_again() {
    // proves S4.10
    let bed = Bed::new().await;
    let revision = bed.revision(ONE, &[], &[]).await;
    bed.deploy(&revision).await;
    fs::write(bed.folder().join("data/unwell"), "").unwrap();
    let seen = bed.until("it is unwell", |seen| matches!(seen.instances[0].state, InstanceState::Unready { .. })).await;
    let InstanceState::Unready { why } = &seen.instances[0].state else { panic!() };
    assert_eq!(why, "answered 503: unwell");
    let (well, report) = bed.client().health(&bed.scope).await.unwrap();
    assert!(!well, "{report}");
    fs::remove_file(bed.folder().join("data/unwell")).unwrap();
    bed.until("it is well", |seen| seen.instances[0].state == InstanceState::Ready).await;
    let (well, report) = bed.client().health(&bed.scope).await.unwrap();
    assert!(well && report["status"] == "healthy", "{report}");
    assert_eq!(bed.instances().await[0].restarts, 0, "it was not restarted for that");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preflight_tells_every_reason_at_once() {
    // proves S4.P6
    let bed = Bed::new().await;
    let taken = std::net::TcpListener::bind(bed.address).unwrap();
    let text = r#"
[service.api]
run = "no-such-program --port 1"
port = 4000

[job.match]
run = "./match.sh"
schedule = "@daily"

[variable]
TOKEN = { secret = true, min_length = 10 }
LEVEL = { one_of = ["a", "b"] }
"#;
    let revision = bed.revision(text, &[("match.sh", "exit 0")], &[("LEVEL", "c")]).await;
    let Err(TargetError::Failed { reason }) = bed.task(Task::Preflight { revision }).await else { panic!() };
    for part in [
        "5 reasons",
        "TOKEN",
        "LEVEL",
        "`no-such-program` was not found",
        "`match.sh` is not an executable file",
        "cannot listen on",
    ] {
        assert!(reason.contains(part), "{part} in {reason}");
    }
    drop(taken);
    let good = bed.revision(ONE, &[], &[]).await;
    assert_eq!(bed.task(Task::Preflight { revision: good.clone() }).await.unwrap(), TaskEnd::Done);
    bed.deploy(&good).await;
    assert_eq!(
        bed.task(Task::Preflight { revision: good }).await.unwrap(),
        TaskEnd::Done,
        "its own address is no reason"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_newest_lease_may_change_anything() {
    let mut bed = Bed::new().await;
    let first = bed.lock(Duration::from_mins(1)).await;
    let second = bed.call(Call::Lock { holder: "bob@desk".to_owned(), ttl_ms: 1_000 }).await;
    assert!(matches!(second, Err(TargetError::Locked { ref holder, .. }) if holder == "ann@desk"), "{second:?}");
    bed.kill_agent();
    bed.start_agent().await;
    let want = |fence| Call::Want { desired: engine::desired::Desired::default(), fence };
    bed.call(want(first)).await.expect("a lease outlives the agent");
    bed.call(Call::Unlock { fence: first }).await.unwrap();
    let third = bed.lock(Duration::from_mins(1)).await;
    let old = bed.call(want(first)).await;
    assert_eq!(old, Err(TargetError::Fenced { given: first.0, current: third.0 }));
    let task = Task::Run { revision: fake(), service: "api".parse().unwrap(), command: vec!["true".to_owned()] };
    for call in [
        Call::Renew { fence: first, ttl_ms: 1 },
        Call::Unlock { fence: first },
        Call::Ship { revision: fake(), fence: first },
        Call::Task { task, fence: first },
        Call::Append { entry: begun(1, None), fence: first },
    ] {
        let refused = bed.call(call.clone()).await;
        assert!(matches!(refused, Err(TargetError::Fenced { .. })), "{call:?}: {refused:?}");
    }
    assert_eq!(bed.call(Call::Journal).await.unwrap(), Reply::Journal { entries: vec![] });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_whose_engine_fell_silent_is_brought_to_its_end_by_the_host() {
    let bed = Bed::new().await;
    let good = bed.revision(ONE, &[], &[]).await;
    let new = bed.revision(ONE, &[], &[("TOKEN", "another-value-of-it")]).await;
    bed.deploy(&good).await;
    let fence = bed.lock(Duration::from_millis(1500)).await;
    bed.call(Call::Append { entry: begun(1, Some(&good)), fence }).await.unwrap();
    let wanted = Event::Wanted { revision: Some(new.clone()), version: "2".to_owned(), number: 2, commit: None };
    bed.call(Call::Append { entry: entry(1, wanted), fence }).await.unwrap();
    bed.call(Call::Append { entry: entry(1, Event::StepStarted { step: Step::Start }), fence }).await.unwrap();
    let desired = engine::desired::Desired {
        running: [good.clone(), new.clone()].into(),
        traffic: [(good.clone(), 100)].into(),
        schedules: Some(good.clone()),
        by_host: false,
    };
    bed.call(Call::Want { desired, fence }).await.unwrap();
    // Nobody renews.
    let seen = bed
        .until("back to what was", |seen| seen.desired.running == [good.clone()].into() && seen.instances.len() == 1)
        .await;
    assert_eq!(seen.instances[0].revision, good);
    let ended = || async {
        let Ok(Reply::Journal { entries }) = bed.call(Call::Journal).await else { panic!() };
        entries.into_iter().find_map(|entry| match entry.event {
            Event::Ended(outcome) => Some(outcome),
            _ => None,
        })
    };
    let mut outcome = None;
    while outcome.is_none() {
        outcome = ended().await;
    }
    assert!(matches!(outcome, Some(Outcome::Failed { .. })), "{outcome:?}");
    let late = bed.call(Call::Renew { fence, ttl_ms: 1000 }).await;
    assert!(matches!(late, Err(TargetError::Fenced { .. })), "{late:?}");
    let mut next = bed.call(Call::Lock { holder: "bob@desk".to_owned(), ttl_ms: 1000 }).await;
    while matches!(next, Err(TargetError::Locked { .. })) {
        next = bed.call(Call::Lock { holder: "bob@desk".to_owned(), ttl_ms: 1000 }).await;
    }
    assert!(
        matches!(next, Ok(Reply::Fence { fence: Fence(number) }) if number > fence.0 + 1),
        "the lock is free: {next:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_agent_of_the_same_home_is_refused() {
    let bed = Bed::new().await;
    let second = std::process::Command::new(binary()).args(["agent", "--home"]).arg(bed.home.path()).output().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("error: another agent runs in ") && said.contains("--home"), "{said}");
    bed.client().call(None, Call::Info).await.unwrap();
}

#[test]
fn a_home_that_is_too_deep_for_sockets_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("a".repeat(90));
    let agent = std::process::Command::new(binary()).args(["agent", "--home"]).arg(&deep).output().unwrap();
    assert!(!agent.status.success() && !deep.exists());
    let said = String::from_utf8_lossy(&agent.stderr);
    assert!(said.contains("choose a shorter one with --home"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_journal_refuses_its_environment_and_no_other() {
    let mut bed = Bed::new().await;
    let revision = bed.revision(ONE, &[], &[]).await;
    bed.deploy(&revision).await;
    let fence = bed.lock(Duration::from_mins(1)).await;
    for number in 1..=2 {
        bed.call(Call::Append { entry: begun(number, None), fence }).await.unwrap();
    }
    bed.call(Call::Unlock { fence }).await.unwrap();
    bed.kill_agent();
    let path = bed.folder().join("journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("ann@desk", "eve@desk", 1)).unwrap();
    bed.start_agent().await;
    let Err(TargetError::Failed { reason }) = bed.call(Call::Journal).await else { panic!() };
    assert!(reason.contains("journal.jsonl is damaged at line 1"), "{reason}");
    let seen = bed.observe().await;
    assert!(seen.troubles.iter().any(|trouble| trouble.contains("damaged at line 1")), "{:?}", seen.troubles);
    assert_eq!(bed.get("shop.test", "/").await.unwrap().0, 200, "visitors notice nothing");
    fs::write(&path, text).unwrap();
    assert!(matches!(bed.call(Call::Journal).await, Ok(Reply::Journal { entries }) if entries.len() == 2), "mended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn launch_starts_an_agent_once_and_a_killed_one_comes_back_by_itself() {
    let mut bed = Bed::new().await;
    bed.kill_agent();
    let (one, two) = tokio::join!(agent::launch(binary(), &bed.home), agent::launch(binary(), &bed.home));
    one.unwrap();
    two.unwrap();
    let pid = || async {
        match bed.client().call(None, Call::Info).await {
            Ok(Reply::Info { pid, .. }) => Some(pid),
            _ => None,
        }
    };
    let first = pid().await.unwrap();
    agent::launch(binary(), &bed.home).await.unwrap();
    assert_eq!(pid().await, Some(first), "there is one already");
    kill9(first);
    let mut second = None;
    while second.is_none() || second == Some(first) {
        second = pid().await;
    }
    bed.client().call(None, Call::Shutdown).await.unwrap();
    let second = second.unwrap();
    eventually("its end", || {
        observe::process::find(second).unwrap().is_none_or(|one| one.state == observe::process::State::Zombie)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(pid().await, None, "told to end, it stays ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_makes_the_report_unhealthy_within_two_seconds() {
    // proves S4.P4, S4.P5, S4.4
    let bed = Bed::new().await;
    // It accepts and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let database = format!(
        "\n[database.main]\nengine = \"postgres:15\"\nurl = \"postgres://shop:${{PASSWORD}}@{}/shop\"\n",
        silent.local_addr().unwrap()
    );
    let text = ONE.replace("[variable]", &format!("{database}[variable]\nPASSWORD = {{ secret = true }}"));
    let revision = bed.revision(&text, &[], &[("PASSWORD", "hunter2-and-some-more")]).await;
    bed.deploy(&revision).await;
    let began = std::time::Instant::now();
    let (well, report) = bed.client().health(&bed.scope).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(!well, "{report}");
    assert_eq!(report["status"], "unhealthy");
    assert_eq!(report["checks"]["database"]["status"], "unhealthy");
    assert!(report["checks"]["memory"]["percentage"].is_u64(), "{report}");
    assert!(!report.to_string().contains("hunter2"), "{report}");
    drop(silent);
    // proves S4.E4 for the check before a deploy: a database that is being restarted gets four tries
    let Err(TargetError::Failed { reason }) = bed.task(Task::Preflight { revision }).await else { panic!() };
    assert!(reason.contains("database `main` cannot be reached") && !reason.contains("hunter2"), "{reason}");
    assert!(reason.contains("tried 4 times"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_takes_more_memory_than_it_may_is_started_again() {
    // proves S1.2: the limit of a size is kept, by the kernel or by the agent
    let bed = Bed::new().await;
    let text = format!(
        "[service.hungry]\nrun = \"{} eat 300\"\nsize = {{ memory = \"64Mi\" }}\nstop = \"1s\"\n",
        binary().display()
    );
    let revision = bed.revision(&text, &[], &[]).await;
    bed.want(&[&revision], &[]).await;
    bed.until("it ended for its memory", |seen| {
        seen.instances.iter().any(|one| match &one.state {
            InstanceState::Waiting { why } | InstanceState::Failed { why } => why.contains("memory"),
            _ => false,
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_changes_and_disturbs_nobody() {
    let mut bed = Bed::on_disk_of(24).await;
    let revision = bed.revision(ONE, &[], &[]).await;
    bed.deploy(&revision).await;
    let before = bed.lock(DEADLINE).await;
    bed.call(Call::Append { entry: begun(1, None), fence: before }).await.unwrap();
    bed.call(Call::Append { entry: entry(1, Event::Ended(Outcome::Succeeded)), fence: before }).await.unwrap();
    let filler = bed.home.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    // More than what is left of the journal's last page.
    let long = Event::Noted { text: "a".repeat(10_000) };
    for call in [
        Call::Append { entry: entry(1, long), fence: before },
        Call::Want { desired: engine::desired::Desired::default(), fence: before },
        Call::Unlock { fence: before },
    ] {
        let Err(TargetError::Failed { reason }) = bed.call(call.clone()).await else { panic!("{call:?}") };
        assert!(reason.contains("no space left on device; free some space"), "{reason}");
    }
    assert_eq!(bed.get("shop.test", "/").await.unwrap().0, 200);
    bed.kill_agent();
    bed.start_agent().await;
    assert_eq!(bed.observe().await.desired.running, [revision.clone()].into(), "nothing was changed");
    assert_eq!(bed.get("shop.test", "/").await.unwrap().0, 200);
    let pid = bed.instances().await[0].pid.unwrap();
    kill9(pid);
    bed.until("its end was seen", |seen| seen.instances[0].pid != Some(pid)).await;
    fs::remove_file(&filler).unwrap();
    drop(file);
    bed.until("it runs again", |seen| seen.instances[0].state == InstanceState::Ready).await;
    let Ok(Reply::Journal { entries }) = bed.call(Call::Journal).await else { panic!() };
    assert_eq!(entries.len(), 2, "no torn line");
    bed.call(Call::Append { entry: begun(2, None), fence: before }).await.expect("the lease is as it was");
    bed.until("well", |seen| seen.troubles.is_empty()).await;
}

fn fake() -> Revision {
    Revision::try_from(format!("{}+{}", "a".repeat(64), "b".repeat(16))).unwrap()
}

fn entry(deploy: u64, event: Event) -> Entry {
    Entry { at: jiff::Timestamp::now(), deploy, event, fence: Fence(1) }
}

fn begun(deploy: u64, previous: Option<&Revision>) -> Entry {
    let start = Start { kind: DeployKind::Deploy, by: "ann@desk".to_owned(), previous: previous.cloned() };
    entry(deploy, Event::Started(start))
}
