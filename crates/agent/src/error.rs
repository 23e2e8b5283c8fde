//! Why the agent could not do something.

use std::{io, path::Path, path::PathBuf};

use engine::target::TargetError;

use crate::socket;

/// What went wrong, ending with the mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot {doing} {}: {}{}", .path.display(), socket::plain(.source), mend(.source))]
    File {
        /// As in `write`.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the agent holds what the agent never wrote.
    #[error("{} is damaged at line {line}: {why}; {mend}", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong there.
        why: String,
        /// How to mend it.
        mend: &'static str,
    },
    /// Something else, with its mend.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// A failure of `doing` something with `path`.
    pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }

    /// Something else.
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self::Failed(reason.into())
    }
}

impl From<Error> for TargetError {
    fn from(error: Error) -> Self {
        Self::Failed { reason: error.to_string() }
    }
}

/// What a person can do about an I/O error, as the end of a sentence.
fn mend(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; free some space on that disk and try again (nothing was changed)",
        io::ErrorKind::QuotaExceeded => "; raise the quota or remove files and try again (nothing was changed)",
        io::ErrorKind::PermissionDenied => "; give it to the user the agent runs as (`chown -R`)",
        io::ErrorKind::ReadOnlyFilesystem => "; mount that disk writable",
        _ => "",
    }
}
