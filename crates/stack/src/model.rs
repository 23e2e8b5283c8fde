//! The stack as plain data: what `slipway.toml` says once it has been parsed and checked.
//!
//! Optional values that have a default already carry it here; an absent `Option` means "not wanted".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AppName, ByteSize, EnvironmentName, Kind, Millicpu, Period, ResourceName, ResourceRef, Span};

/// A whole application, as described once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// Name of the application.
    pub app: AppName,
    /// Version shown to people; by default what `git describe` says.
    pub version: Option<String>,
    /// Long-running processes.
    pub services: BTreeMap<ResourceName, Service>,
    /// Static files.
    pub sites: BTreeMap<ResourceName, Site>,
    /// Programs that run when something happens.
    pub functions: BTreeMap<ResourceName, Function>,
    /// Programs that run on a schedule.
    pub jobs: BTreeMap<ResourceName, Job>,
    /// SQL databases.
    pub databases: BTreeMap<ResourceName, Database>,
    /// In-memory stores.
    pub caches: BTreeMap<ResourceName, Cache>,
    /// Message brokers.
    pub queues: BTreeMap<ResourceName, Queue>,
    /// Object stores.
    pub buckets: BTreeMap<ResourceName, Bucket>,
    /// Kinds this file describes but that only some targets can run: topic, table, search, mail, identity,
    /// network, dashboard, waf.
    pub extras: BTreeMap<ResourceRef, Extra>,
    /// Host names and what answers below each path, in the file's order.
    pub routes: Vec<Route>,
    /// The environment contract.
    pub variables: BTreeMap<String, Variable>,
    /// Conditions that wake somebody.
    pub alarms: BTreeMap<ResourceName, String>,
    /// The overlays.
    pub environments: BTreeMap<EnvironmentName, Environment>,
}

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

/// A database's engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseEngine {
    /// SQLite: one file on the host.
    Sqlite,
    /// PostgreSQL of this major or major.minor version.
    Postgres(String),
}

/// How the schema changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Migrations {
    /// A folder of `NNN_name.up.sql` and `.down.sql`, relative to the stack file.
    Folder(String),
    /// A foreign runner: a command run in the files of a service (S0.14).
    Command {
        /// The command line, as in `npx prisma migrate deploy`.
        run: String,
        /// The service whose files it runs in; `None` when the stack has exactly one service.
        service: Option<ResourceName>,
    },
}

/// An SQL database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// Which engine.
    pub engine: DatabaseEngine,
    /// Address of an existing server; `${NAME}` takes a variable. `None`: the target runs one.
    pub url: Option<String>,
    /// How the schema changes.
    pub migrations: Option<Migrations>,
    /// A command or SQL file that fills a fresh database of data class `seed`.
    pub seed: Option<String>,
    /// Read replicas. Default 0.
    pub replicas: u32,
    /// Whether a replica takes over by itself.
    pub failover: Failover,
    /// Backups.
    pub backup: Option<Backup>,
    /// What loss and what outage are acceptable.
    pub objective: Option<Objective>,
    /// Engine settings, passed on as they are.
    pub settings: BTreeMap<String, String>,
    /// Size of the server and its disk.
    pub size: Option<Size>,
    /// Disk to begin with, and to grow to.
    pub storage: Option<Span<ByteSize>>,
    /// What only a provider's own service has: its checked keys, as JSON values.
    #[serde(default)]
    pub cloud: serde_json::Map<String, serde_json::Value>,
}

/// Whether a replica takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Failover {
    /// Never.
    None,
    /// When a person says so.
    Manual,
    /// By itself.
    Automatic,
}

/// How backups are taken and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Local time of day, `HH:MM`.
    pub at: Option<String>,
    /// How many daily, weekly and monthly ones stay, as in `30d 12w 12m`.
    pub keep: Option<Retention>,
    /// age recipients.
    pub encrypt_to: Vec<String>,
    /// Buckets they go to.
    pub to: Vec<ResourceRef>,
    /// How often a restore is rehearsed.
    pub drill: Option<String>,
}

/// Backups that stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Daily ones.
    pub days: u32,
    /// Weekly ones.
    pub weeks: u32,
    /// Monthly ones.
    pub months: u32,
}

/// Acceptable loss and outage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    /// Recovery point: how much of the past may be lost.
    pub rpo: Option<Period>,
    /// Recovery time: how long it may be down.
    pub rto: Option<Period>,
}

/// An in-memory store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// As in `redis:7`.
    pub engine: String,
    /// Address of an existing server.
    pub url: Option<String>,
    /// Replicas per shard. Default 0.
    pub replicas: u32,
    /// Shards. Default 1.
    pub shards: u32,
    /// Memory asked for.
    pub memory: Option<ByteSize>,
    /// What only a provider's own service has: its checked keys, as JSON values.
    #[serde(default)]
    pub cloud: serde_json::Map<String, serde_json::Value>,
}

/// A message broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// As in `rabbitmq:3.12`.
    pub engine: String,
    /// Address of an existing server.
    pub url: Option<String>,
    /// Members. Default 1.
    pub replicas: u32,
}

