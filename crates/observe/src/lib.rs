//! Looking at what runs: probes and their thresholds, the health report, what `/proc` says of a process.

pub mod probe;
