//! Many journals and observations as one, and what a host that was away should hold.

use std::collections::BTreeMap;

use stack::Revision;

use crate::{
    desired::{Desired, Lost, Observed, Traffic},
    journal::{DeployKind, Entry, Event, Outcome},
    plan::steady,
    record::{Status, committed_of, records},
    target::Fence,
};

/// The journal that counts: it ends with the newest token; in journals of earlier versions, that have none, its last
/// deploy is the newest, then has an end; then the longest. Empty when there is none.
pub fn journals(all: impl IntoIterator<Item = Vec<Entry>>) -> Vec<Entry> {
    all.into_iter().max_by_key(|journal| rank(journal)).unwrap_or_default()
}

/// How much a journal counts.
fn rank(journal: &[Entry]) -> (Fence, u64, bool, usize) {
    let fence = journal.last().map_or(Fence::default(), |last| last.fence);
    let deploy = journal.last().map_or(0, |last| last.deploy);
    let of_it = journal.iter().rev().take_while(|entry| entry.deploy == deploy);
    let ended = of_it.into_iter().any(|entry| matches!(entry.event, Event::Ended(_)));
    (fence, deploy, ended, journal.len())
}

/// The desired state of an environment whose journal is this, while no deploy is moving visitors: that of its last
/// committed release. `None` when visitors have begun to move, or are to be moved back, and the deploy has no end:
/// then whoever recovers it decides.
pub fn resting(journal: &[Entry]) -> Option<Desired> {
    let records = records(journal);
    let moving = records.last().is_some_and(|last| match &last.status {
        // an automatic rollback moves them back from wherever they are
        Status::Running | Status::Interrupted => {
            last.trail.shifted.is_some() || last.kind == DeployKind::AutomaticRollback
        }
        Status::Ended { outcome } => matches!(outcome, Outcome::RolledBack { .. }),
    });
    (!moving).then(|| steady(committed_of(&records).as_ref()))
}

/// What one host holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Holding {
    /// Its journal.
    pub journal: Vec<Entry>,
    /// Its desired state, read in the same moment: one that is older than the journal may want instances that are gone.
    /// Where two calls read them, the journal must be the same before and after.
    pub desired: Desired,
}

/// What a host should hold whose own lease is free or lapsed, so that it is level with the environment without anybody's
/// help; `None` when it is level, or when it and the peers that answered are no more than half of the `hosts`.
///
/// The host replaces both in one durable change, and only if nobody took its lease since it looked. It does so also
/// while others deploy: it is left out of that deploy and follows it. Only once the journal's last deploy is
/// [unfinished](crate::record::unfinished) and nobody holds a lease does a [recovery](crate::recover::recover) begin.
pub fn adopt(own: &Holding, peers: &[Holding], hosts: usize) -> Option<Holding> {
    if (peers.len() + 1) * 2 <= hosts {
        return None;
    }
    let best = peers.iter().filter(|peer| rank(&peer.journal) > rank(&own.journal));
    let best = best.max_by_key(|peer| rank(&peer.journal)).unwrap_or(own);
    let desired = resting(&best.journal).unwrap_or_else(|| best.desired.clone());
    let holding = Holding { journal: best.journal.clone(), desired };
    (holding != *own).then_some(holding)
}

/// What the hosts should hold, to tell which of them counts when they differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// Nobody holds the lease.
    Nothing,
    /// This.
    This(Desired),
    /// Visitors are being moved to this revision, by an engine that is gone.
    Moving(Option<Revision>),
}

impl Expected {
    /// By the journal alone.
    pub(super) fn of(journal: &[Entry]) -> Self {
        match resting(journal) {
            Some(desired) => Self::This(desired),
            None => Self::Moving(records(journal).pop().and_then(|last| last.revision)),
        }
    }

