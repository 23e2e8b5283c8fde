//! What the files have in common: the environment they are written for, what runs where, names.

use serde_json::Value;
use stack::{Extra, Kind, Resolved, ResourceName, ResourceRef, Service, Stack, TargetKind};

use crate::Input;

/// What services become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Fargate,
    Lambda,
    Machines,
    Cluster,
}

/// The stack as one environment of AWS sees it.
pub(crate) struct Cloud<'i> {
    pub(crate) resolved: &'i Resolved,
    pub(crate) stack: &'i Stack,
    pub(crate) shape: Shape,
}

impl<'i> Cloud<'i> {
    pub(crate) fn new(input: &'i Input) -> Self {
        let resolved = &input.resolved;
        let stack = &resolved.stack;
        let gateway = |kind: &str| {
            stack.extras.iter().any(|(need, extra)| need.kind == Kind::Gateway && text(extra, "kind") == Some(kind))
        };
        let shape = match resolved.environment.target {
            TargetKind::Hosts | TargetKind::Local => Shape::Machines,
            TargetKind::Kubernetes => Shape::Cluster,
            TargetKind::Aws if gateway("http") && !gateway("load-balancer") => Shape::Lambda,
            TargetKind::Aws => Shape::Fargate,
        };
        Self { resolved, stack, shape }
    }

    /// Resources of a kind that is kept as its keys.
    pub(crate) fn extras(&self, kind: Kind) -> impl Iterator<Item = (&'i ResourceName, &'i Extra)> {
        self.stack.extras.iter().filter(move |(need, _)| need.kind == kind).map(|(need, extra)| (&need.name, extra))
    }

    /// Services that take visitors or others: they have a port.
    pub(crate) fn ported(&self) -> impl Iterator<Item = (&'i ResourceName, &'i Service, u16)> {
        self.stack.services.iter().filter_map(|(name, service)| Some((name, service, service.port?)))
    }

    /// Databases that run on RDS: those the target runs, or that have words for a provider.
    pub(crate) fn databases(&self) -> impl Iterator<Item = (&'i ResourceName, &'i stack::Database)> {
        let in_cluster = self.shape == Shape::Cluster;
        self.stack.databases.iter().filter(move |(_, database)| {
            matches!(database.engine, stack::DatabaseEngine::Postgres(_))
                && (!database.cloud.is_empty() || database.url.is_none() && !in_cluster)
        })
    }

    /// Caches that run on `ElastiCache`.
    pub(crate) fn caches(&self) -> impl Iterator<Item = (&'i ResourceName, &'i stack::Cache)> {
        let in_cluster = self.shape == Shape::Cluster;
        self.stack
            .caches
            .iter()
            .filter(move |(_, cache)| cache.cloud.contains_key("class") || cache.url.is_none() && !in_cluster)
    }

    /// Queues that run on Amazon MQ.
    pub(crate) fn queues(&self) -> impl Iterator<Item = (&'i ResourceName, &'i stack::Queue)> {
        let in_cluster = self.shape == Shape::Cluster;
        self.stack.queues.iter().filter(move |(_, queue)| queue.url.is_none() && !in_cluster)
    }

    /// The first key whose `of` names a resource; by default AWS's own keys are used.
    pub(crate) fn key(&self, reference: &str) -> Option<String> {
        let mut keys = self.extras(Kind::Key);
        let found = keys.find(|(_, extra)| {
            let kind = reference.split('.').next().unwrap_or_default();
            texts(extra, "of").iter().any(|of| *of == reference || *of == kind || *of == format!("{kind}.*"))
        });
        found.map(|(name, _)| format!("= aws_kms_key.{}.arn", label(name)))
    }

    /// Whether anything lives inside the network.
    pub(crate) fn networked(&self) -> bool {
        self.shape != Shape::Lambda || self.databases().next().is_some() || self.caches().next().is_some()
    }
}

/// A name as Terraform has it: `resume-parser` is `resume_parser`.
pub(crate) fn label(name: impl AsRef<str>) -> String {
    name.as_ref().replace(['-', '.', '*', '@', ' '], "_")
}

/// A text of a resource that is kept as its keys.
pub(crate) fn text<'e>(extra: &'e Extra, key: &str) -> Option<&'e str> {
    extra.settings.get(key).and_then(Value::as_str)
}

/// Texts of such a resource.
pub(crate) fn texts<'e>(extra: &'e Extra, key: &str) -> Vec<&'e str> {
    let list = extra.settings.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A flag of such a resource.
pub(crate) fn flag(extra: &Extra, key: &str) -> bool {
    extra.settings.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// A number of such a resource.
pub(crate) fn number(extra: &Extra, key: &str) -> Option<i64> {
    extra.settings.get(key).and_then(Value::as_i64)
}

/// A duration of such a resource, in days, at least one.
pub(crate) fn days(text: Option<&str>, otherwise: u64) -> u64 {
    let period = text.and_then(|text| text.parse::<stack::Period>().ok());
    period.map_or(otherwise, |period| (period.0.as_secs() / 86_400).max(1))
}

/// A duration in seconds.
pub(crate) fn seconds(text: Option<&str>, otherwise: u64) -> u64 {
    text.and_then(|text| text.parse::<stack::Period>().ok()).map_or(otherwise, |period| period.0.as_secs())
}

/// A reference as it stands in the stack.
pub(crate) fn reference(kind: Kind, name: &ResourceName) -> String {
    ResourceRef { kind, name: name.clone() }.to_string()
}
