//! One connection to one database, made with patience and spoken of without its password.

use std::{
    fs,
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _, SqliteConnection,
    postgres::PgConnectOptions,
};

use crate::{
    address::{Address, Engine, Options},
    error::MigrateError,
};

/// How to connect, and how long to wait for what.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// One try takes at most this long. Default 5 s.
    pub timeout: Duration,
    /// Waits before the second, third and fourth try, each with up to a fifth added by chance.
    /// Default 250 ms, 500 ms, 1 s (S4.E4).
    pub waits: Vec<Duration>,
    /// How long to wait for another run on this database to end. Default 60 s.
    pub lock_wait: Duration,
    /// PostgreSQL: a migration gives up waiting for a table after this and is tried again, so that it does not make
    /// visitors queue behind it. Default 5 s.
    pub table_wait: Duration,
    /// SQLite: make the file and its folder when they are missing. Without it a missing file counts as an empty
    /// database and can only be looked at. Default true.
    pub create: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            waits: vec![Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)],
            lock_wait: Duration::from_mins(1),
            table_wait: Duration::from_secs(5),
            create: true,
        }
    }
}

/// A database to migrate: exactly one connection, never from a pool, so that its lock and its work live and die
/// together.
pub struct Database {
    pub(crate) address: Address,
    pub(crate) options: ConnectOptions,
    pub(crate) connection: Connection,
    /// A run was cut short, so the connection may hold a lock or an open transaction: it is replaced before use.
    pub(crate) stale: bool,
    absent: bool,
}

pub(crate) enum Connection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Database").field(&self.address.place).finish()
    }
}

impl Database {
    /// Connects to `sqlite://path` or `postgres://user:password@host:port/database`.
    ///
    /// SQLite gets write-ahead logging, foreign keys and a busy timeout. A connection that fails is tried again after
    /// each of `options.waits`; the error says how often and how long, and never the password (S4.E4).
    pub async fn connect(url: &str, options: &ConnectOptions) -> Result<Self, MigrateError> {
        let address = Address::parse(url)?;
        let mut absent = false;
        if let Some(file) = address.file()
            && !file.exists()
        {
            absent = !options.create;
            if let Some(folder) = file.parent().filter(|folder| options.create && !folder.as_os_str().is_empty()) {
                fs::create_dir_all(folder).map_err(|source| MigrateError::File {
                    doing: "create the folder",
                    path: folder.to_owned(),
                    source,
                })?;
            }
        }
        let connection = if absent { in_memory(&address).await? } else { connect(&address, options).await? };
        Ok(Self { address, options: options.clone(), connection, stale: false, absent })
    }

    /// How people call this database: engine, host, port, database and user, or the file. Never the password.
    pub fn place(&self) -> &str {
        &self.address.place
    }

    /// Which engine.
    pub fn engine(&self) -> Engine {
        self.address.engine()
    }

    /// Closes the connection in order; dropping it works as well.
    pub async fn close(self) {
        // whatever fails here, the connection is gone afterwards
        let _ = match self.connection {
            Connection::Postgres(connection) => connection.close().await,
            Connection::Sqlite(connection) => connection.close().await,
        };
    }

    /// Replaces a connection that a cut-short run left in an unknown state.
    pub(crate) async fn refresh(&mut self) -> Result<(), MigrateError> {
        if self.stale && !self.absent {
            self.connection = connect(&self.address, &self.options).await?;
            self.stale = false;
        }
        Ok(())
    }

    /// Fails when the SQLite file is missing and was not to be created.
    pub(crate) fn must_exist(&self) -> Result<(), MigrateError> {
        if self.absent { Err(MigrateError::Absent(self.address.place.clone())) } else { Ok(()) }
    }

