//! `state.json` of one environment: who may change it, and what it should be.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use engine::{
    desired::Desired,
    target::{Fence, TargetError},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stack::Revision;

use crate::{error::Error, files};

/// The document on disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Document {
    /// Newest token ever given.
    fence: u64,
    /// Who may change this environment now.
    lease: Option<Lease>,
    /// What it should be.
    desired: Desired,
    /// Revisions that had visitors, newest first.
    #[serde(default)]
    served: Vec<Revision>,
    /// The deploy whose present stage a person promoted.
    #[serde(default)]
    promoted: Option<u64>,
    /// The next token is larger than this one: other hosts of the environment gave it.
    #[serde(default)]
    floor: u64,
    /// The file of the journal that took the place of the one before it.
    #[serde(default)]
    journal: Option<String>,
}

/// So many revisions that had visitors are remembered: pages that are still open ask for their files.
const REMEMBERED: usize = 5;

/// Leave to change an environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Lease {
    holder: String,
    /// Wall clock: only read after a restart of the agent.
    expires_at: Timestamp,
    ttl_ms: u64,
}

/// The state with the moment its lease lapses.
#[derive(Debug)]
pub(crate) struct State {
    path: PathBuf,
    document: Document,
    /// By the clock that never jumps.
    lapses: Option<Instant>,
}

/// How the lease of an environment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseState {
    /// Nobody has it.
    Free,
    /// Somebody has it until then.
    Held(Instant),
    /// Somebody had it and fell silent.
    Lapsed,
}

impl State {
    /// Reads the state at `path`; without one nothing is wanted and nobody has the lease.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mend = "restore the file from a backup, or remove it and deploy again";
        let document: Document = files::find_json(path, mend)?.unwrap_or_default();
        let lapses = document.lease.as_ref().map(|lease| {
            let left = Timestamp::now().duration_until(lease.expires_at).as_millis();
            // A clock that was set back must not make a lease longer than it was given.
            Instant::now() + Duration::from_millis(u64::try_from(left).unwrap_or(0).min(lease.ttl_ms))
        });
        Ok(Self { path: path.to_owned(), document, lapses })
    }

    /// What is wanted.
    pub(crate) fn desired(&self) -> &Desired {
        &self.document.desired
    }

    /// Revisions that have or had visitors, newest first, at most five.
    pub(crate) fn served(&self) -> &[Revision] {
        &self.document.served
    }

    /// The deploy whose present stage a person promoted.
    pub(crate) fn promoted(&self) -> Option<u64> {
        self.document.promoted
    }

    /// Promotes the present stage of a deploy: good until something else is wanted.
    pub(crate) fn promote(&mut self, deploy: u64) -> Result<(), Error> {
        self.keep(Document { promoted: Some(deploy), ..self.document.clone() })
    }

    /// How the lease is at `now`.
    pub(crate) fn lease(&self, now: Instant) -> LeaseState {
        match self.lapses {
            None => LeaseState::Free,
            Some(at) if at > now => LeaseState::Held(at),
            Some(_) => LeaseState::Lapsed,
        }
    }

    /// Gives the lease to `holder` for `ttl`, unless somebody has it.
    pub(crate) fn lock(&mut self, holder: &str, ttl: Duration) -> Result<Fence, TargetError> {
        let now = Instant::now();
        if let (LeaseState::Held(at), Some(lease)) = (self.lease(now), &self.document.lease) {
            return Err(TargetError::Locked { holder: lease.holder.clone(), expires_in_ms: millis(at - now) });
        }
        let fence = self.document.fence.max(self.document.floor) + 1;
        let document = Document { fence, lease: Some(lease(holder, ttl)), ..self.document.clone() };
        self.keep(document)?;
        self.lapses = Some(now + ttl);
        Ok(Fence(fence))
    }

    /// Refuses a token that is not the newest, or whose lease was given back.
    pub(crate) fn check(&self, fence: Fence) -> Result<(), TargetError> {
        if fence.0 == self.document.fence && self.document.lease.is_some() {
            return Ok(());
        }
        Err(TargetError::Fenced { given: fence.0, current: self.document.fence })
    }

    /// Extends the lease to `ttl` from now. One that lapsed lives again when nobody took it.
    pub(crate) fn renew(&mut self, fence: Fence, ttl: Duration) -> Result<(), TargetError> {
        self.check(fence)?;
        let holder = self.document.lease.as_ref().map(|lease| lease.holder.clone()).unwrap_or_default();
        let document = Document { lease: Some(lease(&holder, ttl)), ..self.document.clone() };
        self.keep(document)?;
        self.lapses = Some(Instant::now() + ttl);
        Ok(())
    }

    /// Ends the lease. Done already is done; a newer one is refused.
    pub(crate) fn unlock(&mut self, fence: Fence) -> Result<(), TargetError> {
        if fence.0 == self.document.fence && self.document.lease.is_none() {
            return Ok(());
        }
        self.check(fence)?;
        self.keep(Document { lease: None, ..self.document.clone() })?;
        self.lapses = None;
        Ok(())
    }

    /// Replaces what is wanted. Says whether that changed anything.
    pub(crate) fn want(&mut self, desired: &Desired, fence: Fence) -> Result<bool, TargetError> {
        self.check(fence)?;
        if self.document.desired == *desired {
            return Ok(false);
        }
        let served = self.served_after(desired);
        // Who promoted a stage has not promoted the next one.
        self.keep(Document { desired: desired.clone(), served, promoted: None, ..self.document.clone() })?;
        Ok(true)
    }

    /// Takes over what other hosts of the environment have, in one change with the journal in the file `journal`. The
    /// present lease stays as it is; the next one has a token larger than `floor`.
    pub(crate) fn take_over(&mut self, desired: Option<&Desired>, floor: Fence, journal: String) -> Result<(), Error> {
        let mut document = self.document.clone();
        document.floor = document.floor.max(floor.0);
        document.journal = Some(journal);
        if let Some(desired) = desired.filter(|desired| **desired != document.desired) {
            document.served = self.served_after(desired);
            document.promoted = None;
            document.desired = desired.clone();
        }
        self.keep(document)
    }

    /// The file of the journal that took the place of the one before it.
    pub(crate) fn journal(&self) -> Option<&str> {
        self.document.journal.as_deref()
    }

    /// Revisions that had visitors, once those of `desired` have them.
    fn served_after(&self, desired: &Desired) -> Vec<Revision> {
        let had = &self.document.desired.traffic;
        let now: Vec<Revision> = desired.traffic.keys().filter(|one| !had.contains_key(one)).cloned().collect();
        let before = self.document.served.iter().filter(|one| !now.contains(one)).cloned();
        now.iter().cloned().chain(before).take(REMEMBERED).collect()
    }

    /// Only what is on disk becomes true.
    fn keep(&mut self, document: Document) -> Result<(), Error> {
        files::replace_json(&self.path, &document)?;
        self.document = document;
        Ok(())
    }
}

