//! Buckets: an S3 server over a folder, for the programs of an environment and for visitors.
//!
//! Protocol and signatures are `s3s`'s; what an object is, and that nothing acknowledged is ever lost, is ours. They
//! belong to the environment, not to a release: their data stay when a release goes.
//!
//! ```text
//! buckets.json              ports and keys, 0600
//! data/bucket-<name>/       one bucket (store.rs)
//! ```
//!
//! [`keeper`] opens what the releases ask for; [`front`] lets requests in; [`api`] names the operations, each in a file
//! of its own; [`store`] and [`index`] keep; [`upkeep`] hands events on, tidies and lets objects age.

mod api;
mod archive;
mod book;
mod definition;
mod entry;
mod event;
mod failure;
mod fetch;
mod front;
mod index;
mod keeper;
mod listen;
mod listing;
mod multipart;
mod page;
mod paths;
mod receive;
mod remove;
mod send;
mod store;
mod sums;
#[cfg(test)]
mod tests;
mod upkeep;
mod uploads;
mod write;

pub(crate) use api::REGION;
pub(crate) use definition::wire_name;
pub(crate) use keeper::{Access, Buckets, access, ensure, finish, run};
