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
        // It may complain of other things too, and then do what it is asked.
        let refused = |line: &str| line.starts_with("sudo: ") && !line.contains("unable to resolve host");
        if refused(&last_line(said)) || said.contains("is not in the sudoers file") {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(stderr: &str) -> SshError {
        Output { code: 1, stdout: Vec::new(), stderr: stderr.into() }.failure("a")
    }

    #[test]
    fn a_command_that_failed_is_not_taken_for_a_sudo_that_refused() {
        assert!(matches!(of("sudo: a password is required\n"), SshError::NoSudo { .. }));
        assert!(matches!(of("sudo: unable to resolve host b: no\nbad option\n"), SshError::Failed { .. }));
        assert!(matches!(of("sudo: unable to resolve host b: no\n"), SshError::Failed { .. }));
        assert!(matches!(of("cp: No space left on device\n"), SshError::NoSpace { .. }));
    }
}
