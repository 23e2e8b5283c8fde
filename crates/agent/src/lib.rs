//! The host's side: supervises instances, keeps the edge's table, runs jobs and tasks, answers on a unix socket.
//!
//! An agent holds one desired state per environment and works all the time to make reality match it; a crash, a reboot
//! or an upgrade is nothing special. It must never decide what should run, and nothing that runs may depend on it:
//! instances, edge and jobs live under [`shim`]s and are found again by the next agent.
//!
//! ```no_run
//! # async fn tour() -> Result<(), Box<dyn std::error::Error>> {
//! use agent::{Client, home::Home, protocol::{Call, Reply}};
//! let home = Home::at("/var/lib/slipway");
//! agent::launch(std::path::Path::new("/usr/bin/slipway"), &home).await?;   // starts one, or finds it
//! if let Reply::Scopes { scopes } = Client::connect(&home).await?.call(None, Call::Scopes).await? {
//!     scopes.iter().for_each(|scope| println!("{scope}"));
//! }
//! # Ok(()) }
//! ```
//!
//! From the outside in: [`protocol`] and `api` (what may be asked), `target` (the engine's verbs), `environment` (what
//! is durable and what is known), `supervisor`, `instance` and `probing` (what runs), `traffic` and `edge_process`
//! (who gets visitors), `tasks`, `schedule` and `recovery`.

mod adoption;
mod api;
pub mod asks;
mod backoff;
mod bindings;
mod buckets;
pub mod claims;
pub mod client;
mod clock;
mod command;
mod container;
mod context;
mod counters;
mod databases;
mod edge_process;
mod edge_shim;
mod environment;
pub mod error;
mod exec;
mod files;
mod functions;
mod headers;
mod health;
mod history;
pub mod home;
mod host;
pub mod host_file;
mod instance;
mod instance_spec;
mod internal;
mod jobs;
mod journal;
mod launch;
pub mod log;
pub mod members;
mod membership;
mod peers;
mod ports;
mod preflight;
mod probing;
mod program;
pub mod protocol;
mod recovery;
mod revision;
mod run;
mod scaling;
mod schedule;
mod sending;
mod serve;
mod services;
mod shared;
pub mod shim;
mod socket;
mod state;
mod supervisor;
mod target;
mod tasks;
mod tenant;
mod topics;
mod traffic;
pub mod upload;
mod values;

pub use client::{Client, LogQuery, Logs};
pub use clock::SystemClock;
pub use context::{Context, context};
pub use error::Error;
pub use exec::{Exec, ExecOutput, ExecRequest, ExecTarget};
pub use launch::launch;
pub use scaling::Pace;
pub use sending::{Stream, Taken};
pub use serve::{Options, main};
pub use services::service_url;
