//! What one environment should be, and what it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stack::{ResourceName, ResourceRef, Revision};

/// The host of what is observed where there is only one.
pub const THIS_MACHINE: &str = "this machine";

/// Desired state of one environment: the one document its hosts reconcile towards.
///
/// How many instances a revision has, how they start and where visitors come in follows from the stack file
/// inside the release; this says only which revisions, and who gets visitors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Revisions whose instances run.
    pub running: BTreeSet<Revision>,
    /// Share of visitors of each revision, in percent; sums to 100, or is empty before the first deploy and after
    /// `stop`. Every revision named here is also in `running`.
    pub traffic: BTreeMap<Revision, u8>,
    /// The revision whose jobs and functions start when their time comes.
    pub schedules: Option<Revision>,
    /// The shares of `traffic` are made of whole hosts: the first `ceil(percent * hosts / 100)` of them send all their
    /// visitors to the newer revision, the others none. Without it every edge splits its visitors.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_host: bool,
}

/// What is, possibly a moment old.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The desired state the hosts hold.
    pub desired: Desired,
    /// How many instances the hosts mean to run for each revision of `desired.running`. A revision whose release
    /// has no services is here with 0; one that is missing has not been taken up by the hosts yet.
    #[serde(default)]
    pub expected: BTreeMap<Revision, u32>,
    /// Every instance that exists, also those on their way out.
    pub instances: Vec<Instance>,
    /// Shares of visitors as every edge has them in effect now. With `desired.by_host` a host that does its part says the
    /// environment's shares, not its own.
    pub serving: BTreeMap<Revision, u8>,
    /// What visitors got from each revision, since its instances began.
    pub traffic: BTreeMap<Revision, Traffic>,
    /// Every data service that the hosts run themselves and that is not at rest.
    #[serde(default)]
    pub services: Vec<DataService>,
    /// Why the hosts cannot reach the desired state, in words for a person: an address in use, a release that is
    /// damaged. Empty when all is well.
    pub troubles: Vec<String>,
    /// Hosts of the environment that do not answer.
    #[serde(default)]
    pub lost: Vec<Lost>,
    /// The deploy whose present stage a person promoted. Good for the present stage only: a host forgets it when its
    /// desired state is replaced by another.
    #[serde(default)]
    pub promoted: Option<u64>,
    /// Every service whose number of instances follows its load, on every host.
    #[serde(default)]
    pub scaled: Vec<Scaled>,
}

/// How many instances of a service a host keeps because of its load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scaled {
    /// The host; `this machine` locally.
    pub host: String,
    /// Which.
    pub service: ResourceName,
    /// So many now.
    pub replicas: u32,
    /// Its share of the least that the stack asks for.
    pub min: u32,
    /// Its share of the most.
    pub max: u32,
    /// The last look, in words for a person: `CPU 85 %, aimed at 70 %`.
    pub why: String,
}

/// A host that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Which.
    pub host: String,
    /// Why, as far as it is known.
    pub why: String,
}

/// One instance as it was last seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Unique on its host, as in `api-3f9c2a1b-1`.
    pub id: String,
    /// The host it is on; `this machine` locally.
    pub host: String,
    /// What it was made from.
    pub revision: Revision,
    /// Which service it is a replica of.
    pub service: ResourceName,
    /// How it is.
    pub state: InstanceState,
    /// How often it was started again since it was first wanted.
    pub restarts: u32,
    /// Its process, while it has one.
    pub pid: Option<u32>,
    /// Where it listens.
    pub port: Option<u16>,
    /// When its present process started.
    pub started_at: Option<jiff::Timestamp>,
    /// Resident memory in bytes.
    pub memory: Option<u64>,
}

/// A server that a host runs because the stack asks for one: it belongs to the environment, not to a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataService {
    /// As in `database.main`.
    pub name: ResourceRef,
    /// The host it is on; `this machine` locally.
    pub host: String,
    /// As in the stack file: `postgres:15`.
    pub engine: String,
    /// How it is.
    pub state: InstanceState,
    /// How often it was started again.
    pub restarts: u32,
    /// Its process, while it has one.
    pub pid: Option<u32>,
    /// Where it listens, on the host's own address 127.0.0.1.
    pub port: Option<u16>,
    /// When its present process started.
    pub started_at: Option<jiff::Timestamp>,
    /// Memory in bytes.
    pub memory: Option<u64>,
}

/// The life of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum InstanceState {
    /// Runs, and has not passed its probe yet.
    Starting,
    /// Passes its probe.
    Ready,
    /// Was ready and fails its probe.
    Unready {
        /// The last failure.
        why: String,
    },
    /// Ended, and waits for its next start.
    Waiting {
        /// How it ended.
        why: String,
    },
    /// Ends again and again, or did not become ready in time: nobody should wait for it.
    Failed {
        /// The reason with the last lines of its output, redacted.
        why: String,
    },
    /// Gets no new visitors and finishes those it has.
    Draining,
    /// Was told to end.
    Stopping,
}

/// What visitors got from one revision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests answered.
    pub requests: u64,
    /// Of those, answered 500 to 599.
    pub errors: u64,
    /// 95th percentile of the answer time in milliseconds.
    pub p95_ms: f64,
}
