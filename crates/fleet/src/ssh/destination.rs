//! Where to connect: what a person types for a host.

use super::SshError;

/// A host as `ssh` takes it: `user@host`, an alias of the user's configuration, `ssh://user@host:2222`, or, in short,
/// `user@host:2222`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    argument: String,
    host: String,
    user: Option<String>,
}

impl Destination {
    /// Reads one. Fails with `Destination` for what `ssh` would take for an option or a shell for syntax.
    pub fn parse(text: &str) -> Result<Self, SshError> {
        let wrong = |why: &'static str| SshError::Destination { given: text.to_owned(), why };
        let rest = text.strip_prefix("ssh://").unwrap_or(text);
        if rest.is_empty() {
            return Err(wrong("it is empty"));
        }
        if text.starts_with('-') || rest.starts_with('-') || rest.contains("@-") {
            return Err(wrong("it begins with a dash, which is how options begin"));
        }
        let odd =
            |letter: char| letter.is_whitespace() || letter.is_control() || "'\"`$\\;&|<>(){}*?!#/".contains(letter);
        if rest.contains(odd) {
            return Err(wrong("it holds letters that no host has"));
        }
        let (user, place) = match rest.rsplit_once('@') {
            Some(("", _)) => return Err(wrong("its user is missing")),
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, rest),
        };
        if place.is_empty() {
            return Err(wrong("its host is missing"));
        }
        let (host, port) = split_port(place);
        if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
            return Err(wrong("its port is no number from 1 to 65535"));
        }
        let at = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let argument = match port {
            Some(port) if host.contains(':') => format!("ssh://{at}[{host}]:{port}"),
            Some(port) => format!("ssh://{at}{host}:{port}"),
            None => format!("{at}{host}"),
        };
        Ok(Self { argument, host: host.to_owned(), user })
    }

    /// As `ssh` takes it.
    pub fn argument(&self) -> &str {
        &self.argument
    }

    /// The host alone, which names it in messages.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The user, where one is named.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.argument)
    }
}

/// `host:22`, `[2001:db8::1]:22`, `2001:db8::1`, `host`.
fn split_port(place: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = place.strip_prefix('[').and_then(|place| place.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match place.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (place, None),
    }
}

/// A word as a shell reads it whole: every POSIX shell and fish.
pub fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=@,+%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\"'\"'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_becomes_what_ssh_takes() {
        for (typed, argument, host) in [
            ("staging", "staging", "staging"),
            ("deploy@a.example.org", "deploy@a.example.org", "a.example.org"),
            ("deploy@a.example.org:2222", "ssh://deploy@a.example.org:2222", "a.example.org"),
            ("ssh://a.example.org", "a.example.org", "a.example.org"),
            ("ssh://deploy@a.example.org:22", "ssh://deploy@a.example.org:22", "a.example.org"),
            ("root@2001:db8::1", "root@2001:db8::1", "2001:db8::1"),
            ("root@[2001:db8::1]:22", "ssh://root@[2001:db8::1]:22", "2001:db8::1"),
        ] {
            let destination = Destination::parse(typed).unwrap();
            assert_eq!((destination.argument(), destination.host()), (argument, host), "{typed}");
        }
    }

    #[test]
    fn nothing_that_ssh_would_take_for_an_option_or_a_shell_for_a_command_is_a_host() {
        for typed in [
            "",
            "-oProxyCommand=id",
            "a@-oProxyCommand=id",
            "a b",
            "a;id",
            "$(id)",
            "@host",
            "root@",
            "a:0",
            "a:x",
            "a:70000",
        ] {
            let error = Destination::parse(typed).unwrap_err().to_string();
            assert!(error.contains("write it as in"), "{typed}: {error}");
        }
    }

    #[test]
    fn a_quoted_word_is_one_word() {
        assert_eq!(quoted("/usr/local/bin"), "/usr/local/bin");
        assert_eq!(quoted("it's $HOME"), "'it'\"'\"'s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}
