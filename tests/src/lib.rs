//! What the stories share: a project with a stack file, a home for an agent of its own, visitors.
//!
//! A story never uses the machine's own agent: each [`Story`] has a home in a temporary folder, an address on a
//! random port, and ends every process it started.

#![expect(clippy::missing_panics_doc, reason = "a story that goes wrong panics: that is its whole point")]
#![expect(clippy::return_self_not_must_use, reason = "expectations are made for their panics")]

pub mod amqp;
mod docker;
mod example;
mod fleet;
mod hosts;
mod kinds;
mod load;
mod project;

pub use docker::{Docker, ImageStore, harbour_files};
pub use fleet::{Deploying, Fleet};
pub use hosts::Hosts;
pub use load::{Load, Report};
pub use project::{Outcome, Story, binary, free_port, until, visit};
