//! The host's side: supervises instances, keeps the edge's table, runs jobs and tasks, answers on a unix socket.

pub mod home;
pub mod protocol;
