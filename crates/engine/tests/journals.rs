//! The fold over a journal.

use engine::{
    desired::{Desired, Observed},
    journal::{DeployKind, Entry, Event, Migration, Outcome, Start, Step},
    plan::{nothing_to_do, steady},
    record::{Status, committed, previous, records, unfinished},
    target::Fence,
};
use proptest::prelude::*;
use stack::{ReleaseId, ResourceName, Revision, ValuesId};

fn revision(digit: char) -> Revision {
    let text = |length: usize| digit.to_string().repeat(length);
    Revision {
        release: ReleaseId::new(text(64)).expect("a digest"),
        values: ValuesId::new(text(16)).expect("a digest"),
    }
}

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

fn started(kind: DeployKind, previous: Option<char>) -> Event {
    Event::Started(Start { kind, by: "ada@laptop".to_owned(), previous: previous.map(revision) })
}

fn wanted(digit: char) -> Event {
    let commit = Some("3f9c2a1".to_owned());
    Event::Wanted { revision: Some(revision(digit)), version: "1.4.0".to_owned(), number: 7, commit }
}

fn journal(events: Vec<(u64, Event)>) -> Vec<Entry> {
    events
        .into_iter()
        .zip(0..)
        .map(|((deploy, event), second)| Entry { at: at(second), deploy, event, fence: Fence(1) })
        .collect()
}

fn succeeded(number: u64, previous: Option<char>, digit: char) -> Vec<(u64, Event)> {
    vec![
        (number, started(DeployKind::Deploy, previous)),
        (number, wanted(digit)),
        (number, Event::Shifting { percent: 100 }),
        (number, Event::Ended(Outcome::Succeeded)),
    ]
}

// proves S4.7
#[test]
fn a_record_says_who_deployed_what_when_and_how_long_each_step_took() {
    let entries = journal(vec![
        (1, started(DeployKind::Deploy, Some('a'))),
        (1, Event::StepStarted { step: Step::Build }),
        (1, Event::StepEnded { step: Step::Build, millis: 4100 }),
        (1, wanted('b')),
        (1, Event::StepStarted { step: Step::Probe }),
        (1, Event::Ended(Outcome::Failed { step: Some(Step::Probe), reason: "not ready".to_owned() })),
    ]);
    let record = &records(&entries)[0];
    assert_eq!((record.number, record.kind, record.by.as_str()), (1, DeployKind::Deploy, "ada@laptop"));
    assert_eq!((record.version.as_deref(), record.release_number), (Some("1.4.0"), Some(7)));
    assert_eq!(record.commit.as_deref(), Some("3f9c2a1"));
    assert_eq!((record.started_at, record.ended_at), (at(0), Some(at(5))));
    assert_eq!((record.previous.clone(), record.revision.clone()), (Some(revision('a')), Some(revision('b'))));
    let steps: Vec<_> = record.steps.iter().map(|step| (step.step, step.millis)).collect();
    assert_eq!(steps, [(Step::Build, Some(4100)), (Step::Probe, None)]);
    // proves S4.P11: a failed health check after a deploy marks it failed, and the environment stays
    assert!(matches!(&record.status, Status::Ended { outcome: Outcome::Failed { .. } }));
    assert_eq!(committed(&entries), Some(revision('a')));
    assert!(!unfinished(&entries));
}

#[test]
fn a_rollback_goes_to_the_last_other_release_that_succeeded() {
    let mut events = succeeded(1, None, 'a');
    events.extend(succeeded(2, Some('a'), 'b'));
    events.extend(succeeded(3, Some('b'), 'b'));
    assert_eq!(committed(&journal(events.clone())), Some(revision('b')));
    assert_eq!(previous(&journal(events.clone())), Some(revision('a')));
    events.push((4, started(DeployKind::Stop, Some('b'))));
    events.push((4, Event::Shifting { percent: 100 }));
    events.push((4, Event::Ended(Outcome::Succeeded)));
    assert_eq!(committed(&journal(events.clone())), None);
    assert_eq!(previous(&journal(events)), Some(revision('b')));
    assert_eq!(previous(&journal(succeeded(1, None, 'a'))), None);
}

