//! Uploads: streamed to disk below `SLIPWAY_DATA`, named by the digest of their content.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use axum::{
    Json,
    body::Body,
    extract::{self, Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use crate::{database::now, fault::Fault, server::App};

/// Bytes of one upload at most.
pub(crate) const LARGEST: u64 = 20 << 20;

/// Types a browser may show within the page. Anything else could be a page with a script in it, and is only saved.
const SHOWN: [(&str, &str); 6] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
];

/// A file as it is listed.
#[derive(Debug, Serialize)]
pub(crate) struct Listed {
    id: i64,
    entry: Option<i64>,
    name: String,
    media: String,
    size: i64,
    at: i64,
}

/// What is said of an upload beside its bytes.
#[derive(Debug, Deserialize)]
pub(crate) struct About {
    name: String,
    /// The entry it belongs to.
    entry: Option<i64>,
}

/// The folder of the uploads.
pub(crate) fn folder(data: &Path) -> PathBuf {
    data.join("uploads")
}

/// `POST /api/files?name=...&entry=...` with the bytes as the body.
pub(crate) async fn upload(
    State(app): State<App>,
    Query(about): Query<About>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Listed>), Fault> {
    let name = clean_name(&about.name).ok_or_else(|| Fault::Bad("the file has no name".to_owned()))?;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > LARGEST) {
        return Err(Fault::TooLarge(LARGEST));
    }
    let folder = folder(&app.settings.data);
    let stored = store(&folder, body).await?;
    let media = media_type(&name);
    let at = now();
    let sql = "INSERT INTO files (entry_id, name, media, digest, size, at) VALUES (?, ?, ?, ?, ?, ?)";
    let query =
        sqlx::query(sql).bind(about.entry).bind(&name).bind(media).bind(&stored.digest).bind(stored.size).bind(at);
    let done = query.execute(&app.pool).await.map_err(|error| match error.as_database_error() {
        Some(error) if error.is_unique_violation() => Fault::Conflict("this entry has a file already"),
        Some(error) if error.is_foreign_key_violation() => Fault::Missing,
        _ => Fault::from(error),
    })?;
    let id = done.last_insert_rowid();
    Ok((
        StatusCode::CREATED,
        Json(Listed { id, entry: about.entry, name, media: media.to_owned(), size: stored.size, at }),
    ))
}

/// `GET /api/files`: the newest hundred.
pub(crate) async fn list(State(app): State<App>) -> Result<Json<Vec<Listed>>, Fault> {
    type Row = (i64, Option<i64>, String, String, i64, i64);
    let sql = "SELECT id, entry_id, name, media, size, at FROM files ORDER BY id DESC LIMIT 100";
    let rows: Vec<Row> = sqlx::query_as(sql).fetch_all(&app.pool).await?;
    let listed = |(id, entry, name, media, size, at)| Listed { id, entry, name, media, size, at };
    Ok(Json(rows.into_iter().map(listed).collect()))
}

/// `GET /api/files/{id}`
pub(crate) async fn show(
    State(app): State<App>,
    extract::Path(id): extract::Path<i64>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let sql = "SELECT name, media, digest, size FROM files WHERE id = ?";
    let row: Option<(String, String, String, i64)> = sqlx::query_as(sql).bind(id).fetch_optional(&app.pool).await?;
    let (name, media, digest, size) = row.ok_or(Fault::Missing)?;
    let tag = format!("\"{digest}\"");
    if headers.get(header::IF_NONE_MATCH).is_some_and(|seen| seen.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let file = match tokio::fs::File::open(folder(&app.settings.data).join(&digest)).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Fault::Missing),
        file => file?,
    };
    let disposition = if SHOWN.iter().any(|(_, shown)| *shown == media) { "inline" } else { "attachment" };
    let answer = [
        (header::CONTENT_TYPE, media),
        (header::CONTENT_LENGTH, size.to_string()),
        (header::CONTENT_DISPOSITION, format!("{disposition}; filename*=UTF-8''{}", percent_encoded(&name))),
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'".to_owned()),
    ];
    let answer = answer.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)));
    let headers: HeaderMap = answer.collect::<Vec<(HeaderName, HeaderValue)>>().into_iter().collect();
    Ok((headers, Body::from_stream(ReaderStream::new(file))).into_response())
}

