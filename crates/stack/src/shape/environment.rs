//! Environments.

use schemars::JsonSchema;

use super::form;

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