    /// The desired state of those that counts for all. While visitors are being moved hosts differ by one step at most,
    /// and what the earlier step needs still runs everywhere.
    fn choose(&self, all: &[&Desired]) -> Desired {
        let share = |one: &Desired, revision: &Revision| one.traffic.get(revision).copied().unwrap_or_default();
        let chosen = match self {
            Self::Nothing => return mixed(all),
            Self::This(expected) => all.iter().find(|one| **one != expected),
            Self::Moving(None) => None,
            Self::Moving(Some(to)) => all.iter().min_by_key(|one| share(one, to)),
        };
        chosen.or(all.first()).map_or_else(Desired::default, |one| (*one).clone())
    }
}

/// Many observations as one.
///
/// `desired` and `serving` are equal to something wanted only when every host says so.
pub(super) fn observations(seen: Vec<(String, Observed)>, lost: Vec<Lost>, expected: &Expected) -> Observed {
    let mut all = Observed { lost, ..Observed::default() };
    let desired: Vec<&Desired> = seen.iter().map(|(_, one)| &one.desired).collect();
    all.desired = match desired.first() {
        Some(first) if desired.iter().all(|one| one == first) => (*first).clone(),
        _ => expected.choose(&desired),
    };
    all.serving = shares(&seen.iter().map(|(_, one)| &one.serving).collect::<Vec<_>>());
    let mut waiting = Vec::new();
    for (host, one) in seen {
        waiting.extend(one.desired.running.into_iter().filter(|revision| !one.expected.contains_key(revision)));
        for (revision, count) in one.expected {
            *all.expected.entry(revision).or_default() += count;
        }
        for (revision, traffic) in one.traffic {
            let sum = all.traffic.entry(revision).or_default();
            *sum = together(*sum, traffic);
        }
        all.instances.extend(one.instances.into_iter().map(|mut instance| {
            instance.host.clone_from(&host);
            instance
        }));
        all.services.extend(one.services.into_iter().map(|mut service| {
            service.host.clone_from(&host);
            service
        }));
        all.scaled.extend(one.scaled.into_iter().map(|mut scaled| {
            scaled.host.clone_from(&host);
            scaled
        }));
        all.troubles.extend(one.troubles.into_iter().map(|trouble| format!("{host}: {trouble}")));
        all.promoted = all.promoted.max(one.promoted);
    }
    // a revision that one host has not taken up has not been taken up
    for revision in waiting {
        all.expected.remove(&revision);
    }
    all
}

/// Desired states that differ, as one that no environment ever has: it equals none that somebody waits for.
fn mixed(all: &[&Desired]) -> Desired {
    let schedules = all.first().and_then(|first| first.schedules.clone());
    Desired {
        running: all.iter().flat_map(|one| one.running.iter().cloned()).collect(),
        traffic: shares(&all.iter().map(|one| &one.traffic).collect::<Vec<_>>()),
        schedules: schedules.filter(|first| all.iter().all(|one| one.schedules.as_ref() == Some(first))),
        by_host: all.iter().any(|one| one.by_host),
    }
}

/// The shares that every host has at least: the same as theirs when they agree, else less than 100 in all.
fn shares(all: &[&BTreeMap<Revision, u8>]) -> BTreeMap<Revision, u8> {
    let least = |revision: &Revision| {
        let of = all.iter().map(|shares| shares.get(revision).copied().unwrap_or_default());
        (revision.clone(), of.min().unwrap_or_default())
    };
    all.iter().flat_map(|shares| shares.keys()).map(least).collect()
}

/// What visitors got from one revision on two hosts; the percentile weighs each by its requests.
#[expect(clippy::cast_precision_loss, reason = "counts of one bake are far below 2^52")]
fn together(one: Traffic, other: Traffic) -> Traffic {
    let requests = one.requests + other.requests;
    let weighed = one.p95_ms * one.requests as f64 + other.p95_ms * other.requests as f64;
    let p95_ms = if requests == 0 { one.p95_ms.max(other.p95_ms) } else { weighed / requests as f64 };
    Traffic { requests, errors: one.errors + other.errors, p95_ms }
}
