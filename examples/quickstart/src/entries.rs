//! Entries of the log.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use sqlx::{Row, sqlite::SqliteRow};

use crate::{database::now, fault::Fault, server::App};

/// Entries per answer.
const PAGE: i64 = 50;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Arrival,
    Departure,
    Note,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Arrival => "arrival",
            Kind::Departure => "departure",
            Kind::Note => "note",
        }
    }
}

/// An entry as it is sent to the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    pub(crate) id: i64,
    pub(crate) kind: String,
    pub(crate) vessel: String,
    pub(crate) port: String,
    pub(crate) note: String,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) draft: bool,
    pub(crate) file: Option<Attachment>,
}

/// The file of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Attachment {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) media: String,
    pub(crate) size: i64,
}

/// An entry as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewEntry {
    kind: Kind,
    #[serde(default)]
    vessel: String,
    #[serde(default)]
    port: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    draft: bool,
}

impl NewEntry {
    /// Without blanks at the ends; fails with what a person should change.
    fn check(self) -> Result<Self, Fault> {
        let tidy = |text: &str| text.trim().to_owned();
        let entry = Self { vessel: tidy(&self.vessel), port: tidy(&self.port), note: tidy(&self.note), ..self };
        let bad = |reason: &str| Err(Fault::Bad(reason.to_owned()));
        if entry.vessel.chars().count() > 80 || entry.port.chars().count() > 80 {
            return bad("a ship's name and a port have at most 80 characters");
        }
        if entry.note.chars().count() > 2000 {
            return bad("a note has at most 2000 characters");
        }
        if entry.kind != Kind::Note && entry.vessel.is_empty() {
            return bad("which ship was it?");
        }
        if entry.kind == Kind::Note && entry.note.is_empty() {
            return bad("the note is empty");
        }
        Ok(entry)
    }
}

const SELECT: &str = "SELECT e.id, e.kind, e.vessel, e.port, e.note, e.at, e.draft, f.id AS file, f.name, f.media, f.size \
     FROM entries e LEFT JOIN files f ON f.entry_id = e.id";

fn from_row(row: &SqliteRow) -> Result<Entry, sqlx::Error> {
    let file: Option<i64> = row.try_get("file")?;
    let file = match file {
        Some(id) => Some(Attachment {
            id,
            name: row.try_get("name")?,
            media: row.try_get("media")?,
            size: row.try_get("size")?,
        }),
        None => None,
    };
    Ok(Entry {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        vessel: row.try_get("vessel")?,
        port: row.try_get("port")?,
        note: row.try_get("note")?,
        at: row.try_get("at")?,
        draft: row.try_get("draft")?,
        file,
    })
}

/// Published entries with ids above `after`, oldest first.
pub(crate) async fn newer(pool: &sqlx::SqlitePool, after: i64) -> Result<Vec<Entry>, sqlx::Error> {
    let sql = sqlx::AssertSqlSafe(format!("{SELECT} WHERE e.draft = 0 AND e.id > ? ORDER BY e.id LIMIT {PAGE}"));
    sqlx::query(sql).bind(after).fetch_all(pool).await?.iter().map(from_row).collect()
}

/// Which entries are wanted.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Which {
    /// Only ids below this.
    before: Option<i64>,
    /// Drafts instead of what is published.
    #[serde(default)]
    drafts: bool,
}

/// A page of entries, newest first.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    entries: Vec<Entry>,
    /// There are older ones.
    more: bool,
}

