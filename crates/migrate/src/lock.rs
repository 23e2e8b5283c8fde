//! One run at a time per database, and the lock of a run that died is free at once.
//!
//! PostgreSQL: a session's advisory lock on the very connection that does the work. It is asked for again and again
//! instead of waited for, because a waiting statement holds a snapshot, and `CREATE INDEX CONCURRENTLY` of the run
//! that has the lock would wait for that snapshot for ever.
//!
//! SQLite: the operating system's lock on a file beside the database, which outlives no process.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    database::{Connection, Database, jittered, runner},
    error::{Holder, MigrateError},
    run::Event,
};

/// "slip" and "migr" in ASCII: the two halves of the advisory lock's key.
const KEY: (i32, i32) = (0x736c_6970, 0x6d69_6772);

/// The lock while it is held.
pub(crate) struct Lock {
    /// Held by being open.
    file: Option<File>,
}

/// Takes the lock, waiting as long as the options allow.
pub(crate) async fn lock(
    database: &mut Database,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<Lock, MigrateError> {
    database.refresh().await?;
    database.must_exist()?;
    // until it is given back in order the connection must not be used by another run
    database.stale = true;
    let begun = Instant::now();
    let mut told = false;
    loop {
        let holder = match try_lock(database).await? {
            Ok(lock) => return Ok(lock),
            Err(holder) => holder,
        };
        let waited = begun.elapsed();
        if waited >= database.options.lock_wait {
            return Err(MigrateError::Locked {
                place: database.address.place.clone(),
                holder: Box::new(holder),
                waited,
            });
        }
        if !told {
            events(Event::Waiting { holder });
            told = true;
        }
        tokio::time::sleep(jittered(Duration::from_millis(if waited.as_secs() < 2 { 50 } else { 250 }))).await;
    }
}

/// Gives the lock back. When that fails the connection is closed, which does it too.
pub(crate) async fn unlock(database: &mut Database, lock: Lock) {
    let released = match &database.connection {
        Connection::Postgres(_) => {
            let sql = format!("RESET ALL; SELECT pg_advisory_unlock({}, {})", KEY.0, KEY.1);
            database.execute(sql).await
        }
        Connection::Sqlite(_) => Ok(()),
    };
    if let Some(file) = lock.file {
        // a name left behind would accuse a run that is over
        let _ = file.set_len(0);
    }
    if released.is_ok() {
        database.stale = false;
    }
}

async fn try_lock(database: &mut Database) -> Result<Result<Lock, Holder>, MigrateError> {
    match &database.connection {
        Connection::Postgres(_) => {
            let sql = format!("SELECT pg_try_advisory_lock({}, {})::text", KEY.0, KEY.1);
            let rows = database.rows(sql, &[]).await.map_err(|error| database.refused("take its lock", &error))?;
            if rows.first().and_then(|row| row.first()).and_then(Option::as_deref) == Some("true") {
                return Ok(Ok(Lock { file: None }));
            }
            let holder = postgres_holder(database).await.map_err(|error| database.refused("see its locks", &error))?;
            Ok(Err(holder))
        }
        Connection::Sqlite(_) => match database.address.file() {
            None => Ok(Ok(Lock { file: None })),
            Some(database_file) => {
                let path = lock_path(database_file);
                lock_file(&path).map_err(|source| MigrateError::File { doing: "lock", path, source })
            }
        },
    }
}

async fn postgres_holder(database: &mut Database) -> Result<Holder, sqlx::Error> {
    let sql = format!(
        "SELECT a.pid::text, a.application_name::text, host(a.client_addr), \
         (extract(epoch FROM a.backend_start) * 1000)::bigint::text \
         FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
         WHERE l.locktype = 'advisory' AND l.granted AND l.classid = {} AND l.objid = {} AND l.objsubid = 2 \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        KEY.0, KEY.1
    );
    let row = database.rows(sql, &[]).await?.into_iter().next().unwrap_or_default();
    let text = |at: usize| row.get(at).cloned().flatten();
    Ok(Holder {
        pid: text(0).and_then(|pid| pid.parse().ok()),
        name: text(1),
        address: text(2),
        since: text(3).and_then(|millis| jiff::Timestamp::from_millisecond(millis.parse().ok()?).ok()),
    })
}

fn lock_path(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-migrate-lock");
    path.into()
}

fn lock_file(path: &Path) -> std::io::Result<Result<Lock, Holder>> {
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            write!(file, "{}\n{}\n{}\n", std::process::id(), jiff::Timestamp::now().as_millisecond(), runner())?;
            Ok(Ok(Lock { file: Some(file) }))
        }
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.rewind()?;
            file.read_to_string(&mut text)?;
            let mut lines = text.lines();
            let pid = lines.next().and_then(|pid| pid.parse().ok());
            let since = lines.next().and_then(|millis| jiff::Timestamp::from_millisecond(millis.parse().ok()?).ok());
            Ok(Err(Holder { pid, name: lines.next().map(ToOwned::to_owned), address: None, since }))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}
