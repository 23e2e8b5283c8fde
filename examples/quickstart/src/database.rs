//! The SQLite database.

use std::{str::FromStr, time::Duration};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

/// A pool that connects when it is first used: a database that is away makes this program unhealthy, not absent.
pub(crate) fn open(url: &str) -> Result<SqlitePool, String> {
    Ok(SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(2))
        .connect_lazy_with(options(url)?))
}

/// How to connect. The file is not created: `slipway migrate up` does that, with the tables.
pub(crate) fn options(url: &str) -> Result<SqliteConnectOptions, String> {
    let options =
        SqliteConnectOptions::from_str(url).map_err(|error| format!("DATABASE_URL is not for SQLite: {error}"))?;
    Ok(options
        .create_if_missing(false)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // several instances and the job write to one file
        .busy_timeout(Duration::from_secs(5)))
}

/// Milliseconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A database with every migration and nothing in it, kept in memory by one connection.
    pub(crate) async fn fresh() -> SqlitePool {
        let options = SqliteConnectOptions::from_str("sqlite::memory:").unwrap().foreign_keys(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        for up in UP {
            sqlx::raw_sql(up).execute(&pool).await.unwrap();
        }
        pool
    }

    const UP: [&str; 3] = [
        include_str!("../migrations/001_create_entries.up.sql"),
        include_str!("../migrations/002_add_files.up.sql"),
        include_str!("../migrations/003_add_drafts_and_summaries.up.sql"),
    ];
    const DOWN: [&str; 3] = [
        include_str!("../migrations/003_add_drafts_and_summaries.down.sql"),
        include_str!("../migrations/002_add_files.down.sql"),
        include_str!("../migrations/001_create_entries.down.sql"),
    ];

    async fn tables(pool: &SqlitePool) -> i64 {
        let count = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        sqlx::query_scalar(count).fetch_one(pool).await.unwrap()
    }

    #[tokio::test]
    async fn migrations_go_up_down_and_up_again_and_the_seed_fits() {
        let pool = fresh().await;
        assert_eq!(tables(&pool).await, 3);
        sqlx::raw_sql(include_str!("../seed.sql")).execute(&pool).await.unwrap();
        let entries: i64 =
            sqlx::query_scalar("SELECT count(*) FROM entries WHERE at < ?").bind(now()).fetch_one(&pool).await.unwrap();
        assert_eq!(entries, 9);
        for down in DOWN {
            sqlx::raw_sql(down).execute(&pool).await.unwrap();
        }
        assert_eq!(tables(&pool).await, 0);
        for up in UP {
            sqlx::raw_sql(up).execute(&pool).await.unwrap();
        }
        assert_eq!(tables(&pool).await, 3);
    }
}
