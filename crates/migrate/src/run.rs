//! The verbs: look, up, down, mend. Each takes the lock, does its work and gives the lock back, whatever happened.

use std::fmt;

use serde::Serialize;

use crate::{
    database::Database,
    error::{Holder, MigrateError},
    folder::{Folder, Migration, Side, check_sides},
    ledger::{Ledger, Stage},
    lock::{lock, unlock},
    outside,
    plan::{Down, Up, plan_down, plan_up},
    script::Script,
    status::{Line, State, Status, compare},
    transaction,
};

/// A migration that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Its number.
    pub version: u64,
    /// Its name.
    pub name: String,
    /// How long it took; 0 in a dry run.
    pub millis: u64,
    /// It has a way down.
    pub reversible: bool,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Applying.
    Up,
    /// Reverting.
    Down,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "applied",
            Self::Down => "reverted",
        })
    }
}

/// What happens while migrations run, as it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// Another run has the lock; said once.
    Waiting {
        /// Who.
        holder: Holder,
    },
    /// A migration begins.
    Started {
        /// Its number.
        version: u64,
        /// Its name.
        name: String,
        /// Which way.
        direction: Direction,
    },
    /// A table stayed locked by somebody else; all was rolled back and is tried again after a wait.
    Retrying {
        /// Its number.
        version: u64,
        /// Its name.
        name: String,
        /// How often it was tried.
        tries: u32,
        /// What the database said.
        reason: String,
    },
    /// A migration is done and recorded.
    Ended {
        /// Its number.
        version: u64,
        /// Its name.
        name: String,
        /// Which way.
        direction: Direction,
        /// How long it took.
        millis: u64,
    },
}

/// What became of an interrupted migration, as a person found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// All of it is in the database: record it as applied.
    Applied,
    /// None of it is in the database: forget that it was begun.
    NotApplied,
}

/// What is applied, pending, changed, missing or interrupted. Changes nothing and takes no lock.
pub async fn status(database: &mut Database, folder: &Folder) -> Result<Status, MigrateError> {
    database.refresh().await?;
    let ledger = Ledger::find(database).await?;
    look(database, &ledger, folder).await
}

/// What [`up`] would apply, in order; fails where `up` would refuse. Changes nothing and takes no lock.
pub async fn pending(database: &mut Database, folder: &Folder) -> Result<Vec<Line>, MigrateError> {
    let status = status(database, folder).await?;
    let planned = plan_up(folder, &status, &Up::default())?;
    check_sides(planned.iter().map(|migration| &migration.up), database.engine())?;
    Ok(status.pending().cloned().collect())
}

