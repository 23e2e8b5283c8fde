//! A copy of an SQLite database that is in use.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions,
};

use crate::error::MigrateError;

/// Copies the SQLite database `path` to the new file `to` as it is at one moment, while others read and write it.
/// Returns the copy's size in bytes.
///
/// The copy is checked and on disk before it gets its name, so `to` is either whole or not there. An earlier file of
/// that name is replaced. The folder of `to` must exist.
pub async fn snapshot_sqlite(path: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<u64, MigrateError> {
    let (path, to) = (path.as_ref(), to.as_ref());
    let place = format!("SQLite database {}", path.display());
    let mut partial = to.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = PathBuf::from(partial);
    let result = copy(path, &partial, &place).await;
    match result.and_then(|()| settle(&partial, to)) {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            // the failure above is what matters
            let _ = fs::remove_file(&partial);
            Err(error)
        }
    }
}

async fn copy(path: &Path, partial: &Path, place: &str) -> Result<(), MigrateError> {
    let failed = |doing: &str, reason: String| MigrateError::Database {
        place: place.to_owned(),
        doing: doing.to_owned(),
        reason,
    };
    if !path.is_file() {
        return Err(failed("copy it", "there is no such file; check the path".to_owned()));
    }
    let Some(target) = partial.to_str() else {
        return Err(failed("copy it", format!("{} is not UTF-8; choose another name", partial.display())));
    };
    if partial.exists() {
        fs::remove_file(partial).map_err(|source| MigrateError::File {
            doing: "remove",
            path: partial.to_owned(),
            source,
        })?;
    }
    let words = |error: sqlx::Error| error.to_string();
    let mut source = open(path).await.map_err(|error| failed("open it", words(error)))?;
    sqlx::query("VACUUM INTO $1")
        .bind(target.to_owned())
        .execute(&mut source)
        .await
        .map_err(|error| failed("copy it", words(error)))?;
    let _ = source.close().await;
    let mut copy = open(partial).await.map_err(|error| failed("check the copy", words(error)))?;
    let rows = sqlx::raw_sql(AssertSqlSafe("PRAGMA quick_check(1)"))
        .fetch_all(&mut copy)
        .await
        .map_err(|error| failed("check the copy", words(error)))?;
    let _ = copy.close().await;
    let verdict: String = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or_default();
    if verdict == "ok" {
        Ok(())
    } else {
        Err(failed("check the copy", format!("{verdict}; the database is damaged: restore it from a backup")))
    }
}

async fn open(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(30))
        .disable_statement_logging()
        .connect()
        .await
}

/// Gives the copy its name, for good.
fn settle(partial: &Path, to: &Path) -> Result<u64, MigrateError> {
    let failed = |source| MigrateError::File { doing: "write", path: to.to_owned(), source };
    let file = File::open(partial).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    fs::rename(partial, to).map_err(failed)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(bytes)
}
