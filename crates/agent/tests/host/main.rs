//! The agent as a process with a real edge, real instances and visitors.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod bed;
mod buckets;
mod fails_well;
mod functions;
mod keeps_running;
mod s3;
mod works;
