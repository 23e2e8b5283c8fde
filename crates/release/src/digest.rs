//! Digests of files, remembered by what `stat` says of them.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

/// Bytes read at a time.
pub(crate) const BLOCK: usize = 128 * 1024;

/// A file that changed this shortly before it was read may change again without a new time: clocks of file systems
/// tick every 4 to 10 ms. Such a digest is used but not remembered.
const TICK_NANOS: i64 = 20_000_000;

/// What tells two states of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp(u64, i64, i64, u64);

impl Stamp {
    /// From what `stat` says: size, times of content and of status in nanoseconds, inode.
    pub(crate) fn of(meta: &fs::Metadata) -> Self {
        let nanos = |seconds: i64, part: i64| seconds.saturating_mul(1_000_000_000).saturating_add(part);
        Self(meta.size(), nanos(meta.mtime(), meta.mtime_nsec()), nanos(meta.ctime(), meta.ctime_nsec()), meta.ino())
    }

    /// Bytes.
    pub(crate) fn size(self) -> u64 {
        self.0
    }

    fn is_settled(self, now_nanos: i64) -> bool {
        self.1.max(self.2).saturating_add(TICK_NANOS) < now_nanos
    }
}

/// Digests that are known, by path.
pub(crate) type Known = HashMap<String, (Stamp, String)>;

/// One file to digest.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// Its name in `Known`.
    pub(crate) key: &'a str,
    /// Where it lies.
    pub(crate) path: &'a Path,
    /// What `stat` said when it was found.
    pub(crate) stamp: Stamp,
}

/// Digests of `files` in their order, reading only those that `known` does not have, and what to remember for the
/// next time is added to `kept`. `threads` read at a time.
pub(crate) fn digest_all(
    files: &[Wanted<'_>],
    known: &Known,
    kept: &mut Known,
    threads: usize,
) -> Result<Vec<String>, (std::path::PathBuf, io::Error)> {
    let mut digests: Vec<Option<String>> = files
        .iter()
        .map(|file| known.get(file.key).filter(|(stamp, _)| *stamp == file.stamp).map(|(_, digest)| digest.clone()))
        .collect();
    for (file, digest) in files.iter().zip(&digests) {
        if let Some(digest) = digest {
            kept.insert(file.key.to_owned(), (file.stamp, digest.clone()));
        }
    }
    let missing: Vec<usize> = (0..files.len()).filter(|index| digests[*index].is_none()).collect();
    let read = in_parallel(missing.len(), threads, |at| {
        let file = &files[missing[at]];
        read_digest(file.path).map_err(|error| (file.path.to_owned(), error))
    });
    let now = now_nanos();
    for (index, result) in missing.into_iter().zip(read) {
        let (digest, stamp) = result?;
        if stamp.is_settled(now) {
            kept.insert(files[index].key.to_owned(), (stamp, digest.clone()));
        }
        digests[index] = Some(digest);
    }
    Ok(digests.into_iter().flatten().collect())
}

/// Runs `work(0..count)` on `threads` threads; results in order.
pub(crate) fn in_parallel<T: Send>(count: usize, threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = threads.clamp(1, count.max(1));
    if threads == 1 {
        return (0..count).map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    let result = work(index);
                    done.lock().expect("no worker panics while it holds the lock").push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("all workers have ended");
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// BLAKE3 of a file, in hexadecimal, and its stamp before it was read.
fn read_digest(path: &Path) -> io::Result<(String, Stamp)> {
    let mut file = File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; BLOCK.min(usize::try_from(stamp.size()).unwrap_or(BLOCK) + 1)];
    loop {
        match file.read(&mut block)? {
            0 => return Ok((hasher.finalize().to_hex().to_string(), stamp)),
            length => _ = hasher.update(&block[..length]),
        }
    }
}

/// BLAKE3 of a file, in hexadecimal.
pub(crate) fn digest_file(path: &Path) -> io::Result<String> {
    read_digest(path).map(|(digest, _)| digest)
}

fn now_nanos() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_file_is_not_read_and_a_changed_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "one").unwrap();
        let stamp = Stamp::of(&fs::metadata(&path).unwrap());
        let known = Known::from([("a".to_owned(), (stamp, "remembered".to_owned()))]);
        let mut kept = Known::new();
        let wanted = [Wanted { key: "a", path: &path, stamp }];
        assert_eq!(digest_all(&wanted, &known, &mut kept, 2).unwrap(), ["remembered"]);
        assert_eq!(kept, known);
        let other = Stamp(stamp.0 + 1, stamp.1, stamp.2, stamp.3);
        let wanted = [Wanted { key: "a", path: &path, stamp: other }];
        let digests = digest_all(&wanted, &known, &mut kept, 2).unwrap();
        assert_eq!(digests, [blake3::hash(b"one").to_hex().to_string()]);
    }

    #[test]
    fn parallel_results_keep_their_order() {
        assert_eq!(in_parallel(100, 4, |index| index * 2), (0..100).map(|i| i * 2).collect::<Vec<_>>());
        assert!(in_parallel(0, 4, |index| index).is_empty());
    }
}
