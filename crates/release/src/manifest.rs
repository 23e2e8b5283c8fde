//! What a release consists of.
//!
//! Layout below a store's `releases/<app>/<release id>/`:
//!
//! ```text
//! release.json                    the Manifest; its canonical JSON is what the id is the digest of
//! tree/<n>/...                    files of the n-th source, hard links to objects, read-only
//! site/<name>/...                 files of a site with their .br .gz .zst variants
//! site/<name>.index.json          a SiteIndex (edge::table)
//! migrations/<database>/...       NNN_name.up.sql, NNN_name.down.sql
//! image/<n>/...                   the n-th image that is carried, for `docker load`: manifest.json, blobs/sha256/...
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stack::{AppName, FolderSource, ReleaseId, ResourceName};

/// The immutable content of a release. Equal content gives an equal id, whoever builds it and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of this document; 1.
    pub format: u32,
    /// The application.
    pub app: AppName,
    /// Text of the stack file.
    pub stack: String,
    /// Trees of files, in a stable order; `tree/<index>`.
    pub trees: Vec<Tree>,
    /// Files of each site.
    pub sites: BTreeMap<ResourceName, Vec<FileEntry>>,
    /// Files of each database's migration folder.
    pub migrations: BTreeMap<ResourceName, Vec<FileEntry>>,
    /// Images by [`crate::image_key`]: `repository@sha256:...`, or `sha256:...`, the id of one made on this machine.
    pub images: BTreeMap<String, String>,
    /// Files of those images that were made on this machine and go to hosts, by the same key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub carried: BTreeMap<String, Vec<FileEntry>>,
}

/// The files one source built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The source of every service, job and function that uses this tree.
    pub source: FolderSource,
    /// Sorted by path.
    pub files: Vec<FileEntry>,
}

/// One file, folder or link of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative path with `/`.
    pub path: String,
    /// What it is.
    pub content: Content,
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// A file.
    File {
        /// BLAKE3, 64 hexadecimal digits.
        digest: String,
        /// Bytes.
        size: u64,
        /// May be executed.
        executable: bool,
    },
    /// A symbolic link that stays inside the tree.
    Link {
        /// Relative target.
        target: String,
    },
}

/// Who built a release, when and from what (S4.7). One line of `releases/<app>/records.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Rises by one with each new release of the app, from 1.
    pub number: u64,
    /// Which.
    pub release: ReleaseId,
    /// As in the stack file or `git describe`.
    pub version: String,
    /// Git commit, with `-dirty` when the tree had changes; `None` outside a repository.
    pub commit: Option<String>,
    /// `user@machine`.
    pub built_by: String,
    /// RFC 3339, UTC.
    pub built_at: jiff::Timestamp,
    /// The release before it.
    pub previous: Option<ReleaseId>,
    /// Bytes of all files, and of those not in the store before.
    pub bytes: u64,
    /// New bytes.
    pub new_bytes: u64,
}

impl Manifest {
    /// Which `tree/<n>` holds the files that `source` built; `None` when no service, job or function uses it.
    pub fn tree_index(&self, source: &FolderSource) -> Option<usize> {
        self.trees.iter().position(|tree| tree.source == *source)
    }

    /// Where the files of an image lie, relative to the release's folder, by its key; `None` when it is not carried.
    pub fn image_folder(&self, key: &str) -> Option<String> {
        self.carried.keys().position(|one| one == key).map(|index| format!("image/{index}"))
    }

    /// The canonical JSON: what `release.json` holds and the id is the digest of.
    ///
    /// # Panics
    /// Never: a manifest has string keys only.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest has string keys only and nothing that fails to serialise")
    }

    /// The release's name: BLAKE3 of [`Manifest::to_json`].
    ///
    /// # Panics
    /// Never: BLAKE3 has 64 hexadecimal digits.
    pub fn id(&self) -> ReleaseId {
        ReleaseId::new(blake3::hash(&self.to_json()).to_hex().as_str()).expect("BLAKE3 has 64 hexadecimal digits")
    }

    /// Every entry with its path relative to the release's folder.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (String, &FileEntry)> {
        let trees = self.trees.iter().enumerate().map(|(index, tree)| (format!("tree/{index}"), &tree.files));
        let sites = self.sites.iter().map(|(name, files)| (format!("site/{name}"), files));
        let migrations = self.migrations.iter().map(|(name, files)| (format!("migrations/{name}"), files));
        let images = self.carried.values().enumerate().map(|(index, files)| (format!("image/{index}"), files));
        trees
            .chain(sites)
            .chain(migrations)
            .chain(images)
            .flat_map(|(folder, files)| files.iter().map(move |entry| (format!("{folder}/{}", entry.path), entry)))
    }
}
