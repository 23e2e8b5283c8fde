//! Is a release still what was packed?

use std::{collections::HashMap, fs::File, io, os::unix::fs::MetadataExt, path::Path};

use stack::{AppName, ReleaseId, ResourceName};

use crate::{
    Content, Damage, Manifest, SiteIndex, Store, StoreError,
    compress::Coding,
    digest::{digest_file, in_parallel},
    tree,
};

impl Store {
    /// Looks at every file of a release with `stat` alone: it is there, with the size, mode and time it was packed with.
    ///
    /// Fails with `Damaged`, which holds every damaged file, or `Missing`.
    pub fn check(&self, app: &AppName, id: &ReleaseId) -> Result<(), StoreError> {
        let manifest = self.manifest(app, id)?;
        damaged(app, id, stat_damage(&self.folder(app, id), &manifest))
    }

    /// Reads every file of a release and compares digests, compressed variants included. Fails like [`Store::check`].
    pub fn verify(&self, app: &AppName, id: &ReleaseId) -> Result<(), StoreError> {
        let manifest = self.manifest(app, id)?;
        let folder = self.folder(app, id);
        let mut damage = stat_damage(&folder, &manifest);
        damage.extend(content_damage(&folder, &manifest));
        // A file that `stat` sees as damaged needs no second entry for its content.
        let mut seen = std::collections::HashSet::new();
        damage.retain(|one| seen.insert(one.path.clone()));
        damaged(app, id, damage)
    }
}

fn damaged(app: &AppName, id: &ReleaseId, damage: Vec<Damage>) -> Result<(), StoreError> {
    if damage.is_empty() { Ok(()) } else { Err(StoreError::Damaged { app: app.clone(), id: id.clone(), damage }) }
}

/// The index of a site of the release in `folder`, when it is there and well.
pub(crate) fn site_index(folder: &Path, site: &ResourceName) -> Option<SiteIndex> {
    serde_json::from_slice(&std::fs::read(folder.join(format!("site/{site}.index.json"))).ok()?).ok()
}

fn stat_damage(folder: &Path, manifest: &Manifest) -> Vec<Damage> {
    let mut damage = Vec::new();
    for (path, entry) in manifest.entries() {
        if let Some(reason) = tree::entry_damage(&folder.join(&path), &entry.content) {
            damage.push(Damage { path, reason });
        }
    }
    for (site, files) in &manifest.sites {
        let Some(index) = site_index(folder, site) else {
            let reason = "is not there or cannot be read".to_owned();
            damage.push(Damage { path: format!("site/{site}.index.json"), reason });
            continue;
        };
        let agrees = |entry: &crate::FileEntry| match &entry.content {
            Content::File { digest, .. } => index.files.get(&entry.path).is_some_and(|file| file.digest == *digest),
            Content::Link { .. } => true,
        };
        if index.files.len() != files.len() || !files.iter().all(agrees) {
            let reason = "does not list the site's files".to_owned();
            damage.push(Damage { path: format!("site/{site}.index.json"), reason });
        }
        for (path, coding, size, _) in variants(site, &index) {
            if let Some(reason) = tree::file_damage(&folder.join(&path), size, false) {
                damage.push(Damage { path: format!("{path} ({})", coding.name()), reason });
            }
        }
    }
    damage
}

/// Path in the release, coding, size, and digest of the uncompressed content, of each variant an index lists.
fn variants<'a>(site: &'a ResourceName, index: &'a SiteIndex) -> impl Iterator<Item = (String, Coding, u64, &'a str)> {
    index.files.iter().flat_map(move |(path, file)| {
        Coding::ALL.into_iter().filter_map(move |coding| {
            let bytes = *file.variants.get(coding.name())?;
            Some((format!("site/{site}/{path}{}", coding.suffix()), coding, bytes, file.digest.as_str()))
        })
    })
}

fn content_damage(folder: &Path, manifest: &Manifest) -> Vec<Damage> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let files: Vec<(String, &str, Option<Coding>)> = manifest
        .entries()
        .filter_map(|(path, entry)| match &entry.content {
            Content::File { digest, .. } => Some((path, digest.as_str(), None)),
            Content::Link { .. } => None,
        })
        .collect();
    let indexes: Vec<(&ResourceName, SiteIndex)> =
        manifest.sites.keys().filter_map(|site| Some((site, site_index(folder, site)?))).collect();
    let compressed = indexes
        .iter()
        .flat_map(|(site, index)| variants(site, index).map(|(path, coding, _, digest)| (path, digest, Some(coding))));
    // Files that share an object are read once.
    let mut by_inode: HashMap<u64, (String, &str, Option<Coding>)> = HashMap::new();
    for file in files.into_iter().chain(compressed) {
        if let Ok(meta) = folder.join(&file.0).symlink_metadata() {
            by_inode.insert(meta.ino(), file);
        }
    }
    let files: Vec<_> = by_inode.into_values().collect();
    let results = in_parallel(files.len(), threads, |index| {
        let (path, digest, coding) = &files[index];
        let found = match coding {
            None => digest_file(&folder.join(path)),
            Some(coding) => digest_decoded(&folder.join(path), *coding),
        };
        let reason = match found {
            Ok(found) if found == **digest => return None,
            Ok(_) => "has other content than was packed".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        };
        Some(Damage { path: path.clone(), reason })
    });
    let mut damage: Vec<Damage> = results.into_iter().flatten().collect();
    damage.sort_by(|a, b| a.path.cmp(&b.path));
    damage
}

fn digest_decoded(path: &Path, coding: Coding) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut coding.decoder(File::open(path)?)?, &mut hasher)?;
    Ok(hasher.finalize().to_hex().to_string())
}
