//! Which program this is.

use std::sync::OnceLock;

use crate::error::Error;

static BINARY: OnceLock<String> = OnceLock::new();

/// BLAKE3 of the program's own file, 64 hexadecimal digits; computed once.
pub(crate) async fn of_binary() -> Result<String, Error> {
    if let Some(known) = BINARY.get() {
        return Ok(known.clone());
    }
    let digest = tokio::task::spawn_blocking(|| {
        let path = std::path::Path::new("/proc/self/exe");
        let mut hasher = blake3::Hasher::new();
        let mut file = std::fs::File::open(path).map_err(Error::file("read", path))?;
        std::io::copy(&mut file, &mut hasher).map_err(Error::file("read", path))?;
        Ok::<_, Error>(hasher.finalize().to_hex().to_string())
    });
    let digest = digest.await.map_err(|error| Error::failed(format!("cannot read this program: {error}")))??;
    Ok(BINARY.get_or_init(|| digest).clone())
}
