//! One command, one file: plain arguments and a [`Printer`](crate::printer::Printer) in, an exit status out.

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod deploy;
pub(crate) mod exec;
pub(crate) mod heal;
pub(crate) mod health;
pub(crate) mod host;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod logs;
pub(crate) mod migrate;
pub(crate) mod promote;
pub(crate) mod releases;
pub(crate) mod render;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod trigger;
pub(crate) mod up;
