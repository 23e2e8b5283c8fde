//! Services, sites, functions and jobs.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::form::{
    CpuRange, Cron, OneOrMany, Period, Reference, RelativePath, ReplicaRange, Scalar, SizeRange, UrlPath,
};

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Service")]
pub(crate) struct ServiceShape {
    /// Folder it is built and run in. Default `.`.
    pub(crate) dir: Option<RelativePath>,
    /// Shell command that builds it, run in `dir`.
    pub(crate) build: Option<String>,
    /// Files and folders below `dir` that the release carries. Default: all that version control does not ignore.
    pub(crate) out: Option<OneOrMany<RelativePath>>,
    /// A ready image from an image store, instead of `dir`.
    pub(crate) image: Option<String>,
    /// A Dockerfile that builds the image, instead of `dir`.
    pub(crate) dockerfile: Option<RelativePath>,
    /// Folder the Dockerfile is built in. Default `.`.
    pub(crate) context: Option<RelativePath>,
    /// Command that starts it. Images bring their own.
    pub(crate) run: Option<String>,
    /// Port it listens on where it has an address of its own. On a fleet each instance is told its own in `PORT`.
    #[schemars(range(min = 1, max = 65535))]
    pub(crate) port: Option<u16>,
    /// How its health is asked for: a path, or a table. With a port and no `health`, accepting a connection counts.
    pub(crate) health: Option<HealthShape>,
    /// Path that answers 2xx once it may take visitors. Default: the health path.
    pub(crate) ready: Option<UrlPath>,
    /// What one replica gets, and how many there are.
    pub(crate) size: Option<SizeShape>,
    /// What it uses; each injects its address, as in `DATABASE_URL`. A needed service starts first.
    pub(crate) needs: Option<OneOrMany<Reference>>,
    /// Extra environment variables; `${NAME}` takes a variable of the contract.
    pub(crate) env: Option<BTreeMap<String, Scalar>>,
    /// How long a new instance may take until it is ready. Default `60s`.
    pub(crate) start: Option<Period>,
    /// How long visitors of an instance that leaves may take to finish. Default `30s`.
    pub(crate) drain: Option<Period>,
    /// How long between TERM and KILL. Default `10s`.
    pub(crate) stop: Option<Period>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub(crate) enum HealthShape {
    Path(UrlPath),
    Table(HealthTable),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Health")]
pub(crate) struct HealthTable {
    /// Path that answers 2xx while it is well.
    pub(crate) path: UrlPath,
    /// Time between checks. Default `10s`.
    pub(crate) every: Option<Period>,
    /// A slower answer counts as none; at most `every`. Default `2s`.
    pub(crate) timeout: Option<Period>,
    /// Good answers in a row until healthy. Default 2.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) up: Option<u32>,
    /// Bad answers in a row until unhealthy. Default 3.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) down: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Resources")]
pub(crate) struct SizeShape {
    /// CPU asked for, and where it is capped.
    pub(crate) cpu: Option<CpuRange>,
    /// Memory asked for, and where it is capped.
    pub(crate) memory: Option<SizeRange>,
    /// Number of instances. Default 1.
    pub(crate) replicas: Option<ReplicaRange>,
    /// Use above which replicas are added, in percent of what is asked for.
    pub(crate) scale_at: Option<ScaleShape>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "ScaleAt")]
pub(crate) struct ScaleShape {
    /// CPU, percent.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) cpu: Option<u8>,
    /// Memory, percent.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) memory: Option<u8>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Site")]
pub(crate) struct SiteShape {
    /// Folder it is built in. Default `.`.
    pub(crate) dir: Option<RelativePath>,
    /// Shell command that builds it, run in `dir`.
    pub(crate) build: Option<String>,
    /// Folder below `dir` that holds the finished pages.
    pub(crate) out: RelativePath,
    /// An unknown path that accepts HTML gets `index.html`. Default false.
    pub(crate) spa: Option<bool>,
    /// Refuse a build whose scripts and styles are not minified and content-hashed. Default false.
    pub(crate) hashed: Option<bool>,
    /// Extra response headers.
    pub(crate) headers: Option<BTreeMap<String, Scalar>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Function")]
pub(crate) struct FunctionShape {
    /// Command that runs once per event.
    pub(crate) run: String,
    /// The event that starts it.
    pub(crate) on: Option<TriggerShape>,
    /// Or when it runs.
    pub(crate) schedule: Option<Cron>,
    /// Time zone of `schedule`, an IANA name. Default `UTC`.
    pub(crate) time_zone: Option<String>,
    /// Runs in the files of this service, with its `needs` and `env`. Default: the only service built in a folder.
    pub(crate) service: Option<super::form::Name>,
    /// Folder of its own files.
    pub(crate) dir: Option<RelativePath>,
    /// Shell command that builds them.
    pub(crate) build: Option<String>,
    /// What of `dir` the release carries.
    pub(crate) out: Option<OneOrMany<RelativePath>>,
    /// A ready image.
    pub(crate) image: Option<String>,
    /// A Dockerfile.
    pub(crate) dockerfile: Option<RelativePath>,
    /// Folder the Dockerfile is built in.
    pub(crate) context: Option<RelativePath>,
    /// What it uses.
    pub(crate) needs: Option<OneOrMany<Reference>>,
    /// Extra environment variables.
    pub(crate) env: Option<BTreeMap<String, Scalar>>,
    /// Runs again after a failure, at most this often. Default 0.
    #[schemars(range(min = 0, max = 1000))]
    pub(crate) retries: Option<u32>,
    /// Killed after this. Default `1h`.
    pub(crate) timeout: Option<Period>,
    /// Memory and CPU of one run.
    pub(crate) size: Option<SizeShape>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Trigger")]
pub(crate) struct TriggerShape {
    /// An object was stored in this bucket.
    pub(crate) bucket: Option<super::form::Name>,
    /// A message came into this queue.
    pub(crate) queue: Option<super::form::Name>,
    /// A message came to this topic.
    pub(crate) topic: Option<super::form::Name>,
    /// An item of this table changed.
    pub(crate) table: Option<super::form::Name>,
    /// A mail came in.
    pub(crate) mail: Option<super::form::Name>,
    /// This service raised an event.
    pub(crate) service: Option<super::form::Name>,
    /// Only object keys that start with this.
    pub(crate) prefix: Option<String>,
    /// Only events of this name.
    pub(crate) event: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Job")]
pub(crate) struct JobShape {
    /// Command that runs to its end.
    pub(crate) run: String,
    /// When it runs.
    pub(crate) schedule: Cron,
    /// Time zone of `schedule`, an IANA name. Default `UTC`.
    pub(crate) time_zone: Option<String>,
    /// What happens while the last run goes on: leave this one out, run it after, or end the last. Default `skip`.
    pub(crate) overlap: Option<OverlapShape>,
    /// Runs in the files of this service, with its `needs` and `env`. Default: the only service built in a folder.
    pub(crate) service: Option<super::form::Name>,
    /// Folder of its own files.
    pub(crate) dir: Option<RelativePath>,
    /// Shell command that builds them.
    pub(crate) build: Option<String>,
    /// What of `dir` the release carries.
    pub(crate) out: Option<OneOrMany<RelativePath>>,
    /// A ready image.
    pub(crate) image: Option<String>,
    /// A Dockerfile.
    pub(crate) dockerfile: Option<RelativePath>,
    /// Folder the Dockerfile is built in.
    pub(crate) context: Option<RelativePath>,
    /// What it uses.
    pub(crate) needs: Option<OneOrMany<Reference>>,
    /// Extra environment variables.
    pub(crate) env: Option<BTreeMap<String, Scalar>>,
    /// Runs again after a failure, at most this often. Default 0.
    #[schemars(range(min = 0, max = 1000))]
    pub(crate) retries: Option<u32>,
    /// Killed after this. Default `1h`.
    pub(crate) timeout: Option<Period>,
    /// Memory and CPU of one run.
    pub(crate) size: Option<SizeShape>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
pub(crate) enum OverlapShape {
    Skip,
    Queue,
    Replace,
}
