//! Plans, compared as the text people read, and their laws.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use engine::{
    desired::{Desired, Instance, InstanceState, Observed},
    journal::{DeployKind, Migration},
    plan::{Plan, Planned, plan, plan_forward, rollback_migrations, steady},
    policy::{MigrationsDown, Policy, Stage},
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

fn migration(version: u64, name: &str, reversible: bool) -> Migration {
    Migration { database: ResourceName::new("main").expect("a name"), version, name: name.to_owned(), reversible }
}

fn canary() -> Policy {
    let stage = |percent, seconds| Stage { percent, bake: Duration::from_secs(seconds), hold: false };
    Policy { stages: vec![stage(10, 300), stage(50, 600), stage(100, 90)], ..Policy::default() }
}

/// The environment as it is when its hosts have reached `desired`.
fn reached(desired: &Desired, replicas: u32) -> Observed {
    let instance = |revision: &Revision, number: u32| Instance {
        id: format!("api-{revision}-{number}"),
        host: "this machine".to_owned(),
        revision: revision.clone(),
        service: ResourceName::new("api").expect("a name"),
        state: InstanceState::Ready,
        restarts: 0,
        pid: None,
        port: None,
        started_at: None,
        memory: None,
    };
    let running = desired.running.iter();
    Observed {
        lost: Vec::new(),
        promoted: None,
        scaled: Vec::new(),
        desired: desired.clone(),
        expected: running.clone().map(|revision| (revision.clone(), replicas)).collect(),
        instances: running.flat_map(|revision| (0..replicas).map(move |number| instance(revision, number))).collect(),
        serving: desired.traffic.clone(),
        traffic: BTreeMap::new(),
        services: Vec::new(),
        troubles: vec![],
    }
}

