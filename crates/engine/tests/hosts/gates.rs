//! Gates that are passed once all visitors are moved.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use engine::{
    clock::Clock,
    deployment::{Begin, Deployment, Report},
    error::EngineError,
    gates::{Checked, Passing, Told},
    group::Group,
    journal::{DeployKind, Event, Outcome, Step},
    policy::{Policy, Stage},
    record::records,
    recover::recover,
    target::Target,
    watcher::Silent,
};
use stack::ResourceName;

use crate::toy::{Hosts, Jumping, TTL, Toy, revision, run, shares};

fn name(text: &str) -> ResourceName {
    ResourceName::new(text).expect("a name")
}

fn checked(passed: bool) -> Checked {
    let (check, detail) = ("`sh smoke.sh` succeeds".to_owned(), String::new());
    Checked { gate: name("smoke"), check, passed, by: None, detail, millis: 1200 }
}

/// A deploy of a release with a gate after it.
async fn deploy(
    group: &Group<Toy, Jumping>,
    clock: &Jumping,
    kind: DeployKind,
    digit: char,
    passing: Option<Passing<'_>>,
) -> Result<Report, EngineError> {
    let stages = vec![Stage { percent: 10, ..Stage::ALL }, Stage::ALL];
    let policy = Policy { stages, gates: vec![name("smoke")], ..Policy::default() };
    let begin = Begin { ttl: TTL, ..Begin::new(kind, "ada@laptop") };
    let mut watcher = Silent;
    let mut deployment = Deployment::begin(group, clock, begin, &mut watcher).await?;
    deployment.wanted(Some(revision(digit)), "1.0.0", 1, None).await?;
    if let Some(passing) = passing {
        deployment.passing(passing);
    }
    deployment.run(&policy).await
}

/// Passes after a while, or does not.
fn after(clock: &Jumping, time: Duration, end: Result<(), String>, begun: &Arc<AtomicBool>) -> Passing<'static> {
    let (told, clock, begun) = (Told::default(), clock.clone(), Arc::clone(begun));
    let tell = told.clone();
    let work = Box::pin(async move {
        begun.store(true, Ordering::Relaxed);
        clock.sleep(time).await;
        tell.tell(checked(end.is_ok()));
        end
    });
    Passing { work, told }
}

fn environment(count: usize) -> Hosts {
    let hosts = Hosts::new(count);
    let group = hosts.group();
    let passing = after(&hosts.clock, Duration::ZERO, Ok(()), &Arc::default());
    let report = run(deploy(&group, &hosts.clock, DeployKind::Deploy, 'a', Some(passing))).expect("an outcome");
    assert_eq!(report.outcome, Outcome::Succeeded);
    hosts
}

#[test]
fn a_gate_that_passes_is_kept_in_the_record() {
    let hosts = environment(1);
    let (group, begun) = (hosts.group(), Arc::default());
    let passing = after(&hosts.clock, Duration::from_mins(3), Ok(()), &begun);
    let report = run(deploy(&group, &hosts.clock, DeployKind::Deploy, 'b', Some(passing))).expect("an outcome");
    assert_eq!(report.outcome, Outcome::Succeeded);
    let journal = run(group.journal()).expect("well");
    let record = records(&journal).pop().expect("a record");
    assert_eq!(record.checks, [checked(true)]);
    let place = |wanted: &Event| journal.iter().rposition(|entry| entry.event == *wanted).expect("in the journal");
    let planned = place(&Event::GatesPlanned { gates: vec![name("smoke")] });
    assert!(planned < place(&Event::Shifting { percent: 10 }), "before any visitor was moved");
    assert!(place(&Event::Shifting { percent: 100 }) < place(&Event::Checked(checked(true))));
    assert!(place(&Event::GatesPassed) < place(&Event::StepStarted { step: Step::Drain }));
}

#[test]
fn a_gate_that_does_not_pass_takes_the_deploy_back() {
    let hosts = environment(2);
    let group = hosts.group();
    let why = "gate `smoke`: `sh smoke.sh` ended with exit code 1".to_owned();
    let passing = after(&hosts.clock, Duration::from_secs(3), Err(why.clone()), &Arc::default());
    let report = run(deploy(&group, &hosts.clock, DeployKind::Deploy, 'b', Some(passing))).expect("an outcome");
    assert_eq!(report.outcome, Outcome::RolledBack { reason: why });
    assert_eq!(report.rollback, Some((3, Outcome::Succeeded)));
    assert_eq!(run(group.observe()).expect("well").serving, shares(&[('a', 100)]));
    let records = records(&run(group.journal()).expect("well"));
    assert_eq!((records[1].checks.as_slice(), records[2].checks.len()), (&[checked(false)][..], 0));
}

#[test]
fn whoever_finishes_a_deploy_whose_gates_nobody_passed_goes_back() {
    let hosts = environment(1);
    let (group, begun) = (hosts.group(), Arc::<AtomicBool>::default());
    let work = {
        let begun = Arc::clone(&begun);
        Box::pin(async move {
            begun.store(true, Ordering::Relaxed);
            pending().await
        })
    };
    let passing = Passing { work, told: Told::default() };
    {
        let mut dies = Box::pin(deploy(&group, &hosts.clock, DeployKind::Deploy, 'b', Some(passing)));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        while !begun.load(Ordering::Relaxed) {
            assert!(dies.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(run(group.observe()).expect("well").serving, shares(&[('b', 100)]));
    }
    run(hosts.clock.sleep(TTL * 2));
    run(recover(&group, &hosts.clock, "host a", TTL, &Policy::default(), &mut Silent)).expect("an outcome");
    assert_eq!(run(group.observe()).expect("well").serving, shares(&[('a', 100)]));
    let records = records(&run(group.journal()).expect("well"));
    let reason = "the deploy by ada@laptop stopped in step bake before its gate `smoke` was passed".to_owned();
    assert_eq!(records[1].outcome(), Some(&Outcome::RolledBack { reason }));
    assert_eq!(records[2].outcome(), Some(&Outcome::Succeeded));
}

#[test]
fn a_rollback_passes_no_gate_and_a_deploy_without_its_gatekeeper_goes_back() {
    let hosts = environment(1);
    let group = hosts.group();
    let report = run(deploy(&group, &hosts.clock, DeployKind::Deploy, 'b', None)).expect("an outcome");
    let reason = "nobody is here to see that gate `smoke` was passed".to_owned();
    assert_eq!(report.outcome, Outcome::RolledBack { reason });
    let begun = Arc::default();
    let passing = after(&hosts.clock, Duration::ZERO, Err("never".to_owned()), &begun);
    let report = run(deploy(&group, &hosts.clock, DeployKind::Rollback, 'c', Some(passing))).expect("an outcome");
    assert_eq!((report.outcome, begun.load(Ordering::Relaxed)), (Outcome::Succeeded, false));
}
