//! Many hosts as one target: leases by majority, hosts that are left out, hosts that return.

use std::{collections::BTreeSet, time::Duration};

use engine::{
    desired::{Desired, Lost},
    group::merge::{Holding, adopt, journals, resting},
    journal::{DeployKind, Entry, Event, Outcome, Start},
    plan::steady,
    policy::Policy,
    recover::recover,
    target::{Fence, Level, Target, TargetError, Task, TaskEnd},
    watcher::Silent,
};

use crate::toy::{Hosts, Mood, PATIENCE, TTL, revision, run, shares};

/// An entry of the deploy `deploy`, written under the token `fence`.
fn entry(second: i64, deploy: u64, fence: u64, event: Event) -> Entry {
    let at = jiff::Timestamp::from_second(1_800_000_000 + second).expect("a time");
    Entry { at, deploy, fence: Fence(fence), event }
}

fn started(second: i64, deploy: u64, fence: u64) -> Entry {
    let start = Start { kind: DeployKind::Deploy, by: "ada@laptop".to_owned(), previous: None };
    entry(second, deploy, fence, Event::Started(start))
}

fn wanted(second: i64, deploy: u64, fence: u64, digit: char) -> Entry {
    let event =
        Event::Wanted { revision: Some(revision(digit)), version: "1.0.0".to_owned(), number: deploy, commit: None };
    entry(second, deploy, fence, event)
}

fn succeeded(second: i64, deploy: u64, fence: u64) -> Entry {
    entry(second, deploy, fence, Event::Ended(Outcome::Succeeded))
}

fn noted(second: i64, fence: u64) -> Entry {
    entry(second, 1, fence, Event::Noted { text: format!("note {second}") })
}

/// Release `a` was deployed under the token 1.
fn history() -> Vec<Entry> {
    vec![started(0, 1, 1), wanted(1, 1, 1, 'a'), succeeded(2, 1, 1)]
}

#[test]
fn one_member_is_the_whole_group() {
    let hosts = Hosts::new(1);
    let group = hosts.group();
    hosts.at(0, |inner| inner.fence = 41);
    let fence = run(group.lock("ada", TTL)).expect("free");
    assert_eq!((fence, group.lost()), (Fence(42), vec![]));
    assert_eq!(
        run(group.append(&noted(1, 1), Fence(7))),
        Err(TargetError::Fenced { given: 7, current: 42 }),
        "the host decides"
    );
    hosts.mood(0, Mood::Off);
    let refused = TargetError::Unreachable { host: "a".to_owned(), reason: "connection refused".to_owned() };
    assert_eq!(run(group.observe()), Err(refused), "at once: patience is the engine's");
    assert_eq!(hosts.clock.millis(), 0);
}

#[test]
fn a_lease_is_held_when_more_than_half_of_the_hosts_gave_it() {
    for (count, off, enough) in [(2, 1, false), (3, 1, true), (3, 2, false), (4, 1, true), (4, 2, false), (5, 2, true)]
    {
        let hosts = Hosts::new(count);
        (0..off).for_each(|place| hosts.mood(place, Mood::Off));
        let group = hosts.group();
        let locked = run(group.lock("ada", TTL));
        if enough {
            assert_eq!(locked, Ok(Fence(1)), "{off} of {count} are off");
            let lost: Vec<String> = group.lost().into_iter().map(|lost| lost.host).collect();
            assert_eq!(lost, ["a", "b"][..off], "{off} of {count} are off");
        } else {
            let Err(TargetError::Unreachable { host, reason }) = &locked else { panic!("{locked:?}") };
            assert_eq!(*host, ["a", "b"][..off].join(", "), "{off} of {count} are off");
            assert_eq!(*reason, format!("connection refused (more than half of the {count} hosts are needed)"));
            assert_eq!(hosts.locked(), vec![false; count], "what was taken was given back");
        }
    }
}

