//! Finds out what became of a program whose agent was killed, also when that happened while its shim was beginning.

use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use crate::shim::{self, Adopted, ShimError};

/// A shim that has its folder and has not said that its program runs is waited for as long as this.
const BEGINNING: Duration = Duration::from_secs(10);
/// One that was started this short a time ago may not have taken its folder yet.
const FRESH: Duration = Duration::from_secs(2);
/// As long as this.
const TAKING: Duration = Duration::from_millis(250);

/// What runs in `folder`. Waits for a shim that is just beginning: to take it for gone would start its program twice.
pub(crate) async fn adopt(folder: &Path) -> Result<Adopted, ShimError> {
    let began = Instant::now();
    let fresh = is_fresh(folder);
    loop {
        // Looked at first: a shim that lets go of its folder has written down what there is to know.
        let taken = is_taken(folder);
        let adopted = shim::adopt(folder)?;
        let is_over = matches!(adopted, Adopted::Ended(_) | Adopted::Gone);
        let may_begin = (taken && began.elapsed() < BEGINNING) || (fresh && began.elapsed() < TAKING);
        if !is_over || !may_begin {
            return Ok(adopted);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a shim was started in the folder a moment ago.
fn is_fresh(folder: &Path) -> bool {
    let begun = std::fs::metadata(folder.join("shim.err")).and_then(|metadata| metadata.modified());
    begun.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age < FRESH))
}

/// Whether a shim holds the lock on its folder. Asked of the kernel's list: to try the lock would get in the way of a
/// shim that is about to take it. Source: `proc_locks(5)`.
fn is_taken(folder: &Path) -> bool {
    let Ok(inode) = std::fs::metadata(folder).map(|metadata| metadata.ino()) else { return false };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().any(|lock| is_lock_on(lock, inode))
}

/// A line as `1: FLOCK  ADVISORY  WRITE 4242 00:1f:1234 0 EOF`.
fn is_lock_on(line: &str, inode: u64) -> bool {
    let mut words = line.split_whitespace().skip(1);
    words.next() == Some("FLOCK")
        && words.nth(3).and_then(|file| file.rsplit(':').next()?.parse::<u64>().ok()) == Some(inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_known_by_its_inode() {
        assert!(is_lock_on("1: FLOCK  ADVISORY  WRITE 4242 00:1f:1234 0 EOF", 1234));
        assert!(!is_lock_on("1: FLOCK  ADVISORY  WRITE 4242 00:1f:12345 0 EOF", 1234));
        assert!(!is_lock_on("1: POSIX  ADVISORY  WRITE 1234 00:1f:1234 0 EOF", 1234));
        assert!(!is_lock_on("1: -> FLOCK  ADVISORY  WRITE 4242 00:1f:1234 0 EOF", 1234));
    }

    #[test]
    fn a_folder_that_is_locked_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_taken(folder.path()));
        let file = std::fs::File::open(folder.path()).unwrap();
        file.try_lock().unwrap();
        assert!(is_taken(folder.path()));
        drop(file);
        assert!(!is_taken(folder.path()));
    }

    #[tokio::test]
    async fn what_never_began_is_gone_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let began = Instant::now();
        assert!(matches!(adopt(folder.path()).await, Ok(Adopted::Gone)));
        assert!(began.elapsed() < TAKING);
    }
}
