//! The index of one bucket: an SQLite file that says which objects there are and in which files they lie.
//!
//! A change is one transaction: the object, what it takes the place of, the files that nothing names any more, and the
//! event. So whatever moment the agent is killed at, the change happened whole or not at all.

use std::path::Path;

use s3s::{S3Error, S3ErrorCode, S3Result, dto::ETagCondition};
use sqlx::{
    Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    entry::{Entry, Meta, NULL},
    event::Happening,
    failure::of_index,
    page::{self, Page, Position},
    store::new_id,
};

/// Rows that are read at once for a page.
const BATCH: i64 = 500;

/// The index, open.
pub(super) struct Index {
    /// The one that writes: what is asked of it waits its turn here, not for SQLite's lock.
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
}

/// A new version of an object.
pub(super) struct New<'n> {
    pub(super) key: &'n str,
    pub(super) id: &'n str,
    pub(super) size: u64,
    pub(super) etag: &'n str,
    pub(super) modified: i64,
    /// Below `objects`.
    pub(super) file: &'n str,
    pub(super) meta: &'n Meta,
}

/// What must be true of the object that is there, before another takes its place.
#[derive(Debug, Default)]
pub(super) struct Condition {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

/// An object that is to be deleted: with a `version`, that one for good; without, the object of a bucket that keeps no
/// versions, or else it is marked as deleted. What is not there is deleted already.
#[derive(Debug, Default)]
pub(super) struct Deletion {
    pub(super) key: String,
    pub(super) version: Option<String>,
    pub(super) condition: Condition,
}

/// What a deletion did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Deleted {
    /// The version that was made or removed.
    pub(super) version: Option<String>,
    /// That version is a mark.
    pub(super) marker: bool,
}

impl Condition {
    /// Fails when it does not hold. Source: RFC 9110 section 13.1.
    pub(super) fn check(&self, current: Option<&Entry>) -> S3Result<()> {
        if let Some(condition) = &self.if_match {
            let current = current.ok_or(S3ErrorCode::NoSuchKey)?;
            if !matches(condition, current) {
                return Err(S3ErrorCode::PreconditionFailed.into());
            }
        }
        match (&self.if_none_match, current) {
            (Some(condition), Some(current)) if matches(condition, current) => {
                Err(S3ErrorCode::PreconditionFailed.into())
            }
            _ => Ok(()),
        }
    }
}

/// Whether an object is the one that a condition names.
pub(super) fn matches(condition: &ETagCondition, entry: &Entry) -> bool {
    condition.as_etag().is_none_or(|etag| etag.value() == entry.etag)
}

