//! The journal of one environment: what happened, in order, durable before the next thing happens.
//!
//! It lives with the environment (on its hosts), not with the person: whoever comes next can read what the last
//! deploy did and finish or undo it. Deploy records are a fold over it, never a second truth.

use serde::{Deserialize, Serialize};
use stack::{ResourceName, Revision};

use crate::{gates::Checked, target::Fence};

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, UTC.
    pub at: jiff::Timestamp,
    /// Number of the deploy it belongs to; rises by one with each deploy of the environment, from 1.
    pub deploy: u64,
    /// Token of the lease under which it was written, the group's where many hosts make the environment. Of two
    /// journals that differ, the one that ends with the newer token counts. 0 in journals of earlier versions.
    #[serde(default)]
    pub fence: Fence,
    /// What happened.
    pub event: Event,
}

/// What happened in a deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A deploy began.
    Started(Start),
    /// The release it wants is known (after build), or was known from the start.
    Wanted {
        /// What the environment is to become; `None` for a stop.
        revision: Option<Revision>,
        /// Shown to people.
        version: String,
        /// Number of the release.
        number: u64,
        /// Commit the release was built from.
        commit: Option<String>,
    },
    /// A step began.
    StepStarted {
        /// Which.
        step: Step,
    },
    /// A step ended well.
    StepEnded {
        /// Which.
        step: Step,
        /// How long it took.
        millis: u64,
    },
    /// These migrations were pending and are about to be applied. Written before the first of them runs.
    MigrationsPlanned {
        /// In the order they run.
        migrations: Vec<Migration>,
    },
    /// Once the wanted revision serves and the other is gone, these migrations are to be run down. Written before
    /// the commit point, so that whoever finishes the deploy knows.
    Reverting {
        /// Whose migration folders hold the down scripts.
        revision: Revision,
        /// In the order they were applied.
        migrations: Vec<Migration>,
    },
    /// Once all visitors are moved, these gates are to be passed. Written before the commit point: whoever finishes the
    /// deploy in the place of its engine cannot pass them, and goes back.
    GatesPlanned {
        /// Their names.
        gates: Vec<ResourceName>,
    },
    /// A check of a gate was made.
    Checked(Checked),
    /// Everything that `GatesPlanned` named is passed.
    GatesPassed,
    /// Something a person should read later: a drain that took too long, a clean-up that failed.
    Noted {
        /// One sentence.
        text: String,
    },
    /// Visitors are about to be moved to this share. Written before it is wanted. At 100 this is the commit point.
    /// A stop writes it with 100 too: all visitors are about to get what is wanted, which is nothing.
    Shifting {
        /// Percent of visitors for the new revision.
        percent: u8,
    },
    /// The deploy is over.
    Ended(Outcome),
}

/// What began a deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Which kind.
    pub kind: DeployKind,
    /// `user@machine`.
    pub by: String,
    /// What served before; `None` for the first.
    pub previous: Option<Revision>,
}

/// Why a deploy happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeployKind {
    /// To a new release.
    Deploy,
    /// To an earlier release, asked for by a person.
    Rollback,
    /// To the previous release, because the new one baked badly.
    AutomaticRollback,
    /// To nothing.
    Stop,
}

/// The steps of a deploy, in order. `lock` and `unlock` are the lease and stand around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each step is explained in docs/src/concepts/deploy.md and `Step::about`")]
pub enum Step {
    Preflight,
    Build,
    Verify,
    Gate,
    Ship,
    Backup,
    Migrate,
    Start,
    Probe,
    Shift,
    Bake,
    Drain,
    Record,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Step; 13] = [
        Step::Preflight,
        Step::Build,
        Step::Verify,
        Step::Gate,
        Step::Ship,
        Step::Backup,
        Step::Migrate,
        Step::Start,
        Step::Probe,
        Step::Shift,
        Step::Bake,
        Step::Drain,
        Step::Record,
    ];

    /// The step's name, as in `preflight`.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Preflight => "preflight",
            Step::Build => "build",
            Step::Verify => "verify",
            Step::Gate => "gate",
            Step::Ship => "ship",
            Step::Backup => "backup",
            Step::Migrate => "migrate",
            Step::Start => "start",
            Step::Probe => "probe",
            Step::Shift => "shift",
            Step::Bake => "bake",
            Step::Drain => "drain",
            Step::Record => "record",
        }
    }

    /// What the step does, in a few words for a person.
    pub fn about(self) -> &'static str {
        match self {
            Step::Preflight => "look whether the release could run",
            Step::Build => "run the build commands",
            Step::Verify => "check what was built",
            Step::Gate => "pass the gates",
            Step::Ship => "bring the release to every host",
            Step::Backup => "copy what the migrations could damage",
            Step::Migrate => "change the databases",
            Step::Start => "start the new instances beside the old",
            Step::Probe => "wait until every new instance is ready",
            Step::Shift => "move visitors",
            Step::Bake => "watch errors and answer times",
            Step::Drain => "let the old instances finish and end",
            Step::Record => "write the outcome",
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::fmt::Display for DeployKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            DeployKind::Deploy => "deploy",
            DeployKind::Rollback => "rollback",
            DeployKind::AutomaticRollback => "automatic rollback",
            DeployKind::Stop => "stop",
        })
    }
}

/// One migration of a deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The database.
    pub database: ResourceName,
    /// Its number; 0 for a foreign runner, whose steps are not known.
    pub version: u64,
    /// Its name.
    pub name: String,
    /// It has a down script.
    pub reversible: bool,
}

/// How a deploy ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// The environment is on the wanted revision.
    Succeeded,
    /// Nothing a visitor can see has changed.
    Failed {
        /// Where.
        step: Option<Step>,
        /// Why, with the mend.
        reason: String,
    },
    /// Visitors saw the new revision and were moved back; the next deploy of kind `automatic-rollback` did it.
    RolledBack {
        /// Why.
        reason: String,
    },
}
