//! Log files: written by shims, read and followed by the agent.
//!
//! Each instance writes files of its own, `SOURCE@INSTANCE.log` and, once full, `SOURCE@INSTANCE.000001.log` and up,
//! so any number of instances share a folder without a lock. A record is one line:
//!
//! ```text
//! 2026-11-25T16:12:13.123456Z out listening on 4000
//! ```
//!
//! Reading merges the files of a folder by time. A line longer than 64 KiB is several records, cut at `…`.

mod file;
mod follow;
mod read;
mod record;
mod write;

pub use file::prune;
pub use follow::{Follow, follow};
pub use read::read;
pub use record::Stream;
pub use write::Writer;
