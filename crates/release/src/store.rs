//! Where releases lie.
//!
//! ```text
//! <store>/                            0700
//!   lock                              flock: shared by builds, alone for prune
//!   objects/ab/cdef...                a file by its BLAKE3, read-only; `.x` when it may be executed;
//!                                     `.br` `.gz` `.zst`: that content compressed, empty when it saves too little
//!   releases/<app>/records.jsonl      one Record a line
//!   releases/<app>/.lock              flock: one build of the app at a time
//!   releases/<app>/.build-*/          a build in progress, or one that died
//!   releases/<app>/<release id>/      see `manifest`
//! ```

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use stack::{AppName, FolderSource, ReleaseId};

use crate::{BuildError, BuildEvent, Manifest, Record, Stop, StoreError, durable, origin, record};

/// Prefix of the folder of a build in progress.
pub(crate) const BUILD_PREFIX: &str = ".build-";

/// A folder of releases and the files they share. Cheap to open; any number of processes may have it open.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// Opens the store at `path`, creating it for this user alone (0700) when it is not there, and removes what builds
    /// that died have left.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        for folder in [path.clone(), path.join("objects"), path.join("releases")] {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(StoreError::io("create", &folder))?;
        }
        // Absolute, so that a later change of the working folder does not move it.
        let path = path.canonicalize().map_err(StoreError::io("open", &path))?;
        let store = Self { path };
        store.sweep()?;
        Ok(store)
    }

    /// The store's own folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a release, whether it is there or not.
    pub fn folder(&self, app: &AppName, id: &ReleaseId) -> PathBuf {
        self.app_folder(app).join(id.as_str())
    }

    /// Whether the release's files are in the store.
    pub fn has(&self, app: &AppName, id: &ReleaseId) -> bool {
        self.folder(app, id).join("release.json").exists()
    }

    /// The folder with the files that `source` built: where services, jobs and functions of that source run. `None` when
    /// the release has no such tree. Fails like [`Store::manifest`].
    pub fn tree_for(
        &self,
        app: &AppName,
        id: &ReleaseId,
        source: &FolderSource,
    ) -> Result<Option<PathBuf>, StoreError> {
        let index = self.manifest(app, id)?.tree_index(source);
        Ok(index.map(|index| self.folder(app, id).join(format!("tree/{index}"))))
    }

    /// What a release consists of. Fails with `Missing` when it is not in the store, `Damaged` when its manifest is
    /// not the one its name is the digest of.
    pub fn manifest(&self, app: &AppName, id: &ReleaseId) -> Result<Manifest, StoreError> {
        let path = self.folder(app, id).join("release.json");
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Missing { app: app.clone(), id: id.clone() },
            _ => StoreError::io("read", &path)(error),
        })?;
        let damaged = |reason: String| StoreError::Damaged {
            app: app.clone(),
            id: id.clone(),
            damage: vec![crate::Damage { path: "release.json".to_owned(), reason }],
        };
        if blake3::hash(&bytes).to_hex().as_str() != id.as_str() {
            return Err(damaged("its digest is not the release's id".to_owned()));
        }
        serde_json::from_slice(&bytes).map_err(|error| damaged(format!("written by another version: {error}")))
    }

    /// Every record of the app, newest first. A record stays when its release's files are pruned.
    pub fn records(&self, app: &AppName) -> Result<Vec<Record>, StoreError> {
        let mut records = record::read(&self.records_path(app))?;
        records.reverse();
        Ok(records)
    }

    /// The record of the release that `text` names: a whole id, its first digits (at least 4), a number as `#12` or
    /// `12`, or a version. Fails with `Unknown` or `Ambiguous`, both listing candidates.
    pub fn find(&self, app: &AppName, text: &str) -> Result<Record, StoreError> {
        record::find(app, &self.records(app)?, text)
    }

    pub(crate) fn app_folder(&self, app: &AppName) -> PathBuf {
        self.path.join("releases").join(app.as_str())
    }

    pub(crate) fn records_path(&self, app: &AppName) -> PathBuf {
        self.app_folder(app).join("records.jsonl")
    }

    /// Path of an object. `suffix` is empty, `.x`, or that of a compressed variant.
    pub(crate) fn object(&self, digest: &str, suffix: &str) -> PathBuf {
        let (first, rest) = digest.split_at(2);
        self.path.join("objects").join(first).join(format!("{rest}{suffix}"))
    }

    /// Creates the app's folder and takes its lock, waiting for whoever has it.
    pub(crate) fn lock_app(
        &self,
        app: &AppName,
        stop: &Stop,
        events: &mut dyn FnMut(BuildEvent),
    ) -> Result<File, BuildError> {
        let folder = self.app_folder(app);
        fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        lock(&folder.join(".lock"), stop, events)
    }

    /// Takes the store's lock together with other builds, so that no prune removes what this one is about to use.
    pub(crate) fn lock_shared(&self) -> Result<File, StoreError> {
        let (file, path) = self.lock_file()?;
        file.lock_shared().map_err(StoreError::io("lock", path))?;
        Ok(file)
    }

    /// Takes the store's lock alone.
    pub(crate) fn lock_alone(&self) -> Result<File, StoreError> {
        let (file, path) = self.lock_file()?;
        file.lock().map_err(StoreError::io("lock", path))?;
        Ok(file)
    }

    fn lock_file(&self) -> Result<(File, PathBuf), StoreError> {
        let path = self.path.join("lock");
        Ok((open_lock(&path).map_err(StoreError::io("open", &path))?, path))
    }

    /// Removes the folders of builds that died: those of apps that nobody has locked.
    fn sweep(&self) -> Result<(), StoreError> {
        let releases = self.path.join("releases");
        for app in fs::read_dir(&releases).map_err(StoreError::io("read", &releases))?.flatten() {
            let dead: Vec<_> = match fs::read_dir(app.path()) {
                Ok(entries) => entries.flatten().filter(is_build).map(|entry| entry.path()).collect(),
                Err(_) => continue,
            };
            if dead.is_empty() {
                continue;
            }
            let path = app.path().join(".lock");
            let file = open_lock(&path).map_err(StoreError::io("open", &path))?;
            if file.try_lock().is_ok() {
                for folder in dead {
                    durable::remove_folder(&folder).map_err(StoreError::io("remove", folder))?;
                }
            }
        }
        Ok(())
    }
}

