//! Databases, caches, queues and buckets.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::{
    extra::{BucketCloudShape, CacheCloudShape, DatabaseCloudShape},
    form::{
        DatabaseEngine, Engine, Name, OneOrMany, Period, Recurrence, Reference, RelativePath, Retention, Scalar, Size,
        SizeRange, Template, TimeOfDay,
    },
    program::SizeShape,
};

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Database")]
pub(crate) struct DatabaseShape {
    /// Engine and version.
    pub(crate) engine: DatabaseEngine,
    /// Address of an existing server. Without it the target runs one.
    pub(crate) url: Option<Template>,
    /// Folder of `NNN_name.up.sql` and `NNN_name.down.sql`.
    pub(crate) migrations: Option<RelativePath>,
    /// Or a command that migrates, such as `npx prisma migrate deploy`.
    pub(crate) migrate: Option<MigrateShape>,
    /// A command or SQL file that fills a fresh database where the data are `seed`.
    pub(crate) seed: Option<String>,
    /// Read replicas. Default 0; SQLite has none.
    #[schemars(range(min = 0, max = 100))]
    pub(crate) replicas: Option<u32>,
    /// Whether a replica takes over: never, when a person says so, or by itself. Default `none`.
    pub(crate) failover: Option<FailoverShape>,
    /// How backups are taken and kept.
    pub(crate) backup: Option<BackupShape>,
    /// What loss and what outage are acceptable.
    pub(crate) objective: Option<ObjectiveShape>,
    /// Settings of the engine, passed on as they are.
    pub(crate) settings: Option<BTreeMap<String, Scalar>>,
    /// What the server gets.
    pub(crate) size: Option<SizeShape>,
    /// Disk to begin with, and to grow to.
    pub(crate) storage: Option<SizeRange>,
    /// What only a provider's own service has.
    pub(crate) cloud: Option<DatabaseCloudShape>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub(crate) enum MigrateShape {
    Command(String),
    Table(MigrateTable),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Migrate")]
pub(crate) struct MigrateTable {
    /// Command that migrates.
    pub(crate) run: String,
    /// Service whose files it runs in. Default: the only one.
    pub(crate) service: Option<Name>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
pub(crate) enum FailoverShape {
    None,
    Manual,
    Automatic,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Backup")]
pub(crate) struct BackupShape {
    /// Local time of day.
    pub(crate) at: Option<TimeOfDay>,
    /// How many daily, weekly and monthly ones stay.
    pub(crate) keep: Retention,
    /// Who can read them: age or SSH public keys.
    pub(crate) encrypt_to: Option<OneOrMany<String>>,
    /// Buckets they go to.
    pub(crate) to: OneOrMany<Reference>,
    /// How often a restore is rehearsed.
    pub(crate) drill: Option<Recurrence>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Objective")]
pub(crate) struct ObjectiveShape {
    /// Recovery point: how much of the past may be lost.
    pub(crate) rpo: Option<Period>,
    /// Recovery time: how long it may be down.
    pub(crate) rto: Option<Period>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Cache")]
pub(crate) struct CacheShape {
    /// Engine and version.
    pub(crate) engine: Engine,
    /// Address of an existing server.
    pub(crate) url: Option<Template>,
    /// Replicas per shard. Default 0.
    #[schemars(range(min = 0, max = 100))]
    pub(crate) replicas: Option<u32>,
    /// Shards. Default 1.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) shards: Option<u32>,
    /// Memory asked for.
    pub(crate) memory: Option<Size>,
    /// What only a provider's own service has.
    pub(crate) cloud: Option<CacheCloudShape>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Queue")]
pub(crate) struct QueueShape {
    /// Engine and version.
    pub(crate) engine: Engine,
    /// Address of an existing server.
    pub(crate) url: Option<Template>,
    /// Members. Default 1.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) replicas: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Bucket")]
pub(crate) struct BucketShape {
    /// Name at the provider, when it differs.
    pub(crate) name: Option<String>,
    /// Old versions are kept. Default false.
    pub(crate) versions: Option<bool>,
    /// Anybody may read. Default false.
    pub(crate) public: Option<bool>,
    /// Moves to cold storage after this.
    pub(crate) archive_after: Option<Period>,
    /// Removed after this.
    pub(crate) delete_after: Option<Period>,
    /// Origins whose pages may upload.
    pub(crate) cors: Option<OneOrMany<Template>>,
    /// What only a provider's own service has.
    pub(crate) cloud: Option<BucketCloudShape>,
}
