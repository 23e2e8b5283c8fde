//! One reader for each kind of file.

pub(crate) mod compose;
pub(crate) mod compose_keys;
pub(crate) mod compose_service;
pub(crate) mod data;
