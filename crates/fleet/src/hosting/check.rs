//! Whether a host is well: everything that makes deploys or applications fail later.

use serde::Serialize;

use super::{
    Access, Facts,
    package::Manager,
    plan::{KERNEL, ROOM, megabytes},
    program::at_least,
};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Well.
    Good,
    /// It may do.
    Warn,
    /// It will not do.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What, as in `clock`.
    pub what: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen, and the mend where it is not well.
    pub said: String,
}

/// Everything that can be told of a host from its facts.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |what, verdict, said: String| found.push(Finding { what, verdict, said });
    match &facts.access {
        Access::Root => add("root", Verdict::Good, "the user is root".into()),
        Access::Sudo => add("root", Verdict::Good, format!("`{}` may use sudo", facts.user)),
        Access::None(said) => {
            add("root", Verdict::Bad, format!("`{}` may not use sudo without a password: {said}", facts.user));
        }
    }
    let kernel = if at_least(&facts.kernel, KERNEL) { Verdict::Good } else { Verdict::Bad };
    add(
        "kernel",
        kernel,
        if kernel == Verdict::Good {
            facts.kernel.clone()
        } else {
            format!("{}; {KERNEL} is the oldest that will do", facts.kernel)
        },
    );
    let lacking: Vec<&str> = ["memory", "cpu"]
        .into_iter()
        .filter(|one| !facts.controllers.iter().any(|controller| controller == one))
        .collect();
    if lacking.is_empty() {
        add("limits", Verdict::Good, "control groups version 2".into());
    } else {
        let said =
            format!("no control groups version 2 for {}; limits are not held by the kernel", lacking.join(" and "));
        add("limits", Verdict::Warn, said);
    }
    let (verdict, said) = clock(facts);
    add("clock", verdict, said);
    let disk = match facts.home_free {
        free if free < ROOM => Verdict::Bad,
        free if free < facts.home_size / 10 => Verdict::Warn,
        _ => Verdict::Good,
    };
    let mend = if disk == Verdict::Good { "" } else { "; free some, or mount a larger disk at /var/lib/slipway" };
    add("disk", disk, format!("{} of {} free{mend}", megabytes(facts.home_free), megabytes(facts.home_size)));
    let memory = if facts.memory_available < facts.memory / 10 { Verdict::Warn } else { Verdict::Good };
    let mend = if memory == Verdict::Good { "" } else { "; stop something, or take a larger machine" };
    add("memory", memory, format!("{} of {} free{mend}", megabytes(facts.memory_available), megabytes(facts.memory)));
    for port in [80, 443, agent::members::PEER_PORT, agent::members::EDGE_PORT] {
        let holder = facts.listening.iter().find(|(other, _)| *other == port).map(|(_, program)| program.as_str());
        let name = match port {
            80 => "port 80",
            443 => "port 443",
            agent::members::PEER_PORT => "port 7350",
            _ => "port 7351",
        };
        match holder {
            None => add(name, Verdict::Good, "free".into()),
            Some("slipway") => add(name, Verdict::Good, "Slipway's".into()),
            Some("") => add(name, Verdict::Warn, "held by a program that this user cannot see".into()),
            Some(other) => add(name, Verdict::Bad, format!("held by `{other}`; stop that")),
        }
    }
    let servers: Vec<&str> = facts.installed.iter().map(|package| package.name()).collect();
    let servers = if servers.is_empty() { "none".to_owned() } else { servers.join(", ") };
    match facts.manager {
        Some(manager) => {
            add("servers", Verdict::Good, format!("installed: {servers}; --install uses {}", manager.name()));
        }
        None => add(
            "servers",
            Verdict::Warn,
            format!("installed: {servers}; it has neither apt-get nor dnf, so install others by hand"),
        ),
    }
    match facts.docker.as_deref() {
        None => add("containers", Verdict::Good, "no engine, and none is needed for processes".into()),
        Some("does not answer") => add(
            "containers",
            Verdict::Warn,
            "an engine is installed and does not answer; systemctl start docker".into(),
        ),
        Some(version) => add("containers", Verdict::Good, format!("Docker {version}")),
    }
    match (facts.program.as_deref(), facts.active) {
        (None, _) => add("agent", Verdict::Bad, "not installed; slipway host add".into()),
        (Some(program), false) if facts.systemd => {
            add("agent", Verdict::Bad, format!("{program} does not run; systemctl status slipway"));
        }
        (Some(program), _) => add("agent", Verdict::Good, program.to_owned()),
    }
    found
}

/// How right its clock is, as far as that can be told over the connection.
fn clock(facts: &Facts) -> (Verdict, String) {
    let (skew, certain) = (facts.skew, facts.skew.abs() - facts.skew_error);
    let keep = match facts.manager {
        Some(Manager::Dnf) => "let chrony keep it: dnf install chrony && systemctl enable --now chronyd",
        Some(Manager::Apt) => "let chrony keep it: apt-get install chrony",
        None => "let chrony keep it",
    };
    let (clock, mend) = match certain {
        off if off > 2.0 => (Verdict::Bad, format!("; {keep}")),
        off if off > 0.5 => (Verdict::Warn, format!("; {keep}")),
        _ => (Verdict::Good, String::new()),
    };
    let way = if skew < 0.0 { "behind" } else { "ahead" };
    (clock, format!("{:.1} s {way}, give or take {:.1} s{mend}", skew.abs(), facts.skew_error))
}

#[cfg(test)]
mod tests {
    use super::{super::facts::tests::facts, *};

    fn of(more: &str, what: &str) -> (Verdict, String) {
        let found = check(&facts(more)).into_iter().find(|finding| finding.what == what).unwrap();
        (found.verdict, found.said)
    }

    #[test]
    fn what_is_not_well_says_so_with_its_mend() {
        assert_eq!(of("", "clock").0, Verdict::Good);
        assert_eq!(of("began=1000000009.0\nclock=1000000009.5\n", "clock").0, Verdict::Bad);
        assert_eq!(of("listening=80 nginx\n", "port 80"), (Verdict::Bad, "held by `nginx`; stop that".into()));
        assert_eq!(of("listening=80 slipway\n", "port 80").0, Verdict::Good);
        let clock = of("began=1000000009.0\nclock=1000000009.5\nmanager=dnf\n", "clock").1;
        assert!(clock.contains("dnf install chrony"), "{clock}");
        assert_eq!(of("manager=zypper\n", "servers").0, Verdict::Warn);
        assert_eq!(of("memory_available=100\n", "memory").0, Verdict::Warn);
        assert_eq!(of("home_free=1000\n", "disk").0, Verdict::Bad);
        assert_eq!(of("controllers=cpu\n", "limits").0, Verdict::Warn);
        assert_eq!(of("kernel=4.19.0\n", "kernel").0, Verdict::Bad);
        assert_eq!(of("", "agent"), (Verdict::Bad, "not installed; slipway host add".into()));
    }
}
