//! What can go wrong in this room.

use std::{
    fmt::{self, Write as _},
    io,
    path::PathBuf,
};

use stack::{AppName, Problems, ReleaseId};

use crate::container::ContainerError;

/// Why a release was not built. Nothing of the store has changed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A build command failed (S4.E1, S4.E2).
    #[error("{0}")]
    Command(Box<CommandFailure>),
    /// What was built is not what the stack declares (S4.P1, S4.P12), or cannot be packed. Holds every problem.
    #[error("{}", problems_text(.0))]
    Problems(Problems),
    /// A file changed while it was being packed.
    #[error(
        "{} changed while it was being packed; stop whatever writes it (a watcher, an editor) and build again",
        path.display()
    )]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// No room; nothing half-written remains.
    #[error(
        "no room for the release in {}: it needs {needed} bytes and {free} are free; free some space, for example \
         with `slipway releases prune`, and build again",
        folder.display()
    )]
    DiskFull {
        /// The store.
        folder: PathBuf,
        /// Bytes the release adds.
        needed: u64,
        /// Bytes that were free.
        free: u64,
    },
    /// The container engine is missing, or failed.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A build command would have to run, and the caller wanted none to.
    #[error("something changed since the last build; build without `only_fresh`")]
    Stale,
    /// The caller asked to stop; everything that ran was ended.
    #[error("the build was stopped before it was done; nothing was released")]
    Stopped,
    /// The project's folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as in `read`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A build command that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandFailure {
    /// The resources whose files it builds, as in `service.api`.
    pub wanted: Vec<String>,
    /// The command line, secrets removed.
    pub command: String,
    /// Where it ran, relative to the stack file.
    pub folder: String,
    /// How it ended.
    pub end: End,
    /// Its last lines of output, at most 40, oldest first, secrets removed.
    pub output: Vec<String>,
    /// What to look at, when the output tells.
    pub hint: Option<String>,
}

impl fmt::Display for CommandFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, folder, end, .. } = self;
        let mend = self.hint.as_deref().unwrap_or("mend what its output says and build again");
        write!(f, "build command `{command}` failed in `{folder}` ({end}); the previous release is untouched; {mend}")
    }
}

/// How a build command ended, other than well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was ended because it ran longer than this many seconds.
    Timeout(u64),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Code(code) => write!(f, "exit code {code}"),
            End::Signal(signal) => write!(f, "signal {signal}"),
            End::Timeout(seconds) => write!(f, "ended after {seconds} s, its time limit"),
        }
    }
}

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder of the store could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as in `write`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No release answers to that name.
    #[error("{}", unknown_text(.app, .text, .candidates))]
    Unknown {
        /// Of which app.
        app: AppName,
        /// What was asked for.
        text: String,
        /// The newest releases, as `#12 3f9c2a1b4d5e (1.4.0)`, newest first.
        candidates: Vec<String>,
    },
    /// More than one release answers to that name.
    #[error("`{text}` could be any of {}; name one by its number, as in `#12`", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// The releases it could be, newest first.
        candidates: Vec<String>,
    },
    /// A line of the records is not a record.
    #[error(
        "{} line {line} is not a release record: {reason}; restore the file from a backup or remove that line",
        path.display()
    )]
    BadRecord {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// The release's folder is not there.
    #[error("release {id} of {app} is not in the store (it was pruned or never shipped here); build or ship it again")]
    Missing {
        /// Of which app.
        app: AppName,
        /// Which.
        id: ReleaseId,
    },
    /// Files of a release are not what was packed.
    #[error("{}", damage_text(.app, .id, .damage))]
    Damaged {
        /// Of which app.
        app: AppName,
        /// Which release.
        id: ReleaseId,
        /// Every damaged file.
        damage: Vec<Damage>,
    },
}

/// One file of a release that is not what was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Relative to the release's folder.
    pub path: String,
    /// In what way.
    pub reason: String,
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Whether it says that a disk or a quota is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if says_full(source))
    }
}

fn says_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl BuildError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Whether the build failed because a disk or a quota is full.
    pub fn is_full(&self) -> bool {
        match self {
            Self::DiskFull { .. } => true,
            Self::Io { source, .. } => says_full(source),
            Self::Store(error) => error.is_full(),
            _ => false,
        }
    }
}

fn problems_text(problems: &Problems) -> String {
    let mut text = String::from("the build is not fit for a release");
    for problem in problems {
        _ = write!(text, "\n{}", problem.message);
        if let Some(mend) = &problem.mend {
            _ = write!(text, "; {mend}");
        }
    }
    text
}

fn unknown_text(app: &AppName, text: &str, candidates: &[String]) -> String {
    if candidates.is_empty() {
        return format!("{app} has no releases yet, so none is called `{text}`; make one with `slipway build`");
    }
    format!(
        "{app} has no release called `{text}`; the newest are {}; see `slipway releases` for all",
        candidates.join(", ")
    )
}

fn damage_text(app: &AppName, id: &ReleaseId, damage: &[Damage]) -> String {
    /// More than a screen helps nobody; the whole list is in the error's data.
    const SHOWN: usize = 20;
    let mut text = format!("release {id} of {app} is damaged; build or ship it again");
    for Damage { path, reason } in damage.iter().take(SHOWN) {
        _ = write!(text, "\n{path}: {reason}");
    }
    if damage.len() > SHOWN {
        _ = write!(text, "\nand {} more", damage.len() - SHOWN);
    }
    text
}