#[test]
fn a_deploy_with_stages_and_migrations() {
    let (old, new) = (revision('a'), revision('b'));
    let observed = reached(&steady(Some(&old)), 2);
    let pending = [migration(4, "add_index", true), migration(5, "drop_notes", false)];
    let plan = plan(Some(&new), Some(&old), &observed, &pending, &canary(), DeployKind::Deploy);
    insta::assert_snapshot!(plan, @r"
    deploy from aaaaaaaaaaaa to bbbbbbbbbbbb
      ship       bring release bbbbbbbbbbbb to every host
      preflight  look whether it could run there; failing here changes nothing
      backup     copy what the migrations could damage
      migrate    apply 2 migrations: main 4 add_index, main 5 drop_notes (cannot be undone)
      start      start its instances beside those that run; visitors stay
      probe      wait until every new instance is ready
      shift      move 10 % of the visitors
      bake       watch errors and answer times at 10 % for 5m; worse rolls back
      shift      move 50 % of the visitors
      bake       watch errors and answer times at 50 % for 10m; worse rolls back
      shift      move all visitors (the commit point)
      bake       watch errors and answer times at 100 % for 1m 30s; worse rolls back
      drain      let all other instances finish and end
      record     write the outcome
    ");
}

#[test]
fn a_deploy_in_waves_that_are_held() {
    let (old, new) = (revision('a'), revision('b'));
    let observed = reached(&steady(Some(&old)), 2);
    let policy = Policy::of(&"waves 1 until promoted, 2 for 1m, 100%".parse().expect("well formed"), 3);
    let plan = plan(Some(&new), Some(&old), &observed, &[], &policy, DeployKind::Deploy);
    insta::assert_snapshot!(plan, @r"
    deploy from aaaaaaaaaaaa to bbbbbbbbbbbb
      ship       bring release bbbbbbbbbbbb to every host
      preflight  look whether it could run there; failing here changes nothing
      start      start its instances beside those that run; visitors stay
      probe      wait until every new instance is ready
      shift      move all visitors of 1 of 3 hosts
      bake       watch errors and answer times at 33 % until a person promotes it; worse rolls back
      shift      move all visitors of 2 of 3 hosts
      bake       watch errors and answer times at 66 % for 1m; worse rolls back
      shift      move all visitors (the commit point)
      drain      let all other instances finish and end
      record     write the outcome
    ");
}

#[test]
fn a_first_deploy_has_no_stages() {
    let plan = plan(Some(&revision('b')), None, &Observed::default(), &[], &canary(), DeployKind::Deploy);
    insta::assert_snapshot!(plan, @r"
    deploy from nothing to bbbbbbbbbbbb
      ship       bring release bbbbbbbbbbbb to every host
      preflight  look whether it could run there; failing here changes nothing
      start      start its instances
      probe      wait until every new instance is ready
      shift      move all visitors (the commit point)
      bake       watch errors and answer times at 100 % for 1m 30s; worse rolls back
      drain      let all other instances finish and end
      record     write the outcome
    ");
}

#[test]
fn a_rollback_with_its_database_says_what_is_lost() {
    let (old, new) = (revision('a'), revision('b'));
    let applied = [migration(3, "users", true), migration(4, "add_notes", true), migration(5, "merge", false)];
    let migrations = rollback_migrations(&applied, &applied[..1]);
    let policy =
        Policy { migrations_down: Some(MigrationsDown { revision: new.clone(), migrations }), ..Policy::default() };
    let observed = reached(&steady(Some(&new)), 1);
    let plan = plan(Some(&old), Some(&new), &observed, &[], &policy, DeployKind::Rollback);
    insta::assert_snapshot!(plan, @r"
    rollback from bbbbbbbbbbbb to aaaaaaaaaaaa
      ship       bring release aaaaaaaaaaaa to every host
      preflight  look whether it could run there; failing here changes nothing
      start      start its instances beside those that run; visitors stay
      probe      wait until every new instance is ready
      shift      move all visitors (the commit point)
      drain      let all other instances finish and end
      migrate    run down 2 migrations: main 4 add_notes, main 5 merge (cannot be undone); what they hold IS LOST
      record     write the outcome
    ");
}

#[test]
fn an_automatic_rollback_moves_visitors_back_without_stages() {
    let (old, new) = (revision('a'), revision('b'));
    let mut desired = steady(Some(&old));
    desired.running.insert(new.clone());
    desired.traffic = BTreeMap::from([(old.clone(), 90), (new.clone(), 10)]);
    let plan = plan(Some(&old), Some(&new), &reached(&desired, 1), &[], &canary(), DeployKind::AutomaticRollback);
    insta::assert_snapshot!(plan, @r"
    automatic rollback from bbbbbbbbbbbb to aaaaaaaaaaaa
      start      start its instances beside those that run; visitors stay
      probe      wait until one instance is ready
      shift      move all visitors (the commit point)
      drain      let all other instances finish and end
      record     write the outcome
    ");
    // visitors are not moved before the old release has been seen ready
    let Some(Planned::Start { desired: start }) = plan.steps.first() else { panic!("starts") };
    assert_eq!(start.traffic, desired.traffic);
}

#[test]
fn a_stop_and_a_stop_of_nothing() {
    let old = revision('a');
    let stop = plan(None, Some(&old), &reached(&steady(Some(&old)), 1), &[], &canary(), DeployKind::Stop);
    insta::assert_snapshot!(stop, @r"
    stop from aaaaaaaaaaaa to nothing
      shift      stop taking visitors
      drain      let every instance finish and end
      record     write the outcome
    ");
    let again = plan(None, None, &Observed::default(), &[], &canary(), DeployKind::Stop);
    insta::assert_snapshot!(again, @"nothing to do: the environment is on nothing");
}

#[test]
fn an_unhealthy_environment_is_repaired_by_deploying_the_same_release() {
    let old = revision('a');
    let mut observed = reached(&steady(Some(&old)), 2);
    assert!(plan(Some(&old), Some(&old), &observed, &[], &canary(), DeployKind::Deploy).steps.is_empty());
    observed.instances.pop();
    let plan = plan(Some(&old), Some(&old), &observed, &[], &canary(), DeployKind::Deploy);
    insta::assert_snapshot!(plan, @r"
    deploy from aaaaaaaaaaaa to aaaaaaaaaaaa
      ship       bring release aaaaaaaaaaaa to every host
      preflight  look whether it could run there; failing here changes nothing
      start      start its instances
      probe      wait until every new instance is ready
      drain      let all other instances finish and end
      record     write the outcome
    ");
    // visitors stay on it meanwhile
    assert_eq!(wanted_states(&plan).collect::<Vec<_>>(), [&steady(Some(&old)), &steady(Some(&old))]);
}

/// Every desired state a plan asks for, in order.
fn wanted_states(plan: &Plan) -> impl Iterator<Item = &Desired> {
    plan.steps.iter().filter_map(|planned| match planned {
        Planned::Start { desired } | Planned::Shift { desired, .. } | Planned::Drain { desired } => Some(desired),
        _ => None,
    })
}

fn any_revision() -> impl Strategy<Value = Option<Revision>> {
    prop_oneof![Just(None), prop::sample::select(vec!['a', 'b', 'c']).prop_map(|digit| Some(revision(digit)))]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    prop::collection::vec((0_u8..=100, 0_u64..3), 0..5).prop_map(|stages| Policy {
        stages: stages
            .into_iter()
            .map(|(percent, seconds)| Stage { percent, bake: Duration::from_secs(seconds), hold: false })
            .collect(),
        ..Policy::default()
    })
}

fn any_observed() -> impl Strategy<Value = Observed> {
    let states = prop::collection::btree_set(prop::sample::select(vec!['a', 'b', 'c']), 0..3);
    (states, 1_u8..100, 0_u32..3, any::<bool>()).prop_map(|(running, share, replicas, whole)| {
        let running: BTreeSet<Revision> = running.into_iter().map(revision).collect();
        let names: Vec<&Revision> = running.iter().collect();
        let traffic = match names.as_slice() {
            [] => BTreeMap::new(),
            [one] => BTreeMap::from([((*one).clone(), 100)]),
            [one, two, ..] => BTreeMap::from([((*one).clone(), share), ((*two).clone(), 100 - share)]),
        };
        let schedules = running.first().cloned();
        let mut observed = reached(&Desired { running, traffic, schedules, by_host: false }, replicas);
        if !whole {
            observed.instances.pop();
            observed.serving.clear();
        }
        observed
    })
}

const KINDS: [DeployKind; 3] = [DeployKind::Deploy, DeployKind::Rollback, DeployKind::AutomaticRollback];

proptest! {
    /// Planning again from where a plan leads gives an empty plan.
    #[test]
    fn planning_is_idempotent(
        wanted in any_revision(),
        current in any_revision(),
        observed in any_observed(),
        policy in any_policy(),
        kind in prop::sample::select(KINDS.to_vec()),
    ) {
        let first = plan(wanted.as_ref(), current.as_ref(), &observed, &[], &policy, kind);
        let end = wanted_states(&first).last().unwrap_or(&observed.desired).clone();
        prop_assert_eq!(&end, &steady(wanted.as_ref()));
        let replicas = if wanted.is_some() { 2 } else { 0 };
        let again = plan(wanted.as_ref(), wanted.as_ref(), &reached(&end, replicas), &[], &policy, kind);
        prop_assert_eq!(again.steps, vec![]);
    }

    /// Every desired state a plan passes through is whole: shares sum to 100 or are none, and whoever has visitors
    /// runs; shares of the wanted revision only rise, end at 100, and nothing stops before that.
    #[test]
    fn every_state_on_the_way_is_whole(
        wanted in any_revision(),
        current in any_revision(),
        observed in any_observed(),
        policy in any_policy(),
        kind in prop::sample::select(KINDS.to_vec()),
    ) {
        let forward = plan_forward(wanted.as_ref(), current.as_ref(), &observed, &policy);
        let plan = plan(wanted.as_ref(), current.as_ref(), &observed, &[], &policy, kind);
        for plan in [plan, forward] {
            for desired in wanted_states(&plan) {
                let sum: u32 = desired.traffic.values().map(|share| u32::from(*share)).sum();
                prop_assert!(sum == 100 || desired.traffic.is_empty());
                prop_assert!(desired.traffic.keys().all(|revision| desired.running.contains(revision)));
                prop_assert!(desired.schedules.iter().all(|revision| desired.running.contains(revision)));
            }
            let shares: Vec<u8> = plan.steps.iter().filter_map(|planned| match planned {
                Planned::Shift { percent, .. } => Some(*percent),
                _ => None,
            }).collect();
            prop_assert!(shares.is_sorted());
            prop_assert!(shares.iter().all(|share| *share > 0));
            prop_assert!(shares.last().is_none_or(|last| *last == 100));
        }
    }
}