/// A stored upload.
#[derive(Debug)]
struct Stored {
    digest: String,
    size: i64,
}

/// A file being written; removed unless it was given its name.
struct Part {
    path: PathBuf,
    named: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.named {
            // gone already is as good
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Writes a body to disk as it comes in, and names the file by its content once it is whole.
async fn store(folder: &Path, body: Body) -> Result<Stored, Fault> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    tokio::fs::create_dir_all(folder).await?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut part = Part { path: folder.join(format!(".part-{}-{number}", std::process::id())), named: false };
    let mut file = tokio::fs::File::create(&part.path).await?;
    let mut hasher = blake3::Hasher::new();
    let mut size = 0u64;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Fault::Bad(format!("the upload broke off: {error}")))?;
        size += chunk.len() as u64;
        if size > LARGEST {
            return Err(Fault::TooLarge(LARGEST));
        }
        hasher.update(&chunk);
        file.write_all(&chunk).await?;
    }
    if size == 0 {
        return Err(Fault::Bad("the file is empty".to_owned()));
    }
    file.flush().await?;
    file.sync_all().await?;
    let digest = hasher.finalize().to_hex().to_string();
    tokio::fs::rename(&part.path, folder.join(&digest)).await?;
    part.named = true;
    Ok(Stored { digest, size: i64::try_from(size).unwrap_or(i64::MAX) })
}

/// The last part of a name, without control characters, at most 120 characters. `None` when nothing is left.
fn clean_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|c| !c.is_control()).take(120).collect();
    let clean = clean.trim().trim_start_matches('.').to_owned();
    (!clean.is_empty()).then_some(clean)
}

fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default();
    SHOWN.iter().find(|(known, _)| *known == extension).map_or("application/octet-stream", |(_, media)| media)
}

/// Source: RFC 8187 section 3.2.1.
fn percent_encoded(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
    }
    encoded
}

fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_does_not_belong_into_a_name() {
        assert_eq!(clean_name("C:\\photos\\ship.png").as_deref(), Some("ship.png"));
        assert_eq!(clean_name("../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(clean_name(".\u{7}hidden\n").as_deref(), Some("hidden"));
        assert_eq!((clean_name(""), clean_name("a/"), clean_name("..")), (None, None, None));
        assert_eq!(percent_encoded("größe 1.png"), "gr%C3%B6%C3%9Fe%201.png");
    }

    #[test]
    fn only_pictures_are_shown() {
        assert_eq!(media_type("Ship.PNG"), "image/png");
        for name in ["page.html", "drawing.svg", "png", "x.js"] {
            assert_eq!(media_type(name), "application/octet-stream");
        }
    }

    #[tokio::test]
    async fn equal_content_is_stored_once_and_nothing_is_left_of_what_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = store(folder.path(), Body::from("a ship")).await.unwrap();
        let second = store(folder.path(), Body::from("a ship")).await.unwrap();
        assert_eq!((&first.digest, first.size), (&second.digest, 6));
        let large = vec![0u8; usize::try_from(LARGEST).unwrap() + 1];
        assert!(matches!(store(folder.path(), Body::from(large)).await, Err(Fault::TooLarge(_))));
        assert!(matches!(store(folder.path(), Body::empty()).await, Err(Fault::Bad(_))));
        let broken = futures_util::stream::iter([Ok("half"), Err(std::io::Error::other("gone"))]);
        assert!(store(folder.path(), Body::from_stream(broken)).await.is_err());
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [first.digest.as_str()]);
    }
}
