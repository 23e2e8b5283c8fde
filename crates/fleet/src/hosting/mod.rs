//! Making a machine a host and keeping it one: what is there, what has to be done, doing it.
//!
//! [`Facts`] are read in one round trip, [`plan`](plan::plan) is pure, and every step is a title and the very script
//! that runs, so that `--dry-run` shows what would happen and a second run has nothing to do.

pub mod check;
pub mod facts;
pub mod firewall;
pub mod harden;
pub mod package;
pub mod plan;
pub mod program;
pub mod removal;
pub mod run;
pub mod unit;

pub use facts::{Access, Facts};
pub use package::Package;
pub use plan::{Plan, Step, Wish};
pub use program::Program;

/// The agent's home on a host.
pub const HOME: &str = "/var/lib/slipway";

/// The group whose members may speak to the agent.
pub const GROUP: &str = "slipway";

/// What is typed on a host.
pub const LINK: &str = "/usr/local/bin/slipway";

/// Where programs lie, each version in a folder of its own.
pub const PROGRAMS: &str = "/usr/local/lib/slipway";
