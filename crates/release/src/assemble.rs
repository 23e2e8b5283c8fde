//! The last steps of every release, built here or received: staged content and documents become a release's folder.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use stack::{AppName, ReleaseId, ResourceName};

use crate::{Content, Manifest, SiteIndex, Store, StoreError, compress::Coding, durable, tree};

/// Links every file of `manifest` to its place below `release`, an empty folder, and writes the documents. Content comes
/// from `stage`, where a file is called by its digest and suffix, or else from the store's objects.
pub(crate) fn assemble(
    store: &Store,
    manifest: &Manifest,
    indexes: &BTreeMap<ResourceName, SiteIndex>,
    stage: &Path,
    release: &Path,
) -> Result<(), StoreError> {
    let mut folders = HashSet::new();
    let mut parent = |path: &Path| match path.parent() {
        Some(folder) if !folders.contains(folder) => {
            fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
            folders.insert(folder.to_owned());
            Ok(())
        }
        _ => Ok(()),
    };
    let content = |digest: &str, suffix: &str| {
        let staged = stage.join(format!("{digest}{suffix}"));
        if staged.exists() { staged } else { store.object(digest, suffix) }
    };
    for (path, entry) in manifest.entries() {
        let to = release.join(&path);
        parent(&to)?;
        match &entry.content {
            Content::File { digest, executable, .. } => {
                let from = content(digest, tree::object_suffix(*executable));
                tree::link(&from, &to, *executable).map_err(StoreError::io("create", &to))?;
            }
            Content::Link { target } => {
                std::os::unix::fs::symlink(target, &to).map_err(StoreError::io("create", &to))?;
            }
        }
    }
    for index in 0..manifest.trees.len() {
        parent(&release.join(format!("tree/{index}/file")))?;
    }
    for name in manifest.migrations.keys() {
        parent(&release.join(format!("migrations/{name}/file")))?;
    }
    for name in manifest.sites.keys() {
        parent(&release.join(format!("site/{name}/file")))?;
    }
    for (name, index) in indexes {
        for (path, file) in &index.files {
            for (coding, _) in Coding::ALL.iter().filter_map(|c| Some((c, file.variants.get(c.name())?))) {
                let to = release.join(format!("site/{name}/{path}{}", coding.suffix()));
                let from = content(&file.digest, coding.suffix());
                tree::link(&from, &to, false).map_err(StoreError::io("create", &to))?;
            }
        }
        let json = serde_json::to_vec(index).expect("an index has string keys only");
        let to = release.join(format!("site/{name}.index.json"));
        tree::write(&to, &json).map_err(StoreError::io("write", &to))?;
    }
    let to = release.join("release.json");
    tree::write(&to, &manifest.to_json()).map_err(StoreError::io("write", &to))
}

/// Flushes what is new in `build`: the documents of `release`, and everything in `stage`.
pub(crate) fn flush(build: &Path, manifest: &Manifest, stage: &Path, release: &Path) -> Result<(), StoreError> {
    let indexes = manifest.sites.keys().map(|name| release.join(format!("site/{name}.index.json")));
    let documents = [release.join("release.json")].into_iter().chain(indexes);
    let staged = fs::read_dir(stage).map_err(StoreError::io("read", stage))?.flatten().map(|entry| entry.path());
    durable::sync_new(build, documents.chain(staged).collect()).map_err(StoreError::io("flush", build))
}

/// Moves staged content to its place among the objects and tells which in `placed`. Its names need no flush: they only
/// save space.
pub(crate) fn shelve(store: &Store, stage: &Path, placed: &mut Vec<PathBuf>) -> Result<(), StoreError> {
    for entry in fs::read_dir(stage).map_err(StoreError::io("read", stage))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let (digest, suffix) = name.split_at(64.min(name.len()));
        let place = store.object(digest, suffix);
        let folder = place.parent().expect("an object lies in a folder");
        fs::create_dir_all(folder).map_err(StoreError::io("create", folder))?;
        fs::rename(entry.path(), &place).map_err(StoreError::io("create", &place))?;
        placed.push(place);
    }
    Ok(())
}

/// Puts an assembled release in its place; durable before it returns.
pub(crate) fn publish(
    store: &Store,
    app: &AppName,
    id: &ReleaseId,
    build: &Path,
    release: &Path,
) -> Result<(), StoreError> {
    let place = store.folder(app, id);
    if place.exists() {
        // Damaged, or this would not be done.
        fs::rename(&place, build.join("damaged")).map_err(StoreError::io("replace", &place))?;
    }
    fs::rename(release, &place).map_err(StoreError::io("create", &place))?;
    let folder = store.app_folder(app);
    durable::sync_folder(&folder).map_err(StoreError::io("flush", &folder))
}
