//! Images that no image store has, as files of a release: so they reach hosts the way everything else does, by their
//! difference, and are there again when the engine has lost them.
//!
//! Source: Docker Image Specification v1.2, "Combined Image JSON + Filesystem Changeset Format". Every layer is named by
//! its digest, so equal layers of releases and of images are one file in a store.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use stack::AppName;

use crate::{BuildError, Content, FileEntry, Manifest, Store, digest::BLOCK, scan::Found, tree};

/// What an archive of images holds, in the archive and in a release.
const INDEX: &str = "manifest.json";

/// An image of an archive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Archived {
    /// Path of its configuration.
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    /// Paths of its layers, the lowest first.
    layers: Vec<String>,
}

/// The part of an image's configuration that is read here.
#[derive(Deserialize)]
struct Configuration {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    /// `sha256:...` of each layer's archive, the lowest first.
    diff_ids: Vec<String>,
}

/// The name under which an engine keeps an image of a release: one without a name is what `docker image prune` removes.
pub(crate) fn name(app: &AppName, id: &str) -> String {
    let digits = hexadecimal(id).unwrap_or(id);
    format!("slipway/{app}:{}", &digits[..12.min(digits.len())])
}

/// The files of an image that an earlier release carried, when they are still whole.
pub(crate) fn find(store: &Store, previous: &Manifest, id: &str) -> Option<Vec<Found>> {
    let (key, _) = previous.images.iter().find(|(key, one)| *one == id && previous.carried.contains_key(*key))?;
    let folder = store.folder(&previous.app, &previous.id()).join(previous.image_folder(key)?);
    let files = previous.carried.get(key)?.iter();
    let found = files.map(|entry| Found { entry: entry.clone(), from: folder.join(&entry.path) });
    let found: Vec<Found> = found.collect();
    let whole = |found: &Found| tree::entry_damage(&found.from, &found.entry.content).is_none();
    found.iter().all(whole).then_some(found)
}

/// Turns what `docker save` left in `folder` into the files of a release. Every engine's archive of an image gives equal
/// files. Fails when it is no archive of one image.
pub(crate) fn read(folder: &Path, app: &AppName, id: &str) -> Result<Vec<Found>, BuildError> {
    let at = folder.join(INDEX);
    let odd = |why: String| BuildError::io("understand", &at)(io::Error::other(why));
    let index = fs::read(&at).map_err(BuildError::io("read", &at))?;
    let images: Vec<Archived> = serde_json::from_slice(&index).map_err(|error| odd(error.to_string()))?;
    let [image] = images.as_slice() else { return Err(odd(format!("it holds {} images", images.len()))) };
    let config = inside(folder, &image.config)?;
    let text = fs::read(&config).map_err(BuildError::io("read", &config))?;
    let Configuration { rootfs } = serde_json::from_slice(&text).map_err(|error| odd(error.to_string()))?;
    if rootfs.diff_ids.len() != image.layers.len() {
        return Err(odd("its layers are not those of its configuration".to_owned()));
    }
    let config_name = blob(hexadecimal(&image.config).or(hexadecimal(id)).ok_or_else(|| odd(image.config.clone()))?);
    let mut files = BTreeMap::from([(config_name.clone(), config)]);
    let mut layers = Vec::new();
    for (path, digest) in image.layers.iter().zip(&rootfs.diff_ids) {
        // Some engines keep layers compressed, under a digest of that.
        let digits = hexadecimal(path).filter(|_| path.starts_with("blobs/")).or(hexadecimal(digest));
        let name = blob(digits.ok_or_else(|| odd(digest.clone()))?);
        files.insert(name.clone(), inside(folder, path)?);
        layers.push(name);
    }
    let made = Archived { config: config_name, repo_tags: Some(vec![name(app, id)]), layers };
    let index = serde_json::to_vec(&[made]).map_err(|error| odd(error.to_string()))?;
    // An engine writes its files read-only, and other names for a layer as links.
    let own = folder.join(".index");
    fs::write(&own, index).map_err(BuildError::io("write", &own))?;
    files.insert(INDEX.to_owned(), own);
    files.into_iter().map(|(path, from)| found(path, from)).collect()
}

