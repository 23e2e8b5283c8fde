//! What could not be delivered: kept for a person to look at and to try again.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use stack::ResourceName;

use super::event::CloudEvent;
use crate::{error::Error, files, protocol};

/// Bytes of dead letters of one function; the oldest beyond are forgotten.
const LARGEST: u64 = 32 << 20;

/// One event that a function failed to take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeadLetter {
    /// When it was given up.
    pub(crate) at: jiff::Timestamp,
    /// Why, as in `exit code 1`.
    pub(crate) why: String,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// The event.
    pub(crate) event: CloudEvent,
}

fn path(folder: &Path, function: &ResourceName) -> PathBuf {
    folder.join(format!("{function}.jsonl"))
}

/// Keeps a letter. Durable when it returns.
pub(crate) fn bury(folder: &Path, function: &ResourceName, letter: &DeadLetter) -> Result<(), Error> {
    files::make_folder(folder)?;
    let path = path(folder, function);
    let line = line(letter)?;
    let size = fs::metadata(&path).map_or(0, |file| file.len()) + line.len() as u64;
    if size > LARGEST {
        let mut kept = list(folder, function);
        kept.drain(..kept.len() / 2);
        tracing::error!(function = %function, kept = kept.len(), "the oldest dead letters are forgotten: there are too many");
        kept.push(letter.clone());
        return replace(folder, function, &kept);
    }
    let write = || {
        let mut file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        file.write_all(&line)?;
        file.sync_data()?;
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(Error::file("write", &path))
}

/// The letters of a function, oldest first. A line that is damaged is left out.
pub(crate) fn list(folder: &Path, function: &ResourceName) -> Vec<DeadLetter> {
    let text = fs::read_to_string(path(folder, function)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Takes a letter away: somebody took it at last.
pub(crate) fn remove(folder: &Path, function: &ResourceName, letter: &DeadLetter) -> Result<(), Error> {
    let mut kept = list(folder, function);
    kept.retain(|other| other != letter);
    if kept.is_empty() {
        let path = path(folder, function);
        return fs::remove_file(&path).map_err(Error::file("remove", &path));
    }
    replace(folder, function, &kept)
}

/// The letters of every function, oldest first.
pub(crate) fn all(folder: &Path) -> Vec<protocol::DeadLetter> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let names = files.filter_map(|path| ResourceName::new(path.file_name()?.to_str()?.strip_suffix(".jsonl")?).ok());
    let mut found: Vec<protocol::DeadLetter> = names
        .flat_map(|name| {
            list(folder, &name).into_iter().map(move |letter| protocol::DeadLetter {
                function: name.to_string(),
                at: letter.at,
                why: letter.why,
                attempts: letter.attempts,
                event: serde_json::to_value(&letter.event).unwrap_or_default(),
            })
        })
        .collect();
    found.sort_by_key(|letter| letter.at);
    found
}

fn line(letter: &DeadLetter) -> Result<Vec<u8>, Error> {
    let mut line =
        serde_json::to_vec(letter).map_err(|error| Error::failed(format!("cannot write a letter: {error}")))?;
    line.push(b'\n');
    Ok(line)
}

fn replace(folder: &Path, function: &ResourceName, letters: &[DeadLetter]) -> Result<(), Error> {
    let lines = letters.iter().map(line).collect::<Result<Vec<_>, _>>()?;
    files::replace(&path(folder, function), &lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_kept_until_somebody_takes_them() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("dead");
        let name: ResourceName = "parse".parse().unwrap();
        let letter = |number: u32| DeadLetter {
            at: jiff::Timestamp::from_second(i64::from(number)).unwrap(),
            why: "exit code 1".to_owned(),
            attempts: 3,
            event: CloudEvent::new("/x", "t", number.into()),
        };
        let letters = [letter(1), letter(2)];
        for letter in &letters {
            bury(&folder, &name, letter).unwrap();
        }
        assert_eq!(list(&folder, &name), letters);
        assert_eq!(all(&folder).iter().map(|one| one.function.as_str()).collect::<Vec<_>>(), ["parse", "parse"]);
        remove(&folder, &name, &letters[0]).unwrap();
        remove(&folder, &name, &letters[1]).unwrap();
        assert!(all(&folder).is_empty());
    }
}
