//! What can be asked of an agent: JSON over HTTP/1.1 on `<home>/agent.sock`.
//!
//! - `POST /v1/call` with a [`Request`] answers 200 and a [`Reply`], or 400 to 500 and a
//!   [`TargetError`](engine::target::TargetError).
//! - `POST /v1/exec` runs a command, see [`ExecRequest`](crate::ExecRequest).
//! - `GET /v1/logs?app=A&environment=E[&service=S][&lines=N][&follow=true]` streams [`LogLine`]s as JSON lines.

use std::collections::BTreeMap;

use engine::{
    desired::{Desired, Observed},
    journal::Entry,
    target::{Fence, Level, Task, TaskEnd},
};
use serde::{Deserialize, Serialize};
use stack::{AppName, EnvironmentName, ResourceName, Revision, ValuesId};

use crate::{claims::Claim, members::Members};

/// One environment of one app on a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// The app.
    pub app: AppName,
    /// The environment.
    pub environment: EnvironmentName,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.app, self.environment)
    }
}

/// A call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// About which environment; `None` for calls about the host.
    pub scope: Option<Scope>,
    /// What.
    pub call: Call,
}

/// What is asked. All but `Info`, `Scopes` and `Shutdown` need a scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "call")]
pub enum Call {
    /// About the agent itself. Answers `Info`.
    Info,
    /// Which environments live here. Answers `Scopes`.
    Scopes,
    /// `Target::lock`. Answers `Fence`.
    Lock {
        /// `user@machine`.
        holder: String,
        /// How long without a sign of life.
        ttl_ms: u64,
    },
    /// `Target::renew`. Answers `Done`.
    Renew {
        /// Token.
        fence: Fence,
        /// From now.
        ttl_ms: u64,
    },
    /// `Target::unlock`. Answers `Done`.
    Unlock {
        /// Token.
        fence: Fence,
    },
    /// `Target::observe`. Answers `Observed`.
    Observe,
    /// `Target::ship` for a release that is in the host's store already: verifies it. Answers `Done`.
    Ship {
        /// Which.
        revision: Revision,
        /// Token.
        fence: Fence,
    },
    /// `Target::want`. Answers `Done`.
    Want {
        /// The whole desired state.
        desired: Desired,
        /// Token.
        fence: Fence,
    },
    /// `Target::task`. Answered when it ended, with `Task`.
    Task {
        /// Which.
        task: Task,
        /// Token.
        fence: Fence,
    },
    /// `Target::journal`. Answers `Journal`.
    Journal,
    /// `Target::append`. Answers `Done`.
    Append {
        /// The entry.
        entry: Entry,
        /// Token.
        fence: Fence,
    },
    /// `Target::level`. Answers `Done`.
    Adopt {
        /// What makes the host level with the others.
        level: Box<Level>,
        /// Token.
        fence: Fence,
    },
    /// Keeps a set of variable values, readable by the agent's user alone. Answers `Values`.
    /// The same values always get the same id on this host.
    PutValues {
        /// By name; secrets among them.
        values: BTreeMap<String, String>,
        /// Names of those that are secret: redacted from every log.
        secrets: Vec<String>,
    },
    /// Past runs of jobs and functions, newest first. Answers `Runs`.
    Runs,
    /// Starts a job or function now, in the release whose schedules are in effect. Answers `Started`.
    Start {
        /// As in `job.match`.
        name: stack::ResourceRef,
        /// The event it gets: a `CloudEvent`, or the data of one.
        event: Option<serde_json::Value>,
    },
    /// Events that functions failed to take. Answers `DeadLetters`.
    DeadLetters,
    /// A host claims the run of a job that was due, or says how far it is. Answers `Claimed`.
    Claim {
        /// What it claims.
        claim: Claim,
    },
    /// Tries the dead letters of a function, a service or a queue again; those that fail once more stay. Answers `Done`
    /// at once.
    Redeliver {
        /// As in `function.parse`.
        to: stack::ResourceRef,
    },
    /// The hosts of the environment. Answers `Members`.
    Members,
    /// Replaces the list of hosts; durable before the answer. A list that is older than the host's own is refused, the
    /// same one again is done already. Answers `Done`.
    PutMembers {
        /// The name of the host that is called, as in the list. A host that is not in it runs nothing.
        me: String,
        /// The whole list.
        members: Box<Members>,
    },
    /// Catches up with the other hosts now, which the agent does by itself as well: takes over the journal and the
    /// desired state of a majority, and brings what this host lacks of it. Answers `Level`.
    Level,
    /// How this host is, as its peers see it. Costs little. Answers `PeerState`.
    PeerState,
    /// Promotes the present stage of a deploy: `Observed::promoted` says so until something else is wanted. Refused
    /// unless it is the newest deploy and has not ended. Answers `Done`.
    Promote {
        /// Its number.
        deploy: u64,
    },
    /// Stops the edge (once no environment is wanted) and the agent. Instances keep running unless nothing is
    /// wanted. Answers `Done`.
    Shutdown,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply")]
pub enum Reply {
    /// Done.
    Done,
    /// About the agent.
    Info {
        /// Version of the binary.
        version: String,
        /// BLAKE3 of the binary, so that the CLI knows when to replace it.
        binary: String,
        /// Process id.
        pid: u32,
        /// Since when.
        started_at: jiff::Timestamp,
        /// What `slipway host add` told the host about itself.
        #[serde(default)]
        host: Option<crate::host_file::HostFile>,
        /// Processes that want to run, over the last minute, for each core of the machine: 1.0 is busy.
        #[serde(default)]
        load: Option<f64>,
    },
    /// Environments on this host.
    Scopes {
        /// In order.
        scopes: Vec<Scope>,
    },
    /// A lease.
    Fence {
        /// Its token.
        fence: Fence,
    },
    /// What is.
    Observed {
        /// Boxed for size.
        observed: Box<Observed>,
    },
    /// A task ended.
    Task {
        /// How.
        end: TaskEnd,
    },
    /// The journal.
    Journal {
        /// Oldest first.
        entries: Vec<Entry>,
    },
    /// A set of values is kept.
    Values {
        /// Under this id.
        id: ValuesId,
    },
    /// The claim that stands: the one that was made, or one that is stronger.
    Claimed {
        /// Whose it is.
        claim: Claim,
    },
    /// A run began.
    Started {
        /// Its id.
        id: String,
    },
    /// Events that functions failed to take.
    DeadLetters {
        /// Oldest first.
        letters: Vec<DeadLetter>,
    },
    /// Runs of jobs and functions.
    Runs {
        /// Newest first, at most 100 of each.
        runs: Vec<Run>,
    },
    /// The host is level with the others.
    Level {
        /// What was done for it, in words; nothing when it was level already.
        done: Vec<String>,
    },
    /// How a host is.
    PeerState {
        /// Boxed for size.
        state: Box<PeerState>,
    },
    /// The hosts of the environment.
    Members {
        /// This host's name in the list.
        me: Option<String>,
        /// `None` for an environment of one host that was never told of others.
        members: Option<Box<Members>>,
    },
}

/// How a host is, as its peers see it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PeerState {
    /// When its list of hosts was changed.
    pub changed_at: Option<jiff::Timestamp>,
    /// What is wanted on it.
    pub desired: Desired,
    /// Its journal.
    pub head: Head,
    /// How long its lease is still good, in milliseconds; `None` when nobody has it or it lapsed.
    pub held_ms: Option<u64>,
    /// How many ready instances it has of each service of each revision.
    pub ready: BTreeMap<Revision, BTreeMap<ResourceName, u32>>,
}

