//! What can go wrong, in words that name the thing and end with the mend.

use std::{fmt, path::PathBuf, time::Duration};

use serde::Serialize;

use crate::run::Direction;

/// Why migrations could not be read, looked at or run. No variant ever holds a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// Files that cannot be run; every problem at once. The database was not touched.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The database's address cannot be understood. It is not repeated, because it may hold a password.
    #[error("the database's address cannot be used: {0}")]
    Address(String),
    /// No connection, after all tries.
    #[error("cannot connect to {place}: {reason} (tried {tries} times in {:.1} s){}", .elapsed.as_secs_f64(), mend_of_connect(.reason))]
    Connect {
        /// Host, port, database and user, or the file.
        place: String,
        /// How often it was tried.
        tries: u32,
        /// From the first try to the end of the last.
        elapsed: Duration,
        /// What the last try said.
        reason: String,
    },
    /// Somebody else was migrating for as long as it may wait.
    #[error("another run is migrating {place}: {holder}; waited {:.1} s; wait for it to end, or end it, and run again", .waited.as_secs_f64())]
    Locked {
        /// The database.
        place: String,
        /// Who holds the lock.
        holder: Box<Holder>,
        /// How long it waited.
        waited: Duration,
    },
    /// Applied migrations whose files are no longer what was applied.
    #[error("{} changed after it was applied; restore it as it was, and put the change into a new migration", listed(.0))]
    Changed(Vec<PathBuf>),
    /// Pending migrations that are older than the newest applied one.
    #[error(
        "{} would be applied after the newer {newest}; give it a number above {newest}, or allow it to run out of order",
        listed(.files)
    )]
    OutOfOrder {
        /// The files.
        files: Vec<PathBuf>,
        /// Newest applied version.
        newest: u64,
    },
    /// A migration outside a transaction was cut short earlier.
    #[error(
        "migration {version} ({name}) was interrupted after {done} of its statements while it was being {direction}; the next \
         statement may or may not have taken effect: look at the database, finish or undo it by hand, then say which with \
         `slipway migrate mend {version} --applied` or `--not-applied`"
    )]
    Interrupted {
        /// Its number.
        version: u64,
        /// Its name.
        name: String,
        /// Statements that are known to have taken effect.
        done: u64,
        /// Applying or reverting.
        direction: Direction,
    },
    /// A statement failed.
    #[error(transparent)]
    Failed(#[from] Box<Failure>),
    /// The version asked for is not in the folder.
    #[error("there is no migration {version} in {folder}; `slipway migrate status` lists them", folder = .folder.display())]
    Unknown {
        /// What was asked for.
        version: u64,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// Cannot be undone as asked; nothing was changed.
    #[error("{0}")]
    CannotRevert(String),
    /// A new migration cannot be named or numbered; nothing was written.
    #[error("{0}")]
    CannotCreate(String),
    /// A table called `migrations` that is not of this shape.
    #[error(
        "{place} has a table `migrations` that belongs to something else ({why}); let its own runner do the work \
         (`migrate = \"command\"` in the stack file), or rename that table"
    )]
    ForeignTable {
        /// The database.
        place: String,
        /// What does not fit.
        why: String,
    },
    /// The SQLite file is not there and was not to be created.
    #[error("{0} does not exist yet; run without the dry run to create it")]
    Absent(String),
    /// The database refused something that is not a statement of a migration.
    #[error("{place}: cannot {doing}: {reason}")]
    Database {
        /// The database.
        place: String,
        /// What was tried.
        doing: String,
        /// What it said, without a password.
        reason: String,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {doing} {}: {source}", .path.display())]
    File {
        /// What was tried, as in `write`.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn mend_of_connect(reason: &str) -> &'static str {
    let reason = reason.to_ascii_lowercase();
    if reason.contains("password authentication failed") || reason.contains("no password") {
        "; check the user and the password in the database's address"
    } else if reason.contains("refused") || reason.contains("no answer") {
        "; check that the server runs and that host and port are right"
    } else if reason.contains("does not exist") {
        "; create it, or correct the database's address"
    } else if reason.contains("not a database") {
        "; the file is damaged or is something else: restore it, or name another file"
    } else if reason.contains("name or service") || reason.contains("lookup") {
        "; check the host's name"
    } else {
        ""
    }
}

/// Who holds the database's lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// The server's process for PostgreSQL, the runner's own for SQLite.
    pub pid: Option<i64>,
    /// What it calls itself.
    pub name: Option<String>,
    /// From where, for PostgreSQL over a network.
    pub address: Option<String>,
    /// Since when.
    pub since: Option<jiff::Timestamp>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("a process that cannot be named")?,
        }
        if let Some(name) = self.name.as_deref().filter(|name| !name.is_empty()) {
            write!(f, " ({name})")?;
        }
        if let Some(address) = &self.address {
            write!(f, " from {address}")?;
        }
        if let Some(since) = self.since {
            write!(f, " since {since:.0}")?;
        }
        Ok(())
    }
}

/// One thing wrong with a migration folder or file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file, or the folder.
    pub path: PathBuf,
    /// 1-based, where there is one.
    pub line: Option<usize>,
    /// What is wrong and how to mend it.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Everything wrong with a folder, by file and line. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A statement that failed, with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Number of the migration.
    pub version: u64,
    /// Name of the migration.
    pub name: String,
    /// Applying or reverting.
    pub direction: Direction,
    /// The file.
    pub path: PathBuf,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// That line of the file.
    pub sql: String,
    /// The database's message.
    pub message: String,
    /// The database's code: an SQLSTATE, or SQLite's extended result code.
    pub code: Option<String>,
    /// More from the database.
    pub detail: Option<String>,
    /// The mend: the database's hint, or ours where we know better.
    pub hint: Option<String>,
    /// Inside which function it happened.
    pub context: Option<String>,
    /// What is left in the database.
    pub left: Left,
}

/// What a failed migration leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "left")]
pub enum Left {
    /// Nothing: it was rolled back and nothing is recorded.
    Nothing,
    /// It ran outside a transaction and this many of its statements took effect.
    Half {
        /// Statements that took effect.
        done: usize,
        /// Statements in the file.
        of: usize,
    },
    /// The connection was lost: the server rolls it back unless it was already committed.
    Unknown,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:{}:{}: {}", self.path.display(), self.line, self.column, self.message)?;
        let number = self.line.to_string();
        writeln!(f, " {number} | {}", self.sql)?;
        // the caret stands under the character; a tab takes its own width again
        let indent: String =
            self.sql.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, " {:width$} | {indent}^", "", width = number.len())?;
        if let Some(detail) = &self.detail {
            writeln!(f, "detail: {detail}")?;
        }
        if let Some(context) = &self.context {
            writeln!(f, "in: {context}")?;
        }
        match self.left {
            Left::Nothing => write!(f, "nothing of it was kept or recorded; mend the file and run again")?,
            Left::Half { done, of } => write!(
                f,
                "{done} of its {of} statements took effect and it is marked as interrupted; finish or undo it by hand, then \
                 say which with `slipway migrate mend {} --applied` or `--not-applied`",
                self.version
            )?,
            Left::Unknown => write!(
                f,
                "the connection was lost: it is either applied and recorded, or neither; `slipway migrate status` says which"
            )?,
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
