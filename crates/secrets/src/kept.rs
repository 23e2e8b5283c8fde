//! Secrets that are made up for an environment with invented data on this machine, so that `slipway up` just works.
//!
//! They lie in `<project>/.slipway/<environment>.env`, readable by their owner alone, and stay the same from run to
//! run. The folder keeps itself out of version control.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use stack::EnvironmentName;
use zeroize::Zeroizing;

use crate::{dotenv, secret::SecretString};

/// The folder within a project that holds what Slipway keeps there.
pub(crate) const FOLDER: &str = ".slipway";

/// Path of an environment's kept secrets, relative to the project.
pub(crate) fn file(environment: &EnvironmentName) -> PathBuf {
    Path::new(FOLDER).join(format!("{environment}.env"))
}

/// Holds other runs off the kept secrets of a project until it is dropped.
pub(crate) struct Held {
    folder: PathBuf,
    /// The lock is on this descriptor.
    _lock: File,
}

/// Makes the folder and waits until no other run writes to it.
pub(crate) fn hold(project: &Path) -> io::Result<Held> {
    let folder = project.join(FOLDER);
    fs::create_dir_all(&folder)?;
    match File::create_new(folder.join(".gitignore")) {
        Ok(mut ignore) => ignore.write_all(b"*\n")?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let lock = File::open(&folder)?;
    lock.lock()?;
    Ok(Held { folder, _lock: lock })
}

impl Held {
    /// Adds secrets, replacing those of the same name. Either all of them are kept afterwards or none.
    pub(crate) fn add(&self, environment: &EnvironmentName, made: &BTreeMap<String, SecretString>) -> io::Result<()> {
        let path = self.folder.join(format!("{environment}.env"));
        let before = match fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Zeroizing::default(),
            Err(error) => return Err(error),
        };
        let none = BTreeMap::new();
        let mut values = dotenv::parse(&before, dotenv::Around { over: &none, under: &none }).values();
        values.extend(made.iter().map(|(name, secret)| (name.clone(), secret.expose().to_owned())));

        let mut text = Zeroizing::new(format!(
            "# Made up by slipway for environment `{environment}`. Remove a line to have a new value made.\n"
        ));
        for (name, value) in values {
            text.push_str(&dotenv::line(&name, &value));
            drop(Zeroizing::new(value));
        }
        // a temporary file is 0600 from the start
        let mut new = tempfile::NamedTempFile::new_in(&self.folder)?;
        new.write_all(text.as_bytes())?;
        new.as_file().sync_all()?;
        new.persist(&path).map_err(|error| error.error)?;
        File::open(&self.folder)?.sync_all()
    }
}
