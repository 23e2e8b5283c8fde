//! Whether the command that took the lease is still alive, as far as this machine can tell.

use std::{fs::File, io, os::unix::fs::DirBuilderExt, path::Path};

use rustix::fs::{FlockOperation, flock};

/// Held by the command that deploys an environment from this machine. The kernel gives it back when the command ends,
/// in whatever way, so that the next one can tell a lease that somebody renews from one that only has to lapse.
#[derive(Debug)]
pub struct Turn {
    _file: File,
}

impl Turn {
    /// Takes the turn of the environment in `folder`; `None` while another command of this machine has it.
    pub fn take(folder: &Path) -> io::Result<Option<Self>> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let file = File::options().create(true).truncate(false).write(true).open(folder.join("turn.lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_free_again_after() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("apps/x/dev");
        let first = Turn::take(&place).expect("a file").expect("free");
        assert!(Turn::take(&place).expect("a file").is_none());
        drop(first);
        assert!(Turn::take(&place).expect("a file").is_some());
    }
}
