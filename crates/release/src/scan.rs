//! Walking the folders of a project.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Component, Path, PathBuf},
};

use ignore::WalkBuilder;
use stack::Problem;

use crate::{BuildError, FileEntry, digest::Stamp};

/// Never read and never packed unless named: history, our own state, what tools can make again, the desktop's droppings.
const NEVER: [&str; 6] = [".git", ".hg", ".svn", ".slipway", "__pycache__", ".DS_Store"];

/// A file or link that was met, not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative to the walked folder, with `/`.
    pub(crate) path: String,
    /// Where it lies.
    pub(crate) from: PathBuf,
    /// What it is.
    pub(crate) kind: EntryKind,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file.
    File {
        /// What `stat` says.
        stamp: Stamp,
        /// Its owner may execute it.
        executable: bool,
    },
    /// A symbolic link with its target as written.
    Link(String),
    /// A socket, pipe or device, by that name.
    Special(&'static str),
}

/// A file or link of a release, and where to take it from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// As the manifest has it.
    pub(crate) entry: FileEntry,
    /// Where it lies.
    pub(crate) from: PathBuf,
}

/// Walks what version control and `.slipwayignore` do not ignore, leaving out dependency folders, what build tools
/// keep for themselves, and the paths in `leave_out`. Sorted by path.
pub(crate) fn walk_kept(folder: &Path, leave_out: &[PathBuf]) -> Result<Vec<Entry>, BuildError> {
    let leave_out = leave_out.to_vec();
    let walk = WalkBuilder::new(folder)
        .hidden(false)
        .ignore(false)
        .require_git(false)
        .add_custom_ignore_filename(".slipwayignore")
        .filter_entry(move |entry| {
            let name = entry.file_name();
            let left_out = entry.depth() > 0
                && (NEVER.iter().any(|never| name == OsStr::new(never))
                    || name == OsStr::new("node_modules")
                    || name == OsStr::new("target") && is_tool_target(entry.path())
                    || leave_out.iter().any(|path| path == entry.path()));
            !left_out
        })
        .build();
    let mut entries = Vec::new();
    for entry in walk {
        let entry = entry.map_err(|error| {
            let text = error.to_string();
            let source = error.into_io_error().unwrap_or_else(|| io::Error::other(text));
            BuildError::io("read", folder)(source)
        })?;
        if entry.file_type().is_some_and(|kind| kind.is_dir()) {
            continue;
        }
        entries.extend(entry_at(folder, entry.path())?);
    }
    entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// A `target` folder that belongs to a build tool, not one that somebody called so.
fn is_tool_target(path: &Path) -> bool {
    let beside = |name| path.with_file_name(name).exists();
    path.join("CACHEDIR.TAG").exists() || ["Cargo.toml", "pom.xml", "build.sbt"].into_iter().any(beside)
}

/// Walks everything below `folder/below`, or takes the one file that lies there; paths are relative to `folder`.
/// `skip` leaves out a path and all below it. Nothing when there is nothing. Sorted by path.
pub(crate) fn walk_all(folder: &Path, below: &str, skip: &dyn Fn(&str) -> bool) -> Result<Vec<Entry>, BuildError> {
    let mut entries = Vec::new();
    let start = folder.join(below);
    match fs::metadata(&start) {
        Ok(meta) if meta.is_dir() => walk_into(folder, &start, skip, &mut entries)?,
        Ok(_) => entries.extend(entry_at(folder, &start)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(BuildError::io("read", start)(error)),
    }
    entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn walk_into(
    folder: &Path,
    at: &Path,
    skip: &dyn Fn(&str) -> bool,
    entries: &mut Vec<Entry>,
) -> Result<(), BuildError> {
    for entry in fs::read_dir(at).map_err(BuildError::io("read", at))? {
        let entry = entry.map_err(BuildError::io("read", at))?;
        let path = entry.path();
        if NEVER.iter().any(|never| entry.file_name() == OsStr::new(never)) || skip(&relative(folder, &path)) {
            continue;
        }
        if entry.file_type().map_err(BuildError::io("read", &path))?.is_dir() {
            walk_into(folder, &path, skip, entries)?;
        } else {
            entries.extend(entry_at(folder, &path)?);
        }
    }
    Ok(())
}

/// The entry at `path`; `None` when it went away since it was listed.
fn entry_at(folder: &Path, path: &Path) -> Result<Option<Entry>, BuildError> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BuildError::io("read", path)(error)),
    };
    let kind = meta.file_type();
    let kind = if kind.is_file() {
        EntryKind::File { stamp: Stamp::of(&meta), executable: meta.permissions().mode() & 0o100 != 0 }
    } else if kind.is_symlink() {
        let target = fs::read_link(path).map_err(BuildError::io("read", path))?;
        EntryKind::Link(target.to_string_lossy().into_owned())
    } else if kind.is_socket() {
        EntryKind::Special("socket")
    } else if kind.is_fifo() {
        EntryKind::Special("named pipe")
    } else {
        EntryKind::Special("device")
    };
    Ok(Some(Entry { path: relative(folder, path), from: path.to_owned(), kind }))
}

