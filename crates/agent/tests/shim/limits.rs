//! Limits that the kernel holds. Where this system lets us make no control groups, only `support` can be tested.

use std::{fs, time::Duration};

use crate::bed::Bed;
use agent::shim::{Ending, Waited, limits};

fn has(means: limits::Means) -> bool {
    means != limits::Means::Soft
}

#[tokio::test]
async fn a_program_that_eats_too_much_is_killed_and_told_apart() {
    if !has(limits::support().memory) {
        println!("no control group for memory here: the agent holds this limit");
        return;
    }
    let bed = Bed::new();
    let mut spec = bed.play(&["eat", "400"]);
    spec.limits.memory = Some(64 << 20);
    let running = bed.start(&spec).await;
    let group = running.record().groups.memory.clone().unwrap();
    let Waited::Ended(exit) = running.wait().await.unwrap() else { panic!("orphaned") };
    assert_eq!(exit.ending, Ending::Signal(9));
    assert!(exit.oom);
    assert!(exit.to_string().contains("more memory than its limit"), "{exit}");
    assert!(!group.exists(), "its control group is left behind");
}

#[tokio::test]
async fn a_program_within_its_limits_is_let_be_and_counted() {
    let bed = Bed::new();
    let mut spec = bed.play(&["eat", "40"]);
    spec.limits.memory = Some(256 << 20);
    let running = bed.start(&spec).await;
    bed.line("ate 40 MiB").await;
    let usage = running.usage();
    assert!((38 << 20..80 << 20).contains(&usage.memory), "{usage:?}");
    assert_eq!(usage.processes, 1);
    let groups = running.record().groups.clone();
    let exit = running.kill().await.unwrap();
    assert!(!exit.oom);
    for group in [groups.memory, groups.cpu, groups.unified].into_iter().flatten() {
        assert!(!group.exists(), "{} is left behind", group.display());
    }
}

#[tokio::test]
async fn a_program_gets_no_more_cpu_than_its_limit() {
    if !has(limits::support().cpu) {
        println!("no control group for cpu here: it is not limited");
        return;
    }
    let bed = Bed::new();
    let mut spec = bed.play(&["burn"]);
    spec.limits.cpu_millis = Some(100);
    let running = bed.start(&spec).await;
    bed.line("burning").await;
    let group = running.record().groups.cpu.clone().unwrap();
    let quota =
        fs::read_to_string(group.join("cpu.cfs_quota_us")).or_else(|_| fs::read_to_string(group.join("cpu.max")));
    assert!(quota.unwrap().starts_with("10000"));
    let before = running.usage().cpu;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = running.usage().cpu.saturating_sub(before);
    // 0.2 s, and no less than half of it: a busy machine may give less, never more.
    assert!(used < Duration::from_millis(400), "{used:?}");
    running.kill().await.unwrap();
    assert!(!group.exists());
}

#[test]
fn what_is_supported_is_told_and_leaves_nothing_behind() {
    let support = limits::support();
    println!("{support:?}");
    assert_eq!(support, limits::support());
}
