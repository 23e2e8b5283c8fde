//! Which program this is.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::error::Error;

/// This program's own file, also when another has taken its name since. Source: proc(5).
pub(crate) const OWN: &str = "/proc/self/exe";

static BINARY: OnceLock<String> = OnceLock::new();

/// BLAKE3 of the program's own file, 64 hexadecimal digits; computed once.
pub(crate) async fn own_digest() -> Result<String, Error> {
    if let Some(known) = BINARY.get() {
        return Ok(known.clone());
    }
    let digest = digest(OWN.into()).await.map_err(Error::file("read", Path::new(OWN)))?;
    Ok(BINARY.get_or_init(|| digest).clone())
}

/// BLAKE3 of a file.
pub(crate) async fn digest(path: PathBuf) -> io::Result<String> {
    let read = tokio::task::spawn_blocking(move || {
        let mut hasher = blake3::Hasher::new();
        io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
        Ok(hasher.finalize().to_hex().to_string())
    });
    read.await.map_err(io::Error::other)?
}

/// Whether a process runs this very file; `None` when nobody can tell.
pub(crate) fn is_same_file(program: &Path, pid: u32) -> Option<bool> {
    let identity = |path: &Path| std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    Some(identity(program)? == identity(Path::new(&format!("/proc/{pid}/exe")))?)
}
