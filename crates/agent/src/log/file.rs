//! The names of log files, and which of them may go.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// One log file, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    /// As in `service.api`.
    pub(super) source: String,
    /// As in `api-3f9c2a1b-1`.
    pub(super) instance: String,
    /// Rises with each file that is full; `None` for the one being written.
    pub(super) number: Option<u64>,
}

impl LogFile {
    /// Reads the name; `None` when it is no log file.
    pub(super) fn parse(path: PathBuf) -> Option<Self> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".log")?;
        let (source, rest) = stem.split_once('@')?;
        let numbered = rest
            .rsplit_once('.')
            .filter(|(_, digits)| digits.len() >= 6 && digits.bytes().all(|digit| digit.is_ascii_digit()));
        let (instance, number) = match numbered {
            Some((instance, digits)) => (instance, Some(digits.parse().ok()?)),
            None => (rest, None),
        };
        let (source, instance) = (source.to_owned(), instance.to_owned());
        Some(Self { path, source, instance, number })
    }

    /// The file an instance writes to.
    pub(super) fn current(folder: &Path, source: &str, instance: &str) -> PathBuf {
        folder.join(format!("{source}@{instance}.log"))
    }

    /// A file of it that is full.
    pub(super) fn full(folder: &Path, source: &str, instance: &str, number: u64) -> PathBuf {
        folder.join(format!("{source}@{instance}.{number:06}.log"))
    }

    /// What a name sorts by within one instance: full files by number, then the current one.
    pub(super) fn order(&self) -> u64 {
        self.number.unwrap_or(u64::MAX)
    }
}

/// Log files in `folder` and the folders in it, by instance, oldest first. A folder that is missing has none.
pub(super) fn all(folder: &Path) -> io::Result<Vec<LogFile>> {
    let mut found = in_folder(folder)?;
    for entry in entries(folder)? {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.append(&mut in_folder(&entry.path())?);
        }
    }
    found.sort_by_cached_key(|file| (file.source.clone(), file.instance.clone(), file.order()));
    Ok(found)
}

/// The full files of one instance, oldest first.
pub(super) fn full(folder: &Path, source: &str, instance: &str) -> io::Result<Vec<LogFile>> {
    let mut found = in_folder(folder)?;
    found.retain(|file| file.source == source && file.instance == instance && file.number.is_some());
    found.sort_by_key(LogFile::order);
    Ok(found)
}

/// Removes log files in `folder` and the folders in it, least recently written first, until they take at most
/// `max_bytes`. Files that `live` instances write to stay in any case. Returns how many bytes were freed.
///
/// Each shim keeps its own files within bounds; this is for those of instances that are long gone.
pub fn prune(folder: &Path, live: &[&str], max_bytes: u64) -> io::Result<u64> {
    let mut files = Vec::new();
    for file in all(folder)? {
        let Ok(metadata) = fs::metadata(&file.path) else { continue };
        files.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), file));
    }
    files.sort_by_key(|(modified, _, _)| *modified);
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    let mut freed = 0;
    for (_, bytes, file) in files {
        if total <= max_bytes {
            break;
        }
        if file.number.is_none() && live.contains(&file.instance.as_str()) {
            continue;
        }
        fs::remove_file(&file.path)?;
        total -= bytes;
        freed += bytes;
    }
    Ok(freed)
}

fn in_folder(folder: &Path) -> io::Result<Vec<LogFile>> {
    Ok(entries(folder)?.iter().filter_map(|entry| LogFile::parse(entry.path())).collect())
}

fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.filter_map(Result::ok).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_file_holds() {
        let parse = |name: &str| LogFile::parse(Path::new("/l").join(name));
        let current = parse("service.api@api-3f9c-1.log").unwrap();
        assert_eq!(
            (current.source.as_str(), current.instance.as_str(), current.number),
            ("service.api", "api-3f9c-1", None)
        );
        assert_eq!(LogFile::current(Path::new("/l"), "service.api", "api-3f9c-1"), current.path);
        let full = parse("job.match@run.2.000017.log").unwrap();
        assert_eq!((full.instance.as_str(), full.number), ("run.2", Some(17)));
        assert_eq!(LogFile::full(Path::new("/l"), "job.match", "run.2", 17), full.path);
        assert_eq!(parse("notes.log"), None);
        assert_eq!(parse("service.api@x.txt"), None);
    }

    #[test]
    fn pruning_takes_the_oldest_and_spares_the_living() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let mut time = SystemTime::UNIX_EPOCH;
        for name in ["s.a@live.log", "s.a@dead.000001.log", "s.a@dead.log", "s.a@live.000002.log"] {
            time += std::time::Duration::from_mins(1);
            fs::write(path.join(name), [0; 100]).unwrap();
            fs::File::options().write(true).open(path.join(name)).unwrap().set_modified(time).unwrap();
        }
        assert_eq!(prune(path, &["live"], 250).unwrap(), 200);
        let left: Vec<String> =
            all(path).unwrap().iter().map(|file| file.path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(left, ["s.a@live.000002.log", "s.a@live.log"]);
        assert_eq!(prune(&path.join("missing"), &[], 0).unwrap(), 0);
    }
}
