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
    /// So many hosts may be lost without a deploy that has not moved visitors for good yet being undone; fewer than half
    /// of them. Only for the target `hosts`. Default 0.
    pub(crate) max_fail: Option<u32>,
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
    /// As it is here: caches near visitors.
    pub(crate) cdn: Named<extra::CdnShape>,
    /// As it is here: zones, their records and certificates.
    pub(crate) dns: Named<extra::DnsShape>,
    /// As it is here: one entry in front of services, with sign-in and limits.
    pub(crate) gateway: Named<extra::GatewayShape>,
    /// As it is here: where output goes and how long it stays.
    pub(crate) log: Named<extra::LogShape>,
    /// As it is here: what a Prometheus reads.
    pub(crate) scrape: Named<extra::ScrapeShape>,
    /// As it is here: keys that encrypt data at rest.
    pub(crate) key: Named<extra::KeyShape>,
    /// As it is here: what programs may do at the provider.
    pub(crate) role: Named<extra::RoleShape>,
    /// As it is here: services of others that the application calls.
    pub(crate) external: Named<extra::ExternalShape>,
    /// As it is here: how machines become a cluster.
    pub(crate) cluster: Named<extra::ClusterShape>,
    /// As it is here: rules that an account and a system must meet.
    pub(crate) audit: Named<extra::AuditShape>,
    /// As it is here: what must be true before, during or after a deploy.
    pub(crate) gate: Named<extra::GateShape>,
    /// As it is here: stages of a plan over months, with milestones.
    pub(crate) phase: Named<extra::PhaseShape>,
    /// As it is here: what an environment is expected to cost per month.
    pub(crate) price: Named<extra::PriceShape>,
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
