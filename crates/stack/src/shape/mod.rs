//! The stack file's shape as types: nothing is ever read into them, the JSON Schema and the reference are made of them.
//!
//! What a key means stands in its doc comment and reaches editors and documentation from there. A test holds these
//! keys and the keys of the reader to the same set. Kinds that only some targets can run have one table of keys, in
//! `read::extra_keys`; what may be laid over in an environment is what the stack itself has. Both are filled in by `schema`.
#![expect(dead_code, reason = "only the shapes are used: no value of these types is ever made")]

mod environment;
pub(crate) mod extra;
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
    /// Host names and what answers below each path. `*.` may lead a name; `*` alone is any host.
    pub(crate) route: Named<route::RouteShape>,
    /// The environment contract: checked at plan, at deploy and at start. A bare value is the default.
    pub(crate) variable: Named<route::VariableShape>,
    /// Conditions that wake somebody.
    pub(crate) alarm: Named<form::Alarm>,
    /// Where the application runs, and what is different there. Without any there is `dev` on this machine.
    pub(crate) environment: Named<environment::EnvironmentShape>,
}
