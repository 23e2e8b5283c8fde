//! Writing so that a crash leaves the old or the new, never a half.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use crate::digest::in_parallel;

/// Flushes the names in a folder, or the content of a file.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// With more files and folders than this, one flush of the whole file system is cheaper than one for each: each waits
/// for the disk, while the flush of everything also waits for what other programs have written.
const FLUSH_EACH: usize = 128;

/// Threads that flush: they only wait.
const FLUSH_THREADS: usize = 16;

/// Flushes `files`, which lie below `folder`, and every folder there. Other files are durable already: second names of
/// files that were flushed before.
pub(crate) fn sync_new(folder: &Path, files: Vec<PathBuf>) -> io::Result<()> {
    let mut found = files;
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
        found.push(at);
        if found.len() > FLUSH_EACH {
            return Ok(rustix::fs::syncfs(File::open(folder)?.as_fd())?);
        }
    }
    // Together, so that one flush of the disk serves many.
    in_parallel(found.len(), FLUSH_THREADS, |index| sync_folder(&found[index])).into_iter().collect()
}

/// Replaces `path` by `bytes`: written beside it with `mode`, flushed, renamed, and the rename flushed.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Bytes free for this user on the file system that holds `folder`.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Removes a folder and all in it, also when somebody made parts of it read-only. Missing is well.
pub(crate) fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