fn is_build(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with(BUILD_PREFIX)
}

fn open_lock(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Takes a lock file, telling once who has it, and waits; the file then says who we are.
pub(crate) fn lock(path: &Path, stop: &Stop, events: &mut dyn FnMut(BuildEvent)) -> Result<File, BuildError> {
    let mut file = open_lock(path).map_err(StoreError::io("open", path))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", path)(error).into()),
            Err(TryLockError::WouldBlock) if stop.requested() => return Err(BuildError::Stopped),
            Err(TryLockError::WouldBlock) => {
                if !told {
                    let mut holder = String::new();
                    _ = file.read_to_string(&mut holder);
                    events(BuildEvent::Waiting { holder });
                    told = true;
                }
                // flock has no wait with a deadline, and the request to stop has to be seen.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    // Only talk: a full disk must not keep anybody from building what is built already.
    let holder = format!("{}, process {}", origin::who(), std::process::id());
    _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes()));
    Ok(file)
}

/// Creates a folder for a build in progress.
pub(crate) fn build_folder(folder: &Path) -> Result<tempfile::TempDir, StoreError> {
    let dir = tempfile::Builder::new().prefix(BUILD_PREFIX).tempdir_in(folder);
    let dir = dir.map_err(StoreError::io("create a folder in", folder))?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).map_err(StoreError::io("open", dir.path()))?;
    Ok(dir)
}
