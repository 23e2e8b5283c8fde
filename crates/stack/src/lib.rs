//! The stack file: one job, from the text of `slipway.toml` to checked types.
//!
//! This room parses, validates, overlays and describes the stack file. It never touches a network, a process or
//! a target, and depends on nothing else of ours.

pub mod model;
pub mod name;
pub mod problem;
pub mod quantity;

pub use model::*;
pub use name::*;
pub use problem::{Position, Problem, Problems, Severity};
pub use quantity::*;