/// `path` relative to `folder`, with `/`. A name that is no UTF-8 keeps `U+FFFD`, by which [`name_problem`] knows it.
pub(crate) fn relative(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned()
}

/// A path of the stack file without `.`, doubled and trailing `/`; empty for the folder itself. `None` when it is
/// absolute or leaves the folder.
pub(crate) fn normalise(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => _ = parts.pop()?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// Whether `path` is `folder` or lies below it; both relative, with `/`. Everything lies below the empty path.
pub(crate) fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What is wrong with an entry that is to be packed, when anything is. `label` says for whom, `shown` where it lies.
pub(crate) fn entry_problem(entry: &Entry, root: &Path, label: &str, shown: &str) -> Option<Problem> {
    if entry.path.contains('\u{fffd}') {
        let message = format!("`{shown}` of {label} has a name that is not UTF-8");
        return Some(Problem::error("file-name", label, message).with_mend("rename it"));
    }
    match &entry.kind {
        EntryKind::File { .. } => None,
        EntryKind::Special(kind) => {
            let message = format!("`{shown}` of {label} is a {kind}, which a release cannot carry");
            Some(Problem::error("special-file", label, message).with_mend("remove it, or list it in `.slipwayignore`"))
        }
        EntryKind::Link(target) if stays_inside(entry, target, root) || is_venv_interpreter(entry, target) => None,
        EntryKind::Link(target) => {
            let message = format!("`{shown}` of {label} links to `{target}`, outside of what the release carries");
            let mend = "copy the file instead of linking it (npm: `npm install --install-links`), or make `dir` the \
                        folder that holds both";
            Some(Problem::error("outside-link", label, message).with_mend(mend))
        }
    }
}

fn stays_inside(entry: &Entry, target: &str, root: &Path) -> bool {
    if target.starts_with('/') || target.contains('\u{fffd}') {
        return false;
    }
    let parent = entry.path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let lexically = normalise(&format!("./{parent}/{target}")).is_some();
    // A link through another link may still leave; a dangling one goes nowhere.
    let really = match (entry.from.canonicalize(), root.canonicalize()) {
        (Ok(there), Ok(root)) => there.starts_with(root),
        _ => true,
    };
    lexically && really
}

/// `.venv/bin/python -> /usr/bin/python3.11`: a virtual environment names the host's interpreter.
fn is_venv_interpreter(entry: &Entry, target: &str) -> bool {
    let bin = entry.from.parent();
    let name = entry.path.rsplit('/').next().unwrap_or_default();
    name.starts_with("python")
        && target.rsplit('/').next().is_some_and(|name| name.starts_with("python"))
        && bin.and_then(Path::parent).is_some_and(|venv| venv.join("pyvenv.cfg").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_or_refused() {
        assert_eq!(normalise("./dist//a/"), Some("dist/a".to_owned()));
        assert_eq!(normalise("."), Some(String::new()));
        assert_eq!(normalise("a/../b"), Some("b".to_owned()));
        assert_eq!(normalise("../b"), None);
        assert_eq!(normalise("/etc"), None);
        assert!(is_below("dist/a", "dist") && is_below("dist", "dist") && is_below("x", ""));
        assert!(!is_below("distant/a", "dist"));
    }

    #[test]
    fn the_walk_follows_ignore_files_outside_of_git_too() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(".gitignore", "*.log\n/dist\n");
        write(".slipwayignore", "notes/\n");
        for path in [
            "a.rs",
            "b.log",
            "dist/x",
            "notes/n",
            "sub/dist/y",
            ".git/HEAD",
            ".slipway/build.json",
            "node_modules/m/i.js",
            "Cargo.toml",
            "target/debug/a",
            "goals/target/kept",
            "__pycache__/a.pyc",
            "left/out",
        ] {
            write(path, "text");
        }
        let entries = walk_kept(dir.path(), &[dir.path().join("left")]).unwrap();
        let paths: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, [".gitignore", ".slipwayignore", "Cargo.toml", "a.rs", "goals/target/kept", "sub/dist/y"]);
    }
}
