//! Uploads in parts, in the index.

use s3s::{S3Error, S3ErrorCode, S3Result};
use sqlx::{Connection, FromRow, Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    entry::Meta,
    failure::of_index,
    index::{Index, discard},
    page::{Listed, Page},
    sums::Sums,
};

/// Rows that are read at once for a page.
const BATCH: i64 = 500;

/// An upload that is not complete.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) id: String,
    pub(super) key: String,
    /// Milliseconds since 1970.
    pub(super) begun: i64,
    meta: String,
}

/// One part of it.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) number: i64,
    pub(super) size: u64,
    pub(super) etag: String,
    /// Milliseconds since 1970.
    pub(super) modified: i64,
    /// Below the bucket's folder.
    pub(super) file: String,
    pub(super) sums: Sums,
}

impl Upload {
    /// What the client said of the object.
    pub(super) fn meta(&self) -> Meta {
        serde_json::from_str(&self.meta).unwrap_or_default()
    }
}

impl Listed for Upload {
    fn key(&self) -> &str {
        &self.key
    }

    fn place(&self) -> i64 {
        0
    }
}

impl FromRow<'_, SqliteRow> for Upload {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let key: Vec<u8> = row.try_get("key")?;
        Ok(Self {
            id: row.try_get("id")?,
            key: String::from_utf8_lossy(&key).into_owned(),
            begun: row.try_get("begun")?,
            meta: row.try_get("meta")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for Part {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            number: row.try_get("number")?,
            size: u64::try_from(row.try_get::<i64, _>("size")?).unwrap_or_default(),
            etag: row.try_get("etag")?,
            modified: row.try_get("modified")?,
            file: row.try_get("file")?,
            sums: serde_json::from_str(row.try_get("sums")?).unwrap_or_default(),
        })
    }
}

impl Index {
    /// Begins an upload.
    pub(super) async fn begin_upload(&self, id: &str, key: &str, now: i64, meta: &Meta) -> S3Result<()> {
        sqlx::query("INSERT INTO upload VALUES (?1, ?2, ?3, ?4)")
            .bind(id)
            .bind(key.as_bytes())
            .bind(now)
            .bind(serde_json::to_string(meta).unwrap_or_default())
            .execute(&mut *self.writer().await)
            .await
            .map_err(of_index)
            .map(drop)
    }

    /// An upload of `key` that is not complete. Fails when there is none.
    pub(super) async fn upload(&self, id: &str, key: &str) -> S3Result<Upload> {
        sqlx::query_as("SELECT * FROM upload WHERE id = ?1 AND key = ?2")
            .bind(id)
            .bind(key.as_bytes())
            .fetch_optional(self.readers())
            .await
            .map_err(of_index)?
            .ok_or_else(|| gone(id))
    }

    /// The id of the object that an upload became, if it did lately.
    pub(super) async fn completed(&self, id: &str) -> S3Result<Option<String>> {
        sqlx::query_scalar("SELECT object FROM completed WHERE upload = ?1")
            .bind(id)
            .fetch_optional(self.readers())
            .await
            .map_err(of_index)
    }

    /// Enters a part, in place of the one of its number. Fails when the upload ended meanwhile.
    pub(super) async fn put_part(&self, upload: &str, part: &Part) -> S3Result<()> {
        let mut writer = self.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(of_index)?;
        let there: Option<i64> = sqlx::query_scalar("SELECT 1 FROM upload WHERE id = ?1")
            .bind(upload)
            .fetch_optional(&mut *tx)
            .await
            .map_err(of_index)?;
        there.ok_or_else(|| gone(upload))?;
        let entered: sqlx::Result<()> = async {
            let old: Option<String> = sqlx::query_scalar("SELECT file FROM part WHERE upload = ?1 AND number = ?2")
                .bind(upload)
                .bind(part.number)
                .fetch_optional(&mut *tx)
                .await?;
            if let Some(old) = old {
                discard(&mut tx, &old).await?;
            }
            sqlx::query("INSERT OR REPLACE INTO part VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
                .bind(upload)
                .bind(part.number)
                .bind(i64::try_from(part.size).unwrap_or(i64::MAX))
                .bind(&part.etag)
                .bind(part.modified)
                .bind(&part.file)
                .bind(serde_json::to_string(&part.sums).unwrap_or_default())
                .execute(&mut *tx)
                .await?;
            tx.commit().await
        }
        .await;
        entered.map_err(of_index)
    }

    /// The parts of an upload above a number, by number, at most `limit`.
    pub(super) async fn parts(&self, upload: &str, above: i64, limit: i64) -> S3Result<Vec<Part>> {
        sqlx::query_as("SELECT * FROM part WHERE upload = ?1 AND number > ?2 ORDER BY number LIMIT ?3")
            .bind(upload)
            .bind(above)
            .bind(limit)
            .fetch_all(self.readers())
            .await
            .map_err(of_index)
    }

    /// Gives an upload up.
    pub(super) async fn abort_upload(&self, id: &str) -> S3Result<()> {
        let mut writer = self.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(of_index)?;
        if !end(&mut tx, id, None).await.map_err(of_index)? {
            return Err(gone(id));
        }
        tx.commit().await.map_err(of_index)
    }

    /// Fills a page with uploads that are not complete; of a key that was listed before, those above `after`.
    pub(super) async fn fill_uploads(&self, page: &mut Page<Upload>, prefix: &str, after: &str) -> S3Result<()> {
        let end = super::page::successor(prefix.as_bytes()).unwrap_or_else(|| vec![u8::MAX; 4]);
        let mut after = after.to_owned();
        loop {
            let rows: Vec<Upload> = sqlx::query_as(
                "SELECT * FROM upload WHERE key >= ?1 AND key < ?2 AND NOT (key = ?1 AND id <= ?3) ORDER BY key, id
                 LIMIT ?4",
            )
            .bind(page.next.start.clone())
            .bind(end.clone())
            .bind(&after)
            .bind(BATCH)
            .fetch_all(self.readers())
            .await
            .map_err(of_index)?;
            if let Some(last) = rows.last() {
                after.clone_from(&last.id);
            }
            let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) == BATCH;
            if !page.feed(rows, more) {
                return Ok(());
            }
        }
    }
}

/// Ends an upload, as an object or as nothing; its parts are garbage. Returns whether it was there.
pub(super) async fn end(tx: &mut SqliteConnection, id: &str, object: Option<(&str, i64)>) -> sqlx::Result<bool> {
    let ended = sqlx::query("DELETE FROM upload WHERE id = ?1").bind(id).execute(&mut *tx).await?;
    if ended.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("INSERT OR IGNORE INTO garbage SELECT file FROM part WHERE upload = ?1")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM part WHERE upload = ?1").bind(id).execute(&mut *tx).await?;
    if let Some((object, now)) = object {
        sqlx::query("INSERT INTO completed VALUES (?1, ?2, ?3)").bind(id).bind(object).bind(now).execute(tx).await?;
    }
    Ok(true)
}

/// There is no such upload.
pub(super) fn gone(id: &str) -> S3Error {
    let message = format!("there is no upload `{id}`: it was completed or aborted; begin another");
    S3Error::with_message(S3ErrorCode::NoSuchUpload, message)
}
