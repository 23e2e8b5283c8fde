//! What has to be done to make a machine a host: nothing where it is one already.

use std::net::IpAddr;

use agent::host_file::HostFile;

use super::{Access, Facts, GROUP, HOME, LINK, PROGRAMS, Package, Program, firewall, harden, program::at_least, unit};
use crate::ssh::quoted;

/// The oldest kernel whose processes the agent can hold (`pidfd_open`). Source: `pidfd_open(2)`.
pub(super) const KERNEL: &str = "5.3";

/// Room for releases, logs and data that a host needs at least, in bytes.
pub(super) const ROOM: u64 = 500 << 20;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The host's name; by default what it has, or the host of its destination.
    pub name: Option<String>,
    /// Where other hosts reach it; by default what it has, or where this connection does.
    pub address: Option<IpAddr>,
    /// Servers to install.
    pub install: Vec<Package>,
    /// Let sshd take keys only.
    pub harden: bool,
    /// Let nothing in but SSH, visitors and other hosts.
    pub firewall: bool,
    /// Also in place of a newer version.
    pub force: bool,
}

/// Steps in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the host will know of itself.
    pub host: HostFile,
    /// What is to be done; nothing when all is well.
    pub steps: Vec<Step>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What, in words: `make the group slipway`.
    pub title: String,
    /// How.
    pub act: Act,
}

/// How something is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A script that runs as root.
    Script(String),
    /// The program is sent, from this byte on, to [`part`].
    Send {
        /// Where an earlier attempt ended.
        from: u64,
    },
    /// The connection is made anew: the user has new groups.
    Login,
    /// A script that is undone by another when nobody gets in any more.
    Guarded {
        /// Changes it.
        change: String,
        /// Changes it back.
        undo: String,
    },
    /// As `Guarded`, of sshd: the user gets in with the changed configuration before it counts.
    Rehearsed {
        /// Changes the configuration.
        change: String,
        /// Lets it count.
        apply: String,
        /// Changes it back.
        undo: String,
    },
}

impl Step {
    pub(super) fn script(title: impl Into<String>, script: impl Into<String>) -> Self {
        Self { title: title.into(), act: Act::Script(script.into()) }
    }
}

/// Where a program lies until all of it has arrived.
pub(super) fn part(folder: &str) -> String {
    format!("{PROGRAMS}/.{folder}.part")
}

/// What makes a machine a host, or every reason why it cannot be one. `named` is the host of its destination.
pub fn plan(facts: &Facts, wish: &Wish, program: &Program, named: &str) -> Result<Plan, Vec<String>> {
    let known = facts.host_file.as_deref().and_then(|text| serde_json::from_str::<HostFile>(text).ok());
    let known_address = known.as_ref().map(|host| host.address);
    let address = wish.address.or(known_address).or(facts.address);
    let mut problems = problems(facts, wish, program);
    let Some(address) = address.filter(|_| problems.is_empty()) else {
        if address.is_none() {
            problems.push("where other hosts reach it is not known; add --address with its private address".to_owned());
        }
        return Err(problems);
    };
    let name = wish.name.clone().or_else(|| known.map(|host| host.name)).unwrap_or_else(|| named.to_owned());
    let host = HostFile { name, address, group: GROUP.to_owned() };
    let mut steps = Vec::new();
    for package in wish.install.iter().filter(|package| !facts.installed.contains(package)) {
        if let Some(manager) = facts.manager {
            steps.push(Step::script(
                format!("install {}", package.name()),
                package.script(manager, &facts.distribution),
            ));
        }
    }
    if !facts.group {
        steps.push(Step::script(
            format!("make the group `{GROUP}`, whose members speak to the agent"),
            format!("groupadd --system {GROUP}"),
        ));
    }
    let login = facts.access != Access::Root && !facts.member;
    if login {
        let user = quoted(&facts.user);
        steps.push(Step::script(
            format!("add the user `{}` to it", facts.user),
            format!("usermod --append --groups {GROUP} {user}"),
        ));
    }
    if !facts.home {
        steps.push(Step::script(format!("make the folder {HOME}"), format!("mkdir -p -m 711 {HOME}")));
    }
    let mut restart = !facts.active && facts.systemd;
    let folder = program.folder();
    if facts.program.as_ref() != Some(&folder) {
        restart = true;
        let from = if facts.part <= program.size { facts.part } else { 0 };
        steps.push(Step { title: send_title(program, from), act: Act::Send { from } });
        steps.push(Step::script(format!("verify its digest and put it at {LINK}"), place(program)));
    }
    if facts.host_file.as_deref() != Some(&host.to_text()) {
        restart = true;
        let title = format!("tell it its name `{}` and its address {}", host.name, host.address);
        steps.push(Step::script(title, write(&format!("{HOME}/host.json"), &host.to_text(), "644")));
    }
    let (file, text) =
        if facts.systemd { (unit::FILE, unit::render()) } else { (unit::CRON_FILE, unit::render_cron()) };
    if facts.unit.as_deref() != Some(&text) {
        restart = true;
        steps.push(Step::script(format!("write {file}"), write(file, &text, "644")));
    }
    if facts.systemd && (restart || !facts.enabled) {
        let start = "systemctl daemon-reload\nsystemctl enable --quiet slipway\nsystemctl restart slipway || { \
             journalctl --unit slipway --no-pager --lines 20 --output cat >&2; exit 1; }";
        let title = if facts.active {
            "start the agent again; what runs goes on"
        } else {
            "start the agent, now and at every boot"
        };
        steps.push(Step::script(title, start));
    } else if restart {
        steps.push(Step::script(
            "start the agent under its own keeper; cron does at every boot",
            format!("{LINK} agent --keep --home {HOME}"),
        ));
    }
    if login {
        steps.push(Step { title: "connect again, as a member of the group".to_owned(), act: Act::Login });
    }
    if wish.harden {
        steps.extend(harden::sshd(facts));
    }
    if wish.firewall {
        steps.extend(firewall::step(facts));
    }
    Ok(Plan { host, steps })
}