#[test]
fn nobody_waits_for_a_host_that_is_known_to_be_gone() {
    let hosts = Hosts::new(3);
    hosts.mood(0, Mood::Gone);
    let group = hosts.group();
    let fence = run(group.lock("ada", TTL)).expect("free");
    run(group.append(&noted(1, fence.0), fence)).expect("two of three");
    assert_eq!(hosts.clock.millis(), 0);
    assert_eq!(group.unheard(), ["a"]);
    // one that goes in the middle of a lease is asked once
    let hosts = Hosts::new(3);
    let group = hosts.group();
    let fence = run(group.lock("ada", TTL)).expect("free");
    hosts.mood(2, Mood::Gone);
    run(group.append(&noted(1, fence.0), fence)).expect("two of three");
    assert_eq!((hosts.clock.millis(), group.unheard()), (0, vec!["c".to_owned()]));
    // one whose disk is full answers
    let hosts = Hosts::new(3);
    let group = hosts.group();
    let fence = run(group.lock("ada", TTL)).expect("free");
    hosts.mood(2, Mood::Full);
    run(group.append(&noted(1, fence.0), fence)).expect("two of three");
    assert_eq!((group.lost().len(), group.unheard()), (1, vec![]));
}

#[test]
fn who_comes_second_gets_nothing_and_disturbs_nobody() {
    let hosts = Hosts::new(3);
    let (ada, bob) = (hosts.group(), hosts.group());
    let fence = run(ada.lock("ada", TTL)).expect("free");
    let locked = run(bob.lock("bob", TTL));
    assert_eq!(locked, Err(TargetError::Locked { holder: "ada".to_owned(), expires_in_ms: 15_000 }));
    assert_eq!(hosts.did("lock"), [2, 1, 1], "the first host that lives decides");
    // bob reaches the others first, and still gets nothing: ada has the majority of b and c
    hosts.mood(0, Mood::Off);
    assert!(matches!(run(bob.lock("bob", TTL)), Err(TargetError::Locked { .. })));
    run(ada.renew(fence, TTL)).expect("still hers");
    run(ada.unlock(fence)).expect("hers to give");
    assert_eq!(run(bob.lock("bob", TTL)), Ok(Fence(2)));
}

#[test]
fn a_minority_that_somebody_else_holds_is_left_out() {
    let hosts = Hosts::new(3);
    run(hosts.all[2].lock("carol", Duration::from_mins(1))).expect("free");
    let group = hosts.group();
    assert_eq!(run(group.lock("ada", TTL)), Ok(Fence(1)));
    let why = "another deploy of this environment holds the lock: carol, for at most 60000 ms more";
    assert_eq!(group.lost(), [Lost { host: "c".to_owned(), why: why.to_owned() }]);
    // unless it lapses in a moment
    let hosts = Hosts::new(3);
    run(hosts.all[2].lock("carol", Duration::from_secs(1))).expect("free");
    let group = hosts.group();
    assert_eq!(run(group.lock("ada", TTL)), Ok(Fence(2)));
    assert_eq!(group.lost(), []);
}

#[test]
fn the_token_of_the_group_is_the_largest_and_the_others_catch_up() {
    let hosts = Hosts::new(3);
    hosts.at(0, |inner| inner.fence = 9);
    let group = hosts.group();
    let fence = run(group.lock("ada", TTL)).expect("free");
    assert_eq!(fence, Fence(10));
    let entry = noted(3, 10);
    run(group.append(&entry, fence)).expect("each host is asked with its own token");
    assert!((0..3).all(|place| hosts.at(place, |inner| inner.journal == [entry.clone()])));
    run(group.unlock(fence)).expect("held");
    hosts.mood(0, Mood::Off);
    assert_eq!(run(hosts.group().lock("bob", TTL)), Ok(Fence(11)), "tokens rise without the host that had the largest");
}

