//! Files that are replaced whole: after a crash there is the old content or the new, never a mixture.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::error::Error;

/// Replaces the file at `path` (readable by its owner alone), durable before it returns. A full disk leaves the old one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(Error::file("write", path))
}

/// [`replace`]s the file with a value as JSON.
pub(crate) fn replace_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::failed(format!("cannot write {} as JSON: {error}", path.display())))?;
    replace(path, &text)
}

/// Replaces a file that only saves work when it is there: not flushed, so that it costs nothing.
pub(crate) fn replace_lightly(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(Error::file("write", path))
}

/// Reads a file as JSON; `None` when there is none. Fails with `Damaged` when it is something else.
pub(crate) fn find_json<T: DeserializeOwned>(path: &Path, mend: &'static str) -> Result<Option<T>, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("read", path)(error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| Error::Damaged {
        path: path.to_owned(),
        line: error.line(),
        why: error.to_string(),
        mend,
    })
}

/// Makes a folder and those above it, for its owner alone. One that is there stays as it is.
pub(crate) fn make_folder(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file("make", path))
}

/// Takes a folder away with all that is in it. Gone already is done.
pub(crate) fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes sure nobody but the owner may look into a folder.
pub(crate) fn make_private(path: &Path) -> Result<(), Error> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(Error::file("protect", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_private_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert_eq!(find_json::<u32>(&path, "remove it").unwrap(), None);
        for value in [1u32, 2] {
            replace_json(&path, &value).unwrap();
            assert_eq!(find_json::<u32>(&path, "remove it").unwrap(), Some(value));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing temporary is left");
    }

    #[test]
    fn a_damaged_file_is_refused_with_its_line_and_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(&path, "{\n \"a\": }").unwrap();
        let error = find_json::<serde_json::Value>(&path, "remove it").unwrap_err().to_string();
        assert!(error.contains("state.json is damaged at line 2: "), "{error}");
        assert!(error.ends_with("; remove it"), "{error}");
    }
}