fn problems(facts: &Facts, wish: &Wish, program: &Program) -> Vec<String> {
    let mut problems = Vec::new();
    if let Access::None(said) = &facts.access {
        problems.push(format!(
            "the user `{0}` may not become root without a password ({said}); connect as root, or let it: echo '{0} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/slipway",
            facts.user
        ));
    }
    if facts.machine != program.machine {
        problems.push(format!(
            "it is a machine of kind {}, and this program is for {}; name one for it with --binary",
            facts.machine, program.machine
        ));
    } else if let Some(loader) = &program.loader {
        let needed = program.glibc.as_deref().unwrap_or_default();
        let newer = facts.glibc.as_deref().is_some_and(|is| at_least(is, needed));
        if !facts.loader || !newer {
            problems.push(format!(
                "this program needs {loader} with glibc {needed}, and it has {}; name a static one with --binary",
                facts.glibc.as_deref().map_or("none".to_owned(), |is| format!("glibc {is}"))
            ));
        }
    }
    if !at_least(&facts.kernel, KERNEL) {
        problems.push(format!(
            "its kernel is {}, and {KERNEL} is the oldest that will do; upgrade its system",
            facts.kernel
        ));
    }
    let needed = if facts.program.as_deref() == Some(&program.folder()) { 0 } else { program.size };
    if facts.programs_free < needed + (50 << 20) {
        problems.push(format!(
            "there is room for {} below /usr/local, and {} are needed; free some",
            megabytes(facts.programs_free),
            megabytes(needed + (50 << 20))
        ));
    }
    if facts.home_free < ROOM {
        problems.push(format!(
            "there is room for {} below {HOME}, and {} are needed; free some, or mount a larger disk there",
            megabytes(facts.home_free),
            megabytes(ROOM)
        ));
    }
    if !facts.systemd && !facts.cron {
        problems.push(
            "it runs neither systemd nor cron, so nothing would start the agent at boot; install cron".to_owned(),
        );
    }
    let missing = wish.install.iter().any(|package| !facts.installed.contains(package));
    if missing && facts.manager.is_none() {
        problems.push(
            "it has neither apt-get nor dnf, so --install cannot install anything; do it by hand and leave that out"
                .to_owned(),
        );
    }
    for (port, holder) in &facts.listening {
        let peers = [agent::members::PEER_PORT, agent::members::EDGE_PORT].contains(port);
        if peers && !holder.is_empty() && holder != "slipway" {
            problems.push(format!("port {port}, where other hosts reach it, is held by `{holder}`; stop that"));
        }
    }
    if !wish.force
        && let Some((there, _)) = facts.program.as_deref().and_then(|folder| folder.rsplit_once('-'))
        && !at_least(&program.version, there)
    {
        problems.push(format!(
            "it has Slipway {there}, and this is {}; upgrade this one, or add --force to go back",
            program.version
        ));
    }
    if wish.firewall {
        problems.extend(firewall::problem(facts));
    }
    problems
}

fn send_title(program: &Program, from: u64) -> String {
    let whole = megabytes(program.size);
    if from == 0 {
        return format!("send Slipway {}, {whole}", program.version);
    }
    format!("go on sending Slipway {}, from {} of {whole}", program.version, megabytes(from))
}

