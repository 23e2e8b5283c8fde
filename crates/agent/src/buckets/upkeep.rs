//! What a bucket does by itself: hands events on, removes what nothing names, lets objects age.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, PoisonError},
    time::Duration,
};

use sqlx::Connection;

use super::{
    archive,
    entry::Entry,
    event::{self, Happening},
    index::{discard, enter_event, remove},
    paths,
    store::{Store, new_id, now, settle, sync_folder},
    uploads,
};
use crate::{environment::Environment, error::Error};

/// Rows that are dealt with in one transaction.
const BATCH: i64 = 200;

/// How long uploads in parts may take to be completed, and how long it is remembered that they were.
const UPLOADS: Duration = Duration::from_hours(7 * 24);

/// How long between two looks at what has aged.
const AGEING: Duration = Duration::from_mins(10);

/// How long to wait after a failure.
const AGAIN: Duration = Duration::from_secs(5);

/// An object that is compressed to more than this share, in percent, stays as it is.
const WORTH: u64 = 95;

/// In the index: it is compressed; it was tried, and saves nothing.
const ARCHIVED: i64 = 1;
const LEFT: i64 = 2;

/// Looks after a bucket until it is dropped.
pub(super) async fn run(environment: Arc<Environment>, store: Arc<Store>) {
    let mut ageing = tokio::time::interval(AGEING);
    ageing.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = store.work.notified() => {}
            _ = ageing.tick() => {
                if let Err(error) = store.age().await {
                    tracing::warn!(scope = %environment.scope, folder = %store.folder.display(), "objects do not age: {error}");
                }
            }
        }
        let mut failed = None;
        if let Err(error) = store.hand_on(&environment).await {
            failed = Some(error.to_string());
        } else if let Err(error) = store.collect().await {
            tracing::warn!(scope = %environment.scope, folder = %store.folder.display(), "cannot remove files: {error}");
        }
        let again = failed.is_some();
        environment.trouble(
            &format!("bucket {}", store.definition().name),
            failed.as_ref().map(|why| format!("functions are not told of bucket `{}`: {why}", store.definition().name)),
        );
        *store.stuck.write().unwrap_or_else(PoisonError::into_inner) = failed;
        if again {
            tokio::time::sleep(AGAIN).await;
            store.work.notify_one();
        }
    }
}

impl Store {
    /// Finishes or removes what an earlier agent left half done. Nobody else may use the bucket yet.
    pub(super) async fn sweep(&self) -> Result<(), Error> {
        let folder = self.folder.join("new");
        let list = fs::read_dir(&folder).map_err(Error::file("read", &folder))?;
        for path in list.flatten().map(|entry| entry.path()) {
            let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let file: Option<String> = sqlx::query_scalar(
                "SELECT 'objects/' || file FROM object WHERE id = ?1 AND archived != 1
                 UNION ALL SELECT 'objects/' || file FROM object WHERE archived = 1 AND file LIKE '%~' || ?1
                 UNION ALL SELECT file FROM part WHERE file LIKE '%~' || ?1 LIMIT 1",
            )
            .bind(&id)
            .fetch_optional(&mut *self.index.writer().await)
            .await
            .map_err(failed)?;
            match file {
                Some(file) => settle(&path, &self.folder.join(file)),
                None => fs::remove_file(&path),
            }
            .map_err(Error::file("tidy", &path))?;
        }
        let folder = self.folder.join("uploads");
        let list = fs::read_dir(&folder).map_err(Error::file("read", &folder))?;
        for path in list.flatten().map(|entry| entry.path()) {
            let upload = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let known: Vec<String> = sqlx::query_scalar("SELECT file FROM part WHERE upload = ?1")
                .bind(&upload)
                .fetch_all(&mut *self.index.writer().await)
                .await
                .map_err(failed)?;
            let parts = fs::read_dir(&path).map_err(Error::file("read", &path))?.flatten();
            for part in parts.map(|entry| entry.path()) {
                let name = part.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if !known.contains(&format!("uploads/{upload}/{name}")) {
                    fs::remove_file(&part).map_err(Error::file("remove", &part))?;
                }
            }
            if known.is_empty() {
                // One that has no part yet gets its folder with the first.
                drop(fs::remove_dir(&path));
            }
        }
        Ok(())
    }

    /// Hands every event on, oldest first.
    pub(super) async fn hand_on(&self, environment: &Environment) -> Result<(), Error> {
        let definition = self.definition();
        loop {
            let events: Vec<(i64, String)> = sqlx::query_as("SELECT number, body FROM event ORDER BY number LIMIT ?1")
                .bind(BATCH)
                .fetch_all(self.index.readers())
                .await
                .map_err(failed)?;
            let Some((last, _)) = events.last() else { return Ok(()) };
            let last = *last;
            for (number, body) in events {
                match serde_json::from_str::<Happening>(&body) {
                    Ok(happening) => {
                        event::hand_on(environment, &definition.name, &definition.bucket, happening).await?;
                    }
                    Err(error) => tracing::error!("bucket: event {number} cannot be read: {error}"),
                }
            }
            sqlx::query("DELETE FROM event WHERE number <= ?1")
                .bind(last)
                .execute(&mut *self.index.writer().await)
                .await
                .map_err(failed)?;
        }
    }

