//! A folder beside what a database says was applied.

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    address::Engine,
    folder::Folder,
    ledger::{Record, Stage},
    run::Direction,
};

/// Every migration that is in the folder or in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// How people call the database; no password.
    pub database: String,
    /// Its engine.
    pub engine: Engine,
    /// By number.
    pub migrations: Vec<Line>,
}

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its number.
    pub version: u64,
    /// Its name, from the folder, or from the database when its file is missing.
    pub name: String,
    /// How it is.
    #[serde(flatten)]
    pub state: State,
    /// When it was applied.
    pub applied_at: Option<jiff::Timestamp>,
    /// How long that took.
    pub millis: Option<u64>,
    /// It has a way down.
    pub reversible: bool,
    /// The way up.
    pub file: Option<PathBuf>,
}

/// How a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum State {
    /// Applied, as the file says.
    Applied,
    /// Not applied.
    Pending,
    /// Not applied, though a newer one is.
    OutOfOrder,
    /// Applied, and its file is different now.
    Changed,
    /// Applied, and its file is not in the folder: a newer release applied it.
    Missing,
    /// Cut short outside a transaction.
    Interrupted {
        /// Statements that are known to have taken effect.
        done: u64,
        /// Applying or reverting.
        direction: Direction,
    },
}

impl State {
    /// It is in the database, whatever its file says.
    pub fn is_applied(self) -> bool {
        matches!(self, Self::Applied | Self::Changed | Self::Missing)
    }

    /// It is not in the database.
    pub fn is_pending(self) -> bool {
        matches!(self, Self::Pending | Self::OutOfOrder)
    }
}

impl Status {
    /// Those that are in the database, by number.
    pub fn applied(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.migrations.iter().filter(|line| line.state.is_applied())
    }

    /// Those that are not, by number; also those out of order.
    pub fn pending(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.migrations.iter().filter(|line| line.state.is_pending())
    }

    /// Nothing is pending, changed or interrupted.
    pub fn is_current(&self) -> bool {
        self.migrations.iter().all(|line| matches!(line.state, State::Applied | State::Missing))
    }

    /// Number of the newest applied migration.
    pub fn newest(&self) -> Option<u64> {
        self.applied().next_back().map(|line| line.version)
    }
}

/// Puts folder and records side by side.
pub(crate) fn compare(database: &str, engine: Engine, folder: &Folder, records: &[Record]) -> Status {
    let newest = records.iter().map(|record| record.version).max().unwrap_or(0);
    let find = |version| records.iter().find(|record| record.version == version);
    let mut migrations: Vec<Line> = folder
        .migrations
        .iter()
        .map(|migration| {
            let record = find(migration.version);
            let state = match record {
                None if migration.version < newest => State::OutOfOrder,
                None => State::Pending,
                Some(record) => of_record(record).unwrap_or_else(|| match &record.checksum {
                    Some(checksum) if *checksum != migration.checksum => State::Changed,
                    _ => State::Applied,
                }),
            };
            Line {
                version: migration.version,
                name: migration.name.clone(),
                state,
                applied_at: record.and_then(|record| record.applied_at),
                millis: record.and_then(|record| record.millis),
                reversible: migration.reversible(),
                file: Some(migration.up.path.clone()),
            }
        })
        .collect();
    migrations.extend(records.iter().filter(|record| folder.find(record.version).is_none()).map(|record| Line {
        version: record.version,
        name: record.name.clone(),
        state: of_record(record).unwrap_or(State::Missing),
        applied_at: record.applied_at,
        millis: record.millis,
        reversible: false,
        file: None,
    }));
    migrations.sort_by_key(|line| line.version);
    Status { database: database.to_owned(), engine, migrations }
}

fn of_record(record: &Record) -> Option<State> {
    let direction = match record.stage {
        Stage::Applied => return None,
        Stage::Applying => Direction::Up,
        Stage::Reverting => Direction::Down,
    };
    Some(State::Interrupted { done: record.done, direction })
}
