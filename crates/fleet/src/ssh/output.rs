//! What a command on a host said.

use super::{Ssh, SshError};

/// As whom something runs on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// The user of the connection.
    User,
    /// The superuser: through `sudo -n` where the user is another.
    Root,
}

/// How a command ended and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// Its output.
    pub stdout: Vec<u8>,
    /// Its complaints.
    pub stderr: String,
}

impl Output {
    /// The output as text without its last line end, if the code is 0. Fails with `NoSpace` or `Failed` otherwise.
    pub fn text(self, ssh: &Ssh) -> Result<String, SshError> {
        if self.code != 0 {
            return Err(self.failure(ssh.host()));
        }
        Ok(String::from_utf8_lossy(&self.stdout).trim_end().to_owned())
    }

    /// Why it failed, as far as it said.
    pub fn failure(&self, host: &str) -> SshError {
        let host = host.to_owned();
        let said = self.stderr.trim();
        if said.contains("No space left on device") {
            return SshError::NoSpace { host, said: last_line(said) };
        }
        if said.contains("sudo:") {
            return SshError::NoSudo { host, said: last_line(said) };
        }
        SshError::Failed {
            host,
            code: self.code,
            said: if said.is_empty() { "it said nothing".into() } else { said.into() },
        }
    }
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim().to_owned()
}
