//! The room from outside: real folders, real git, real commands.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod build;
mod crash;
mod delta;
mod disk;
mod outputs;
mod project;
mod records;
mod store;
