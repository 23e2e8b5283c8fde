//! `JobGraph`: six services and their functions.

pub(crate) mod auth;
pub(crate) mod interview;
pub(crate) mod job;
pub(crate) mod matching;
pub(crate) mod notification;
pub(crate) mod profile;
