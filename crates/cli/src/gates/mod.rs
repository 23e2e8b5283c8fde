//! Passes the gates of a deploy, where the deploy runs: commands, what can be looked at, and what a person answers.

mod ask;
mod keeper;
mod look;
mod shell;

pub(crate) use keeper::{Gatekeeper, Subject, need_a_person};