// proves S4.5: a host that dies is left out, and the rest goes on
#[test]
fn a_host_that_does_not_answer_is_left_out_while_more_than_half_are_left() {
    for mood in [Mood::Off, Mood::Mute] {
        let hosts = Hosts::new(3);
        let group = hosts.group();
        let fence = run(group.lock("ada", TTL)).expect("free");
        hosts.mood(1, mood);
        run(group.want(&steady(Some(&revision('a'))), fence)).expect("two are enough");
        let waited = Duration::from_millis(hosts.clock.millis());
        assert!((PATIENCE / 2..PATIENCE * 2).contains(&waited), "{mood:?}: {waited:?}");
        assert_eq!(group.lost().len(), 1);
        assert_eq!(run(group.observe()).expect("two are enough").lost, group.lost());
        // it is not asked any more, also when it is back
        hosts.mood(1, Mood::Well);
        run(group.append(&noted(1, 1), fence)).expect("two are enough");
        assert_eq!(hosts.did("append"), [1, 0, 1]);
        // and one more is too many, however often it is tried
        hosts.mood(2, mood);
        for _ in 0..2 {
            let error = run(group.append(&noted(2, 1), fence)).expect_err("one of three");
            assert!(matches!(error, TargetError::Unreachable { ref host, .. } if host == "c"), "{error:?}");
        }
        hosts.mood(2, Mood::Well);
        run(group.append(&noted(2, 1), fence)).expect("it is back before it was left out");
    }
}

#[test]
fn a_host_that_cannot_write_is_left_out_and_a_majority_that_cannot_says_why() {
    let hosts = Hosts::new(3);
    let group = hosts.group();
    let fence = run(group.lock("ada", TTL)).expect("free");
    hosts.mood(0, Mood::Full);
    run(group.append(&noted(1, 1), fence)).expect("two are enough");
    assert_eq!(group.lost(), [Lost { host: "a".to_owned(), why: "no space left on device".to_owned() }]);
    hosts.mood(1, Mood::Full);
    let failed = TargetError::Failed { reason: "b: no space left on device".to_owned() };
    assert_eq!(run(group.append(&noted(2, 1), fence)), Err(failed));
}

#[test]
fn an_entry_that_may_be_on_a_host_is_never_taken_back_within_a_lease() {
    let hosts = Hosts::new(2);
    let group = hosts.group();
    let fence = run(group.lock("ada", TTL)).expect("free");
    hosts.mood(1, Mood::Full);
    run(group.append(&noted(1, 1), fence)).expect_err("two of two are needed");
    assert_eq!(hosts.at(0, |inner| inner.journal.len()), 1, "it reached one");
    run(group.journal()).expect_err("whether it counts is not known");
    hosts.mood(1, Mood::Well);
    assert_eq!(run(group.journal()), Ok(vec![noted(1, 1)]), "and now it is everywhere");
    run(group.append(&noted(2, 1), fence)).expect("well");
    let all = [noted(1, 1), noted(2, 1)];
    assert!((0..2).all(|place| hosts.at(place, |inner| inner.journal == all)));
}

#[test]
fn the_lease_is_lost_when_a_host_says_so() {
    let hosts = Hosts::new(3);
    let group = hosts.group();
    let fence = run(group.lock("ada", TTL)).expect("free");
    hosts.at(2, |inner| (inner.fence, inner.lease) = (8, Some(("agent of c".to_owned(), 99_999))));
    let desired = Desired::default();
    assert_eq!(run(group.want(&desired, fence)), Err(TargetError::Fenced { given: 1, current: 8 }));
    assert!(matches!(run(group.append(&noted(1, 1), fence)), Err(TargetError::Fenced { .. })), "for good");
}

// proves S4.9: hosts that were away are brought level, and what the group never had is dropped
#[test]
fn taking_the_lease_makes_hosts_level() {
    let hosts = Hosts::new(3);
    let orphan = entry(3, 1, 1, Event::Noted { text: "nobody acted on this".to_owned() });
    hosts.at(0, |inner| inner.journal = [history(), vec![orphan.clone(), orphan]].concat());
    let newer = [history(), vec![started(9, 2, 2), wanted(10, 2, 2, 'b'), succeeded(11, 2, 2)]].concat();
    hosts.at(1, |inner| {
        inner.journal.clone_from(&newer);
        inner.desired = steady(Some(&revision('b')));
    });
    let group = hosts.group();
    let fence = run(group.lock("ada", TTL)).expect("free");
    assert_eq!(run(group.journal()), Ok(newer.clone()));
    for place in 0..3 {
        hosts.at(place, |inner| {
            assert_eq!(inner.journal, newer, "host {place}");
            assert_eq!(inner.desired, steady(Some(&revision('b'))), "host {place}");
        });
    }
    let desired = Some(steady(Some(&revision('b'))));
    let expected = Level { floor: fence, keep: 3, entries: newer[3..].to_vec(), desired: desired.clone() };
    assert_eq!(hosts.at(0, |inner| inner.levels.clone()), [expected]);
    assert_eq!(hosts.at(1, |inner| inner.levels.clone()), []);
    assert_eq!(hosts.at(2, |inner| inner.levels.clone()), [Level { floor: fence, keep: 0, entries: newer, desired }]);
}

