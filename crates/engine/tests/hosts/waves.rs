//! Deploys on many hosts: waves, stages that are held, hosts that are lost on the way.

use std::time::Duration;

use engine::{
    clock::Clock,
    deployment::{Begin, Deployment, Report},
    journal::{DeployKind, Event, Outcome, Step},
    plan::steady,
    policy::{Limits, Policy, Stage},
    record::records,
    target::Target,
    watcher::{Progress, Watcher},
};

use crate::toy::{Hosts, Mood, PATIENCE, TTL, Toy, revision, run, shares};

/// Does something to the hosts when a step begins, and counts what it sees.
struct Fate<F> {
    act: F,
    stages: Vec<u8>,
    notes: Vec<String>,
}

impl<F: FnMut(Step, &[u8]) + Send> Watcher for Fate<F> {
    fn see(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Stage { percent } => self.stages.push(*percent),
            Progress::StepStarted { step } => (self.act)(*step, &self.stages),
            Progress::Note { text } => self.notes.push((*text).to_owned()),
            _ => {}
        }
    }
}

/// Deploys a release, and what happens meanwhile is up to `act`.
fn deploy(
    hosts: &Hosts,
    kind: DeployKind,
    digit: char,
    policy: &Policy,
    act: impl FnMut(Step, &[u8]) + Send,
) -> (Report, Vec<String>) {
    let group = hosts.group();
    let mut fate = Fate { act, stages: Vec::new(), notes: Vec::new() };
    let report = run(async {
        let begin = Begin { ttl: TTL, ..Begin::new(kind, "ada@laptop") };
        let mut deployment = Deployment::begin(&group, &hosts.clock, begin, &mut fate).await?;
        deployment.wanted(Some(revision(digit)), "1.0.0", 1, None).await?;
        deployment.run(policy).await
    });
    (report.expect("it comes to an outcome"), fate.notes)
}

/// An environment of so many hosts on release `a`.
fn environment(count: usize) -> Hosts {
    let hosts = Hosts::new(count);
    let (report, _) = deploy(&hosts, DeployKind::Deploy, 'a', &Policy::default(), |_, _| {});
    assert_eq!(report.outcome, Outcome::Succeeded);
    hosts
}

fn set(toy: &Toy, mood: Mood) {
    toy.inner.lock().expect("no panic").mood = mood;
}

fn stages(percents: &[u8], hold: bool) -> Vec<Stage> {
    percents
        .iter()
        .map(|percent| Stage { percent: *percent, bake: Duration::ZERO, hold: hold && *percent < 100 })
        .collect()
}

fn all_on(hosts: &Hosts, digit: char) -> Vec<bool> {
    let desired = steady(Some(&revision(digit)));
    (0..hosts.all.len()).map(|place| hosts.at(place, |inner| inner.desired == desired)).collect()
}

#[test]
fn a_host_that_is_lost_while_the_lock_is_given_back_is_named_too() {
    let hosts = environment(3);
    hosts.at(2, |inner| inner.dies_before = Some("unlock"));
    let (report, notes) = deploy(&hosts, DeployKind::Deploy, 'b', &Policy::default(), |_, _| {});
    let said = "c is lost (connection refused) and left out; it is brought level when it returns";
    assert_eq!((report.outcome, report.partial), (Outcome::Succeeded, true));
    assert_eq!(report.notes, [said]);
    assert!(notes.iter().any(|note| note == said), "{notes:?}");
}

#[test]
fn a_release_is_not_blamed_for_visitors_that_waited_for_a_lost_host() {
    for loses in [true, false] {
        let hosts = environment(3);
        let toys = hosts.all.clone();
        let stages = vec![Stage { percent: 100, bake: Duration::from_secs(1), hold: false }];
        let limits = Limits { min_requests: 0, ..Limits::default() };
        let policy = Policy { stages, limits, ..Policy::default() };
        let (report, _) = deploy(&hosts, DeployKind::Deploy, 'b', &policy, |step, _| {
            if step == Step::Bake {
                for toy in &toys {
                    toy.inner.lock().expect("no panic").slow = Some(revision('b'));
                }
                if loses {
                    set(&toys[2], Mood::Off);
                }
            }
        });
        if loses {
            assert_eq!((&report.outcome, report.partial), (&Outcome::Succeeded, true), "{:?}", report.notes);
        } else {
            assert!(matches!(report.outcome, Outcome::RolledBack { .. }), "{report:?}");
        }
    }
}