fn found(path: String, from: PathBuf) -> Result<Found, BuildError> {
    let (digest, size) = digest(&from).map_err(BuildError::io("read", &from))?;
    Ok(Found { entry: FileEntry { path, content: Content::File { digest, size, executable: false } }, from })
}

fn digest(path: &Path) -> io::Result<(String, u64)> {
    let (mut file, mut hasher, mut block, mut size) = (File::open(path)?, blake3::Hasher::new(), vec![0; BLOCK], 0);
    loop {
        let length = file.read(&mut block)?;
        if length == 0 {
            return Ok((hasher.finalize().to_hex().to_string(), size));
        }
        hasher.update(&block[..length]);
        size += length as u64;
    }
}

/// A path of an archive, where it really lies; it must be below the archive's own folder.
fn inside(folder: &Path, path: &str) -> Result<PathBuf, BuildError> {
    let at = folder.join(path);
    let real = at.canonicalize().map_err(BuildError::io("read", &at))?;
    let home = folder.canonicalize().map_err(BuildError::io("read", folder))?;
    if real.starts_with(&home) {
        return Ok(real);
    }
    Err(BuildError::io("read", at)(io::Error::other("it leads out of the image")))
}

fn blob(digits: &str) -> String {
    format!("blobs/sha256/{digits}")
}

/// The 64 digits of a SHA-256 in a digest or a path.
fn hexadecimal(text: &str) -> Option<&str> {
    let last = text.rsplit(['/', ':']).next().unwrap_or(text);
    let digits = last.split('.').next().unwrap_or(last);
    (digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn archives_of_old_and_new_engines_give_equal_files() {
        let (id, one, two) = ("1".repeat(64), "a".repeat(64), "b".repeat(64));
        let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["sha256:{one}","sha256:{two}"]}}}}"#);
        let old = format!(r#"[{{"Config":"{id}.json","RepoTags":null,"Layers":["x/layer.tar","y/layer.tar"]}}]"#);
        let old = archive(&[
            (&format!("{id}.json"), &config),
            ("x/layer.tar", "one"),
            ("y/layer.tar", "two"),
            (INDEX, &old),
            ("repositories", "{}"),
        ]);
        let at = |digits: &str| blob(digits);
        let new = format!(
            r#"[{{"Config":"{}","RepoTags":["a:1"],"Layers":["{}","{}"],"LayerSources":{{}}}}]"#,
            at(&id),
            at(&one),
            at(&two)
        );
        let new = archive(&[(&at(&id), &config), (&at(&one), "one"), (&at(&two), "two"), (INDEX, &new)]);
        let app: AppName = "shop".parse().unwrap();
        let entries = |folder: &tempfile::TempDir| {
            let found = read(folder.path(), &app, &format!("sha256:{id}")).unwrap();
            found.into_iter().map(|found| found.entry).collect::<Vec<_>>()
        };
        assert_eq!(entries(&old), entries(&new));
        let paths: Vec<String> = entries(&old).into_iter().map(|entry| entry.path).collect();
        assert_eq!(paths, [at(&id), at(&one), at(&two), INDEX.to_owned()]);
        let index = fs::read_to_string(old.path().join(".index")).unwrap();
        assert!(index.contains("\"RepoTags\":[\"slipway/shop:111111111111\"]"), "{index}");
    }

    #[test]
    fn an_archive_that_leads_out_of_its_folder_is_refused() {
        let id = "1".repeat(64);
        let index = r#"[{"Config":"../../etc/passwd","Layers":[]}]"#;
        let folder = archive(&[(INDEX, index)]);
        let refused = read(folder.path(), &"shop".parse().unwrap(), &format!("sha256:{id}")).unwrap_err();
        assert!(refused.to_string().contains("passwd"), "{refused}");
        let none = archive(&[(INDEX, "[]")]);
        assert!(read(none.path(), &"shop".parse().unwrap(), &id).is_err());
    }
}
