//! One bucket: its folder, its index, and what the stack says of it.
//!
//! ```text
//! data/bucket-<name>/
//!   index.sqlite                which objects there are (schema.sql)
//!   objects/<key>~<id>          their content, as it is or compressed (paths.rs, archive.rs)
//!   uploads/<upload>/<n>~<id>   parts of uploads that are not complete
//!   new/<id>                    what is being written; what the index does not know is removed at the next start
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use s3s::S3Result;
use tokio::sync::{Notify, Semaphore};

use super::{
    definition::Definition,
    entry::{Entry, Meta},
    event::Happening,
    failure::{of_io, of_task},
    index::{Condition, Deleted, Deletion, Index, New, missing},
    paths,
    receive::Draft,
};
use crate::{error::Error, files};

/// Bodies that are taken in at the same time; others wait. Each holds up to two mebibytes.
const BODIES: usize = 32;

/// An open bucket.
pub(super) struct Store {
    pub(super) folder: PathBuf,
    pub(super) index: Index,
    definition: RwLock<Arc<Definition>>,
    /// There is garbage, or an event to hand on.
    pub(super) work: Notify,
    /// Why events cannot be handed on.
    pub(super) stuck: RwLock<Option<String>>,
    pub(super) bodies: Semaphore,
}

/// What a version of an object is made of, apart from its bytes.
pub(super) struct Content<'c> {
    pub(super) key: &'c str,
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) meta: Meta,
    pub(super) condition: Condition,
    /// The upload in parts that it ends.
    pub(super) upload: Option<&'c str>,
}

/// What was stored.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) etag: String,
    /// Milliseconds since 1970.
    pub(super) modified: i64,
    /// `None`: the bucket keeps no versions.
    pub(super) version: Option<String>,
}

impl Store {
    /// Opens the bucket in `folder`, or begins one. What an earlier agent left half done is finished or removed.
    pub(super) async fn open(folder: PathBuf, definition: Arc<Definition>) -> Result<Self, Error> {
        for name in ["objects", "uploads", "new"] {
            files::make_folder(&folder.join(name))?;
        }
        let path = folder.join("index.sqlite");
        let index = Index::open(&path).await.map_err(|error| {
            Error::failed(format!(
                "cannot open {}: {error}; if it is damaged, restore the folder {} from a backup",
                path.display(),
                folder.display()
            ))
        })?;
        let store = Self {
            folder,
            index,
            definition: RwLock::new(definition),
            work: Notify::new(),
            stuck: RwLock::default(),
            bodies: Semaphore::new(BODIES),
        };
        store.sweep().await?;
        store.work.notify_one();
        Ok(store)
    }

