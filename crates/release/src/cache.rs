//! What is remembered of the last builds, in `<project>/.slipway/build.json`: enough to see that nothing changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use stack::FolderSource;

use crate::{digest::Known, durable};

/// Format of the file; another one is as good as none.
const FORMAT: u32 = 1;

/// Sources remembered, newest last: environments may build the same folder in different ways.
const REMEMBERED: usize = 64;

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cache {
    format: u32,
    sources: Vec<Remembered>,
    /// Digests by path relative to the project.
    pub(crate) files: Known,
    /// What was loaded, to save only what changed.
    #[serde(skip)]
    loaded: Option<(Vec<Remembered>, Known)>,
}

/// The state of a source after its command last ran well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) source: FolderSource,
    /// Digest of the command's variables.
    pub(crate) env: String,
    /// Digest of what it read, taken before it ran.
    pub(crate) inputs: String,
    /// Digest of what it left.
    pub(crate) outputs: String,
    /// Files that commands made beside the declared outputs, relative to the source's folder.
    pub(crate) made: BTreeSet<String>,
}

impl Cache {
    /// Reads it; anything that cannot be read or understood only means that everything is built anew.
    pub(crate) fn load(project: &Path) -> Self {
        let read = fs::read(path(project)).ok().and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        read.filter(|cache| cache.format == FORMAT).unwrap_or_default()
    }

    /// Keeps what was loaded in mind, so that saving the same again writes nothing.
    pub(crate) fn loaded(&mut self, files: &Known) {
        self.loaded = Some((self.sources.clone(), files.clone()));
    }

    /// Replaces it, for this user alone: digests of what variables and files hold are nobody else's business.
    pub(crate) fn save(&mut self, project: &Path) {
        self.format = FORMAT;
        let excess = self.sources.len().saturating_sub(REMEMBERED);
        self.sources.drain(..excess);
        if self.loaded.as_ref().is_some_and(|(sources, files)| *sources == self.sources && *files == self.files) {
            return;
        }
        let bytes = serde_json::to_vec(self).expect("the cache has string keys only");
        if let Err(error) = durable::replace(&path(project), &bytes, 0o600) {
            tracing::warn!(%error, "the build cache was not saved; the next build runs its commands again");
        }
    }

    pub(crate) fn find(&self, source: &FolderSource) -> Option<&Remembered> {
        self.sources.iter().find(|remembered| remembered.source == *source)
    }

    pub(crate) fn remember(&mut self, new: Remembered) {
        self.sources.retain(|remembered| remembered.source != new.source);
        self.sources.push(new);
    }
}

fn path(project: &Path) -> PathBuf {
    folder(project).join("build.json")
}

/// The project's folder for our own state.
pub(crate) fn folder(project: &Path) -> PathBuf {
    project.join(".slipway")
}

/// Creates the folder, told to version control as ignored.
pub(crate) fn create_folder(project: &Path) -> std::io::Result<PathBuf> {
    let folder = folder(project);
    fs::create_dir_all(&folder)?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        fs::write(ignore, "*\n")?;
    }
    Ok(folder)
}

/// Digest of the variables given to a command: tells two sets apart and holds no value.
pub(crate) fn env_digest(env: &BTreeMap<String, String>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, value) in env {
        for part in [name, value] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}
