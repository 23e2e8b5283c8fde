//! Agents of several hosts that make one environment, and what each of them decides for itself.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod agrees;
#[path = "../host/bed.rs"]
#[expect(dead_code, reason = "the stories of one host use the rest")]
mod bed;
mod data;
mod edges;
mod hosts;
mod jobs;
mod scales;
