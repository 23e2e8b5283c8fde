//! Who builds, and from which commit.

use std::{fs, path::Path, process::Command};

/// Who does this, as records name it: `user@machine`.
pub fn who() -> String {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{}@{machine}", user())
}

fn user() -> String {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    let uid = rustix::process::getuid().as_raw();
    let listed = || {
        let users = fs::read_to_string("/etc/passwd").ok()?;
        let uid = uid.to_string();
        let of_uid = |line: &&str| line.split(':').nth(2) == Some(&uid);
        Some(users.lines().find(of_uid)?.split(':').next()?.to_owned())
    };
    named.or_else(listed).unwrap_or_else(|| uid.to_string())
}

/// The commit of the repository `folder` is in, and how `git describe` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Forty digits, with `-dirty` when tracked files have changes.
    pub(crate) id: String,
    /// As in `v1.4.0-3-g2f9c2a1`, with `-dirty` likewise.
    pub(crate) description: String,
}

/// Asks git; `None` outside a repository, before its first commit, or without git.
pub(crate) fn commit(folder: &Path) -> Option<Commit> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let id = git(&["rev-parse", "HEAD"])?;
    let description = git(&["describe", "--tags", "--always", "--dirty"])?;
    let id = if description.ends_with("-dirty") { format!("{id}-dirty") } else { id };
    Some(Commit { id, description })
}
