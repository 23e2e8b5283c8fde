//! Why nothing could be imported.

/// Why a file or folder could not be read into a stack.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}; give `slipway import` a file or folder you may read")]
    Unreadable {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is larger than any that a person writes.
    #[error(
        "{path} has {bytes} bytes, and files of more than {most} bytes are not read; import the file it was made from"
    )]
    TooLarge {
        /// Which.
        path: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// A file is not what its name says: broken, nested too deeply, or made to exhaust whoever reads it.
    #[error("{path}: {reason}")]
    Malformed {
        /// Which.
        path: String,
        /// Where and what, with the mend.
        reason: String,
    },
    /// No file of the folder is known.
    #[error("nothing in {path} is known to slipway import; it reads {known}")]
    Nothing {
        /// Which folder.
        path: String,
        /// What would be read.
        known: String,
    },
}
