//! One migration outside a transaction, statement by statement, with a record that says how far it is.
//!
//! The record is written before the first statement and counts each one that took effect, so that a run which dies in
//! between is found by the next one, which then refuses to guess.

use std::time::Instant;

use crate::{
    address::Engine,
    database::{Database, jittered},
    error::{Left, MigrateError},
    ledger::Stage,
    locate::{Blame, blame, is_worth_another_try},
    run::{Direction, Event, Work},
    script::{Script, Statement},
    transaction::{NOTICE_A_DEAD_CLIENT, WAITS, millis},
};

/// Runs a migration. Returns its milliseconds.
pub(crate) async fn run(
    database: &mut Database,
    work: &Work<'_>,
    script: &Script,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<u64, MigrateError> {
    let begun = Instant::now();
    let (version, of) = (work.migration.version, script.statements.len());
    let stage = match work.direction {
        Direction::Up => Stage::Applying,
        Direction::Down => Stage::Reverting,
    };
    let recorded = match work.direction {
        Direction::Up => work.ledger.insert(database, work.migration, stage).await,
        Direction::Down => work.ledger.mark(database, version, stage, 0).await,
    };
    if let Err(error) = recorded {
        return Err(blame(database, work, script, Blame::Record, &error, Left::Nothing).await.into());
    }
    for (at, statement) in script.statements.iter().enumerate() {
        if let Err(error) = execute(database, work, statement, events).await {
            // the statement was refused as a whole: with none before it nothing has happened, so nothing stays recorded
            let forgotten = at == 0
                && match work.direction {
                    Direction::Up => work.ledger.delete(database, version).await,
                    Direction::Down => work.ledger.mark(database, version, Stage::Applied, 0).await,
                }
                .is_ok();
            let left = if forgotten { Left::Nothing } else { Left::Half { done: at, of } };
            return Err(blame(database, work, script, Blame::Statement(at), &error, left).await.into());
        }
        if let Err(error) = work.ledger.mark(database, version, stage, at + 1).await {
            let left = Left::Half { done: at + 1, of };
            return Err(blame(database, work, script, Blame::Record, &error, left).await.into());
        }
    }
    let took = millis(begun);
    let finished = match work.direction {
        Direction::Up => work.ledger.finish(database, version, took).await,
        Direction::Down => work.ledger.delete(database, version).await,
    };
    match finished {
        Ok(()) => Ok(took),
        Err(error) => {
            let left = Left::Half { done: of, of };
            Err(blame(database, work, script, Blame::Record, &error, left).await.into())
        }
    }
}

/// Runs one statement; a table that stays locked is asked for again.
async fn execute(
    database: &mut Database,
    work: &Work<'_>,
    statement: &Statement,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<(), sqlx::Error> {
    if database.engine() == Engine::Postgres {
        // CONCURRENTLY waits for older transactions but blocks nobody meanwhile; giving up leaves an invalid index
        let wait = if statement.concurrently { 0 } else { database.options.table_wait.as_millis() };
        database.execute(format!("SET lock_timeout = {wait}; {NOTICE_A_DEAD_CLIENT}")).await?;
    }
    let mut waits = WAITS.into_iter();
    let mut tries = 0;
    loop {
        tries += 1;
        let sql = work.side.text[statement.range.clone()].to_owned();
        let Err(error) = database.execute(sql).await else { return Ok(()) };
        let Some(wait) = waits.next().filter(|_| !statement.concurrently && is_worth_another_try(&error)) else {
            return Err(error);
        };
        let (version, name) = (work.migration.version, work.migration.name.clone());
        events(Event::Retrying { version, name, tries, reason: database.address.words(&error) });
        tokio::time::sleep(jittered(wait)).await;
    }
}
