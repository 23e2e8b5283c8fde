//! What git knows of a file: whether it is committed, or is about to be.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// What git does with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is no repository around it, or no git.
    None,
    /// It is in the repository.
    Tracked,
    /// It is not, and `git add .` leaves it out.
    Ignored,
    /// It is not, and the next `git add .` takes it in.
    Exposed,
}

/// What git does with `file`, a path relative to `folder`. The file need not exist: `standing(project, ".env")` tells
/// whether a `.env` would be safe.
pub fn standing(folder: &Path, file: &Path) -> Standing {
    if succeeds(folder, &["ls-files", "--error-unmatch"], file) == Some(0) {
        return Standing::Tracked;
    }
    match succeeds(folder, &["check-ignore", "--quiet"], file) {
        Some(0) => Standing::Ignored,
        Some(1) => Standing::Exposed,
        _ => Standing::None,
    }
}

/// The exit code of a git command about one file; `None` when there is no git.
fn succeeds(folder: &Path, arguments: &[&str], file: &Path) -> Option<i32> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(arguments).arg("--").arg(file);
    // a hook sets these for another repository
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?.code()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn git_is_asked_what_it_would_do() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        // a temporary folder is in no repository
        assert_eq!(standing(at, Path::new(".env")), Standing::None);
        let git = |arguments: &[&str]| {
            let done = Command::new("git").arg("-C").arg(at).args(arguments).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        git(&["init", "-q"]);
        assert_eq!(standing(at, Path::new(".env")), Standing::Exposed);
        fs::write(at.join(".gitignore"), ".env\n").unwrap();
        assert_eq!(standing(at, Path::new(".env")), Standing::Ignored);
        fs::write(at.join(".env"), "A=1\n").unwrap();
        git(&["add", "-f", ".env"]);
        assert_eq!(standing(at, Path::new(".env")), Standing::Tracked);
    }
}