/// An object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Name at the provider, when it differs.
    pub name: Option<String>,
    /// Old versions are kept.
    pub versions: bool,
    /// Anybody may read.
    pub public: bool,
    /// Moves to cold storage after this.
    pub archive_after: Option<Period>,
    /// Removed after this.
    pub delete_after: Option<Period>,
    /// Origins whose pages may upload.
    pub cors: Vec<String>,
    /// What only a provider's own service has: its checked keys, as JSON values.
    #[serde(default)]
    pub cloud: serde_json::Map<String, serde_json::Value>,
}

/// A resource of a kind that only some targets can run, kept as its checked keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extra {
    /// The keys of its table, as JSON values.
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// One host name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Host name, lowercase, without a port; `*.` may lead; `*` alone is any host.
    pub host: String,
    /// Path prefixes (whole segments) and what answers; the longest match wins. Sorted longest first.
    pub paths: Vec<PathRoute>,
    /// Other names that are sent here with 308.
    pub redirect_from: Vec<String>,
}

/// What answers below one path prefix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathRoute {
    /// Starts with `/`.
    pub path: String,
    /// `service.x`, `site.x`, `function.x` or `bucket.x`.
    pub to: ResourceRef,
    /// The prefix is removed before the request is passed on.
    pub strip: bool,
    /// Requests allowed.
    pub limit: Option<Limit>,
    /// Name of the variable that lists the origins allowed to call from a page.
    pub cors: Option<String>,
    /// A visitor keeps coming to the same instance.
    pub sticky: bool,
    /// Upgrades are passed through. Default true.
    pub websocket: bool,
    /// Largest request body; `None` is no limit.
    pub max_body: Option<ByteSize>,
}

/// A rate limit, written `100/s per ip`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// How many requests.
    pub requests: u32,
    /// In how long.
    pub period: Period,
    /// Counted for whom.
    pub per: LimitKey,
}

/// For whom requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitKey {
    /// Each client address.
    Ip,
    /// Everybody together.
    All,
}

/// One variable of the environment contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Never shown; never a default.
    pub secret: bool,
    /// What a value must look like.
    pub form: VariableForm,
    /// Value when none is given.
    pub default: Option<String>,
    /// May be absent. Default false unless there is a default.
    pub optional: bool,
    /// Fewest characters.
    pub min_length: Option<usize>,
    /// Most characters.
    pub max_length: Option<usize>,
    /// How often it must change.
    pub rotate: Option<Period>,
    /// What it is for, shown in messages.
    pub about: Option<String>,
}

/// What a variable's value must look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VariableForm {
    /// Any text.
    Text,
    /// One of these.
    OneOf(Vec<String>),
    /// A URL with a scheme and a host.
    Url,
    /// Comma-separated URLs.
    UrlList,
    /// A whole number.
    Integer,
    /// A TCP port, 1 to 65535.
    Port,
    /// `true` or `false`.
    Boolean,
    /// An address with one `@`.
    Email,
    /// A [`Period`].
    Duration,
    /// A host name or an IP address.
    Host,
}

/// Which driver makes an environment real.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// This machine.
    Local,
    /// Hosts over SSH.
    Hosts,
    /// A Kubernetes cluster.
    Kubernetes,
    /// AWS.
    Aws,
}

/// What an environment's data are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataClass {
    /// Invented.
    Seed,
    /// Real, with persons made unrecognisable.
    Anonymised,
    /// Real.
    Real,
}

/// One environment: where it is and how careful to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Which driver.
    pub target: TargetKind,
    /// SSH destinations, for `hosts`.
    pub hosts: Vec<String>,
    /// Addresses visitors come to, `ip:port`. Default `127.0.0.1:8080` locally, `0.0.0.0:80` on hosts.
    pub listen: Vec<std::net::SocketAddr>,
    /// What the data are.
    pub data: DataClass,
    /// A deploy needs a person's yes.
    pub approve: bool,
    /// How visitors move from the old release to the new.
    pub rollout: Rollout,
    /// So many hosts may be lost without a deploy that has not moved visitors for good yet being undone.
    #[serde(default)]
    pub max_fail: u8,
    /// Path at which every host of the environment answers with the health report of S4.4, for load balancers in front
    /// of it; `None`: only `slipway health` tells.
    #[serde(default)]
    pub health: Option<String>,
    /// Proxies whose `X-Forwarded-For` is believed, as networks.
    pub trusted_proxies: Vec<String>,
    /// Kinds and names that this environment overlays, for messages.
    pub overlays: Vec<(Kind, ResourceName)>,
}

/// How visitors move: stages of rising weight, each watched for a while. Written `10% for 5m, 50% for 10m, 100%`,
/// `waves 1, 25%, 100%` or `at_once`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// In order; the last is always 100 %.
    pub stages: Vec<Stage>,
    /// Each stage is made of whole hosts: some send all their visitors to the new release, the others none. Without it
    /// every host splits its visitors.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waves: bool,
}

/// One stage of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// How much of the environment gets the new release.
    #[serde(flatten)]
    pub share: Share,
    /// How long the stage is watched.
    pub bake: Period,
    /// The stage lasts until a person promotes it; it is watched all the time. Never the last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
}

/// How much of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// Of its visitors, or in waves of its hosts, 1 to 100.
    Percent(u8),
    /// So many of its hosts, from 1; only in waves.
    Hosts(u8),
}

/// A stack with one environment's overlay applied and no problems left: what targets work from.
///
/// Only `resolve` makes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The stack after the overlay.
    pub stack: Stack,
    /// The environment's name.
    pub name: EnvironmentName,
    /// The environment.
    pub environment: Environment,
}
