//! What happens when the agent, the shim or the machine dies.

use std::{fs, time::Duration};

use crate::bed::{Bed, binary, eventually, is_alive, kill9};
use agent::shim::{self, Adopted, Ending, Record, Waited, limits};

fn numbers(lines: &[String]) -> Vec<u32> {
    lines.iter().filter_map(|line| line.strip_prefix("line ")?.split(' ').next()?.parse().ok()).collect()
}

#[tokio::test]
async fn no_line_is_lost_or_doubled_when_the_agent_is_killed() {
    const LINES: u32 = 100_000;
    let bed = Bed::new();
    let mut spec = bed.play(&["count", &LINES.to_string()]);
    spec.log_segment_bytes = 2 << 20;
    let (mut agent, pid) = bed.agent(&spec);
    eventually("some output", || !bed.lines().is_empty()).await;
    agent.kill().unwrap();
    agent.wait().unwrap();

    // The agent that comes next.
    match shim::adopt(&bed.folder()).unwrap() {
        Adopted::Running(running) => {
            assert_eq!(running.pid(), pid);
            let Waited::Ended(exit) = running.wait().await.unwrap() else { panic!("orphaned") };
            assert_eq!(exit.ending, Ending::Code(0));
        }
        Adopted::Ended(exit) => assert_eq!(exit.ending, Ending::Code(0)),
        other => panic!("{other:?}"),
    }
    let numbers = numbers(&bed.lines());
    assert_eq!(numbers.len(), LINES as usize);
    assert!(numbers.iter().copied().eq(1..=LINES), "out of order");
}

#[tokio::test]
async fn the_next_agent_can_stop_what_the_last_one_started() {
    let bed = Bed::new();
    let (mut agent, pid) = bed.agent(&bed.sh("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done"));
    bed.line("up").await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    let Adopted::Running(running) = shim::adopt(&bed.folder()).unwrap() else { panic!("not running") };
    assert_eq!(running.status().await.unwrap().pid, pid);
    assert_eq!(running.stop(Duration::from_secs(20)).await.unwrap().ending, Ending::Code(7));
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_program_lives_on_when_its_shim_is_killed_and_gets_a_new_one() {
    let bed = Bed::new();
    let spec = bed.sh("trap 'exit 7' TERM; n=0; while :; do n=$((n+1)); echo line $n x; sleep 0.005; done");
    let running = bed.start(&spec).await;
    bed.line("line 3 x").await;
    kill9(running.shim_pid());
    let Waited::Orphaned(orphan) = running.wait().await.unwrap() else { panic!("ended") };
    assert_eq!(orphan.pid(), running.pid());
    assert!(matches!(shim::adopt(&bed.folder()).unwrap(), Adopted::Orphaned(_)));
    // Whatever it writes now waits in the pipe.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(is_alive(running.pid()), "SIGPIPE?");

    let again = shim::reshim(binary(), &orphan, &spec).await.unwrap();
    assert_eq!(again.pid(), running.pid());
    assert_ne!(again.shim_pid(), running.shim_pid());
    let seen = numbers(&bed.lines()).len();
    eventually("more lines", || numbers(&bed.lines()).len() > seen + 20).await;
    let exit = again.stop(Duration::from_secs(20)).await.unwrap();
    assert_eq!(exit.ending, Ending::Unknown, "nobody could see how it ended");
    assert!(!is_alive(running.pid()));
    let numbers = numbers(&bed.lines());
    assert!(numbers.iter().copied().eq(1..=u32::try_from(numbers.len()).unwrap()), "a gap: {numbers:?}");
}

#[tokio::test]
async fn an_orphan_can_be_stopped_without_a_shim() {
    let bed = Bed::new();
    let running = bed.start(&bed.sh("trap '' TERM; echo up; sleep 600 & while :; do sleep 0.01; done")).await;
    bed.line("up").await;
    kill9(running.shim_pid());
    let exit = running.stop(Duration::from_millis(200)).await.unwrap();
    assert_eq!(exit.ending, Ending::Unknown);
    assert!(!is_alive(running.pid()));
    assert!(matches!(shim::adopt(&bed.folder()).unwrap(), Adopted::Ended(_)));
}

#[tokio::test]
async fn a_kept_program_taken_over_is_started_again() {
    let bed = Bed::new();
    let mut spec = bed.sh("echo up $$; exec sleep 600");
    spec.keep = true;
    let running = bed.start(&spec).await;
    bed.line(&format!("up {}", running.pid())).await;
    kill9(running.shim_pid());
    let Waited::Orphaned(orphan) = running.wait().await.unwrap() else { panic!("ended") };
    let again = shim::reshim(binary(), &orphan, &spec).await.unwrap();
    kill9(running.pid());
    eventually("a second start", || again.refreshed().unwrap().generation == 2).await;
    bed.line(&format!("up {}", again.refreshed().unwrap().pid)).await;
    assert_eq!(again.stop(Duration::from_secs(20)).await.unwrap().ending, Ending::Signal(15));
}

#[tokio::test]
async fn after_a_reboot_no_stranger_is_taken_for_the_program() {
    let bed = Bed::new();
    let running = bed.start(&bed.sh("exec sleep 600")).await;
    let path = bed.folder().join("shim.json");
    let record = running.record().clone();
    let other = |change: &dyn Fn(&mut Record)| {
        let mut changed = record.clone();
        change(&mut changed);
        fs::write(&path, serde_json::to_vec(&changed).unwrap()).unwrap();
        shim::adopt(&bed.folder()).unwrap()
    };
    assert!(matches!(other(&|record| record.boot_id = "another".to_owned()), Adopted::Gone));
    assert!(matches!(
        other(&|record| {
            record.shim_start_time += 1;
            record.pid_start_time += 1;
            // Or the program would be killed as a leftover in its group.
            record.groups = limits::Groups::default();
        }),
        Adopted::Gone
    ));
    assert!(matches!(other(&|record| record.shim_start_time += 1), Adopted::Orphaned(_)));
    assert!(matches!(other(&|_| {}), Adopted::Running(_)));
    running.kill().await.unwrap();
    assert!(matches!(shim::adopt(&bed.folder()).unwrap(), Adopted::Ended(_)));
    assert!(matches!(other(&|record| record.boot_id = "another".to_owned()), Adopted::Ended(_)));
    assert!(matches!(shim::adopt(&bed.path().join("nothing")).unwrap(), Adopted::Gone));
}

#[tokio::test]
async fn shims_that_a_program_starts_outlive_it() {
    let bed = Bed::new();
    // A keeper, whose program is an agent, whose instance must survive the agent.
    let inner = bed.path().join("inner");
    let mut instance = bed.sh("echo inside; exec sleep 600");
    instance.instance = "inner-1".to_owned();
    let json = serde_json::to_string(&instance).unwrap();
    let mut keeper = bed.play(&["agent", inner.to_str().unwrap(), &json]);
    keeper.starts_shims = true;
    let running = bed.start(&keeper).await;
    bed.line("inside").await;
    let Adopted::Running(inside) = shim::adopt(&inner).unwrap() else { panic!("not running") };
    running.stop(Duration::from_secs(5)).await.unwrap();
    assert!(!is_alive(running.pid()));
    assert!(is_alive(inside.pid()) && is_alive(inside.shim_pid()), "died with the agent");
    inside.kill().await.unwrap();
}
