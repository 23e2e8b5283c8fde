//! A fleet of real agents on this machine, each with a home and a loopback address of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world has failed")]

mod bed;
mod deploys;
mod ships;