    /// What the stack says of it now.
    pub(super) fn definition(&self) -> Arc<Definition> {
        self.definition.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what the stack says of it.
    pub(super) fn define(&self, definition: Arc<Definition>) {
        *self.definition.write().unwrap_or_else(PoisonError::into_inner) = definition;
    }

    /// A file for what is about to be written, with the id the version will have.
    pub(super) fn draft(&self) -> (String, Draft) {
        let id = new_id();
        let path = self.folder.join("new").join(&id);
        (id, Draft::new(path))
    }

    /// Makes a draft that is on disk the object. Whole or not at all: when this returns, no power cut undoes it.
    pub(super) async fn put(
        self: &Arc<Self>,
        id: String,
        draft: Draft,
        content: Content<'_>,
    ) -> S3Result<Option<Stored>> {
        let Content { key, size, etag, meta, condition, upload } = content;
        self.check_not_stuck()?;
        let (store, key, upload) = (self.clone(), key.to_owned(), upload.map(str::to_owned));
        // A client that leaves now must not leave it half done.
        let done = tokio::spawn(async move {
            let folder = store.folder.join("new");
            tokio::task::spawn_blocking(move || sync_folder(&folder))
                .await
                .map_err(of_task)?
                .map_err(of_io("write"))?;
            let versions = store.definition().versions;
            let (file, modified) = (paths::of_object(&key, &id), now());
            let version = versions.then(|| id.clone());
            let event = Happening {
                id: id.clone(),
                created: true,
                key: key.clone(),
                size,
                etag: etag.clone(),
                version: version.clone(),
                at: modified,
            };
            let new = New { key: &key, id: &id, size, etag: &etag, modified, file: &file, meta: &meta };
            if !store.index.put(&new, versions, &condition, upload.as_deref(), &event).await? {
                return Ok(None);
            }
            let (from, to) = (draft.path().to_owned(), store.folder.join("objects").join(&file));
            draft.keep();
            // It is the object already: whoever looks for it finds it in the one place or the other.
            match tokio::task::spawn_blocking(move || settle(&from, &to)).await {
                Ok(Err(error)) => tracing::warn!("bucket: cannot move an object to its place: {error}"),
                Ok(Ok(())) => {}
                Err(error) => tracing::warn!("bucket: {error}"),
            }
            store.work.notify_one();
            Ok(Some(Stored { etag, modified, version }))
        });
        done.await.map_err(of_task)?
    }

    /// Deletes objects; the answers are in order. Durable when it returns.
    pub(super) async fn delete(self: &Arc<Self>, deletions: Vec<Deletion>) -> S3Result<Vec<S3Result<Deleted>>> {
        self.check_not_stuck()?;
        let store = self.clone();
        let done = tokio::spawn(async move {
            let at = now();
            let event = |old: &Entry, version: Option<&str>| Happening {
                id: new_id(),
                created: false,
                key: old.key.clone(),
                size: old.size,
                etag: old.etag.clone(),
                version: version.map(str::to_owned),
                at,
            };
            let deleted = store.index.delete(&deletions, store.definition().versions, at, event).await;
            store.work.notify_one();
            deleted
        });
        done.await.map_err(of_task)?
    }

    /// The file of an object, open: it can be read to its end also when the object is replaced or deleted.
    pub(super) async fn file(self: &Arc<Self>, entry: &Entry) -> S3Result<(Entry, fs::File)> {
        let mut entry = entry.clone();
        for _ in 0..3 {
            let (store, file) = (self.clone(), format!("objects/{}", entry.file));
            let opened = tokio::task::spawn_blocking(move || store.open_file(&file)).await.map_err(of_task)?;
            match opened {
                Ok(file) => return Ok((entry, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Replaced, deleted or compressed since the index was asked.
                    let version = entry.version().to_owned();
                    let again = self.index.find(&entry.key, Some(&version)).await?;
                    let gone = || missing(&entry.key, None);
                    entry = again.filter(|again| !again.marker).ok_or_else(gone)?;
                }
                Err(error) => return Err(of_io("open an object")(error)),
            }
        }
        Err(of_io("open an object")(io::Error::from(io::ErrorKind::NotFound)))
    }

    /// Opens a file by its path below the bucket's folder, whether or not it is at its place yet.
    pub(super) fn open_file(&self, file: &str) -> io::Result<fs::File> {
        let place = self.folder.join(file);
        fs::File::open(&place)
            .or_else(|_| fs::File::open(self.folder.join("new").join(paths::id(file))))
            .or_else(|_| fs::File::open(&place))
    }

    fn check_not_stuck(&self) -> S3Result<()> {
        match &*self.stuck.read().unwrap_or_else(PoisonError::into_inner) {
            Some(why) => Err(s3s::S3Error::with_message(
                s3s::S3ErrorCode::ServiceUnavailable,
                format!("functions cannot be told of what changes: {why}; then send it again"),
            )),
            None => Ok(()),
        }
    }
}

/// Moves a file to its place, whose folders may be removed at the same moment because they are empty.
pub(super) fn settle(from: &Path, to: &Path) -> io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let mut moved = Ok(());
    for _ in 0..10 {
        fs::create_dir_all(folder)?;
        moved = fs::rename(from, to);
        if !matches!(&moved, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            break;
        }
        if !from.exists() {
            // Replaced or deleted, and removed, in the same moment.
            return Ok(());
        }
    }
    moved
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// Milliseconds since 1970.
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// A time that [`now`] told.
pub(super) fn time(millis: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

/// An id that no other version or upload has. Ids of later milliseconds sort after earlier ones.
pub(super) fn new_id() -> String {
    format!("{:011x}{:016x}", now(), rand::random::<u64>())
}