#[test]
fn visitors_that_were_to_be_moved_back_are_unfinished_business() {
    let mut events = succeeded(1, None, 'a');
    events.push((2, started(DeployKind::Deploy, Some('a'))));
    assert!(unfinished(&journal(events.clone())));
    events.push((2, wanted('b')));
    events.push((2, Event::Shifting { percent: 10 }));
    events.push((2, Event::Ended(Outcome::RolledBack { reason: "errors".to_owned() })));
    assert!(unfinished(&journal(events.clone())));
    assert_eq!(committed(&journal(events.clone())), Some(revision('a')));
    events.push((3, started(DeployKind::AutomaticRollback, Some('b'))));
    assert!(unfinished(&journal(events.clone())));
    // it cannot go back: visitors stay on the release that was to be left
    let mut stuck = events.clone();
    stuck.push((3, Event::Ended(Outcome::Failed { step: None, reason: "no instance".to_owned() })));
    assert_eq!(committed(&journal(stuck)), Some(revision('b')));
    events.push((3, wanted('a')));
    events.push((3, Event::Ended(Outcome::Succeeded)));
    assert!(!unfinished(&journal(events.clone())));
    assert_eq!(committed(&journal(events)), Some(revision('a')));
}

#[test]
fn nothing_to_do_only_when_all_is_well() {
    let entries = journal(succeeded(1, None, 'a'));
    let (a, b) = (revision('a'), revision('b'));
    let desired = steady(Some(&a));
    let serving = desired.traffic.clone();
    let well = Observed { desired, serving, expected: [(a.clone(), 0)].into(), ..Observed::default() };
    assert!(nothing_to_do(&entries, &well, &a));
    assert!(!nothing_to_do(&entries, &well, &b));
    assert!(!nothing_to_do(&entries[..3], &well, &a), "unfinished");
    assert!(!nothing_to_do(&entries, &Observed { desired: Desired::default(), ..well.clone() }, &a));
    assert!(!nothing_to_do(&entries, &Observed { expected: [(a.clone(), 1)].into(), ..well.clone() }, &a));
    assert!(!nothing_to_do(&entries, &Observed { troubles: vec!["port 80 is taken".to_owned()], ..well }, &a));
}

#[test]
fn entries_are_one_line_of_json_each() {
    let entry = Entry { at: at(0), deploy: 3, event: Event::Shifting { percent: 10 }, fence: Fence(4) };
    let line = serde_json::to_string(&entry).expect("serialises");
    insta::assert_snapshot!(line, @r#"{"at":"2027-01-15T08:00:00Z","deploy":3,"fence":4,"event":{"event":"shifting","percent":10}}"#);
    assert_eq!(serde_json::from_str::<Entry>(&line).expect("parses"), entry);
}

fn any_event() -> impl Strategy<Value = Event> {
    let kinds = [DeployKind::Deploy, DeployKind::Rollback, DeployKind::AutomaticRollback, DeployKind::Stop];
    let digit = || prop::sample::select(vec!['a', 'b', 'c']);
    let step = || prop::sample::select(Step::ALL.to_vec());
    let migration = Migration {
        database: ResourceName::new("main").expect("a name"),
        version: 1,
        name: "users".to_owned(),
        reversible: true,
    };
    prop_oneof![
        (prop::sample::select(kinds.to_vec()), prop::option::of(digit()))
            .prop_map(|(kind, digit)| started(kind, digit)),
        digit().prop_map(wanted),
        step().prop_map(|step| Event::StepStarted { step }),
        step().prop_map(|step| Event::StepEnded { step, millis: 1 }),
        Just(Event::MigrationsPlanned { migrations: vec![migration] }),
        (0_u8..=100).prop_map(|percent| Event::Shifting { percent }),
        Just(Event::Noted { text: "slow".to_owned() }),
        Just(Event::Ended(Outcome::Succeeded)),
        step().prop_map(|step| Event::Ended(Outcome::Failed { step: Some(step), reason: String::new() })),
        Just(Event::Ended(Outcome::RolledBack { reason: String::new() })),
    ]
}

proptest! {
    /// Any list of entries has an answer, and so has any prefix: a torn journal is one.
    #[test]
    fn the_fold_is_total(events in prop::collection::vec((1_u64..5, any_event()), 0..40)) {
        let entries = journal(events);
        for length in 0..=entries.len() {
            let prefix = &entries[..length];
            let records = records(prefix);
            let starts = prefix.iter().filter(|entry| matches!(entry.event, Event::Started(_))).count();
            prop_assert_eq!(records.len(), starts);
            prop_assert_eq!(unfinished(prefix) && records.is_empty(), false);
            let running = records.iter().rev().skip(1).filter(|record| record.status == Status::Running).count();
            prop_assert_eq!(running, 0, "only the last may still run");
            let _ = (committed(prefix), previous(prefix));
        }
    }
}
