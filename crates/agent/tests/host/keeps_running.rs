//! What runs goes on, whoever is killed.

use agent::protocol::Call;
use engine::desired::InstanceState;

use crate::bed::{Bed, binary, eventually, get, kill9};

const TWO: &str = r#"
[service.api]
run = "WEB"
port = 4000
health = { path = "/health", every = "1s", timeout = "1s" }
size = { replicas = 2 }
stop = "2s"
drain = "2s"

[route."shop.test"]
"/" = "service.api"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agent_disturbs_nobody_and_the_next_one_finds_everything() {
    // proves S3.14: instances and visitors do not depend on the agent
    let mut bed = Bed::new().await;
    let revision = bed.revision(TWO, &[], &[]).await;
    bed.deploy(&revision).await;
    let before = bed.instances().await;
    let edge = bed.edge_pid();
    let visitors = bed.visitors();
    for _ in 0..2 {
        bed.kill_agent();
        assert_eq!(bed.get("shop.test", "/").await.unwrap().0, 200, "while there is no agent");
        bed.start_agent().await;
        let after = bed.until("both are ready", |seen| {
            seen.instances.len() == 2 && seen.instances.iter().all(|one| one.state == InstanceState::Ready)
        });
        let after = after.await.instances;
        let identity = |all: &[engine::desired::Instance]| {
            all.iter().map(|one| (one.id.clone(), one.pid, one.port, one.restarts, one.started_at)).collect::<Vec<_>>()
        };
        assert_eq!(identity(&before), identity(&after));
        assert_eq!(bed.edge_pid(), edge);
        bed.until("it serves again", |seen| seen.serving.get(&revision) == Some(&100)).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(visitors.all_well().await > 10);
    let seen = bed.observe().await;
    assert_eq!(seen.troubles, Vec::<String>::new());
    assert!(seen.traffic[&revision].requests > 10, "{:?}", seen.traffic);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_instance_is_started_again_and_the_other_one_answers() {
    let bed = Bed::new().await;
    let revision = bed.revision(TWO, &[], &[]).await;
    bed.deploy(&revision).await;
    let before = bed.instances().await;
    let victim = &before[0];
    let other = &before[1];
    kill9(victim.pid.unwrap());
    let after = bed.until("it was started again", |seen| {
        seen.instances.iter().any(|one| one.id == victim.id && one.state == InstanceState::Ready && one.restarts == 1)
    });
    let after = after.await.instances;
    let same = after.iter().find(|one| one.id == other.id).unwrap();
    assert_eq!((same.pid, same.restarts), (other.pid, 0), "the other was not touched");
    assert_ne!(after.iter().find(|one| one.id == victim.id).unwrap().pid, victim.pid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_shim_is_killed_lives_on_under_a_new_one() {
    let bed = Bed::new().await;
    let revision = bed.revision(TWO, &[], &[]).await;
    bed.deploy(&revision).await;
    let before = bed.instances().await;
    let record = bed.shim_record(&before[0].id);
    kill9(record.shim_pid);
    eventually("a new shim", || bed.shim_record(&before[0].id).shim_pid != record.shim_pid).await;
    let after =
        bed.until("both are ready", |seen| seen.instances.iter().all(|one| one.state == InstanceState::Ready)).await;
    assert_eq!(after.instances[0].pid, before[0].pid, "the program noticed nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_edge_comes_back_and_visitors_who_knocked_meanwhile_are_answered() {
    let bed = Bed::new().await;
    let revision = bed.revision(TWO, &[], &[]).await;
    bed.deploy(&revision).await;
    for _ in 0..3 {
        let edge = bed.edge_pid();
        kill9(edge);
        // The shim holds the listening socket, so this connection waits instead of being refused.
        let (status, body) = bed.get("shop.test", "/").await.unwrap();
        assert_eq!(status, 200, "{body}");
        eventually("another edge", || bed.edge_pid() != edge).await;
    }
    let before = bed.observe().await.traffic[&revision].requests;
    kill9(bed.edge_pid());
    bed.get("shop.test", "/").await.unwrap();
    assert!(bed.observe().await.traffic[&revision].requests >= before, "counters never go back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_revision_takes_over_without_losing_a_visitor() {
    // proves S4.1, S3.14
    let bed = Bed::new().await;
    let first = bed.revision(TWO, &[("version", "1")], &[]).await;
    let second = bed.revision(TWO, &[("version", "2")], &[]).await;
    bed.deploy(&first).await;
    let visitors = bed.visitors();
    let slow = {
        let address = bed.address;
        tokio::spawn(async move { get(address, "shop.test", "/slow/800").await })
    };
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let began = std::time::Instant::now();
    bed.want(&[&first, &second], &[(&first, 100)]).await;
    bed.until("the second is ready", |seen| {
        let ready = seen.instances.iter().filter(|one| one.revision == second && one.state == InstanceState::Ready);
        ready.count() == 2
    })
    .await;
    let ready = began.elapsed();
    bed.want(&[&first, &second], &[(&first, 50), (&second, 50)]).await;
    bed.until("half and half", |seen| seen.serving.len() == 2).await;
    println!("ready after {ready:?}, half of the visitors {:?} later", began.elapsed().saturating_sub(ready));
    bed.deploy(&second).await;
    assert_eq!(slow.await.unwrap().unwrap().0, 200, "who was there before the switch is answered");
    assert!(visitors.all_well().await > 20);
    // Nothing wanted: nothing is left.
    bed.want(&[], &[]).await;
    bed.until("all are gone", |seen| seen.instances.is_empty() && seen.serving.is_empty()).await;
    assert_eq!(std::fs::read_dir(bed.folder().join("instances")).unwrap().count(), 0);
    let answer = bed.get("shop.test", "/").await;
    assert!(answer.is_err() || answer.as_ref().is_ok_and(|(status, _)| *status == 404), "{answer:?}");
    let edge = bed.edge_pid();
    bed.client().call(None, Call::Shutdown).await.unwrap();
    eventually("the edge ended", || observe::process::find(edge).unwrap().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_replaces_agent_and_edge_without_losing_a_visitor() {
    let mut bed = Bed::new().await;
    let revision = bed.revision(TWO, &[], &[]).await;
    bed.deploy(&revision).await;
    let (edge, before) = (bed.edge_pid(), bed.instances().await);
    let visitors = bed.visitors();
    let slow = {
        let address = bed.address;
        tokio::spawn(async move { get(address, "shop.test", "/slow/1500").await })
    };
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let other = bed.path().join("agent-of-another-version");
    std::fs::copy(binary(), &other).unwrap();
    bed.kill_agent();
    bed.start_agent_of(&other).await;
    bed.until("another edge serves", |seen| bed.edge_pid() != edge && seen.serving.get(&revision) == Some(&100)).await;
    assert_eq!(slow.await.unwrap().unwrap().0, 200, "the old edge finishes what it has");
    eventually("the old edge is gone", || observe::process::find(edge).unwrap().is_none()).await;
    let pids = |all: &[engine::desired::Instance]| all.iter().map(|one| one.pid).collect::<Vec<_>>();
    assert_eq!(pids(&before), pids(&bed.instances().await), "instances go on");
    assert!(visitors.all_well().await > 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_killed_at_any_moment_of_a_change_loses_neither_the_change_nor_a_visitor() {
    let mut bed = Bed::new().await;
    let revisions =
        [bed.revision(TWO, &[("version", "1")], &[]).await, bed.revision(TWO, &[("version", "2")], &[]).await];
    bed.deploy(&revisions[0]).await;
    bed.kill_agent();
    agent::launch(binary(), &bed.home).await.unwrap();
    let visitors = bed.visitors();
    let (mut new, mut old) = (&revisions[0], &revisions[1]);
    for round in 1..=8u64 {
        std::mem::swap(&mut old, &mut new);
        let killer = {
            let client = bed.client();
            tokio::spawn(async move {
                for kill in 0..3 {
                    tokio::time::sleep(std::time::Duration::from_millis((round * 37 + kill * 61) % 200)).await;
                    if let Ok(agent::protocol::Reply::Info { pid, .. }) = client.call(None, Call::Info).await {
                        kill9(pid);
                    }
                }
            })
        };
        bed.insist(&[old, new], &[(old, 100)]).await;
        bed.settled("the new is ready", |seen| {
            let ready = seen.instances.iter().filter(|one| one.revision == *new && one.state == InstanceState::Ready);
            ready.count() == 2
        })
        .await;
        bed.insist(&[old, new], &[(new, 100)]).await;
        bed.settled("the new serves", |seen| seen.serving.get(new) == Some(&100)).await;
        bed.insist(&[new], &[(new, 100)]).await;
        bed.settled("the old is gone", |seen| {
            seen.instances.len() == 2 && seen.instances.iter().all(|one| one.revision == *new)
        })
        .await;
        killer.await.unwrap();
    }
    let folders = std::fs::read_dir(bed.folder().join("instances")).unwrap().count();
    assert_eq!(folders, 2, "nothing is left behind");
    println!("{} visitors", visitors.all_well().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_a_test_that_ends_while_instances_start() {
    for round in 0..8 {
        let bed = Bed::new().await;
        let revision = bed.revision(TWO, &[], &[]).await;
        bed.want(&[&revision], &[]).await;
        // somewhere between a shim's first moment and an instance that is ready
        tokio::time::sleep(std::time::Duration::from_millis(round * 15)).await;
        let folder = bed.path().to_owned();
        drop(bed);
        // a shim that was overlooked has started its program by then
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert_eq!(Bed::left_of(&folder), 0, "in round {round}");
    }
}
