//! Why a host cannot be reached, and what to do about it.

use super::Destination;

/// What went wrong, ending with the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// There is no `ssh` here.
    #[error("there is no program `ssh` on this machine; install it (apt-get install openssh-client)")]
    NoProgram,
    /// The host is written in a way that cannot be one.
    #[error("`{given}` is no host: {why}; write it as in `deploy@a.example.org` or `ssh://deploy@a.example.org:2222`")]
    Destination {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The name has no address.
    #[error("{host}: its name is not known ({said}); check the spelling, or name it in ~/.ssh/config")]
    NameNotFound {
        /// Which host.
        host: String,
        /// What `ssh` said.
        said: String,
    },
    /// Nobody listens.
    #[error("{host} refused the connection ({said}); start sshd there, or name its port as in ssh://{host}:2222")]
    Refused {
        /// Which host.
        host: String,
        /// What `ssh` said.
        said: String,
    },
    /// No answer, or no way there.
    #[error("{host} cannot be reached ({said}); check that it is up, its address, and the firewall between")]
    Unreachable {
        /// Which host.
        host: String,
        /// What `ssh` said.
        said: String,
    },
    /// Its key was never seen here.
    #[error(
        "the key of {host} is not known here, so it could be anybody; look at it with `ssh-keyscan{port} {host} | \
         ssh-keygen -lf -`, compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host, and then \
         keep it with `ssh-keyscan -H{port} {host} >> ~/.ssh/known_hosts`"
    )]
    UnknownKey {
        /// Which host, or the jump host before it.
        host: String,
        /// ` -p 2222` for another port than 22, or nothing.
        port: String,
    },
    /// As `UnknownKey`, of a host that only other hosts or a command lead to.
    #[error(
        "the key of {host} is not known here, so it could be anybody; `ssh {destination}` shows it and asks: compare it \
         with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host before you say yes"
    )]
    UnknownKeyBehind {
        /// Which host.
        host: String,
        /// As `ssh` takes it.
        destination: String,
    },
    /// Its key is another than it was.
    #[error(
        "WARNING: {host} shows another key than the one kept at {kept}: somebody may have put a machine in between. \
         Nothing was sent. Only if you know that the host was installed anew: `ssh-keygen -R {named}`, then add its new key"
    )]
    ChangedKey {
        /// Which host.
        host: String,
        /// File and line of the key that was kept.
        kept: String,
        /// How the file names it, for `ssh-keygen -R`.
        named: String,
    },
    /// The user or the key is not accepted.
    #[error(
        "{host} lets nobody in with these keys ({said}); name the right user, as in deploy@{host}, unlock your key \
         with `ssh-add`, or give the host yours with `ssh-copy-id {destination}`"
    )]
    Denied {
        /// Which host.
        host: String,
        /// As `ssh` takes it.
        destination: String,
        /// What `ssh` said.
        said: String,
    },
    /// A host on the way is the reason.
    #[error("{host} is reached through {jump}, and {source}")]
    Jump {
        /// Which host.
        host: String,
        /// The host on the way to it.
        jump: String,
        /// What is wrong there.
        source: Box<SshError>,
    },
    /// A host on the way lets nobody go on.
    #[error(
        "it lets nobody through to other hosts ({said}); set `AllowTcpForwarding yes` in /etc/ssh/sshd_config there"
    )]
    NoPassage {
        /// What `ssh` said.
        said: String,
    },
    /// The command that leads to the host gives no connection.
    #[error(
        "{host} is reached by the command `{command}` of your ssh configuration, which gave no connection ({said}); \
         mend it, or run it by hand to see why"
    )]
    Command {
        /// Which host.
        host: String,
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
    /// The user's `ssh` configuration is wrong.
    #[error("ssh does not understand its configuration: {said}; mend that file")]
    Configuration {
        /// What `ssh` said.
        said: String,
    },
    /// The connection ended.
    #[error(
        "the connection to {host} was lost ({said}); look whether the host is up and try again: what was done is kept"
    )]
    Lost {
        /// Which host.
        host: String,
        /// What `ssh` said.
        said: String,
    },
    /// The host's disk is full.
    #[error("the disk of {host} is full ({said}); free some space there and try again")]
    NoSpace {
        /// Which host.
        host: String,
        /// What was said.
        said: String,
    },
    /// The user may not become the superuser without a password.
    #[error(
        "the user may not become root on {host} without a password ({said}); connect as root, or let it: \
         echo 'USER ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/slipway"
    )]
    NoSudo {
        /// Which host.
        host: String,
        /// What was said.
        said: String,
    },
    /// A command on the host failed.
    #[error("a command on {host} failed with exit code {code}: {said}")]
    Failed {
        /// Which host.
        host: String,
        /// Exit code.
        code: i32,
        /// What it said.
        said: String,
    },
    /// Something of this machine failed.
    #[error("cannot {doing} for the connection to {host}: {said}")]
    Here {
        /// Which host.
        host: String,
        /// As in `make a folder`.
        doing: &'static str,
        /// Why.
        said: String,
    },
}