#[test]
fn a_host_that_returns_while_visitors_move_wants_what_those_want_that_took_part() {
    let hosts = Hosts::new(3);
    let moving =
        [history(), vec![started(9, 2, 2), wanted(10, 2, 2, 'b'), entry(11, 2, 2, Event::Shifting { percent: 50 })]];
    let half = Desired {
        running: BTreeSet::from([revision('a'), revision('b')]),
        traffic: shares(&[('a', 50), ('b', 50)]),
        schedules: Some(revision('a')),
        by_host: false,
    };
    for place in [1, 2] {
        hosts.at(place, |inner| (inner.journal, inner.desired) = (moving.concat(), half.clone()));
    }
    hosts.at(0, |inner| (inner.journal, inner.desired) = (history(), steady(Some(&revision('a')))));
    run(hosts.group().lock("agent of b", TTL)).expect("free");
    assert_eq!(hosts.at(0, |inner| inner.desired.clone()), half);
}

#[test]
fn preflight_asks_every_host_and_tells_every_problem_at_once() {
    let hosts = Hosts::new(3);
    let group = hosts.group();
    let fence = run(group.lock("ada", TTL)).expect("free");
    let task = Task::Preflight { revision: revision('a') };
    assert_eq!(run(group.task(&task, fence)), Ok(TaskEnd::Done));
    assert_eq!(hosts.did("preflight"), [1, 1, 1]);
    hosts.at(0, |inner| inner.problem = Some("variable TOKEN is missing"));
    hosts.at(1, |inner| inner.problem = Some("port 80 is in use"));
    hosts.at(2, |inner| inner.problem = Some("variable TOKEN is missing"));
    let reason = "b: port 80 is in use; a, c: variable TOKEN is missing".to_owned();
    assert_eq!(run(group.task(&task, fence)), Err(TargetError::Failed { reason }));
}

#[test]
fn a_task_is_done_once_and_by_the_next_host_when_the_first_dies() {
    let hosts = Hosts::new(3);
    let group = hosts.group();
    let fence = run(group.lock("ada", TTL)).expect("free");
    let task = Task::Migrate { revision: revision('a') };
    run(group.task(&task, fence)).expect("well");
    assert_eq!(hosts.did("migrate"), [1, 0, 0]);
    hosts.at(0, |inner| inner.dies_before = Some("migrate"));
    run(group.task(&task, fence)).expect("the next host does it");
    assert_eq!(hosts.did("migrate"), [1, 1, 0]);
    assert!(hosts.clock.millis() >= 15_000, "not before what waits on the first has lapsed");
    assert_eq!(group.lost().len(), 1);
}

#[test]
fn what_is_wanted_is_only_so_when_every_host_says_so() {
    let hosts = Hosts::new(2);
    let (one, other) = (steady(Some(&revision('a'))), steady(Some(&revision('b'))));
    hosts.at(0, |inner| inner.desired.clone_from(&one));
    hosts.at(1, |inner| inner.desired.clone_from(&other));
    let group = hosts.group();
    let seen = run(group.observe()).expect("no lease is needed");
    assert!(
        seen.desired != one && seen.desired != other && seen.serving != one.traffic && seen.serving != other.traffic
    );
    assert_eq!(seen.serving, shares(&[('a', 0), ('b', 0)]));
    let fence = run(group.lock("ada", TTL)).expect("free");
    run(hosts.all[0].want(&one, Fence(1))).expect("its own token");
    hosts.at(1, |inner| inner.desired.clone_from(&other));
    run(group.want(&one, fence)).expect("well");
    let seen = run(group.observe()).expect("well");
    assert_eq!((&seen.desired, &seen.serving), (&one, &one.traffic));
    assert_eq!(seen.expected, [(revision('a'), 4)].into());
    assert_eq!(seen.traffic[&revision('a')].requests, 200);
    let hosts_of: Vec<&str> = seen.instances.iter().map(|instance| instance.host.as_str()).collect();
    assert_eq!(hosts_of, ["a", "a", "b", "b"]);
    hosts.at(1, |inner| inner.desired.clone_from(&other));
    assert_eq!(run(group.observe()).expect("well").desired, other, "the one that differs from what is wanted");
}