// proves S4.1: a host that dies before the commit point aborts the deploy, and its reason is clear
#[test]
fn a_host_that_is_lost_before_the_commit_point_aborts_the_deploy() {
    for step in [Step::Ship, Step::Preflight, Step::Start, Step::Probe, Step::Shift] {
        let hosts = environment(3);
        let victim = hosts.all[2].clone();
        let (report, _) = deploy(&hosts, DeployKind::Deploy, 'b', &Policy::default(), |now, _| {
            if now == step {
                set(&victim, Mood::Off);
            }
        });
        let Outcome::Failed { reason, .. } = &report.outcome else { panic!("{step}: {report:?}") };
        assert_eq!(
            reason,
            "c is lost (connection refused); bring it back, take it out of `hosts`, or allow it with `max_fail`, and \
             deploy again",
            "{step}"
        );
        assert_eq!(all_on(&hosts, 'a')[..2], [true, true], "{step}: undone on those that live");
        assert!(!report.partial);
        assert_eq!(hosts.locked()[..2], [false, false], "{step}: the lease is given back");
        let journal = hosts.at(0, |inner| inner.journal.clone());
        assert!(!journal.iter().any(|entry| entry.deploy == 2 && matches!(entry.event, Event::Shifting { .. })));
        // it returns, and the next deploy makes it level
        set(&hosts.all[2], Mood::Well);
        run(hosts.clock.sleep(TTL)); // the lease that it gave lapses
        let (report, _) = deploy(&hosts, DeployKind::Deploy, 'b', &Policy::default(), |_, _| {});
        assert_eq!((&report.outcome, report.partial), (&Outcome::Succeeded, false), "{step}");
        assert_eq!(all_on(&hosts, 'b'), [true; 3], "{step}");
        assert_eq!(hosts.at(2, |inner| inner.journal.clone()), hosts.at(0, |inner| inner.journal.clone()));
    }
}

#[test]
fn so_many_hosts_may_be_lost_as_the_policy_says() {
    let hosts = environment(5);
    let victim = hosts.all[1].clone();
    let policy = Policy { max_fail: 1, ..Policy::default() };
    let (report, _) = deploy(&hosts, DeployKind::Deploy, 'b', &policy, |now, _| {
        if now == Step::Start {
            set(&victim, Mood::Mute);
        }
    });
    assert_eq!((&report.outcome, report.partial), (&Outcome::Succeeded, true));
    let lost = format!("b is lost (no answer within {} s)", PATIENCE.as_secs());
    assert!(report.notes[0].replace("2s", "2 s").starts_with(&lost), "{:?}", report.notes);
    assert_eq!(all_on(&hosts, 'b'), [true, false, true, true, true]);
}

// proves S4.5: after the commit point the deploy goes on without the host, says so, and is partial
#[test]
fn a_host_that_is_lost_after_the_commit_point_is_left_out_and_noted() {
    let hosts = environment(3);
    let victim = hosts.all[0].clone();
    let (report, _) = deploy(&hosts, DeployKind::Deploy, 'b', &Policy::default(), |now, _| {
        if now == Step::Drain {
            set(&victim, Mood::Off);
        }
    });
    assert_eq!((&report.outcome, report.partial), (&Outcome::Succeeded, true));
    assert_eq!(report.notes, ["a is lost (connection refused) and left out; it is brought level when it returns"]);
    assert_eq!(records(&hosts.at(1, |inner| inner.journal.clone()))[1].notes, report.notes, "in the record too");
}

#[test]
fn a_rollback_waits_for_no_host() {
    let hosts = environment(3);
    deploy(&hosts, DeployKind::Deploy, 'b', &Policy::default(), |_, _| {});
    set(&hosts.all[1], Mood::Off);
    let (report, _) = deploy(&hosts, DeployKind::Rollback, 'a', &Policy::default(), |_, _| {});
    assert_eq!((&report.outcome, report.partial), (&Outcome::Succeeded, true));
    assert_eq!(all_on(&hosts, 'a'), [true, false, true]);
}