fn lease(holder: &str, ttl: Duration) -> Lease {
    let expires_at = Timestamp::now().checked_add(ttl).unwrap_or(Timestamp::MAX);
    Lease { holder: holder.to_owned(), expires_at, ttl_ms: millis(ttl) }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn fresh() -> (tempfile::TempDir, State) {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state.json")).unwrap();
        (folder, state)
    }

    #[test]
    fn a_lease_is_one_persons_until_it_lapses() {
        let (_folder, mut state) = fresh();
        let first = state.lock("ann@desk", MINUTE).unwrap();
        let Err(TargetError::Locked { holder, expires_in_ms }) = state.lock("bob@desk", MINUTE) else {
            panic!("locked")
        };
        assert_eq!(holder, "ann@desk");
        assert!((59_000..=60_000).contains(&expires_in_ms));
        state.renew(first, Duration::ZERO).unwrap();
        assert_eq!(state.lease(Instant::now()), LeaseState::Lapsed);
        state.want(&Desired::default(), first).expect("nobody took it yet");
        let second = state.lock("bob@desk", MINUTE).unwrap();
        assert!(second > first);
        let fenced = TargetError::Fenced { given: first.0, current: second.0 };
        assert_eq!(state.renew(first, MINUTE).unwrap_err(), fenced);
        assert_eq!(state.want(&Desired::default(), first).unwrap_err(), fenced);
        assert_eq!(state.unlock(first).unwrap_err(), fenced);
        state.unlock(second).unwrap();
        state.unlock(second).expect("done already is done");
        assert!(state.want(&Desired::default(), second).is_err(), "given back");
    }

    #[test]
    fn state_and_lease_survive_a_restart_and_tokens_never_repeat() {
        let (folder, mut state) = fresh();
        let fence = state.lock("ann@desk", MINUTE).unwrap();
        let path = folder.path().join("state.json");
        let mut again = State::open(&path).unwrap();
        assert!(matches!(again.lease(Instant::now()), LeaseState::Held(_)));
        again.check(fence).unwrap();
        again.unlock(fence).unwrap();
        assert_eq!(State::open(&path).unwrap().lock("bob@desk", MINUTE).unwrap(), Fence(fence.0 + 1));
    }
}
