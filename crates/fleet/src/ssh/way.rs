//! The way to a host, as the user's configuration has it: directly, through other hosts, or by a command.

use super::{Destination, command};

/// What `ssh` makes of a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// The name or address that is connected to.
    pub(super) host: String,
    /// The hosts on the way, in order, each as `ssh` takes it.
    pub(super) jumps: Vec<String>,
    /// The command that connects, where there is one.
    pub(super) command: Option<String>,
    /// Keys of hosts that were never seen are refused or asked about.
    pub(super) strict: bool,
}

impl Way {
    /// Asks `ssh`, which connects to nobody for it. `None` when it does not tell.
    pub(super) async fn ask(destination: &Destination) -> Option<Self> {
        let output = command::explain(destination).output().await.ok()?;
        output.status.success().then(|| Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Reads what `ssh -G` prints.
    fn parse(text: &str) -> Self {
        let one = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?.trim();
            (!value.is_empty() && value != "none").then(|| value.to_owned())
        };
        Self {
            host: one("hostname").unwrap_or_default(),
            jumps: one("proxyjump").map(|list| list.split(',').map(str::to_owned).collect()).unwrap_or_default(),
            command: one("proxycommand"),
            strict: !matches!(one("stricthostkeychecking").as_deref(), Some("false" | "no" | "off" | "accept-new")),
        }
    }

    /// The last host before this one, and those before that, as `ssh -J` takes them.
    pub(super) fn last_jump(&self) -> Option<(&str, Option<String>)> {
        let (last, before) = self.jumps.split_last()?;
        Some((last, (!before.is_empty()).then(|| before.join(","))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_explains_is_read() {
        let direct = Way::parse("host a\nuser deploy\nhostname 10.0.0.7\nport 22\nproxyusefdpass no\n");
        assert_eq!(direct, Way { host: "10.0.0.7".into(), strict: true, ..Way::default() });
        assert!(!Way::parse("hostname a\nstricthostkeychecking accept-new\n").strict);
        assert_eq!(direct.last_jump(), None);

        let far = Way::parse("hostname 10.0.0.7\nproxyjump ann@outer:2222,deploy@inner\n");
        assert_eq!(far.last_jump(), Some(("deploy@inner", Some("ann@outer:2222".to_owned()))));
        assert_eq!(Way::parse("hostname b\nproxyjump inner\n").last_jump(), Some(("inner", None)));

        let by = Way::parse("hostname b\nproxycommand nc --proxy 10.0.0.1 %h %p\n");
        assert_eq!(by.command.as_deref(), Some("nc --proxy 10.0.0.1 %h %p"));
        assert_eq!(Way::parse("hostname b\nproxycommand none\n").command, None);
    }
}
