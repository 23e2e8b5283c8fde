//! How careful a deploy is.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stack::{Environment, ResourceName, Revision, Rollout, Share};

use crate::journal::Migration;

/// Stages, deadlines and thresholds of one deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// How visitors move; rising, the last is 100 %. A first deploy and a rollback go to 100 % at once.
    pub stages: Vec<Stage>,
    /// The stages are made of whole hosts, of so many ([`Desired::by_host`](crate::desired::Desired::by_host)); `None`:
    /// every edge splits its visitors.
    pub by_host: Option<usize>,
    /// So many hosts may be lost without a deploy being undone that has not moved visitors for good yet. Rollbacks and
    /// stops go on with the hosts that live, whatever this says.
    pub max_fail: usize,
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
    /// Gates that a deploy passes once all visitors are moved, within the last watch: whoever runs it brings the
    /// [`Passing`](crate::gates::Passing). A rollback has none.
    #[serde(default)]
    pub gates: Vec<ResourceName>,
    /// Migrations to run down once a rollback's release serves and the newer one is gone.
    pub migrations_down: Option<MigrationsDown>,
}

/// One stage of a deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Share of visitors that the new revision gets, 1 to 100.
    pub percent: u8,
    /// How long the stage is watched.
    pub bake: Duration,
    /// It lasts until a person promotes it, and is watched all the time.
    pub hold: bool,
}

impl Stage {
    /// Everybody at once, not watched.
    pub const ALL: Stage = Stage { percent: 100, bake: Duration::ZERO, hold: false };
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
            stages: vec![Stage::ALL],
            by_host: None,
            max_fail: 0,
            start: Duration::from_mins(1),
            shift: Duration::from_secs(30),
            drain: Duration::from_mins(1),
            troubles: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            lock_wait: Duration::ZERO,
            poll: Duration::from_millis(20),
            limits: Limits::default(),
            gates: Vec::new(),
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

impl Limits {
    /// The same for errors; slowness is no fault.
    pub(crate) fn at_any_speed(self) -> Self {
        Self { max_slower: f64::INFINITY, ..self }
    }
}

impl Policy {
    /// The stages of `rollout` on so many `hosts`, and everything else by default.
    ///
    /// Waves that come to the same number of hosts are one: it is watched for as long as the longest of them, and held
    /// when one of them is.
    pub fn of(rollout: &Rollout, hosts: usize) -> Self {
        let hosts = hosts.max(1);
        let mut stages: Vec<Stage> = Vec::new();
        for stage in &rollout.stages {
            let percent = match stage.share {
                Share::Percent(percent) if !rollout.waves => percent,
                Share::Percent(percent) => share_of((usize::from(percent) * hosts).div_ceil(100), hosts),
                Share::Hosts(count) => share_of(usize::from(count), hosts),
            };
            match stages.last_mut().filter(|last| last.percent >= percent) {
                Some(last) => (last.bake, last.hold) = (last.bake.max(stage.bake.0), last.hold || stage.hold),
                None => stages.push(Stage { percent, bake: stage.bake.0, hold: stage.hold }),
            }
        }
        if let Some(last) = stages.last_mut().filter(|last| last.percent == 100) {
            last.hold = false; // everybody is there: nothing is left to be promoted to
        }
        let by_host = (rollout.waves && stages.len() > 1).then_some(hosts);
        Self { stages, by_host, ..Self::default() }
    }
}

/// The share that so many of `hosts` hosts are: the hosts take `ceil(percent * hosts / 100)`, which is `count` again.
fn share_of(count: usize, hosts: usize) -> u8 {
    u8::try_from(count.min(hosts) * 100 / hosts).unwrap_or(100)
}

impl From<&Rollout> for Policy {
    /// [`Policy::of`] one host.
    fn from(rollout: &Rollout) -> Self {
        Self::of(rollout, 1)
    }
}

impl From<&Environment> for Policy {
    /// The environment's stages on its hosts, how many of them may be lost, and everything else by default.
    fn from(environment: &Environment) -> Self {
        let max_fail = usize::from(environment.max_fail);
        Self { max_fail, ..Self::of(&environment.rollout, environment.hosts.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(rollout: &str, hosts: usize) -> Vec<(u8, u64, bool)> {
        let rollout: Rollout = rollout.parse().expect("well formed");
        let policy = Policy::of(&rollout, hosts);
        policy.stages.iter().map(|stage| (stage.percent, stage.bake.as_secs(), stage.hold)).collect()
    }

    #[test]
    fn waves_are_whole_hosts() {
        let waves = "waves 1 for 1m, 25% until promoted, 100%";
        assert_eq!(stages(waves, 8), [(12, 60, false), (25, 0, true), (100, 0, false)]);
        assert_eq!(stages(waves, 4), [(25, 60, true), (100, 0, false)], "a quarter of four is one");
        assert_eq!(stages(waves, 3), [(33, 60, true), (100, 0, false)]);
        assert_eq!(stages(waves, 1), [(100, 60, false)]);
        assert_eq!(stages("waves 5, 100% for 2m", 3), [(100, 120, false)]);
        assert_eq!(stages("10% for 5m, 100%", 3), [(10, 300, false), (100, 0, false)], "shares of visitors");
        assert_eq!(Policy::of(&waves.parse().expect("well formed"), 3).by_host, Some(3));
        assert_eq!(Policy::of(&waves.parse().expect("well formed"), 1).by_host, None);
    }

    #[test]
    fn a_number_of_hosts_is_that_many_again() {
        for hosts in 1..=100 {
            for count in 1..=hosts {
                let percent = usize::from(share_of(count, hosts));
                assert_eq!((percent * hosts).div_ceil(100), count, "{count} of {hosts} as {percent} %");
            }
        }
    }
}
