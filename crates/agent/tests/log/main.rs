//! Logs as shims write them and the agent reads and follows them.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod follow;
mod write;
