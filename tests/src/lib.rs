//! What the stories share: a project with a stack file, a home for an agent of its own, visitors.
//!
//! A story never uses the machine's own agent: each [`Story`] has a home in a temporary folder, an address on a
//! random port, and ends every process it started.

mod load;
mod project;

pub use load::{Load, Report};
pub use project::{Outcome, Story, free_port, until};
