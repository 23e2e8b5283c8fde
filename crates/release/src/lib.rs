//! Releases: one job, from a resolved stack and a project's folder to an immutable release in a store.
//!
//! The tour: [`build()`] does it all; [`compile`], [`verify`] and [`pack`] are its three steps, for callers that tell
//! them apart. [`Store`] holds what was packed: `find` turns what a person types into a [`Record`], `folder` says
//! where the files lie, `check` looks whether they are still what was packed, `prune` makes room.
//!
//! This room never changes what runs anywhere and never touches a network itself (build commands may, and the
//! container engine that fetches and builds images). A build
//! that fails leaves every release and every record as they were.

mod assemble;
pub mod build;
mod bundle;
mod cache;
mod carry;
mod check;
mod command;
mod compile;
mod compress;
pub mod container;
mod content_type;
pub mod delta;
mod digest;
mod durable;
pub mod error;
mod hashed;
mod hint;
mod image;
mod look;
pub mod manifest;
mod origin;
mod pack;
mod plan;
mod prune;
mod record;
mod scan;
mod select;
mod site;
pub mod store;
mod tree;
mod verify;

pub use build::{BuildEvent, BuildOptions, Built, Compiled, Stop, Stream, build, peek};
pub use compile::compile;
pub use content_type::content_type;
pub use error::{BuildError, CommandFailure, Damage, End, StoreError};
pub use manifest::{Content, FileEntry, Manifest, Record, Tree};
pub use origin::who;
pub use pack::pack;
pub use plan::{ImageSource, ImageStep, Plan, Step, Wanted, image_key, outputs, plan};
pub use prune::Pruned;
pub use site::{SiteFile, SiteIndex};
pub use store::Store;
pub use verify::verify;
