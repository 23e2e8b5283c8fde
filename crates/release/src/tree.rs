//! Files in the store: read-only, hard-linked, with one fixed time.

use std::{
    fs::{self, File, FileTimes},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::{Duration, SystemTime},
};

use crate::{Content, digest::BLOCK};

/// Seconds since 1970 that every file of the store carries as the time of its last change: a write through any link
/// moves it, which `check` sees without reading a byte. After 1980, so that archive tools take it.
pub(crate) const FIXED_SECONDS: i64 = 1_000_000_000;

/// Mode of a file in the store.
pub(crate) fn mode(executable: bool) -> u32 {
    if executable { 0o555 } else { 0o444 }
}

/// What an object's name ends with: a file has one mode for all its links, so content that is executable in one place
/// and not in another is two objects.
pub(crate) fn object_suffix(executable: bool) -> &'static str {
    if executable { ".x" } else { "" }
}

/// In what way a file of the store is not as it was packed; `None` when it is, as far as `stat` tells.
pub(crate) fn file_damage(path: &Path, size: u64, executable: bool) -> Option<String> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some("is not there".to_owned()),
        Err(error) => return Some(format!("cannot be read: {error}")),
    };
    let (found, wanted) = (meta.mode() & 0o7777, mode(executable));
    if !meta.is_file() {
        Some("is no longer a file".to_owned())
    } else if meta.len() != size {
        Some(format!("has {} bytes, packed were {size}", meta.len()))
    } else if (meta.mtime(), meta.mtime_nsec()) != (FIXED_SECONDS, 0) {
        Some("was written to after it was packed".to_owned())
    } else if found != wanted {
        Some(format!("has mode {found:04o}, packed was {wanted:04o}"))
    } else {
        None
    }
}

/// The damage of a manifest entry that should lie at `path`.
pub(crate) fn entry_damage(path: &Path, content: &Content) -> Option<String> {
    match content {
        Content::File { size, executable, .. } => file_damage(path, *size, *executable),
        Content::Link { target } => match fs::read_link(path) {
            Ok(found) if found.as_os_str() == target.as_str() => None,
            Ok(found) => Some(format!("links to `{}`, packed was `{target}`", found.display())),
            Err(_) => Some(format!("is no longer a link to `{target}`")),
        },
    }
}

/// Copies a file to a new place in the store; returns its digest and size as read.
pub(crate) fn copy(from: &Path, to: &Path, executable: bool) -> Result<(String, u64), CopyError> {
    let mut source = File::open(from).map_err(CopyError::Source)?;
    let mut target = File::create_new(to).map_err(CopyError::Target)?;
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; BLOCK];
    let mut size = 0;
    loop {
        let length = source.read(&mut block).map_err(CopyError::Source)?;
        if length == 0 {
            break;
        }
        hasher.update(&block[..length]);
        target.write_all(&block[..length]).map_err(CopyError::Target)?;
        size += length as u64;
    }
    seal(&target, executable).map_err(CopyError::Target)?;
    Ok((hasher.finalize().to_hex().to_string(), size))
}

/// Which end of a copy failed.
pub(crate) enum CopyError {
    Source(io::Error),
    Target(io::Error),
}

/// Writes bytes to a new place in the store.
pub(crate) fn write(to: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut target = File::create_new(to)?;
    target.write_all(bytes)?;
    seal(&target, false)
}

/// Gives a file its mode and time for good.
pub(crate) fn seal(file: &File, executable: bool) -> io::Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(FIXED_SECONDS.unsigned_abs());
    file.set_times(FileTimes::new().set_modified(time).set_accessed(time))?;
    file.set_permissions(fs::Permissions::from_mode(mode(executable)))
}

/// Gives a file a second name. A file system allows some 65,000 names for one file: past that the second name gets a
/// copy.
pub(crate) fn link(from: &Path, to: &Path, executable: bool) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::TooManyLinks => match copy(from, to, executable) {
            Ok(_) => Ok(()),
            Err(CopyError::Source(error) | CopyError::Target(error)) => Err(error),
        },
        other => other,
    }
}
