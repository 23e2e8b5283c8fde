//! Functions: programs that run once per event.
//!
//! Events of topics, buckets and services are durable in a log of their source before they are acknowledged, and each
//! function that subscribes has its own place in that log, so that each gets every event at least once; so has each
//! service and queue that a topic names. Messages of a queue stay with the broker until their run succeeded. A visitor of
//! an HTTP function waits for its run.
//!
//! ```text
//! events.json                      port and token of the address at which programs publish, 0600
//! events/<kind>.<name>/            the log of a topic, a bucket or a service
//!   <first number>.log             one checksummed line per event, oldest first
//!   <function>.json                how far a function is, and which deliveries it has behind it
//!   service.<name>.json            the same of a service, and of a `queue`
//! events/dead/<function>.jsonl     what could not be delivered
//! tasks/<run>/event.json           the event of a run that goes on
//! ```
//!
//! `event` is what travels, `log`, `cursor` and `dead` what is durable, `sources` who subscribes; `subscription`,
//! `queue` and `http` bring events to `delivery`, `passing` to services and queues; `runner` looks after all of them.

mod answer;
mod asked;
mod cursor;
mod dead;
mod delivery;
mod event;
mod http;
mod log;
mod passing;
mod queue;
mod runner;
mod sources;
mod state;
mod subscription;

pub(crate) use asked::{redeliver, start};
pub(crate) use dead::all as dead_letters;
pub(crate) use event::{CloudEvent, LARGEST as LARGEST_EVENT};
pub(crate) use runner::run;
pub(crate) use sources::{emit, named};
pub(crate) use state::{Functions, Places};
