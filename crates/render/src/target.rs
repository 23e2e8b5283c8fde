//! The engines whose files can be written.

use std::{fmt, str::FromStr};

/// An engine, or a page for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A compose file, with the Dockerfiles of what is built.
    Compose,
    /// Kubernetes manifests, and a Helm chart of the same.
    Kubernetes,
    /// Terraform or OpenTofu for AWS.
    Terraform,
    /// Workflows for GitHub Actions.
    Ci,
    /// What a Prometheus reads, and its rules.
    Prometheus,
    /// Dashboards for Grafana.
    Grafana,
    /// Units for systemd alone.
    Systemd,
    /// An nginx in front of the instances.
    Nginx,
    /// An HAProxy in front of the instances.
    Haproxy,
    /// A Kubernetes cluster and PostgreSQL on bare machines.
    Ansible,
    /// This stack's own deploy, rollback, restore and failover, for people.
    Runbook,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 11] = [
        Target::Compose,
        Target::Kubernetes,
        Target::Terraform,
        Target::Ci,
        Target::Prometheus,
        Target::Grafana,
        Target::Systemd,
        Target::Nginx,
        Target::Haproxy,
        Target::Ansible,
        Target::Runbook,
    ];

    /// The word for it on the command line, and the folder its files go to.
    pub fn as_str(self) -> &'static str {
        match self {
            Target::Compose => "compose",
            Target::Kubernetes => "kubernetes",
            Target::Terraform => "terraform",
            Target::Ci => "ci",
            Target::Prometheus => "prometheus",
            Target::Grafana => "grafana",
            Target::Systemd => "systemd",
            Target::Nginx => "nginx",
            Target::Haproxy => "haproxy",
            Target::Ansible => "ansible",
            Target::Runbook => "runbook",
        }
    }

    /// The folder its files go to by custom, below the stack file's.
    pub fn folder(self) -> String {
        match self {
            // where GitHub looks for them
            Target::Ci => ".".to_owned(),
            target => format!("deploy/{target}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No target of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is nothing that can be rendered; use one of {list}", list = Target::ALL.map(Target::as_str).join(", "))]
pub struct UnknownTarget(String);

impl FromStr for Target {
    type Err = UnknownTarget;
    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        Target::ALL.into_iter().find(|target| target.as_str() == text).ok_or_else(|| UnknownTarget(text.to_owned()))
    }
}