/// What tells one journal of an environment from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Token of the lease its last entry was written under.
    pub fence: Fence,
    /// The newest deploy.
    pub deploy: u64,
    /// It has an outcome.
    pub ended: bool,
    /// It still has to be finished or undone; see `engine::record::unfinished`.
    pub unfinished: bool,
    /// How many entries there are.
    pub entries: u64,
    /// Over all entries.
    pub digest: String,
}

impl Head {
    /// Its place among the journals of the environment's hosts: the last is the one that counts; see
    /// `engine::group::merge::journals`.
    pub fn rank(&self) -> (Fence, u64, bool, u64) {
        (self.fence, self.deploy, self.ended, self.entries)
    }
}

/// One run of a job or function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The job or function, as in `job.match`.
    pub name: String,
    /// When it began.
    pub started_at: jiff::Timestamp,
    /// How long it took, once it ended.
    pub millis: Option<u64>,
    /// Exit code, once it ended; 128 + signal when killed; 124 when its time limit ended it, as of `timeout(1)`.
    pub code: Option<i32>,
    /// From 1; more than 1 after a retry.
    pub attempt: u32,
    /// Unique on its host: the instance its output is logged under.
    #[serde(default)]
    pub id: String,
    /// The id of the event it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The host it is on, in an environment of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// An event that a function, a service or a queue failed to take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The function, as in `parse`; others with their kind, as in `service.api`.
    pub function: String,
    /// When it was given up.
    pub at: jiff::Timestamp,
    /// Why, as in `exit code 1`.
    pub why: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The event, as `CloudEvents` 1.0 writes it.
    pub event: serde_json::Value,
}

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written, UTC.
    pub at: jiff::Timestamp,
    /// `service.api`, `job.match`.
    pub source: String,
    /// The instance.
    pub instance: String,
    /// `out` or `err`.
    pub stream: String,
    /// The line, redacted, without its end.
    pub line: String,
}

/// The resource a log or a run belongs to, from its name.
pub fn source_name(kind: stack::Kind, name: &ResourceName) -> String {
    format!("{kind}.{name}")
}
