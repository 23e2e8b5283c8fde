//! What a bucket's index knows of one object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Row, sqlite::SqliteRow};

use super::{page::Listed, sums::Sums};

/// The name of a version that was written while the bucket kept none.
pub(super) const NULL: &str = "null";

/// One version of an object, or a mark that it was deleted.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are columns of a table, and independent")]
pub(super) struct Entry {
    /// Newer ones have higher numbers.
    pub(super) place: i64,
    pub(super) key: String,
    /// Unique in the bucket.
    pub(super) id: String,
    /// Written while the bucket kept no versions.
    pub(super) null: bool,
    pub(super) latest: bool,
    /// There is no object, only the mark that it was deleted.
    pub(super) marker: bool,
    /// Bytes of the object.
    pub(super) size: u64,
    /// Without quotes.
    pub(super) etag: String,
    /// Milliseconds since 1970.
    pub(super) modified: i64,
    /// Below `objects`; empty for a marker.
    pub(super) file: String,
    /// The file is compressed.
    pub(super) archived: bool,
    /// [`Meta`] as JSON.
    meta: String,
}

/// What a client said about an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Meta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_control: Option<String>,
    /// An HTTP date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<String>,
    /// `x-amz-meta-*`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) user: BTreeMap<String, String>,
    /// Checksums of the whole.
    #[serde(skip_serializing_if = "Sums::is_empty")]
    pub(super) sums: Sums,
}

impl Entry {
    /// What a client calls this version.
    pub(super) fn version(&self) -> &str {
        if self.null { NULL } else { &self.id }
    }

    /// What a client said about it.
    pub(super) fn meta(&self) -> Meta {
        serde_json::from_str(&self.meta).unwrap_or_default()
    }
}

impl Listed for Entry {
    fn key(&self) -> &str {
        &self.key
    }

    fn place(&self) -> i64 {
        self.place
    }
}

impl FromRow<'_, SqliteRow> for Entry {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let key: Vec<u8> = row.try_get("key")?;
        Ok(Self {
            place: row.try_get("place")?,
            key: String::from_utf8_lossy(&key).into_owned(),
            id: row.try_get("id")?,
            null: row.try_get("is_null")?,
            latest: row.try_get("latest")?,
            marker: row.try_get("marker")?,
            size: u64::try_from(row.try_get::<i64, _>("size")?).unwrap_or_default(),
            etag: row.try_get("etag")?,
            modified: row.try_get("modified")?,
            file: row.try_get("file")?,
            archived: row.try_get::<i64, _>("archived")? == 1,
            meta: row.try_get("meta")?,
        })
    }
}