    /// Removes the files that nothing names any more.
    pub(super) async fn collect(&self) -> Result<(), Error> {
        loop {
            let names: Vec<String> = sqlx::query_scalar("SELECT file FROM garbage LIMIT ?1")
                .bind(BATCH)
                .fetch_all(self.index.readers())
                .await
                .map_err(failed)?;
            if names.is_empty() {
                return Ok(());
            }
            let (folder, files) = (self.folder.clone(), names.clone());
            let removed = tokio::task::spawn_blocking(move || files.iter().try_for_each(|file| unlink(&folder, file)));
            removed
                .await
                .map_err(|error| Error::failed(error.to_string()))?
                .map_err(Error::file("remove files in", &self.folder))?;
            let mut writer = self.index.writer().await;
            let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
            for name in &names {
                sqlx::query("DELETE FROM garbage WHERE file = ?1")
                    .bind(name)
                    .execute(&mut *tx)
                    .await
                    .map_err(failed)?;
            }
            tx.commit().await.map_err(failed)?;
        }
    }

    /// Removes and compresses what is old enough; gives up uploads that nobody completed.
    pub(super) async fn age(&self) -> Result<(), Error> {
        let definition = self.definition();
        let before = |period: Duration| now() - i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
        if let Some(period) = definition.delete_after {
            // What an object hides first: it must not be seen again.
            for latest in [false, true] {
                while self.expire(before(period), latest, definition.versions).await? > 0 {}
            }
        }
        self.forget_uploads(before(UPLOADS)).await?;
        if let Some(period) = definition.archive_after {
            while let Some(entry) = self.next_to_archive(before(period)).await? {
                self.archive(&entry).await?;
            }
        }
        Ok(())
    }

    /// Deletes objects that are older, or versions that stopped being the latest before. Returns how many.
    async fn expire(&self, before: i64, latest: bool, versions: bool) -> Result<usize, Error> {
        let mut writer = self.index.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let old: Vec<Entry> = sqlx::query_as("SELECT * FROM object WHERE since < ?1 AND latest = ?2 LIMIT ?3")
            .bind(before)
            .bind(latest)
            .bind(BATCH)
            .fetch_all(&mut *tx)
            .await
            .map_err(failed)?;
        let count = old.len();
        for entry in old {
            remove(&mut tx, &entry).await.map_err(failed)?;
            if latest && !entry.marker {
                let event = Happening {
                    id: new_id(),
                    created: false,
                    version: versions.then(|| entry.version().to_owned()),
                    key: entry.key,
                    size: entry.size,
                    etag: entry.etag,
                    at: now(),
                };
                enter_event(&mut tx, &event).await.map_err(failed)?;
            }
        }
        tx.commit().await.map_err(failed)?;
        self.work.notify_one();
        Ok(count)
    }

    async fn forget_uploads(&self, before: i64) -> Result<(), Error> {
        let mut writer = self.index.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let old: Vec<String> = sqlx::query_scalar("SELECT id FROM upload WHERE begun < ?1")
            .bind(before)
            .fetch_all(&mut *tx)
            .await
            .map_err(failed)?;
        for id in old {
            uploads::end(&mut tx, &id, None).await.map_err(failed)?;
        }
        sqlx::query("DELETE FROM completed WHERE at < ?1").bind(before).execute(&mut *tx).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        self.work.notify_one();
        Ok(())
    }

    async fn next_to_archive(&self, before: i64) -> Result<Option<Entry>, Error> {
        sqlx::query_as("SELECT * FROM object WHERE archived = 0 AND marker = 0 AND modified < ?1 LIMIT 1")
            .bind(before)
            .fetch_optional(self.index.readers())
            .await
            .map_err(failed)
    }

    /// Compresses one object, unless that saves next to nothing.
    async fn archive(&self, entry: &Entry) -> Result<(), Error> {
        let (id, draft) = self.draft();
        let from = self.folder.join("objects").join(&entry.file);
        let packed = tokio::task::spawn_blocking(move || {
            let path = draft.path();
            let to = fs::File::create_new(path)?;
            let size = archive::write(&fs::File::open(from)?, &to)?;
            to.sync_all()?;
            sync_folder(path.parent().unwrap_or(Path::new(".")))?;
            Ok::<_, io::Error>((draft, size))
        });
        let packed = packed.await.map_err(|error| Error::failed(error.to_string()))?;
        let (draft, size) = packed.map_err(Error::file("compress", &self.folder.join("objects").join(&entry.file)))?;
        let worth = size.saturating_mul(100) < entry.size.saturating_mul(WORTH);
        let file = if worth { paths::of_object(&entry.key, &id) } else { entry.file.clone() };
        let mut writer = self.index.writer().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let changed = sqlx::query("UPDATE object SET file = ?2, archived = ?4 WHERE place = ?1 AND file = ?3")
            .bind(entry.place)
            .bind(&file)
            .bind(&entry.file)
            .bind(if worth { ARCHIVED } else { LEFT })
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        let replaced = worth && changed.rows_affected() > 0;
        if replaced {
            discard(&mut tx, &format!("objects/{}", entry.file)).await.map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
        if replaced {
            let from = draft.path().to_owned();
            draft.keep();
            settle(&from, &self.folder.join("objects").join(&file)).map_err(Error::file("move", &from))?;
            self.work.notify_one();
        }
        Ok(())
    }
}

/// Removes a file of a bucket, and the folders that it leaves empty.
fn unlink(folder: &Path, file: &str) -> io::Result<()> {
    let path = folder.join(file);
    let not_settled = folder.join("new").join(paths::id(file));
    // In this order: it may be on its way from the one to the other.
    for path in [&not_settled, &path] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // `objects` and `uploads` stay.
    for parent in path.ancestors().skip(1).take_while(|parent| parent.parent() != Some(folder)) {
        if fs::remove_dir(parent).is_err() {
            break;
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` passes it")]
fn failed(error: sqlx::Error) -> Error {
    Error::failed(format!("the index of the bucket fails: {error}; see whether its disk is full or damaged"))
}
