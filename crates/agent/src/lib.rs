//! The host's side: supervises instances, keeps the edge's table, runs jobs and tasks, answers on a unix socket.

pub mod client;
pub mod error;
mod files;
pub mod home;
mod journal;
pub mod log;
pub mod protocol;
pub mod shim;
mod socket;
mod state;
mod values;

pub use client::{Client, LogQuery, Logs};
