//! A release as it travels: only what the receiver lacks, as differences against what it has.
//!
//! The sender says which releases the receiver has; what they share with the new one is left out. The rest is one
//! sequence of bytes (documents, then files, each with its size), cut into segments, each compressed by zstd with the
//! earlier content of the same paths as prefix, or as a script over it (`script`), whatever is shorter. The receiver has
//! that content too, in its own store, and believes nothing: sizes are bounded before memory or disk is taken, and every
//! file is compared with its digest before the release appears, whole or not at all.
//!
//! ```no_run
//! # fn tour(here: &release::Store, there: &release::Store, app: &stack::AppName, id: &stack::ReleaseId,
//! #     has: &[stack::ReleaseId]) -> Result<(), Box<dyn std::error::Error>> {
//! let delta = release::delta::Delta::between(here, app, id, has)?;      // what `there` lacks
//! let mut stream = Vec::new();
//! delta.write(&mut stream, 2)?;
//! assert_eq!(there.receive(&mut stream.as_slice())?, (app.clone(), id.clone())); // verified, durable
//! # Ok(()) }
//! ```

mod find;
mod format;
mod moved;
mod program;
mod read;
mod script;
mod trust;
mod write;

pub use read::DeltaError;
pub use write::Delta;