impl SshError {
    /// Whether trying again may help without anybody doing something.
    pub fn passes(&self) -> bool {
        match self {
            Self::Jump { source, .. } => source.passes(),
            Self::Refused { .. } | Self::Unreachable { .. } | Self::Lost { .. } | Self::Command { .. } => true,
            _ => false,
        }
    }

    /// From what `ssh` said before it gave up.
    pub(super) fn from_words(destination: &Destination, words: &str) -> Self {
        let host = destination.host().to_owned();
        let lines: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let line_with = |needle: &str| lines.iter().find(|line| line.contains(needle)).map(|line| (*line).to_owned());
        let said = |needle: &str| line_with(needle).map(|line| line.trim_start_matches("ssh: ").to_owned());
        if words.contains("HOST IDENTIFICATION HAS CHANGED") || words.contains("REVOKED") {
            let kept = line_with("Offending ").and_then(|line| line.split_once(" in ").map(|(_, at)| at.to_owned()));
            let named = line_with("Host key for ").and_then(|line| between(&line, "Host key for ", " has changed"));
            let named = named.unwrap_or_else(|| host.clone());
            return Self::ChangedKey {
                host,
                kept: kept.unwrap_or_else(|| "~/.ssh/known_hosts".into()),
                named: super::quoted(&named),
            };
        }
        if words.contains("Host key verification failed") || words.contains("host key is known for") {
            // a jump host speaks of itself
            let named =
                line_with("host key is known for ").and_then(|line| between(&line, "is known for ", " and you"));
            let named = named.unwrap_or(host);
            let (host, port) = match named.strip_prefix('[').and_then(|named| named.split_once("]:")) {
                Some((host, port)) => (host.to_owned(), format!(" -p {port}")),
                None => (named, String::new()),
            };
            return Self::UnknownKey { host, port };
        }
        for needle in ["Could not resolve hostname", "Name or service not known"] {
            if let Some(said) = said(needle) {
                return Self::NameNotFound { host, said };
            }
        }
        for needle in [
            "Permission denied (",
            "Too many authentication failures",
            "no matching host key type",
            "Permission denied.",
        ] {
            if let Some(said) = said(needle) {
                return Self::Denied { host, destination: destination.argument().to_owned(), said };
            }
        }
        for needle in ["Bad configuration option", "Bad owner or permissions", "terminating, ", "keyword "] {
            if let Some(said) = said(needle) {
                return Self::Configuration { said };
            }
        }
        if let Some(said) = said("Connection refused") {
            return Self::Refused { host, said };
        }
        for needle in [
            "timed out",
            "No route to host",
            "Network is unreachable",
            "Connection closed by",
            "Connection reset",
            "banner exchange",
        ] {
            if let Some(said) = said(needle) {
                return Self::Unreachable { host, said };
            }
        }
        let said = lines.last().map_or("it said nothing", |line| line.trim_start_matches("ssh: ")).to_owned();
        Self::Lost { host, said }
    }
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(between, _)| between.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str) -> String {
        SshError::from_words(&Destination::parse("deploy@a.example.org").unwrap(), words).to_string()
    }

    #[test]
    fn what_ssh_says_becomes_a_sentence_with_its_mend() {
        for (words, expected) in [
            (
                "ssh: Could not resolve hostname a.example.org: Name or service not known\n",
                "a.example.org: its name is not known (Could not resolve hostname",
            ),
            (
                "ssh: connect to host a.example.org port 22: Connection refused\n",
                "a.example.org refused the connection (connect to host a.example.org port 22: Connection refused); start sshd",
            ),
            ("ssh: connect to host a.example.org port 22: Connection timed out\n", "a.example.org cannot be reached ("),
            ("deploy@a.example.org: Permission denied (publickey).\n", "`ssh-copy-id deploy@a.example.org`"),
            (
                "/root/.ssh/config: line 3: Bad configuration option: hots\n",
                "ssh does not understand its configuration",
            ),
            ("", "the connection to a.example.org was lost (it said nothing)"),
        ] {
            assert!(of(words).contains(expected), "{words}: {}", of(words));
        }
    }

    #[test]
    fn an_unknown_key_names_the_commands_that_look_at_it_and_keep_it() {
        let plain = of(
            "No ED25519 host key is known for a.example.org and you have requested strict checking.\nHost key verification failed.\n",
        );
        assert!(plain.contains("`ssh-keyscan -H a.example.org >> ~/.ssh/known_hosts`"), "{plain}");
        // the jump host before it, on a port of its own
        let jump =
            of("No ED25519 host key is known for [jump.example.org]:2222 and you have requested strict checking.\n");
        assert!(jump.contains("`ssh-keyscan -H -p 2222 jump.example.org >>"), "{jump}");
    }

    #[test]
    fn a_changed_key_is_a_warning_and_names_the_line() {
        let changed = of("@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@@@\n\
            IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\nOffending ED25519 key in /root/.ssh/known_hosts:7\n\
            Host key for a.example.org has changed and you have requested strict checking.\nHost key verification failed.\n");
        assert!(changed.starts_with("WARNING: ") && changed.contains("/root/.ssh/known_hosts:7"), "{changed}");
        assert!(changed.contains("`ssh-keygen -R a.example.org`"), "{changed}");
    }
}
