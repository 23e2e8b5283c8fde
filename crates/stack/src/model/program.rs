//! What runs: services, sites, functions, jobs, and how their files come to be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ByteSize, Millicpu, Period, ResourceName, ResourceRef, Span};

/// How the files of a service, function, job or site come to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    /// Built in a folder of the project.
    Folder(FolderSource),
    /// A ready image from an image store, by reference.
    Image(String),
    /// An image built from this Dockerfile, with `context` as its folder; both relative to the stack file.
    Dockerfile {
        /// The Dockerfile.
        file: String,
        /// The build context.
        context: String,
    },
}

/// A folder that a command builds. Two resources with equal `FolderSource` share one build and one tree of files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FolderSource {
    /// Folder relative to the stack file; `.` when not given.
    pub dir: String,
    /// Shell command run in `dir`, or none when there is nothing to build.
    pub build: Option<String>,
    /// Paths relative to `dir` that the build makes and the release carries, each a file or a folder.
    /// Empty: everything in `dir` that version control does not ignore.
    pub out: Vec<String>,
}

/// A long-running process with zero or more replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// How its files come to be.
    pub source: Source,
    /// Command line; `None` only for images, which bring their own.
    pub run: Option<String>,
    /// Port it listens on where it has an address of its own. On a fleet each instance is told its own in `PORT`.
    pub port: Option<u16>,
    /// How its health is asked for. With a port and no `health`, accepting a connection counts.
    pub health: Option<Health>,
    /// Path that answers 2xx once it may take visitors; by default the health path.
    pub ready: Option<String>,
    /// Resources of one replica, and how many.
    pub size: Size,
    /// What it uses; each injects its address into the environment.
    pub needs: Vec<ResourceRef>,
    /// Extra environment variables; `${NAME}` takes a variable of the contract.
    pub env: BTreeMap<String, String>,
    /// How long a new instance may take until it is ready. Default 60 s.
    pub start: Period,
    /// How long visitors of an instance that leaves may take to finish. Default 30 s.
    pub drain: Period,
    /// How long between TERM and KILL. Default 10 s.
    pub stop: Period,
}

/// An HTTP health check with its thresholds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Path, starting with `/`.
    pub path: String,
    /// Time between checks. Default 10 s.
    pub every: Period,
    /// A slower answer counts as none. Default 2 s (S4.P4).
    pub timeout: Period,
    /// Good answers in a row until healthy. Default 2 (S4.10).
    pub up: u32,
    /// Bad answers in a row until unhealthy. Default 3 (S4.10).
    pub down: u32,
}

/// Resources of one replica and how many replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// CPU asked for and capped at.
    pub cpu: Option<Span<Millicpu>>,
    /// Memory asked for and capped at.
    pub memory: Option<Span<ByteSize>>,
    /// Number of instances. Default 1.
    pub replicas: Span<u32>,
    /// When to add or remove replicas.
    pub scale_at: Option<ScaleAt>,
}

/// Utilisation, in percent of what is asked for, above which replicas are added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleAt {
    /// CPU, percent.
    pub cpu: Option<u8>,
    /// Memory, percent.
    pub memory: Option<u8>,
}

/// Static files, built once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// How the files come to be; `out` has exactly one folder, whose contents are the site's root.
    pub source: FolderSource,
    /// An unknown path that accepts HTML gets `index.html`.
    pub spa: bool,
    /// The build's scripts and styles must carry a content hash in their names and be minified.
    pub hashed: bool,
    /// Extra response headers.
    pub headers: BTreeMap<String, String>,
}

/// What makes a function run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The bucket, queue, topic, mail or service whose event starts it.
    pub on: ResourceRef,
    /// Only object keys that start with this.
    pub prefix: Option<String>,
    /// Only events of this name.
    pub event: Option<String>,
}

/// A program that runs when something happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// How it runs; shared with jobs.
    pub command: Command,
    /// What starts it.
    pub on: Option<Trigger>,
    /// Or a schedule.
    pub schedule: Option<Schedule>,
}

/// A program that runs on a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// How it runs; shared with functions.
    pub command: Command,
    /// When.
    pub schedule: Schedule,
    /// What happens when the last run has not ended.
    pub overlap: Overlap,
}

/// A program that runs to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Whose files it runs in: its own source, or those of the service it names.
    pub source: CommandSource,
    /// Command line.
    pub run: String,
    /// What it uses.
    pub needs: Vec<ResourceRef>,
    /// Extra environment variables.
    pub env: BTreeMap<String, String>,
    /// Runs again after a failure, at most this often. Default 0.
    pub retries: u32,
    /// Killed after this. Default 1 h.
    pub timeout: Period,
    /// Memory and CPU of one run.
    pub size: Size,
}

/// Where a command's files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandSource {
    /// Built like a service.
    Own(Source),
    /// Runs in the files, and with the `needs` and `env`, of this service.
    Service(ResourceName),
}

/// A cron expression with its time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Five fields, or an alias such as `@daily`.
    pub cron: String,
    /// IANA name. Default `UTC`.
    pub time_zone: String,
}

/// What a schedule does while the last run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// Leave this one out.
    Skip,
    /// Run it after.
    Queue,
    /// End the last run and start.
    Replace,
}
