//! The stack file: one job, from the text of `slipway.toml` to checked types.
//!
//! This room parses, validates, overlays and describes the stack file. It never touches a network, a process or
//! a target, and depends on nothing else of ours.
//!
//! ```
//! let text = "app = \"shop\"\n[service.api]\nrun = \"node server.js\"\nport = 4000\n";
//! assert!(stack::check("slipway.toml", text).is_empty());
//!
//! let dev = stack::EnvironmentName::new("dev")?;
//! let resolved = stack::resolve("slipway.toml", text, &dev)?;
//! assert_eq!(resolved.stack.services["api"].port, Some(4000));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod alarm;
pub mod gate;
pub mod model;
pub mod name;
pub mod problem;
pub mod quantity;
pub mod template;

mod document;
mod limit;
mod overlay;
mod read;
mod reference_page;
mod retention;
mod rollout;
pub mod sample;
mod schedule;
mod schema;
mod shape;
mod sketch;
mod suggest;
mod variable;

pub use alarm::{AlarmRule, Comparison, MetricUnit};
pub use document::{LARGEST_FILE, check, environments, parse, resolve};
pub use gate::Gate;
pub use model::*;
pub use name::*;
pub use problem::{Position, Problem, Problems, Severity};
pub use quantity::*;
pub use reference_page::reference_page;
pub use schema::schema;
pub use sketch::{SketchError, sketch};
pub use suggest::suggest;
