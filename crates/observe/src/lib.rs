//! Looking at what runs: probes and their thresholds, the health report, what `/proc` says of a process.
//!
//! This room looks and judges. It never starts, stops or changes anything, and keeps nothing.
//!
//! - [`probe`]: ask one instance, and turn answers into a verdict that does not flap.
//! - [`answer`]: ask an address as a visitor does.
//! - [`health`]: the report an application gives of itself, and the rules behind its status.
//! - [`process`]: memory, CPU time and state of a process, of a group, of the host.
//!
//! ```
//! use observe::probe::{Change, Threshold};
//!
//! let mut verdict = Threshold::new(2, 3, false);
//! assert_eq!(verdict.record(true), None);
//! assert_eq!(verdict.record(true), Some(Change::Up));
//! ```

pub mod answer;
pub mod health;
pub mod probe;
pub mod process;
