//! How careful a deploy is.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stack::{Period, Revision, Rollout, Stage};

use crate::journal::Migration;

/// Stages, deadlines and thresholds of one deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// How visitors move; rising, the last is 100 %. A first deploy and a rollback go to 100 % at once.
    pub stages: Vec<Stage>,
    /// How long the new instances may take until all are ready. At least the longest `start` of the services.
    pub start: Duration,
    /// How long the edges may take until they serve a new share.
    pub shift: Duration,
    /// How long the old instances may take until they are gone. Later is a note, not a failure.
    pub drain: Duration,
    /// How long a trouble of the hosts, or an instance missing during bake, may last.
    pub troubles: Duration,
    /// How long a verb is tried again while its host does not answer.
    pub patience: Duration,
    /// How long to wait for a lease that somebody else holds.
    pub lock_wait: Duration,
    /// Between two looks at the environment.
    pub poll: Duration,
    /// When a new revision counts as worse than the old one.
    pub limits: Limits,
    /// Migrations to run down once a rollback's release serves and the newer one is gone.
    pub migrations_down: Option<MigrationsDown>,
}

/// When a new revision counts as worse than the old one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Fewer requests than this say nothing.
    pub min_requests: u64,
    /// Percent of requests answered 500 to 599 that is still well.
    pub max_error_percent: f64,
    /// How many percent points more than the old revision's is still well.
    pub max_error_points: f64,
    /// How many times the old revision's 95th percentile is still well.
    pub max_slower: f64,
    /// Milliseconds above the old revision's 95th percentile that are always well.
    pub max_slower_ms: f64,
}

/// Migrations that a rollback with its database runs down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationsDown {
    /// Whose migration folders hold the down scripts.
    pub revision: Revision,
    /// In the order they were applied; see [`rollback_migrations`](crate::plan::rollback_migrations).
    pub migrations: Vec<Migration>,
}

impl Default for Policy {
    /// All visitors at once, watched for no time.
    fn default() -> Self {
        Self {
            stages: vec![Stage { percent: 100, bake: Period(Duration::ZERO) }],
            start: Duration::from_mins(1),
            shift: Duration::from_secs(30),
            drain: Duration::from_mins(1),
            troubles: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            lock_wait: Duration::ZERO,
            poll: Duration::from_millis(20),
            limits: Limits::default(),
            migrations_down: None,
        }
    }
}

impl Default for Limits {
    /// Worse is: over 5 % errors and over 5 points more than the old, or 3 times and 100 ms slower; from 20 requests.
    fn default() -> Self {
        Self { min_requests: 20, max_error_percent: 5.0, max_error_points: 5.0, max_slower: 3.0, max_slower_ms: 100.0 }
    }
}

impl From<&Rollout> for Policy {
    /// The environment's stages, and everything else by default.
    fn from(rollout: &Rollout) -> Self {
        Self { stages: rollout.stages.clone(), ..Self::default() }
    }
}