impl Index {
    /// Opens the index at `path`, or makes one.
    pub(super) async fn open(path: &Path) -> sqlx::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", "-1024")
            .pragma("journal_size_limit", "4194304");
        let mut writer = SqliteConnection::connect_with(&options).await?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(2)
            .idle_timeout(std::time::Duration::from_mins(1))
            .connect_lazy_with(options.read_only(true).create_if_missing(false));
        Ok(Self { writer: Mutex::new(writer), readers })
    }

    /// The connection that writes, for [`super::uploads`] and [`super::upkeep`].
    pub(super) async fn writer(&self) -> MutexGuard<'_, SqliteConnection> {
        self.writer.lock().await
    }

    /// Connections that read.
    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// One version of an object, or the latest. May be a mark.
    pub(super) async fn find(&self, key: &str, version: Option<&str>) -> S3Result<Option<Entry>> {
        let found = match version {
            None => sqlx::query_as("SELECT * FROM object WHERE key = ?1 AND latest = 1").bind(key.as_bytes()),
            Some(NULL) => sqlx::query_as("SELECT * FROM object WHERE key = ?1 AND is_null = 1").bind(key.as_bytes()),
            Some(id) => sqlx::query_as("SELECT * FROM object WHERE key = ?1 AND id = ?2 AND is_null = 0")
                .bind(key.as_bytes())
                .bind(id.to_owned()),
        };
        found.fetch_optional(&self.readers).await.map_err(of_index)
    }

    /// A version by its id, whatever a client calls it.
    pub(super) async fn find_id(&self, key: &str, id: &str) -> S3Result<Option<Entry>> {
        sqlx::query_as("SELECT * FROM object WHERE key = ?1 AND id = ?2")
            .bind(key.as_bytes())
            .bind(id)
            .fetch_optional(&self.readers)
            .await
            .map_err(of_index)
    }

    /// Fills a page with the latest objects, or with all versions.
    pub(super) async fn fill(&self, page: &mut Page<Entry>, prefix: &str, all: bool) -> S3Result<()> {
        // No key is as high as that.
        let end = page::successor(prefix.as_bytes()).unwrap_or_else(|| vec![u8::MAX; 4]);
        loop {
            let Position { start, below } = page.next.clone();
            let rows = if all {
                sqlx::query_as(
                    "SELECT * FROM object WHERE key >= ?1 AND key < ?2 AND NOT (key = ?1 AND place >= ?3)
                     ORDER BY key, place DESC LIMIT ?4",
                )
                .bind(start)
                .bind(end.clone())
                .bind(below.unwrap_or(i64::MAX))
                .bind(BATCH)
            } else {
                sqlx::query_as(
                    "SELECT * FROM object WHERE latest = 1 AND key >= ?1 AND key < ?2 AND NOT (key = ?1 AND ?3)
                     AND marker = 0 ORDER BY key LIMIT ?4",
                )
                .bind(start)
                .bind(end.clone())
                .bind(below.is_some())
                .bind(BATCH)
            };
            let rows: Vec<Entry> = rows.fetch_all(&self.readers).await.map_err(of_index)?;
            let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) == BATCH;
            if !page.feed(rows, more) {
                return Ok(());
            }
        }
    }

    /// Enters an object, in place of what was there unless `versions` are kept. With `upload`, it is that one's end;
    /// without it there any more, nothing is done and `false` is returned.
    pub(super) async fn put(
        &self,
        new: &New<'_>,
        versions: bool,
        condition: &Condition,
        upload: Option<&str>,
        event: &Happening,
    ) -> S3Result<bool> {
        let mut writer = self.writer.lock().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(of_index)?;
        let key = new.key.as_bytes();
        if let Some(upload) = upload
            && !super::uploads::end(&mut tx, upload, Some((new.id, new.modified))).await.map_err(of_index)?
        {
            return Ok(false);
        }
        let current = current(&mut tx, key).await.map_err(of_index)?;
        condition.check(current.as_ref().filter(|current| !current.marker))?;
        let entered: sqlx::Result<()> = async {
            if !versions {
                remove_null(&mut tx, key).await?;
            }
            retire(&mut tx, key, new.modified).await?;
            insert(&mut tx, new, !versions, false).await?;
            enter_event(&mut tx, event).await?;
            tx.commit().await
        }
        .await;
        entered.map_err(of_index)?;
        Ok(true)
    }

    /// Deletes objects, all in one transaction; the answers are in order. `events` makes the event of what was deleted.
    pub(super) async fn delete(
        &self,
        deletions: &[Deletion],
        versions: bool,
        now: i64,
        events: impl Fn(&Entry, Option<&str>) -> Happening,
    ) -> S3Result<Vec<S3Result<Deleted>>> {
        let mut writer = self.writer.lock().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(of_index)?;
        let mut results = Vec::with_capacity(deletions.len());
        for deletion in deletions {
            let current = current(&mut tx, deletion.key.as_bytes()).await.map_err(of_index)?;
            let current = current.filter(|current| !current.marker);
            if let Err(error) = deletion.condition.check(current.as_ref()) {
                results.push(Err(error));
                continue;
            }
            let deleted = delete_one(&mut tx, deletion, current, versions, now, &events).await;
            results.push(Ok(deleted.map_err(of_index)?));
        }
        tx.commit().await.map_err(of_index)?;
        Ok(results)
    }

    /// Objects with their versions, and their bytes.
    pub(super) async fn total(&self) -> sqlx::Result<(i64, i64)> {
        sqlx::query_as("SELECT objects, bytes FROM total").fetch_one(&self.readers).await
    }

    /// The place of a version among those of its key.
    pub(super) async fn place(&self, key: &str, version: &str) -> S3Result<Option<i64>> {
        Ok(self.find(key, Some(version)).await?.map(|entry| entry.place))
    }
}