#[test]
fn waves_are_wanted_by_whole_hosts() {
    let hosts = environment(3);
    let watched: Vec<Toy> = hosts.all.clone();
    let mut seen = Vec::new();
    let policy = Policy { stages: stages(&[33, 66, 100], false), by_host: Some(3), ..Policy::default() };
    let (report, _) = deploy(&hosts, DeployKind::Deploy, 'b', &policy, |now, _| {
        if now == Step::Shift || now == Step::Drain {
            let desired = watched[0].inner.lock().expect("no panic").desired.clone();
            seen.push((desired.traffic, desired.by_host));
        }
    });
    assert_eq!(report.outcome, Outcome::Succeeded);
    assert_eq!(
        seen,
        [
            (shares(&[('a', 100)]), false),
            (shares(&[('a', 67), ('b', 33)]), true),
            (shares(&[('a', 34), ('b', 66)]), true),
            (shares(&[('b', 100)]), false),
        ]
    );
}

#[test]
fn a_held_stage_lasts_until_a_person_promotes_it() {
    let hosts = environment(2);
    let watched = hosts.all.clone();
    let policy = Policy { stages: stages(&[10, 50, 100], true), ..Policy::default() };
    let (mut held, clock) = (Vec::new(), hosts.clock.clone());
    let (report, notes) = deploy(&hosts, DeployKind::Deploy, 'b', &policy, |now, stages| {
        if now == Step::Bake {
            // one promotion for each stage, and one host is enough to hear of it
            let mut inner = watched[stages.len() % 2].inner.lock().expect("no panic");
            assert_eq!(inner.promoted, None, "the hosts forgot the promotion of the stage before");
            inner.promoted = Some(2);
            held.push((stages.to_vec(), clock.millis()));
        }
    });
    assert_eq!(report.outcome, Outcome::Succeeded);
    assert_eq!(held.iter().map(|(stages, _)| stages.clone()).collect::<Vec<_>>(), [vec![10], vec![10, 50]]);
    assert!(notes.iter().all(|note| !note.contains("promote")), "it was promoted at once: {notes:?}");
}

#[test]
fn a_held_stage_waits_and_a_promotion_of_another_deploy_is_none() {
    let hosts = environment(2);
    let watched = hosts.all.clone();
    let policy = Policy { stages: stages(&[10, 100], true), ..Policy::default() };
    let mut fate = Fate { act: |_, _: &[u8]| {}, stages: Vec::new(), notes: Vec::new() };
    let group = hosts.group();
    let mut waits = Box::pin(async {
        let begin = Begin { ttl: TTL, ..Begin::new(DeployKind::Deploy, "ada@laptop") };
        let mut deployment = Deployment::begin(&group, &hosts.clock, begin, &mut fate).await?;
        deployment.wanted(Some(revision('b')), "1.0.0", 1, None).await?;
        deployment.run(&policy).await
    });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut poll_for = |millis: u64| {
        let until = hosts.clock.millis() + millis;
        while hosts.clock.millis() < until {
            if let std::task::Poll::Ready(report) = waits.as_mut().poll(&mut context) {
                return Some(report.expect("an outcome"));
            }
        }
        None
    };
    assert!(poll_for(600_000).is_none(), "ten minutes later nobody has promoted it");
    let percent = |toy: &Toy| toy.inner.lock().expect("no panic").desired.traffic[&revision('b')];
    assert_eq!(watched.iter().map(percent).collect::<Vec<_>>(), [10, 10]);
    watched[0].inner.lock().expect("no panic").promoted = Some(1);
    assert!(poll_for(60_000).is_none(), "another deploy was promoted");
    watched[1].inner.lock().expect("no panic").promoted = Some(2);
    assert_eq!(poll_for(60_000).expect("promoted").outcome, Outcome::Succeeded);
    drop(waits);
    assert_eq!(fate.stages, [10, 100]);
    let hint = "waiting until a person promotes this stage: `slipway promote` goes on, Ctrl-C goes back";
    assert!(fate.notes.iter().any(|note| note == hint), "{:?}", fate.notes);
    run(group.observe()).expect("well");
}
