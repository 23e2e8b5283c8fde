//! The driver that makes an environment real: what the engine asks of a fleet, a cluster or a cloud.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stack::{ResourceName, Revision};

use crate::{
    desired::{Desired, Lost, Observed},
    journal::{Entry, Migration},
};

/// A fencing token: rises with each lease of an environment. A verb with an older one is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

/// One environment as the engine drives it.
///
/// Every verb may be repeated: a repetition with the same arguments changes nothing more. A fence is good from
/// `lock` until a newer `lock` or its own `unlock`; a verb with any other is refused with `Fenced` and does nothing,
/// also one that waited (for a database, for a queue) and finds its fence outdated when its turn comes. A verb that
/// its caller gave up is done before the next verb of the same lease, or never.
#[expect(async_fn_in_trait, reason = "callers name the target's type, so no bound on the future is ever needed")]
pub trait Target {
    /// Takes the lease for `ttl`, or says who has it. A lease that lapsed is free.
    async fn lock(&self, holder: &str, ttl: Duration) -> Result<Fence, TargetError>;
    /// Extends the lease to `ttl` from now. Fails with `Fenced` once it lapsed and was taken or recovered.
    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), TargetError>;
    /// Gives the lease back. Done already is done.
    async fn unlock(&self, fence: Fence) -> Result<(), TargetError>;

    /// What is, possibly stale or partial.
    async fn observe(&self) -> Result<Observed, TargetError>;
    /// Makes a revision available on every host and verifies it by digest; changes nothing visible.
    async fn ship(&self, revision: &Revision, fence: Fence) -> Result<(), TargetError>;
    /// Replaces the desired state; durable before it returns, made real afterwards.
    async fn want(&self, desired: &Desired, fence: Fence) -> Result<(), TargetError>;
    /// Runs a task to its end. A task that changes databases waits for an earlier one that is still at work, also
    /// one whose caller is gone.
    async fn task(&self, task: &Task, fence: Fence) -> Result<TaskEnd, TargetError>;

    /// The whole journal, oldest first.
    async fn journal(&self) -> Result<Vec<Entry>, TargetError>;
    /// Adds an entry; durable before it returns. An entry equal to one that is in the journal is there already and
    /// is not added twice (the engine never writes two equal ones: their times rise).
    async fn append(&self, entry: &Entry, fence: Fence) -> Result<(), TargetError>;

    /// The hosts that are left out of the present lease, or were of the last one. A target that is one machine has none.
    fn left_out(&self) -> Vec<Lost> {
        Vec::new()
    }

    /// Whether it is known not to answer: a group asks it once and not again.
    fn is_gone(&self) -> bool {
        false
    }

    /// Brings one host of a group level with the others, under the lease `fence` of this host, in one durable change:
    /// all of it or nothing. A host that was away may lack entries, and may have some at its end that the group never
    /// had.
    ///
    /// What is written here is for targets that are never a part of a group: it cannot cut a journal.
    async fn level(&self, level: &Level, fence: Fence) -> Result<(), TargetError> {
        if self.journal().await?.len() > level.keep + level.entries.len() {
            let reason = "its journal has entries that the others do not have, and this target cannot drop them";
            return Err(TargetError::Failed { reason: reason.to_owned() });
        }
        for entry in &level.entries {
            self.append(entry, fence).await?;
        }
        match &level.desired {
            Some(desired) => self.want(desired, fence).await,
            None => Ok(()),
        }
    }
}

/// What makes one host of a group level with the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// The next lease of this host gets a token larger than this one, also when it is lapsed or given back without
    /// another verb. The token of the present lease stays what it is.
    pub floor: Fence,
    /// So many entries of its journal stay, from the first; the others go.
    pub keep: usize,
    /// What follows them.
    pub entries: Vec<Entry>,
    /// Replaces its desired state; `None` leaves it.
    pub desired: Option<Desired>,
}

/// Something that runs to completion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "task")]
pub enum Task {
    /// Looks whether a revision could run here: variables, commands, ports, disk. Changes nothing.
    /// Ends with `Done` or fails with every problem at once.
    Preflight {
        /// Which.
        revision: Revision,
    },
    /// Which migrations of the revision are not applied. Ends with `Migrations`.
    PendingMigrations {
        /// Whose migration folders.
        revision: Revision,
    },
    /// Copies what the pending migrations could damage. Ends with `Done`.
    Backup {
        /// Whose databases.
        revision: Revision,
        /// Names the copies.
        deploy: u64,
    },
    /// Applies the pending migrations in order, each in a transaction. Ends with `Migrations`: those now applied.
    Migrate {
        /// Whose migration folders.
        revision: Revision,
    },
    /// Runs down those of the given migrations that are applied, newest first; those without a down script are
    /// left and are not in the `Migrations` it ends with.
    MigrateDown {
        /// Whose migration folders hold the down scripts.
        revision: Revision,
        /// Which.
        migrations: Vec<Migration>,
    },
    /// Runs one command in the context of a revision's service. Ends with `Exited`.
    Run {
        /// Which.
        revision: Revision,
        /// Whose files and environment.
        service: ResourceName,
        /// Program and arguments.
        command: Vec<String>,
    },
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "end")]
pub enum TaskEnd {
    /// Well.
    Done,
    /// Well, about these migrations.
    Migrations {
        /// In the order they were or would be applied.
        migrations: Vec<Migration>,
    },
    /// A command ended.
    Exited {
        /// Exit code; 128 + signal when it was killed.
        code: i32,
        /// Its redacted output, at most the last 64 KiB.
        output: String,
    },
}

/// Why a target refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "error")]
pub enum TargetError {
    /// Somebody else holds the lease.
    #[error("another deploy of this environment holds the lock: {holder}, for at most {expires_in_ms} ms more")]
    Locked {
        /// Who.
        holder: String,
        /// When it lapses unless renewed.
        expires_in_ms: u64,
    },
    /// The lease was lost to a newer one; nothing was done.
    #[error("this deploy lost its lock (token {given}, now {current}): it was silent for too long")]
    Fenced {
        /// Token of the caller.
        given: u64,
        /// Newest token.
        current: u64,
    },
    /// No answer; the verb may or may not have been done. Worth trying again.
    #[error("{host} does not answer: {reason}")]
    Unreachable {
        /// Which host.
        host: String,
        /// Why.
        reason: String,
    },
    /// It was tried and failed; trying again will not help.
    #[error("{reason}")]
    Failed {
        /// What failed, why, and the mend.
        reason: String,
    },
}