/// `GET /api/entries`
pub(crate) async fn list(State(app): State<App>, Query(which): Query<Which>) -> Result<Json<Page>, Fault> {
    // by time rather than by id: a draft that is published takes its place at the top
    let sql = format!(
        "{SELECT} WHERE e.draft = ?1 AND (?2 IS NULL OR (e.at, e.id) < (SELECT at, id FROM entries WHERE id = ?2)) \
         ORDER BY e.at DESC, e.id DESC LIMIT {}",
        PAGE + 1
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(which.drafts).bind(which.before);
    let mut entries: Vec<Entry> = query.fetch_all(&app.pool).await?.iter().map(from_row).collect::<Result<_, _>>()?;
    let more = entries.len() > usize::try_from(PAGE).unwrap_or(usize::MAX);
    if more {
        entries.pop();
    }
    Ok(Json(Page { entries, more }))
}

/// `POST /api/entries`
pub(crate) async fn create(State(app): State<App>, body: Bytes) -> Result<(StatusCode, Json<Entry>), Fault> {
    let new = parse(&body)?;
    let sql = "INSERT INTO entries (kind, vessel, port, note, at, draft) VALUES (?, ?, ?, ?, ?, ?)";
    let query = sqlx::query(sql).bind(new.kind.as_str()).bind(new.vessel).bind(new.port).bind(new.note);
    let done = query.bind(now()).bind(new.draft).execute(&app.pool).await?;
    Ok((StatusCode::CREATED, Json(get(&app, done.last_insert_rowid()).await?)))
}

/// `PUT /api/entries/{id}`: changes a draft, and publishes it unless it stays one.
pub(crate) async fn change(State(app): State<App>, Path(id): Path<i64>, body: Bytes) -> Result<Json<Entry>, Fault> {
    let new = parse(&body)?;
    let sql =
        "UPDATE entries SET kind = ?, vessel = ?, port = ?, note = ?, at = ?, draft = ? WHERE id = ? AND draft = 1";
    let query = sqlx::query(sql).bind(new.kind.as_str()).bind(new.vessel).bind(new.port).bind(new.note);
    let done = query.bind(now()).bind(new.draft).bind(id).execute(&app.pool).await?;
    if done.rows_affected() == 0 {
        get(&app, id).await?;
        return Err(Fault::Conflict("what is in the log stays as it is; only drafts can be changed"));
    }
    Ok(Json(get(&app, id).await?))
}

/// `DELETE /api/entries/{id}`: drafts by anybody, what is published with the admin token.
pub(crate) async fn remove(
    State(app): State<App>,
    Path(id): Path<i64>,
    headers: HeaderMap,
) -> Result<StatusCode, Fault> {
    if !get(&app, id).await?.draft && !is_admin(&headers, &app.settings.admin_token) {
        return Err(Fault::Forbidden);
    }
    sqlx::query("DELETE FROM entries WHERE id = ?").bind(id).execute(&app.pool).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn parse(body: &[u8]) -> Result<NewEntry, Fault> {
    let new: NewEntry = serde_json::from_slice(body).map_err(|error| Fault::Bad(format!("not an entry: {error}")))?;
    new.check()
}

async fn get(app: &App, id: i64) -> Result<Entry, Fault> {
    let row =
        sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE e.id = ?"))).bind(id).fetch_optional(&app.pool).await?;
    Ok(from_row(&row.ok_or(Fault::Missing)?)?)
}

/// Compares digests, so that the time taken tells nothing about the token.
fn is_admin(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    given.is_some_and(|given| blake3::hash(given.as_bytes()) == blake3::hash(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(json: &str) -> Result<NewEntry, String> {
        parse(json.as_bytes()).map_err(|fault| match fault {
            Fault::Bad(reason) => reason,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn an_entry_says_what_it_must() {
        let entry = checked(r#"{"kind":"arrival","vessel":"  Marta ","port":"Husum"}"#).unwrap();
        assert_eq!((entry.vessel.as_str(), entry.draft), ("Marta", false));
        assert_eq!(checked(r#"{"kind":"arrival","vessel":" "}"#).unwrap_err(), "which ship was it?");
        assert_eq!(checked(r#"{"kind":"note"}"#).unwrap_err(), "the note is empty");
        assert!(checked(&format!(r#"{{"kind":"note","note":"{}"}}"#, "x".repeat(2001))).unwrap_err().contains("2000"));
        assert!(checked(r#"{"kind":"pirates"}"#).unwrap_err().starts_with("not an entry"));
        assert!(checked("").is_err() && checked(r#"{"kind":"note","note":"x","id":1}"#).is_err());
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = "t".repeat(32);
        let with = |value: &str| HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        assert!(is_admin(&with(&format!("Bearer {token}")), &token));
        for value in ["Bearer ", "Bearer tttt", &token] {
            assert!(!is_admin(&with(value), &token));
        }
        assert!(!is_admin(&HeaderMap::new(), &token));
    }

    #[tokio::test]
    async fn only_published_entries_are_news() {
        let pool = crate::database::tests::fresh().await;
        sqlx::raw_sql(
            "INSERT INTO entries (kind, vessel, port, note, at, draft) VALUES
             ('arrival','A','','',1,0), ('note','','','x',2,1), ('departure','C','','',3,0);
             INSERT INTO files (entry_id, name, media, digest, size, at) VALUES (3, 'c.png', 'image/png', 'd', 9, 3)",
        )
        .execute(&pool)
        .await
        .unwrap();
        let news = newer(&pool, 1).await.unwrap();
        assert_eq!(news.len(), 1);
        assert_eq!((news[0].id, news[0].file.as_ref().unwrap().size), (3, 9));
    }
}