async fn delete_one(
    tx: &mut SqliteConnection,
    deletion: &Deletion,
    current: Option<Entry>,
    versions: bool,
    now: i64,
    events: &impl Fn(&Entry, Option<&str>) -> Happening,
) -> sqlx::Result<Deleted> {
    let key = deletion.key.as_bytes();
    if let Some(version) = &deletion.version {
        let mut deleted = Deleted { version: Some(version.clone()), marker: false };
        if let Some(old) = version_of(tx, key, version).await? {
            remove(tx, &old).await?;
            promote(tx, key).await?;
            if !old.marker {
                enter_event(tx, &events(&old, Some(version))).await?;
            }
            deleted.marker = old.marker;
        }
        return Ok(deleted);
    }
    let mut marker = None;
    if !versions {
        remove_null(tx, key).await?;
    }
    let left: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM object WHERE key = ?1)").bind(key).fetch_one(&mut *tx).await?;
    if versions || left {
        let id = new_id();
        retire(tx, key, now).await?;
        let mark =
            New { key: &deletion.key, id: &id, size: 0, etag: "", modified: now, file: "", meta: &Meta::default() };
        insert(tx, &mark, !versions, true).await?;
        marker = Some(if versions { id } else { NULL.to_owned() });
    }
    if let Some(old) = current {
        enter_event(tx, &events(&old, marker.as_deref())).await?;
    }
    Ok(Deleted { marker: marker.is_some(), version: marker })
}

async fn current(tx: &mut SqliteConnection, key: &[u8]) -> sqlx::Result<Option<Entry>> {
    sqlx::query_as("SELECT * FROM object WHERE key = ?1 AND latest = 1").bind(key).fetch_optional(tx).await
}

async fn version_of(tx: &mut SqliteConnection, key: &[u8], version: &str) -> sqlx::Result<Option<Entry>> {
    sqlx::query_as("SELECT * FROM object WHERE key = ?1 AND is_null = ?2 AND (?2 OR id = ?3)")
        .bind(key)
        .bind(version == NULL)
        .bind(version)
        .fetch_optional(tx)
        .await
}

async fn insert(tx: &mut SqliteConnection, new: &New<'_>, null: bool, marker: bool) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO object (key, id, is_null, latest, marker, size, etag, modified, since, file, meta)
         VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?7, ?8, ?9)",
    )
    .bind(new.key.as_bytes())
    .bind(new.id)
    .bind(null)
    .bind(marker)
    .bind(i64::try_from(new.size).unwrap_or(i64::MAX))
    .bind(new.etag)
    .bind(new.modified)
    .bind(new.file)
    .bind(serde_json::to_string(new.meta).unwrap_or_default())
    .execute(tx)
    .await
    .map(drop)
}

/// Removes one version for good.
pub(super) async fn remove(tx: &mut SqliteConnection, old: &Entry) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM object WHERE place = ?1").bind(old.place).execute(&mut *tx).await?;
    if old.file.is_empty() {
        return Ok(());
    }
    discard(tx, &format!("objects/{}", old.file)).await
}

/// Notes that nothing names a file below the bucket's folder any more.
pub(super) async fn discard(tx: &mut SqliteConnection, file: &str) -> sqlx::Result<()> {
    sqlx::query("INSERT OR IGNORE INTO garbage VALUES (?1)").bind(file).execute(tx).await.map(drop)
}

async fn remove_null(tx: &mut SqliteConnection, key: &[u8]) -> sqlx::Result<()> {
    match version_of(tx, key, NULL).await? {
        Some(old) => remove(tx, &old).await,
        None => Ok(()),
    }
}

/// The latest is to be the latest no more.
async fn retire(tx: &mut SqliteConnection, key: &[u8], now: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE object SET latest = 0, since = ?2 WHERE key = ?1 AND latest = 1")
        .bind(key)
        .bind(now)
        .execute(tx)
        .await
        .map(drop)
}

/// The newest version that is left becomes the latest.
async fn promote(tx: &mut SqliteConnection, key: &[u8]) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE object SET latest = 1, since = modified WHERE place = (SELECT max(place) FROM object WHERE key = ?1)
         AND NOT EXISTS (SELECT 1 FROM object WHERE key = ?1 AND latest = 1)",
    )
    .bind(key)
    .execute(tx)
    .await
    .map(drop)
}

/// Notes what is to be told to functions.
pub(super) async fn enter_event(tx: &mut SqliteConnection, event: &Happening) -> sqlx::Result<()> {
    let body = serde_json::to_string(event).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    sqlx::query("INSERT INTO event (body) VALUES (?1)").bind(body).execute(tx).await.map(drop)
}

/// No object of that name.
pub(super) fn missing(key: &str, version: Option<&str>) -> S3Error {
    match version {
        Some(version) => S3Error::with_message(
            S3ErrorCode::NoSuchVersion,
            format!("there is no version `{version}` of `{key}`; list those there are with ListObjectVersions"),
        ),
        None => S3Error::with_message(S3ErrorCode::NoSuchKey, format!("there is no object `{key}`")),
    }
}
