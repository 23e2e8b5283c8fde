//! Why a shim could not do what it was asked.

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Why a program could not be started, found again or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// The program did not start; trying again without a change will not help.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The instance's folder already has a shim that runs.
    #[error("an instance already runs in {folder} (pid {pid}); stop it first, or start the new one in another folder")]
    Busy {
        /// The folder.
        folder: PathBuf,
        /// The program in it.
        pid: u32,
    },
    /// The shim itself did not come up or broke the protocol.
    #[error("the shim of {instance} failed: {reason}; its own messages are in {log}")]
    Broken {
        /// The instance.
        instance: String,
        /// What happened.
        reason: String,
        /// A file.
        log: PathBuf,
    },
    /// A file or system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl ShimError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Why a program did not start, told by the shim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "refusal")]
pub enum Refusal {
    /// No such program.
    #[error("program `{program}` was not found in {searched}; install it, or name it with its path in `run`")]
    NotFound {
        /// As in `run`.
        program: String,
        /// The folders, as in `PATH`.
        searched: String,
    },
    /// It is there and is not a program.
    #[error("`{program}` is not executable; run `chmod +x {program}`, or name its interpreter in `run`")]
    NotExecutable {
        /// Its path.
        program: String,
    },
    /// The working folder is missing.
    #[error("the working folder {cwd} does not exist; check `dir` and what the build puts there")]
    NoFolder {
        /// Which.
        cwd: String,
    },
    /// The spec makes no sense.
    #[error("the instance cannot be started: {reason}")]
    BadSpec {
        /// What is wrong and the mend.
        reason: String,
    },
    /// A step before or of the start failed.
    #[error("`{program}` could not be started: {reason}")]
    Failed {
        /// As in `run`.
        program: String,
        /// What failed.
        reason: String,
    },
}
