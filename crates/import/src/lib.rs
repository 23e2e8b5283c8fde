//! Reads the files that people have into a stack file, and says of every key in them what became of it.
//!
//! It only ever reads: nothing it finds is run, no address is called, nothing is written. What it cannot carry over it
//! refuses by name with the reason; it never drops a key in silence.
//!
//! ```
//! let folder = tempfile::tempdir()?;
//! std::fs::write(folder.path().join("compose.yaml"), "services:\n  web:\n    image: example/web:1\n    ports: ['80:8080']\n")?;
//! let imported = import::import(folder.path())?;
//! assert!(imported.stack.contains("[service.web]"));
//! assert!(imported.report.entries.iter().all(|entry| !entry.key.is_empty()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod beside;
mod cursor;
mod detect;
mod draft;
mod error;
mod hcl;
mod path;
mod readers;
mod report;
mod text;
mod trap;
mod tree;

pub use detect::import;
pub use error::ImportError;
pub use report::{Entry, Fate, Report};
pub use trap::Trap;

/// What was made of the files.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The text of a commented `slipway.toml`.
    pub stack: String,
    /// What became of each key.
    pub report: Report,
}
