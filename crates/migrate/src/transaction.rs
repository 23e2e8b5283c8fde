//! One migration and its record in one transaction.

use std::time::{Duration, Instant};

use crate::{
    address::Engine,
    database::{Database, jittered},
    error::{Left, MigrateError},
    ledger::Stage,
    locate::{Blame, blame, is_lost, is_worth_another_try},
    run::{Direction, Event, Work},
    script::Script,
};

/// Without it the server works on a dead run's statement to its end, and keeps the lock. Servers before 14 cannot.
pub(crate) const NOTICE_A_DEAD_CLIENT: &str = "SELECT set_config('client_connection_check_interval', '1s', false) \
                                               WHERE current_setting('server_version_num')::int >= 140000";

/// Waits before a migration that could not get a table's lock is tried again.
pub(crate) const WAITS: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// Runs a migration; it is either applied and recorded, or neither. Returns its milliseconds.
pub(crate) async fn run(
    database: &mut Database,
    work: &Work<'_>,
    script: &Script,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<u64, MigrateError> {
    let mut waits = WAITS.into_iter();
    let mut tries = 0;
    loop {
        tries += 1;
        let begun = Instant::now();
        let Err((blamed, error)) = attempt(database, work, script, begun).await else {
            return Ok(millis(begun));
        };
        roll_back(database, script).await;
        if let Some(wait) = waits.next().filter(|_| is_worth_another_try(&error)) {
            let (version, name) = (work.migration.version, work.migration.name.clone());
            events(Event::Retrying { version, name, tries, reason: database.address.words(&error) });
            tokio::time::sleep(jittered(wait)).await;
            continue;
        }
        let left = if matches!(blamed, Blame::Commit) && is_lost(&error) { Left::Unknown } else { Left::Nothing };
        return Err(blame(database, work, script, blamed, &error, left).await.into());
    }
}

/// Milliseconds since `begun`.
pub(crate) fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

async fn attempt(
    database: &mut Database,
    work: &Work<'_>,
    script: &Script,
    begun: Instant,
) -> Result<(), (Blame, sqlx::Error)> {
    let version = work.migration.version;
    let record = |error| (Blame::Record, error);
    database.execute(prologue(database, script)).await.map_err(record)?;
    // the record comes first: should the lock ever fail, a second runner waits here and then fails, having done nothing
    match work.direction {
        Direction::Up => work.ledger.insert(database, work.migration, Stage::Applied).await.map_err(record)?,
        Direction::Down => work.ledger.delete(database, version).await.map_err(record)?,
    }
    for (at, statement) in script.statements.iter().enumerate() {
        let sql = work.side.text[statement.range.clone()].to_owned();
        database.execute(sql).await.map_err(|error| (Blame::Statement(at), error))?;
    }
    if script.foreign_keys_off {
        let sql = "SELECT \"table\", CAST(rowid AS text), \"parent\" FROM pragma_foreign_key_check LIMIT 1".to_owned();
        let rows = database.rows(sql, &[]).await.map_err(|error| (Blame::Commit, error))?;
        if let Some(row) = rows.first() {
            let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_else(|| "?".to_owned());
            let reason = format!("row {} of table {} refers to a row of {} that is missing", text(1), text(0), text(2));
            return Err((Blame::Commit, sqlx::Error::Protocol(reason)));
        }
    }
    if database.engine() == Engine::Postgres {
        // the record is ours to write, whoever the migration became
        database.execute("RESET SESSION AUTHORIZATION".to_owned()).await.map_err(record)?;
    }
    if work.direction == Direction::Up {
        work.ledger.finish(database, version, millis(begun)).await.map_err(record)?;
    }
    database.execute("COMMIT".to_owned()).await.map_err(|error| (Blame::Commit, error))?;
    database.execute(epilogue(database, script)).await.map_err(|error| (Blame::Commit, error)).or_else(|(_, error)| {
        // committed: what follows tidies the session only, and a lost connection is noticed by the next use of it
        tracing::debug!(%error, "the session could not be tidied");
        Ok(())
    })
}

fn prologue(database: &Database, script: &Script) -> String {
    match database.engine() {
        Engine::Postgres => {
            // what one migration sets must not leak into the next
            let wait = database.options.table_wait.as_millis();
            format!("RESET ALL; RESET SESSION AUTHORIZATION; SET lock_timeout = {wait}; {NOTICE_A_DEAD_CLIENT}; BEGIN")
        }
        // a plain BEGIN would fail at its first write when somebody else wrote in between
        Engine::Sqlite if script.foreign_keys_off => "PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE".to_owned(),
        Engine::Sqlite => "BEGIN IMMEDIATE".to_owned(),
    }
}

fn epilogue(database: &Database, script: &Script) -> String {
    match database.engine() {
        Engine::Postgres => "RESET ALL; RESET SESSION AUTHORIZATION".to_owned(),
        Engine::Sqlite if script.foreign_keys_off => "PRAGMA foreign_keys = ON".to_owned(),
        Engine::Sqlite => "SELECT 1".to_owned(),
    }
}

async fn roll_back(database: &mut Database, script: &Script) {
    // fails when the database rolled back by itself or the connection is gone; either way nothing is left
    let _ = database.execute("ROLLBACK".to_owned()).await;
    let _ = database.execute(epilogue(database, script)).await;
}
