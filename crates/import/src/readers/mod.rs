//! One reader for each kind of file.

pub(crate) mod binding;
pub(crate) mod compose;
pub(crate) mod crontab;
pub(crate) mod data;
pub(crate) mod kubernetes;
pub(crate) mod nginx;
pub(crate) mod plain;
pub(crate) mod platforms;
pub(crate) mod script;
pub(crate) mod systemd;
pub(crate) mod terraform;
pub(crate) mod workflow;
