//! The stack file's shape as types: nothing is ever read into them, the JSON Schema and the reference are made of them.
//!
//! What a key means stands in its doc comment and reaches editors and documentation from there. A test holds these
//! keys and the keys of the reader to the same set.
#![expect(dead_code, reason = "only the shapes are used: no value of these types is ever made")]

mod environment;
mod extra;
mod form;
mod program;
mod route;
mod store;

use std::collections::BTreeMap;

use schemars::JsonSchema;

type Named<T> = Option<BTreeMap<String, T>>;

/// Describes an application once: what it is made of, where it runs, and how careful to be.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Stack")]
pub(crate) struct StackShape {
    /// Name of the application: 1 to 48 of `a-z 0-9 -`, starting with a letter.
    pub(crate) app: form::Name,
    /// Version shown to people. By default what `git describe` says.
    pub(crate) version: Option<String>,
    /// Long-running processes, each with zero or more replicas.
    pub(crate) service: Named<program::ServiceShape>,
    /// Static files, built once.
    pub(crate) site: Named<program::SiteShape>,
    /// Programs that run when something happens.
    pub(crate) function: Named<program::FunctionShape>,
    /// Programs that run on a schedule.
    pub(crate) job: Named<program::JobShape>,
    /// SQL databases.
    pub(crate) database: Named<store::DatabaseShape>,
    /// In-memory stores.
    pub(crate) cache: Named<store::CacheShape>,
    /// Message brokers.
    pub(crate) queue: Named<store::QueueShape>,
    /// Object stores.
    pub(crate) bucket: Named<store::BucketShape>,
    /// Messages that go to many.
    pub(crate) topic: Named<extra::TopicShape>,
    /// Key-value tables.
    pub(crate) table: Named<extra::TableShape>,
    /// Search servers.
    pub(crate) search: Named<extra::SearchShape>,
    /// Domains mails come from.
    pub(crate) mail: Named<extra::MailShape>,
    /// Pools of people who sign in.
    pub(crate) identity: Named<extra::IdentityShape>,
    /// Address ranges and who may reach whom.
    pub(crate) network: Named<extra::NetworkShape>,
    /// Pages of charts.
    pub(crate) dashboard: Named<extra::DashboardShape>,
    /// Filters in front of routes.
    pub(crate) waf: Named<extra::WafShape>,
    /// Caches near visitors.
    pub(crate) cdn: Named<extra::CdnShape>,
    /// Zones, their records and certificates.
    pub(crate) dns: Named<extra::DnsShape>,
    /// One entry in front of services, with sign-in and limits.
    pub(crate) gateway: Named<extra::GatewayShape>,
    /// Where output goes and how long it stays.
    pub(crate) log: Named<extra::LogShape>,
    /// What a Prometheus reads.
    pub(crate) scrape: Named<extra::ScrapeShape>,
    /// Keys that encrypt data at rest.
    pub(crate) key: Named<extra::KeyShape>,
    /// What programs may do at the provider.
    pub(crate) role: Named<extra::RoleShape>,
    /// Services of others that the application calls.
    pub(crate) external: Named<extra::ExternalShape>,
    /// How machines become a cluster.
    pub(crate) cluster: Named<extra::ClusterShape>,
    /// Rules that an account and a system must meet.
    pub(crate) audit: Named<extra::AuditShape>,
    /// What must be true before, during or after a deploy.
    pub(crate) gate: Named<extra::GateShape>,
    /// Stages of a plan over months, with milestones.
    pub(crate) phase: Named<extra::PhaseShape>,
    /// What an environment is expected to cost per month.
    pub(crate) price: Named<extra::PriceShape>,
    /// Host names and what answers below each path. `*.` may lead a name; `*` alone is any host.
    pub(crate) route: Named<route::RouteShape>,
    /// The environment contract: checked at plan, at deploy and at start. A bare value is the default.
    pub(crate) variable: Named<route::VariableShape>,
    /// Conditions that wake somebody.
    pub(crate) alarm: Named<form::Alarm>,
    /// Where the application runs, and what is different there. Without any there is `dev` on this machine.
    pub(crate) environment: Named<environment::EnvironmentShape>,
}
