//! The job: removes what was forgotten, and counts what came in.

use std::{collections::BTreeSet, path::Path, time::Duration};

use axum::{Json, extract::State};
use serde::Serialize;
use sqlx::SqlitePool;

use crate::{
    database::{self, now},
    fault::Fault,
    files,
    output::{Level, say},
    server::App,
    settings::Settings,
};

/// A draft that nobody touched for this long is forgotten.
const FORGOTTEN: Duration = Duration::from_hours(1);

/// Summaries that stay: a day of runs, one a minute.
const KEPT: i64 = 24 * 60;

/// What one run counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    pub(crate) id: i64,
    pub(crate) at: i64,
    pub(crate) arrivals: i64,
    pub(crate) departures: i64,
    pub(crate) notes: i64,
    pub(crate) files: i64,
    pub(crate) bytes: i64,
    /// Drafts that were removed.
    pub(crate) swept: i64,
}

/// `quickstart tidy`
pub(crate) async fn tidy(settings: &Settings) -> Result<(), String> {
    let pool = database::open(&settings.database)?;
    let cannot = |error: sqlx::Error| format!("cannot tidy up: {error}");
    let summary = run(&pool, now()).await.map_err(cannot)?;
    let removed = remove_orphans(&pool, &files::folder(&settings.data))
        .await
        .map_err(|error| format!("cannot remove old uploads: {error}"))?;
    say(
        Level::Info,
        format_args!(
            "{} arrivals, {} departures, {} notes, {} files; {} drafts and {removed} uploads removed",
            summary.arrivals, summary.departures, summary.notes, summary.files, summary.swept
        ),
    );
    pool.close().await;
    Ok(())
}

/// `GET /api/summary`
pub(crate) async fn summary(State(app): State<App>) -> Result<Json<Option<Summary>>, Fault> {
    Ok(Json(latest(&app.pool).await?))
}

/// What the last run counted.
pub(crate) async fn latest(pool: &SqlitePool) -> Result<Option<Summary>, sqlx::Error> {
    type Row = (i64, i64, i64, i64, i64, i64, i64, i64);
    let sql = "SELECT id, at, arrivals, departures, notes, files, bytes, swept FROM summaries ORDER BY id DESC LIMIT 1";
    let row: Option<Row> = sqlx::query_as(sql).fetch_optional(pool).await?;
    Ok(row.map(|(id, at, arrivals, departures, notes, files, bytes, swept)| Summary {
        id,
        at,
        arrivals,
        departures,
        notes,
        files,
        bytes,
        swept,
    }))
}

async fn run(pool: &SqlitePool, now: i64) -> Result<Summary, sqlx::Error> {
    // a plain BEGIN would fail as soon as somebody else writes between its first read and its first write
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let forgotten = now - i64::try_from(FORGOTTEN.as_millis()).unwrap_or(i64::MAX);
    let swept = sqlx::query("DELETE FROM entries WHERE draft = 1 AND at < ?").bind(forgotten).execute(&mut *tx).await?;
    sqlx::query(
        "INSERT INTO summaries (at, swept, arrivals, departures, notes, files, bytes)
         SELECT ?, ?, count(*) FILTER (WHERE kind = 'arrival'), count(*) FILTER (WHERE kind = 'departure'),
                count(*) FILTER (WHERE kind = 'note'), (SELECT count(*) FROM files), (SELECT coalesce(sum(size), 0) FROM files)
         FROM entries WHERE draft = 0",
    )
    .bind(now)
    .bind(i64::try_from(swept.rows_affected()).unwrap_or(i64::MAX))
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM summaries WHERE id <= (SELECT max(id) FROM summaries) - ?")
        .bind(KEPT)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    latest(pool).await?.ok_or(sqlx::Error::RowNotFound)
}

/// Removes uploads that no row names and that are older than a forgotten draft: an upload is on disk before its row is.
async fn remove_orphans(pool: &SqlitePool, folder: &Path) -> Result<usize, String> {
    let named: Vec<String> =
        sqlx::query_scalar("SELECT digest FROM files").fetch_all(pool).await.map_err(|error| error.to_string())?;
    let named: BTreeSet<String> = named.into_iter().collect();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.to_string()),
    };
    let mut removed = 0;
    for entry in entries.flatten() {
        let old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > FORGOTTEN));
        if old && !entry.file_name().to_str().is_some_and(|name| named.contains(name)) {
            std::fs::remove_file(entry.path()).map_err(|error| error.to_string())?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[tokio::test]
    async fn forgotten_drafts_go_and_the_rest_is_counted() {
        let pool = crate::database::tests::fresh().await;
        let now = 100 * HOUR;
        for (kind, age, draft) in
            [("arrival", 9, 0), ("arrival", 1, 0), ("departure", 5, 0), ("note", 2, 1), ("note", 0, 1)]
        {
            let sql = "INSERT INTO entries (kind, vessel, port, note, at, draft) VALUES (?, 'x', '', 'x', ?, ?)";
            sqlx::query(sql).bind(kind).bind(now - age * HOUR).bind(draft).execute(&pool).await.unwrap();
        }
        let summary = run(&pool, now).await.unwrap();
        assert_eq!((summary.arrivals, summary.departures, summary.notes, summary.swept), (2, 1, 0, 1));
        assert_eq!(run(&pool, now).await.unwrap().swept, 0);
        let drafts: i64 =
            sqlx::query_scalar("SELECT count(*) FROM entries WHERE draft = 1").fetch_one(&pool).await.unwrap();
        assert_eq!(drafts, 1);
    }

    #[tokio::test]
    async fn old_summaries_go() {
        let pool = crate::database::tests::fresh().await;
        sqlx::query("INSERT INTO summaries (id, at, arrivals, departures, notes, files, bytes, swept) VALUES (5000, 1, 0, 0, 0, 0, 0, 0), (9000, 1, 0, 0, 0, 0, 0, 0)").execute(&pool).await.unwrap();
        run(&pool, 1).await.unwrap();
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM summaries").fetch_one(&pool).await.unwrap();
        assert_eq!(left, 2);
    }

    #[tokio::test]
    async fn only_old_uploads_without_a_row_go() {
        let pool = crate::database::tests::fresh().await;
        sqlx::query("INSERT INTO files (name, media, digest, size, at) VALUES ('n', 'm', 'named', 1, 1)")
            .execute(&pool)
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, age) in [("named", 2), ("orphan", 2), ("arriving", 0)] {
            let file = std::fs::File::create(folder.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - FORGOTTEN * age).unwrap();
        }
        assert_eq!(remove_orphans(&pool, folder.path()).await.unwrap(), 1);
        assert!(!folder.path().join("orphan").exists() && folder.path().join("named").exists());
        assert_eq!(remove_orphans(&pool, &folder.path().join("none")).await.unwrap(), 0);
    }
}
