//! What could not be delivered: kept for a person to look at and to try again.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use stack::{Kind, ResourceName, ResourceRef};

use super::event::CloudEvent;
use crate::{error::Error, files, protocol};

/// Bytes of dead letters of one receiver; the oldest beyond are forgotten.
const LARGEST: u64 = 32 << 20;

/// One event that a function, a service or a queue failed to take.
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

fn path(folder: &Path, to: &ResourceRef) -> PathBuf {
    folder.join(format!("{}.jsonl", stem(to)))
}

/// How files of a receiver are called: a function by its name alone, others with their kind.
pub(super) fn stem(to: &ResourceRef) -> String {
    if to.kind == Kind::Function { to.name.to_string() } else { to.to_string() }
}

/// Undoes [`stem`]; `None` when it is something else.
pub(super) fn of_stem(stem: &str) -> Option<ResourceRef> {
    let function = || Some(ResourceRef { kind: Kind::Function, name: ResourceName::new(stem).ok()? });
    stem.parse().ok().or_else(function)
}

/// Keeps a letter. Durable when it returns.
pub(crate) fn bury(folder: &Path, to: &ResourceRef, letter: &DeadLetter) -> Result<(), Error> {
    files::make_folder(folder)?;
    let path = path(folder, to);
    let line = line(letter)?;
    let size = fs::metadata(&path).map_or(0, |file| file.len()) + line.len() as u64;
    if size > LARGEST {
        let mut kept = list(folder, to);
        kept.drain(..kept.len() / 2);
        tracing::error!(%to, kept = kept.len(), "the oldest dead letters are forgotten: there are too many");
        kept.push(letter.clone());
        return replace(folder, to, &kept);
    }
    let write = || {
        let mut file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        file.write_all(&line)?;
        file.sync_data()?;
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(Error::file("write", &path))
}

/// The letters of a receiver, oldest first. A line that is damaged is left out.
pub(crate) fn list(folder: &Path, to: &ResourceRef) -> Vec<DeadLetter> {
    let text = fs::read_to_string(path(folder, to)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Takes a letter away: somebody took it at last.
pub(crate) fn remove(folder: &Path, to: &ResourceRef, letter: &DeadLetter) -> Result<(), Error> {
    let mut kept = list(folder, to);
    kept.retain(|other| other != letter);
    if kept.is_empty() {
        let path = path(folder, to);
        return fs::remove_file(&path).map_err(Error::file("remove", &path));
    }
    replace(folder, to, &kept)
}

/// The letters of all, oldest first.
pub(crate) fn all(folder: &Path) -> Vec<protocol::DeadLetter> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let names = files.filter_map(|path| of_stem(path.file_name()?.to_str()?.strip_suffix(".jsonl")?));
    let mut found: Vec<protocol::DeadLetter> = names
        .flat_map(|to| {
            list(folder, &to).into_iter().map(move |letter| protocol::DeadLetter {
                function: stem(&to),
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

fn replace(folder: &Path, to: &ResourceRef, letters: &[DeadLetter]) -> Result<(), Error> {
    let lines = letters.iter().map(line).collect::<Result<Vec<_>, _>>()?;
    files::replace(&path(folder, to), &lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_kept_until_somebody_takes_them() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("dead");
        let name: ResourceRef = "function.parse".parse().unwrap();
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
        let service: ResourceRef = "service.api".parse().unwrap();
        let of_service = letter(3);
        bury(&folder, &service, &of_service).unwrap();
        assert_eq!(all(&folder).iter().map(|one| one.function.as_str()).collect::<Vec<_>>(), ["service.api"]);
        remove(&folder, &service, &of_service).unwrap();
        assert!(all(&folder).is_empty());
    }
}
