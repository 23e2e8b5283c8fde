//! The table `migrations`, which says what was applied.
//!
//! It has the columns that hand-written runners of this kind have (`id`, `version`, `name`, `applied_at`; S4.3), so a
//! database that such a runner migrated is taken over as it is, and four of ours.

use crate::{address::Engine, database::Database, error::MigrateError, folder::Migration};

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The version as the table has it.
    pub(crate) key: String,
    pub(crate) version: u64,
    pub(crate) name: String,
    pub(crate) applied_at: Option<jiff::Timestamp>,
    /// Absent on rows that another runner wrote.
    pub(crate) checksum: Option<String>,
    pub(crate) millis: Option<u64>,
    pub(crate) stage: Stage,
    /// Statements that took effect, outside a transaction.
    pub(crate) done: u64,
}

/// How far a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Applied,
    /// Outside a transaction, and under way or interrupted.
    Applying,
    Reverting,
}

impl Stage {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Applying => "applying",
            Self::Reverting => "reverting",
        }
    }
}

/// The table as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    /// Qualified, because a migration may change the search path.
    pub(crate) table: String,
    engine: Engine,
    /// Column names with their types, lowercase; empty when there is no table.
    columns: Vec<(String, String)>,
}

impl Ledger {
    /// Looks for the table. Changes nothing.
    pub(crate) async fn find(database: &mut Database) -> Result<Self, MigrateError> {
        let engine = database.engine();
        let failed =
            |database: &Database, error: &sqlx::Error| database.refused("look for the table `migrations`", error);
        let (table, rows) = match engine {
            Engine::Sqlite => {
                let sql = "SELECT name, type FROM pragma_table_info('migrations', 'main')".to_owned();
                ("main.migrations".to_owned(), database.rows(sql, &[]).await)
            }
            Engine::Postgres => {
                let sql = "SELECT quote_ident(current_schema()), current_schema()::text".to_owned();
                let rows = database.rows(sql, &[]).await.map_err(|error| failed(database, &error))?;
                let Some([Some(quoted), Some(schema)]) = rows.first().map(Vec::as_slice) else {
                    return Err(MigrateError::Database {
                        place: database.place().to_owned(),
                        doing: "find a schema for the table `migrations`".to_owned(),
                        reason: "none of the user's search_path exists; create it, or name one in the address with \
                                 `?options=-csearch_path%3DNAME`"
                            .to_owned(),
                    });
                };
                let sql = "SELECT column_name::text, data_type::text FROM information_schema.columns \
                           WHERE table_schema = $1 AND table_name = 'migrations'";
                (format!("{quoted}.migrations"), database.rows(sql.to_owned(), &[schema]).await)
            }
        };
        let rows = rows.map_err(|error| failed(database, &error))?;
        let columns = rows
            .into_iter()
            .filter_map(|row| match row.as_slice() {
                [Some(name), Some(kind)] => Some((name.to_ascii_lowercase(), kind.to_ascii_lowercase())),
                _ => None,
            })
            .collect();
        let ledger = Self { table, engine, columns };
        if ledger.exists() {
            for needed in ["version", "name", "applied_at"] {
                if ledger.kind(needed).is_none() {
                    let why = format!("it has no column `{needed}`");
                    return Err(MigrateError::ForeignTable { place: database.place().to_owned(), why });
                }
            }
        }
        Ok(ledger)
    }

    /// Finds the table, makes it when it is missing, and adds our columns to one that another runner made.
    /// Call it under the lock.
    pub(crate) async fn ensure(database: &mut Database) -> Result<Self, MigrateError> {
        let ledger = Self::find(database).await?;
        let sql = ledger.missing();
        if sql.is_empty() {
            return Ok(ledger);
        }
        for statement in sql {
            database
                .execute(statement)
                .await
                .map_err(|error| database.refused("make the table `migrations`", &error))?;
        }
        Self::find(database).await
    }

    fn exists(&self) -> bool {
        !self.columns.is_empty()
    }

    fn kind(&self, column: &str) -> Option<&str> {
        self.columns.iter().find(|(name, _)| name == column).map(|(_, kind)| kind.as_str())
    }

    /// What to run so that the table is there with all its columns.
    fn missing(&self) -> Vec<String> {
        let ours = [
            ("checksum", "text"),
            ("millis", "bigint"),
            ("stage", "text NOT NULL DEFAULT 'applied'"),
            ("done", "bigint NOT NULL DEFAULT 0"),
        ];
        if !self.exists() {
            let (id, applied_at) = match self.engine {
                Engine::Postgres => (
                    "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
                    "timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
                ),
                Engine::Sqlite => ("INTEGER PRIMARY KEY", "text NOT NULL DEFAULT CURRENT_TIMESTAMP"),
            };
            let ours = ours.map(|(name, kind)| format!("{name} {kind}")).join(", ");
            let table = &self.table;
            return vec![format!(
                "CREATE TABLE {table} (id {id}, version bigint NOT NULL UNIQUE, name text NOT NULL, \
                 applied_at {applied_at}, {ours})"
            )];
        }
        ours.iter()
            .filter(|(name, _)| self.kind(name).is_none())
            .map(|(name, kind)| format!("ALTER TABLE {} ADD COLUMN {name} {kind}", self.table))
            .collect()
    }

