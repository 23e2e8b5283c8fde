//! Where an application runs, and how careful its deploys are.

use serde::{Deserialize, Serialize};

use crate::{Kind, Period, ResourceName};

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
