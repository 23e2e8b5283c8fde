//! Making room.

use std::{
    collections::BTreeSet,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use stack::{AppName, ReleaseId};

use crate::{BuildError, Store, StoreError, durable, store};

/// What a prune removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Releases whose files are gone; their records stay.
    pub releases: Vec<ReleaseId>,
    /// Files that no release used any more.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Removes the files of all releases of the app but the newest `keep`, and everything in the store that no release
    /// of any app uses.
    ///
    /// Never removes the newest release, the one before it, or one of `pinned`: give all that any environment runs or
    /// may roll back to. Records stay, so history stays. Waits for builds that are going on.
    pub fn prune(&self, app: &AppName, keep: usize, pinned: &[ReleaseId]) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let folder = self.app_folder(app);
        if folder.is_dir() {
            let lock = store::lock(&folder.join(".lock"), &crate::Stop::default(), &mut |_| {});
            let _lock = lock.map_err(|error| match error {
                BuildError::Store(error) => error,
                other => StoreError::io("lock", &folder)(io::Error::other(other.to_string())),
            })?;
            let _alone = self.lock_alone()?;
            self.prune_releases(app, keep, pinned, &mut pruned)?;
            self.prune_objects(&mut pruned)?;
        } else {
            let _alone = self.lock_alone()?;
            self.prune_objects(&mut pruned)?;
        }
        Ok(pruned)
    }

    fn prune_releases(
        &self,
        app: &AppName,
        keep: usize,
        pinned: &[ReleaseId],
        pruned: &mut Pruned,
    ) -> Result<(), StoreError> {
        let records = self.records(app)?;
        let mut kept: BTreeSet<&ReleaseId> = pinned.iter().collect();
        let there = records.iter().map(|record| &record.release).filter(|id| self.has(app, id));
        kept.extend(there.take(keep));
        if let Some(newest) = records.first() {
            kept.insert(&newest.release);
            kept.extend(&newest.previous);
        }
        let folder = self.app_folder(app);
        let mut going = Vec::new();
        for entry in fs::read_dir(&folder).map_err(StoreError::io("read", &folder))?.flatten() {
            if let Ok(id) = ReleaseId::new(entry.file_name().to_string_lossy())
                && !kept.contains(&id)
            {
                going.push(id);
            }
        }
        going.sort();
        if going.is_empty() {
            return Ok(());
        }
        // Out of sight first, so that a crash leaves no half of a release.
        let dead = store::build_folder(&folder)?;
        for id in going {
            let from = self.folder(app, &id);
            fs::rename(&from, dead.path().join(id.as_str())).map_err(StoreError::io("remove", from))?;
            pruned.releases.push(id);
        }
        durable::sync_folder(&folder).map_err(StoreError::io("flush", &folder))?;
        dead.close().map_err(StoreError::io("remove pruned releases from", &folder))
    }

    /// Removes objects whose only name is the one in `objects/`, and notes about content that is gone.
    fn prune_objects(&self, pruned: &mut Pruned) -> Result<(), StoreError> {
        let objects = self.path().join("objects");
        for folder in fs::read_dir(&objects).map_err(StoreError::io("read", &objects))?.flatten() {
            let folder = folder.path();
            let entries = fs::read_dir(&folder).map_err(StoreError::io("read", &folder))?;
            let mut notes = Vec::new();
            for entry in entries.flatten() {
                let path = entry.path();
                let meta = fs::symlink_metadata(&path).map_err(StoreError::io("read", &path))?;
                if meta.nlink() > 1 {
                    continue;
                }
                if meta.len() == 0 && path.extension().is_some_and(|end| end != "x") {
                    notes.push((path, meta));
                } else {
                    remove(&path, &meta, pruned)?;
                }
            }
            // "Compressing this saves too little" is worth knowing as long as the content is there.
            for (path, meta) in notes {
                let content = path.with_extension("");
                if !content.exists() && !path.with_extension("x").exists() {
                    remove(&path, &meta, pruned)?;
                }
            }
        }
        Ok(())
    }
}

fn remove(path: &Path, meta: &Metadata, pruned: &mut Pruned) -> Result<(), StoreError> {
    fs::remove_file(path).map_err(StoreError::io("remove", path))?;
    pruned.objects += 1;
    pruned.bytes += meta.len();
    Ok(())
}
