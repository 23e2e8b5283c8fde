//! A machine of the testbed while it is on.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::BOOT;
use crate::project::until;

/// A machine that is on.
#[derive(Debug)]
pub(super) struct Machine {
    nspawn: Child,
    /// Its first process.
    pub(super) leader: i32,
}

impl Machine {
    /// Switches one on: its files at `root`, its cable in `bridge`, what it says into `console`.
    pub(super) fn switch_on(name: &str, root: &Path, bridge: &str, console: &Path) -> Self {
        let output = File::options().create(true).append(true).open(console).expect("a console");
        // A group of its own, so that machines do not meddle with each other's; where this machine's groups are is
        // its own affair.
        let script = "for base in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do \
             [ -e $base/cgroup.procs ] || continue; mkdir -p $base/slipway-story-$1 && \
             echo $$ > $base/slipway-story-$1/cgroup.procs; done; name=$1; shift; exec systemd-nspawn \"$@\"";
        let nspawn = Command::new("setpriv")
            // Ends with the story, however that ends.
            .args(["--pdeathsig", "KILL", "sh", "-c", script, "sh", name])
            .args(["--quiet", "--register=no", "--keep-unit", "--boot", "--console=pipe", "--resolv-conf=off"])
            .args(["--timezone=off", "--link-journal=no"])
            .args([&format!("--machine={name}"), &format!("--network-bridge={bridge}")])
            .arg("-D")
            .arg(root)
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("setpriv: {error}; apt-get install util-linux"));
        let mut machine = Self { nspawn, leader: 0 };
        machine.leader = until("the first process of a machine", BOOT, || {
            let ended = machine.nspawn.try_wait().is_ok_and(|ended| ended.is_some());
            let said = || fs::read_to_string(console).unwrap_or_default();
            assert!(!ended, "systemd-nspawn ended (apt-get install systemd-container): {}", said());
            let id = machine.nspawn.id();
            let child = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
            let child: i32 = child.split_whitespace().next()?.parse().ok()?;
            // It is the first process of its namespace once it is born completely.
            let status = fs::read_to_string(format!("/proc/{child}/status")).ok()?;
            status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1")).then_some(child)
        });
        machine
    }

    /// Ends it at once, and takes its cable away.
    pub(super) fn cut_power(&mut self, cable: &str) {
        let kill = |pid: i32| Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        // Every process of a namespace ends with its first, and `systemd-nspawn` with that.
        let _ = kill(self.leader);
        until("the end of a machine", BOOT, || self.nspawn.try_wait().is_ok_and(|ended| ended.is_some()).then_some(()));
        // The kernel takes its time to remove the cable of a machine that is gone.
        let _ = Command::new("ip").args(["link", "delete", cable]).output();
    }
}
