//! What keeps data: databases, caches, queues, buckets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ByteSize, Period, ResourceName, ResourceRef, Size, Span};

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
