//! The other hosts of an environment: how they are reached, looked at and caught up with (docs/adr/0006-many-hosts.md).
//!
//! `keys` and `link` reach them, `listener` and `door` answer them, `book` holds what they said, `look` asks them twice a
//! second, `level` adopts what a majority has, and `fleet` drives them all as one target.

mod book;
mod door;
mod fetch;
mod fleet;
mod keys;
mod level;
mod link;
mod listener;
mod look;

pub(crate) use book::{Peers, state};
pub(crate) use fleet::of_fleet;
pub(crate) use level::{bring, hear_first, level};
pub(crate) use link::Link;

use std::sync::Arc;

use crate::{environment::Environment, host::Host};

/// Answers peers for as long as the agent runs.
pub(crate) use listener::run as listen;

/// Looks at the other hosts of an environment, and catches up with them, for as long as the agent runs.
pub(crate) async fn run(host: Arc<Host>, environment: Arc<Environment>) {
    tokio::join!(look::run(&host, &environment), level::run(&host, &environment));
}