    /// Runs one or more statements without reading rows.
    pub(crate) async fn execute(&mut self, sql: String) -> Result<(), sqlx::Error> {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql));
        match &mut self.connection {
            Connection::Postgres(connection) => statement.execute(connection).await.map(drop),
            Connection::Sqlite(connection) => statement.execute(connection).await.map(drop),
        }
    }

    /// Runs one statement with text parameters `$1`, `$2` ... and returns its rows; every column must be a text.
    pub(crate) async fn rows(
        &mut self,
        sql: String,
        parameters: &[&str],
    ) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
        match &mut self.connection {
            Connection::Postgres(connection) => {
                let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
                for parameter in parameters {
                    query = query.bind((*parameter).to_owned());
                }
                let rows = query.fetch_all(connection).await?;
                rows.iter().map(|row| (0..row.len()).map(|column| row.try_get(column)).collect()).collect()
            }
            Connection::Sqlite(connection) => {
                let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
                for parameter in parameters {
                    query = query.bind((*parameter).to_owned());
                }
                let rows = query.fetch_all(connection).await?;
                rows.iter().map(|row| (0..row.len()).map(|column| row.try_get(column)).collect()).collect()
            }
        }
    }

    /// A database's refusal of something that is not a migration's statement.
    pub(crate) fn refused(&self, doing: &str, error: &sqlx::Error) -> MigrateError {
        MigrateError::Database {
            place: self.address.place.clone(),
            doing: doing.to_owned(),
            reason: self.address.words(error),
        }
    }
}

async fn in_memory(address: &Address) -> Result<Connection, MigrateError> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().in_memory(true).disable_statement_logging();
    let connection = options.connect().await.map_err(|error| MigrateError::Database {
        place: address.place.clone(),
        doing: "look at an empty database".to_owned(),
        reason: address.words(&error),
    })?;
    Ok(Connection::Sqlite(connection))
}

/// Connects, and tries again after each wait.
async fn connect(address: &Address, options: &ConnectOptions) -> Result<Connection, MigrateError> {
    let begun = Instant::now();
    let mut waits = options.waits.iter();
    let mut tries = 0;
    loop {
        tries += 1;
        let (reason, hopeless) = match tokio::time::timeout(options.timeout, try_once(address, options)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => (address.words(&error), is_hopeless(&error)),
            Err(_) => (format!("no answer within {:.1} s", options.timeout.as_secs_f64()), false),
        };
        let Some(wait) = waits.next().filter(|_| !hopeless) else {
            let (place, elapsed) = (address.place.clone(), begun.elapsed());
            return Err(MigrateError::Connect { place, tries, elapsed, reason });
        };
        tracing::warn!(place = address.place, tries, reason, "no connection, trying again");
        tokio::time::sleep(jittered(*wait)).await;
    }
}

/// Up to a fifth longer, so that many runners do not come back together.
pub(crate) fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(1.0..1.2))
}

/// An SQLite file that is no database does not become one by waiting (codes 14 and 26: cannot open, not a database).
fn is_hopeless(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .filter(|error| error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some())
        .and_then(|error| error.code()?.parse::<i32>().ok())
        .is_some_and(|code| matches!(code & 0xff, 14 | 26))
}

async fn try_once(address: &Address, options: &ConnectOptions) -> Result<Connection, sqlx::Error> {
    match &address.options {
        Options::Postgres(postgres) => {
            // statements may hold secrets (CREATE ROLE ... PASSWORD), so none is ever logged
            let mut postgres: PgConnectOptions = (**postgres).clone().disable_statement_logging();
            if postgres.get_application_name().is_none() {
                postgres = postgres.application_name(&runner());
            }
            Ok(Connection::Postgres(postgres.connect().await?))
        }
        Options::Sqlite { options: sqlite, file, read_only } => {
            let sqlite = (**sqlite)
                .clone()
                .create_if_missing(options.create)
                .busy_timeout(options.lock_wait)
                .foreign_keys(true)
                .disable_statement_logging();
            let mut connection = sqlite.connect().await?;
            if file.is_some() && !read_only {
                write_ahead(&mut connection, options.timeout).await?;
            }
            Ok(Connection::Sqlite(connection))
        }
    }
}

/// Turns write-ahead logging on. SQLite does not wait for others here, so this does.
async fn write_ahead(connection: &mut SqliteConnection, patience: Duration) -> Result<(), sqlx::Error> {
    let begun = Instant::now();
    loop {
        match sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut *connection).await {
            Err(error) if is_busy(&error) && begun.elapsed() < patience => {
                tokio::time::sleep(jittered(Duration::from_millis(20))).await;
            }
            other => return other.map(drop),
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// How this process calls itself to others.
pub(crate) fn runner() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let at = if host.is_empty() { String::new() } else { format!(" on {host}") };
    let mut name = format!("slipway migrate, process {}{at}", std::process::id());
    // PostgreSQL keeps 63 bytes
    while name.len() > 63 {
        name.pop();
    }
    name
}