/// Applies what is pending, by number, each in one transaction with its record (S4.P3), never twice (S4.P2).
///
/// Returns what was applied. On a failure those before it stay applied and recorded, the failing one leaves nothing
/// (S4.E3), and the lock is free.
pub async fn up(
    database: &mut Database,
    folder: &Folder,
    up: &Up,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<Vec<Applied>, MigrateError> {
    if up.dry_run {
        let status = status(database, folder).await?;
        let planned = plan_up(folder, &status, up)?;
        check_sides(planned.iter().map(|migration| &migration.up), database.engine())?;
        return Ok(planned.into_iter().map(|migration| applied(migration, 0)).collect());
    }
    let held = lock(database, events).await?;
    let result = up_locked(database, folder, up, events).await;
    unlock(database, held).await;
    result
}

async fn up_locked(
    database: &mut Database,
    folder: &Folder,
    up: &Up,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<Vec<Applied>, MigrateError> {
    let ledger = Ledger::ensure(database).await?;
    let status = look(database, &ledger, folder).await?;
    let planned = plan_up(folder, &status, up)?;
    check_sides(planned.iter().map(|migration| &migration.up), database.engine())?;
    let mut done = Vec::new();
    for migration in planned {
        let work = Work { ledger: &ledger, migration, side: &migration.up, direction: Direction::Up };
        done.push(applied(migration, work.run(database, events).await?));
    }
    Ok(done)
}

/// Reverts applied migrations, newest first, each in one transaction with the removal of its record.
///
/// Returns what was reverted, in that order.
pub async fn down(
    database: &mut Database,
    folder: &Folder,
    down: &Down,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<Vec<Applied>, MigrateError> {
    if down.dry_run {
        let status = status(database, folder).await?;
        let planned = plan_down(folder, &status, &down.which)?;
        check_sides(planned.iter().filter_map(|migration| migration.down.as_ref()), database.engine())?;
        return Ok(planned.into_iter().map(|migration| applied(migration, 0)).collect());
    }
    let held = lock(database, events).await?;
    let result = down_locked(database, folder, down, events).await;
    unlock(database, held).await;
    result
}

async fn down_locked(
    database: &mut Database,
    folder: &Folder,
    down: &Down,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<Vec<Applied>, MigrateError> {
    let ledger = Ledger::ensure(database).await?;
    let status = look(database, &ledger, folder).await?;
    let planned = plan_down(folder, &status, &down.which)?;
    check_sides(planned.iter().filter_map(|migration| migration.down.as_ref()), database.engine())?;
    let mut done = Vec::new();
    for migration in planned {
        let Some(side) = &migration.down else { continue };
        let work = Work { ledger: &ledger, migration, side, direction: Direction::Down };
        done.push(applied(migration, work.run(database, events).await?));
    }
    Ok(done)
}

/// Says what became of a migration that was interrupted outside a transaction.
///
/// Refused for one that is not interrupted.
pub async fn mend(
    database: &mut Database,
    folder: &Folder,
    version: u64,
    mend: Mend,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<(), MigrateError> {
    let held = lock(database, events).await?;
    let result = mend_locked(database, folder, version, mend).await;
    unlock(database, held).await;
    result
}

async fn mend_locked(database: &mut Database, folder: &Folder, version: u64, mend: Mend) -> Result<(), MigrateError> {
    let ledger = Ledger::ensure(database).await?;
    let status = look(database, &ledger, folder).await?;
    let line = status.migrations.iter().find(|line| line.version == version);
    if !line.is_some_and(|line| matches!(line.state, State::Interrupted { .. })) {
        let reason = format!("migration {version} is not interrupted; `slipway migrate status` says how it is");
        return Err(MigrateError::CannotRevert(reason));
    }
    let result = match mend {
        Mend::Applied => ledger.mark(database, version, Stage::Applied, 0).await,
        Mend::NotApplied => ledger.delete(database, version).await,
    };
    result.map_err(|error| database.refused("mend its record", &error))
}

async fn look(database: &mut Database, ledger: &Ledger, folder: &Folder) -> Result<Status, MigrateError> {
    let records = ledger.read(database).await?;
    Ok(compare(database.place(), database.engine(), folder, &records))
}

fn applied(migration: &Migration, millis: u64) -> Applied {
    let (version, name) = (migration.version, migration.name.clone());
    Applied { version, name, millis, reversible: migration.reversible() }
}

/// One migration to run one way.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) migration: &'a Migration,
    pub(crate) side: &'a Side,
    pub(crate) direction: Direction,
}

impl Work<'_> {
    /// Runs it and returns how many milliseconds it took.
    async fn run(&self, database: &mut Database, events: &mut (dyn FnMut(Event) + Send)) -> Result<u64, MigrateError> {
        let (version, name, direction) = (self.migration.version, self.migration.name.clone(), self.direction);
        // checked before, so this finds no problem any more
        let script = Script::parse(&self.side.text, database.engine()).unwrap_or_default();
        events(Event::Started { version, name: name.clone(), direction });
        let millis = if script.no_transaction {
            outside::run(database, self, &script, events).await?
        } else {
            transaction::run(database, self, &script, events).await?
        };
        events(Event::Ended { version, name, direction, millis });
        Ok(millis)
    }
}