    /// Every row, by version.
    pub(crate) async fn read(&self, database: &mut Database) -> Result<Vec<Record>, MigrateError> {
        if !self.exists() {
            return Ok(Vec::new());
        }
        let millis = match self.engine {
            Engine::Postgres => "(extract(epoch FROM applied_at) * 1000)::bigint",
            Engine::Sqlite => "CAST(round((julianday(applied_at) - 2440587.5) * 86400000) AS bigint)",
        };
        let column =
            |name: &str| if self.kind(name).is_some() { format!("CAST({name} AS text)") } else { "NULL".to_owned() };
        let sql = format!(
            "SELECT CAST(version AS text), CAST(name AS text), CAST({millis} AS text), {}, {}, {}, {} FROM {}",
            column("checksum"),
            column("millis"),
            column("stage"),
            column("done"),
            self.table
        );
        let rows =
            database.rows(sql, &[]).await.map_err(|error| database.refused("read the table `migrations`", &error))?;
        let mut records = Vec::new();
        for row in rows {
            let text = |at: usize| row.get(at).cloned().flatten();
            let key = text(0).unwrap_or_default();
            let digits: String = key.chars().take_while(char::is_ascii_digit).collect();
            let Ok(version) = digits.parse() else {
                let why = format!("its version `{key}` is not a number");
                return Err(MigrateError::ForeignTable { place: database.place().to_owned(), why });
            };
            records.push(Record {
                key,
                version,
                name: text(1).unwrap_or_default(),
                applied_at: text(2).and_then(|millis| jiff::Timestamp::from_millisecond(millis.parse().ok()?).ok()),
                checksum: text(3),
                millis: text(4).and_then(|millis| millis.parse().ok()),
                stage: match text(5).as_deref() {
                    Some("applying") => Stage::Applying,
                    Some("reverting") => Stage::Reverting,
                    _ => Stage::Applied,
                },
                done: text(6).and_then(|done| done.parse().ok()).unwrap_or(0),
            });
        }
        records.sort_by_key(|record| record.version);
        Ok(records)
    }

    /// Writes a row; fails when the version has one.
    pub(crate) async fn insert(
        &self,
        database: &mut Database,
        migration: &Migration,
        stage: Stage,
    ) -> Result<(), sqlx::Error> {
        let (version, text) = match self.kind("version") {
            Some(kind) if kind.contains("char") || kind.contains("text") => ("$1", migration.digits.clone()),
            _ => ("CAST($1 AS bigint)", migration.version.to_string()),
        };
        let sql = format!(
            "INSERT INTO {} (version, name, applied_at, checksum, stage) VALUES ({version}, $2, {}, $3, $4)",
            self.table,
            self.now()
        );
        database.rows(sql, &[&text, &migration.name, &migration.checksum, stage.word()]).await.map(drop)
    }

    /// Says that a migration is applied now and took so long.
    pub(crate) async fn finish(&self, database: &mut Database, version: u64, millis: u64) -> Result<(), sqlx::Error> {
        let sql = format!(
            "UPDATE {} SET applied_at = {}, millis = CAST($2 AS bigint), stage = 'applied', done = 0 WHERE {}",
            self.table,
            self.now(),
            self.is_version()
        );
        database.rows(sql, &[&version.to_string(), &millis.to_string()]).await.map(drop)
    }

    /// Says how far a migration outside a transaction is.
    pub(crate) async fn mark(
        &self,
        database: &mut Database,
        version: u64,
        stage: Stage,
        done: usize,
    ) -> Result<(), sqlx::Error> {
        let sql =
            format!("UPDATE {} SET stage = $2, done = CAST($3 AS bigint) WHERE {}", self.table, self.is_version());
        database.rows(sql, &[&version.to_string(), stage.word(), &done.to_string()]).await.map(drop)
    }

    /// Removes a row.
    pub(crate) async fn delete(&self, database: &mut Database, version: u64) -> Result<(), sqlx::Error> {
        let sql = format!("DELETE FROM {} WHERE {}", self.table, self.is_version());
        database.rows(sql, &[&version.to_string()]).await.map(drop)
    }

    fn now(&self) -> &'static str {
        match self.engine {
            // the start of the transaction would be the same for a migration of an hour
            Engine::Postgres => "clock_timestamp()",
            Engine::Sqlite => "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
        }
    }

    /// A version written as text may have leading zeros or a name behind it.
    fn is_version(&self) -> &'static str {
        match (self.engine, self.kind("version")) {
            (Engine::Postgres, Some(kind)) if kind.contains("char") || kind.contains("text") => {
                "CAST(substring(version FROM '^[0-9]+') AS bigint) = CAST($1 AS bigint)"
            }
            // SQLite's CAST takes the leading digits of a text
            _ => "CAST(version AS bigint) = CAST($1 AS bigint)",
        }
    }
}