/// Verifies what has arrived and switches to it; programs other than the last two go.
fn place(program: &Program) -> String {
    let (part, folder, digest) = (part(&program.folder()), program.folder(), &program.digest);
    format!(
        "chmod 755 {part}\nfound=$({part} agent --digest) || found='nothing, as it does not run'\n\
         if [ \"$found\" != {digest} ]; then\n  rm -f {part}\n  \
         echo \"what arrived has the digest $found instead of {digest}; try again\" >&2\n  exit 1\nfi\n\
         if [ -e /sys/fs/selinux/enforce ]; then chcon -t bin_t {part}; fi\n\
         mkdir -p -m 755 {PROGRAMS}/{folder}\nsync {part}\nmv -f {part} {PROGRAMS}/{folder}/slipway\n\
         before=$(basename \"$(dirname \"$(readlink -f {LINK})\")\")\n\
         ln -sfn {PROGRAMS}/{folder}/slipway {LINK}.new\nmv -fT {LINK}.new {LINK}\n\
         rm -f {PROGRAMS}/.*.part\nfor one in {PROGRAMS}/*/; do case $(basename \"$one\") in {folder}|\"$before\") ;; *) rm -rf \"$one\";; esac; done"
    )
}

/// Replaces a file whole. The text holds no line `END`.
pub(super) fn write(path: &str, text: &str, mode: &str) -> String {
    format!(
        "umask 022\ncat > {path}.new <<'END'\n{text}END\nchmod {mode} {path}.new\nsync {path}.new\nmv -f {path}.new {path}"
    )
}

pub(super) fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

#[cfg(test)]
mod tests {
    use super::{super::facts::tests::facts, *};

    fn program() -> Program {
        Program {
            path: "/usr/bin/slipway".into(),
            size: 30_000_000,
            digest: "3f9c2a1b7d20".to_owned() + &"0".repeat(52),
            version: "0.2.0".into(),
            machine: "x86_64".into(),
            loader: None,
            glibc: None,
        }
    }

    fn text(plan: &Plan) -> String {
        plan.steps.iter().fold(String::new(), |text, step| match &step.act {
            Act::Script(script) => text + &format!("# {}\n{script}\n\n", step.title),
            Act::Guarded { change, undo } => text + &format!("# {}\n{change}\n## to undo it\n{undo}\n\n", step.title),
            Act::Rehearsed { change, apply, undo } => {
                text + &format!("# {}\n{change}\n## after a trial\n{apply}\n## to undo it\n{undo}\n\n", step.title)
            }
            Act::Send { .. } | Act::Login => text + &format!("# {}\n\n", step.title),
        })
    }

    #[test]
    fn a_fresh_machine_gets_everything() {
        let wish = Wish { install: vec![Package::Redis], harden: true, firewall: true, ..Wish::default() };
        let plan = plan(&facts("nft=yes\n"), &wish, &program(), "a.example.org").unwrap();
        assert_eq!(plan.host.address, IpAddr::from([10, 0, 0, 7]));
        insta::assert_snapshot!(text(&plan));
    }

    #[test]
    fn a_host_gets_nothing() {
        let host = HostFile { name: "a.example.org".into(), address: [10, 0, 0, 9].into(), group: GROUP.into() };
        let there = |text: String| text.replace('\n', "\\n");
        let more = format!(
            "group=yes\nmember=yes\nhome=yes\nactive=yes\nenabled=yes\nprogram={}\nunit={}\nhost_file={}\ninstalled=redis\n",
            program().folder(),
            there(unit::render()),
            there(host.to_text())
        );
        let wish = Wish { install: vec![Package::Redis], ..Wish::default() };
        let plan = plan(&facts(&more), &wish, &program(), "10.0.0.7").unwrap();
        assert_eq!(plan, Plan { host, steps: Vec::new() });
    }

    #[test]
    fn what_was_sent_before_the_connection_broke_is_not_sent_again() {
        let plan = plan(&facts("part=20000000\n"), &Wish::default(), &program(), "a").unwrap();
        let step = plan.steps.iter().find(|step| matches!(step.act, Act::Send { .. })).unwrap();
        assert_eq!(step.act, Act::Send { from: 20_000_000 });
        assert_eq!(step.title, "go on sending Slipway 0.2.0, from 20.0 MB of 30.0 MB");
    }

    // proves S4.P1
    #[test]
    fn every_problem_is_told_at_once() {
        let odd = facts(
            "access=none sudo: a password is required\nmachine=aarch64\nkernel=4.19.0-21-arm64\nmanager=zypper\nsystemd=no\n\
             home_free=1000\nprograms_free=1000\nlistening=7350 nginx\nprogram=0.3.0-123456789abc\n",
        );
        let wish = Wish { install: vec![Package::Docker], firewall: true, ..Wish::default() };
        insta::assert_snapshot!(plan(&odd, &wish, &program(), "a").unwrap_err().join("\n"));
    }

    #[test]
    fn a_program_that_the_library_of_the_host_is_too_old_for_is_refused() {
        let program =
            Program { loader: Some("/lib64/ld-linux-x86-64.so.2".into()), glibc: Some("2.39".into()), ..program() };
        let problems = plan(&facts(""), &Wish::default(), &program, "a").unwrap_err();
        assert_eq!(
            problems,
            [
                "this program needs /lib64/ld-linux-x86-64.so.2 with glibc 2.39, and it has glibc 2.36; name a static one with --binary"
            ]
        );
    }
}
