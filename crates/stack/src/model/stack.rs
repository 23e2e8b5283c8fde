//! A whole application, and as one environment sees it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    AppName, Bucket, Cache, Database, Environment, EnvironmentName, Function, Job, Queue, ResourceName, ResourceRef,
    Route, Service, Site, Variable,
};

/// A whole application, as described once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// Name of the application.
    pub app: AppName,
    /// Version shown to people; by default what `git describe` says.
    pub version: Option<String>,
    /// Long-running processes.
    pub services: BTreeMap<ResourceName, Service>,
    /// Static files.
    pub sites: BTreeMap<ResourceName, Site>,
    /// Programs that run when something happens.
    pub functions: BTreeMap<ResourceName, Function>,
    /// Programs that run on a schedule.
    pub jobs: BTreeMap<ResourceName, Job>,
    /// SQL databases.
    pub databases: BTreeMap<ResourceName, Database>,
    /// In-memory stores.
    pub caches: BTreeMap<ResourceName, Cache>,
    /// Message brokers.
    pub queues: BTreeMap<ResourceName, Queue>,
    /// Object stores.
    pub buckets: BTreeMap<ResourceName, Bucket>,
    /// Kinds this file describes but that only some targets can run: topic, table, search, mail, identity,
    /// network, dashboard, waf.
    pub extras: BTreeMap<ResourceRef, Extra>,
    /// Host names and what answers below each path, in the file's order.
    pub routes: Vec<Route>,
    /// The environment contract.
    pub variables: BTreeMap<String, Variable>,
    /// Conditions that wake somebody.
    pub alarms: BTreeMap<ResourceName, String>,
    /// The overlays.
    pub environments: BTreeMap<EnvironmentName, Environment>,
}

/// A resource of a kind that only some targets can run, kept as its checked keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extra {
    /// The keys of its table, as JSON values.
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// A stack with one environment's overlay applied and no problems left: what targets work from.
///
/// Only `resolve` makes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The stack after the overlay.
    pub stack: Stack,
    /// The environment's name.
    pub name: EnvironmentName,
    /// The environment.
    pub environment: Environment,
}
