//! Environments.

use schemars::JsonSchema;

use super::{Named, extra, form, program, route, store};

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Environment")]
pub(crate) struct EnvironmentShape {
    /// Which driver makes it real: this machine, hosts over SSH, a Kubernetes cluster, or AWS.
    pub(crate) target: TargetShape,
    /// SSH destinations, as `user@host`; only for the target `hosts`.
    pub(crate) hosts: Option<form::OneOrMany<String>>,
    /// Addresses visitors come to. Default `127.0.0.1:8080` locally, `0.0.0.0:80` on hosts.
    pub(crate) listen: Option<form::OneOrMany<String>>,
    /// What the data are: invented, real with persons made unrecognisable, or real. Default `seed` locally, else `real`.
    pub(crate) data: Option<DataShape>,
    /// A deploy needs a person's yes. Default false.
    pub(crate) approve: Option<bool>,
    /// How visitors move from the old release to the new. Default: all at once.
    pub(crate) rollout: Option<form::Rollout>,
    /// Path at which every host of the environment answers with its health report, for load balancers in front of it.
    pub(crate) health: Option<String>,
    /// Proxies whose `X-Forwarded-For` is believed, as addresses or networks.
    pub(crate) trusted_proxies: Option<form::OneOrMany<String>>,
    /// Services as they are here.
    pub(crate) service: Named<program::ServiceShape>,
    /// Sites as they are here.
    pub(crate) site: Named<program::SiteShape>,
    /// Functions as they are here.
    pub(crate) function: Named<program::FunctionShape>,
    /// Jobs as they are here.
    pub(crate) job: Named<program::JobShape>,
    /// Databases as they are here.
    pub(crate) database: Named<store::DatabaseShape>,
    /// Caches as they are here.
    pub(crate) cache: Named<store::CacheShape>,
    /// Queues as they are here.
    pub(crate) queue: Named<store::QueueShape>,
    /// Buckets as they are here.
    pub(crate) bucket: Named<store::BucketShape>,
    /// Topics as they are here.
    pub(crate) topic: Named<extra::TopicShape>,
    /// Tables as they are here.
    pub(crate) table: Named<extra::TableShape>,
    /// Search servers as they are here.
    pub(crate) search: Named<extra::SearchShape>,
    /// Mail as it is here.
    pub(crate) mail: Named<extra::MailShape>,
    /// Identity as it is here.
    pub(crate) identity: Named<extra::IdentityShape>,
    /// Networks as they are here.
    pub(crate) network: Named<extra::NetworkShape>,
    /// Dashboards as they are here.
    pub(crate) dashboard: Named<extra::DashboardShape>,
    /// Filters as they are here.
    pub(crate) waf: Named<extra::WafShape>,
    /// Routes as they are here.
    pub(crate) route: Named<route::RouteShape>,
    /// Variables as they are here; a bare value is the default.
    pub(crate) variable: Named<route::VariableShape>,
    /// Alarms as they are here.
    pub(crate) alarm: Named<form::Alarm>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
pub(crate) enum TargetShape {
    Local,
    Hosts,
    Kubernetes,
    Aws,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
pub(crate) enum DataShape {
    Seed,
    Anonymised,
    Real,
}