#[test]
fn a_look_without_a_lease_names_those_that_do_not_answer() {
    let hosts = Hosts::new(3);
    hosts.mood(0, Mood::Off);
    hosts.mood(2, Mood::Mute);
    let group = hosts.group();
    let lost = run(group.observe()).expect("one is enough to look").lost;
    let lost: Vec<(&str, &str)> = lost.iter().map(|lost| (lost.host.as_str(), lost.why.as_str())).collect();
    assert_eq!(lost, [("a", "connection refused"), ("c", "no answer within 2s")]);
    hosts.mood(1, Mood::Off);
    assert!(matches!(run(group.observe()), Err(TargetError::Unreachable { .. })));
}

#[test]
fn of_two_journals_the_one_with_the_newer_token_counts() {
    let older = [history(), vec![started(3, 2, 2), noted(4, 2), noted(5, 2)]].concat();
    let newer = [history(), vec![started(3, 2, 3)]].concat();
    assert_eq!(journals([older.clone(), newer.clone(), vec![]]), newer);
    assert_eq!(journals([newer.clone(), older]), newer);
    let longer = [newer.clone(), vec![wanted(9, 2, 3, 'b')]].concat();
    assert_eq!(journals([newer, longer.clone()]), longer);
    // of earlier versions: the newest deploy, then one that ended, then the longest
    let (ended, running) =
        (vec![started(0, 1, 0), succeeded(2, 1, 0)], vec![started(0, 1, 0), noted(1, 0), noted(2, 0)]);
    assert_eq!(journals([running.clone(), ended.clone()]), ended);
    assert_eq!(journals([ended.clone(), vec![started(3, 2, 0)]]), [started(3, 2, 0)]);
    assert_eq!(journals([]), []);
}

#[test]
fn a_host_adopts_what_the_majority_holds() {
    let journal = [history(), vec![started(3, 2, 2), wanted(4, 2, 2, 'b'), succeeded(5, 2, 2)]].concat();
    let there = Holding { journal: journal.clone(), desired: steady(Some(&revision('b'))) };
    let away = Holding { journal: history(), desired: steady(Some(&revision('a'))) };
    assert_eq!(adopt(&away, std::slice::from_ref(&there), 3), Some(there.clone()));
    assert_eq!(adopt(&there, std::slice::from_ref(&away), 3), None, "it is level itself");
    assert_eq!(adopt(&away, std::slice::from_ref(&there), 4), None, "two of four are no majority");
    let strayed = Holding { desired: steady(Some(&revision('a'))), ..there.clone() };
    assert_eq!(adopt(&strayed, &[there.clone(), away.clone()], 3), Some(there), "its own desired state is of nobody");
    // while visitors move it follows
    let moving = [journal, vec![started(6, 3, 3), entry(7, 3, 3, Event::Shifting { percent: 50 })]].concat();
    assert_eq!(resting(&moving), None);
    let there = Holding { journal: moving, desired: Desired { by_host: true, ..steady(Some(&revision('b'))) } };
    assert_eq!(adopt(&away, std::slice::from_ref(&there), 2), Some(there));
}

/// An agent runs these on a runtime with many threads.
#[test]
fn every_future_may_move_between_threads() {
    fn movable<T: Send>(future: T) -> T {
        future
    }
    let hosts = Hosts::new(3);
    let (group, clock, policy) = (hosts.group(), hosts.clock.clone(), Policy::default());
    let mut watcher = Silent;
    drop(movable(recover(&group, &clock, "agent of a", TTL, &policy, &mut watcher)));
    drop(movable(group.task(&Task::Preflight { revision: revision('a') }, Fence(1))));
}
