//! The journal folded: deploy records, what the environment is on, what is unfinished.
//!
//! Every function here is total: any prefix of a journal, even any list of entries, has an answer.

use serde::{Deserialize, Serialize};
use stack::{ResourceName, Revision};

use crate::{
    gates::Checked,
    journal::{DeployKind, Entry, Event, Migration, Outcome, Step},
};

/// One deploy as people read it (S4.7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeployRecord {
    /// Rises by one with each deploy of the environment, from 1.
    pub number: u64,
    /// Why it happened.
    pub kind: DeployKind,
    /// Version of the release, once known.
    pub version: Option<String>,
    /// Number of the release, once known.
    pub release_number: Option<u64>,
    /// Commit the release was built from.
    pub commit: Option<String>,
    /// `user@machine`.
    pub by: String,
    /// When it began.
    pub started_at: jiff::Timestamp,
    /// When it ended.
    pub ended_at: Option<jiff::Timestamp>,
    /// What served before; `None` for the first.
    pub previous: Option<Revision>,
    /// What it wanted; `None` before that is known and for a stop.
    pub revision: Option<Revision>,
    /// In the order they began.
    pub steps: Vec<StepRecord>,
    /// How it stands.
    pub status: Status,
    /// What its gates found, and who answered for what only a person can know; oldest first.
    #[serde(default)]
    pub checks: Vec<Checked>,
    /// Sentences for a person, oldest first.
    pub notes: Vec<String>,
    /// What a recovery needs to know.
    #[serde(skip)]
    pub(crate) trail: Trail,
}

/// One step of a deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Which.
    pub step: Step,
    /// How long it took, once it ended well.
    pub millis: Option<u64>,
}

/// How a deploy stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum Status {
    /// It has no outcome yet: it runs, or, when nobody holds the lease, it was interrupted and is yet to be recovered.
    Running,
    /// It never got an outcome and another deploy followed.
    Interrupted,
    /// It is over.
    Ended {
        /// How.
        outcome: Outcome,
    },
}

/// How far a deploy went.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Trail {
    /// `Wanted` is in the journal.
    pub(crate) wanted: bool,
    /// Largest share that visitors were about to be moved to.
    pub(crate) shifted: Option<u8>,
    /// Migrations that were about to be applied.
    pub(crate) planned: Vec<Migration>,
    /// Migrations to run down at the end, and whose scripts.
    pub(crate) reverting: Option<(Revision, Vec<Migration>)>,
    /// They may have been run down already: the revision they belong to can never serve again.
    pub(crate) reverted: bool,
    /// Gates that nobody has passed yet.
    pub(crate) gates: Vec<ResourceName>,
}

impl DeployRecord {
    /// How it ended, once it did.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.status {
            Status::Ended { outcome } => Some(outcome),
            Status::Running | Status::Interrupted => None,
        }
    }

    /// The step it is in or stopped in.
    pub fn last_step(&self) -> Option<Step> {
        self.steps.last().map(|record| record.step)
    }

    /// What the environment is on after it: the wanted revision once it succeeded, else what served before.
    fn leaves(&self) -> Option<&Revision> {
        match self.outcome() {
            Some(Outcome::Succeeded) => self.revision.as_ref(),
            _ => self.previous.as_ref(),
        }
    }
}

/// All deploys of a journal, oldest first.
pub fn records(entries: &[Entry]) -> Vec<DeployRecord> {
    let mut records: Vec<DeployRecord> = Vec::new();
    for entry in entries {
        if let Event::Started(start) = &entry.event {
            if let Some(last) = records.last_mut().filter(|last| last.status == Status::Running) {
                last.status = Status::Interrupted;
            }
            records.push(DeployRecord {
                number: entry.deploy,
                kind: start.kind,
                version: None,
                release_number: None,
                commit: None,
                by: start.by.clone(),
                started_at: entry.at,
                ended_at: None,
                previous: start.previous.clone(),
                revision: None,
                steps: Vec::new(),
                status: Status::Running,
                checks: Vec::new(),
                notes: Vec::new(),
                trail: Trail::default(),
            });
        } else if let Some(record) = records.iter_mut().rev().find(|record| record.number == entry.deploy) {
            take(record, entry);
        }
    }
    records
}

/// Adds one later entry to its record.
fn take(record: &mut DeployRecord, entry: &Entry) {
    match &entry.event {
        Event::Started(_) => {}
        Event::Wanted { revision, version, number, commit } => {
            record.revision.clone_from(revision);
            record.version = Some(version.clone());
            record.release_number = Some(*number);
            record.commit.clone_from(commit);
            record.trail.wanted = true;
        }
        Event::StepStarted { step } => {
            record.steps.push(StepRecord { step: *step, millis: None });
            record.trail.reverted |= *step == Step::Migrate && record.trail.shifted == Some(100);
        }
        Event::StepEnded { step, millis } => {
            if let Some(open) = record.steps.iter_mut().rev().find(|open| open.step == *step) {
                open.millis = Some(*millis);
            }
        }
        Event::MigrationsPlanned { migrations } => record.trail.planned.clone_from(migrations),
        Event::Reverting { revision, migrations } => {
            record.trail.reverting = Some((revision.clone(), migrations.clone()));
        }
        Event::GatesPlanned { gates } => record.trail.gates.clone_from(gates),
        Event::Checked(checked) => record.checks.push(checked.clone()),
        Event::GatesPassed => record.trail.gates.clear(),
        Event::Noted { text } => record.notes.push(text.clone()),
        Event::Shifting { percent } => record.trail.shifted = record.trail.shifted.max(Some(*percent)),
        Event::Ended(outcome) => {
            record.status = Status::Ended { outcome: outcome.clone() };
            record.ended_at = Some(entry.at);
        }
    }
}

/// The revision the environment is on; `None` before the first success and after a stop.
///
/// That is what the last deploy left: the revision it wanted if it succeeded, else what served before it.
pub fn committed(entries: &[Entry]) -> Option<Revision> {
    committed_of(&records(entries))
}

/// [`committed`], of records.
pub(crate) fn committed_of(records: &[DeployRecord]) -> Option<Revision> {
    records.last().and_then(|record| record.leaves().cloned())
}

/// What a rollback without an argument goes to: the last revision that a deploy succeeded with and that is not the
/// current one.
pub fn previous(entries: &[Entry]) -> Option<Revision> {
    let records = records(entries);
    let current = committed_of(&records);
    records
        .into_iter()
        .rev()
        .filter(|record| record.outcome() == Some(&Outcome::Succeeded))
        .find_map(|record| record.revision.filter(|revision| Some(revision) != current.as_ref()))
}

/// Whether the last deploy still has to be finished or undone: it has no outcome, or visitors were to be moved back
/// and no deploy has done so.
///
/// A host whose lease is free or lapsed, and for which this is true, runs [`recover`](crate::recover::recover).
pub fn unfinished(entries: &[Entry]) -> bool {
    records(entries).last().is_some_and(is_unfinished)
}

/// [`unfinished`], of the last record.
pub(crate) fn is_unfinished(last: &DeployRecord) -> bool {
    matches!(&last.status, Status::Running | Status::Ended { outcome: Outcome::RolledBack { .. } })
}
