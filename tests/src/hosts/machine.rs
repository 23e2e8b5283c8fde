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
    process: Child,
    /// Its first process, where that is one of this machine's.
    pub(super) leader: Option<i32>,
}

impl Machine {
    /// Switches one on: its files at `root`, its cable in `bridge`, what it says into `console`. With `engines` it may do
    /// what a container engine asks of the kernel beyond what other programs do.
    pub(super) fn switch_on(name: &str, root: &Path, bridge: &str, console: &Path, engines: bool) -> Self {
        let output = File::options().create(true).append(true).open(console).expect("a console");
        // A group of its own, so that machines do not meddle with each other's; where this machine's groups are is
        // its own affair.
        let script = "for base in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do \
             [ -e $base/cgroup.procs ] || continue; mkdir -p $base/slipway-story-$1 && \
             echo $$ > $base/slipway-story-$1/cgroup.procs; done; name=$1; shift; exec systemd-nspawn \"$@\"";
        let process = Command::new("setpriv")
            // Ends with the story, however that ends.
            .args(["--pdeathsig", "KILL", "sh", "-c", script, "sh", name])
            .args(["--quiet", "--register=no", "--keep-unit", "--boot", "--console=pipe", "--resolv-conf=off"])
            .args(["--timezone=off", "--link-journal=no"])
            .args([&format!("--machine={name}"), &format!("--network-bridge={bridge}")])
            .args(engines.then_some("--system-call-filter=add_key keyctl bpf"))
            .arg("-D")
            .arg(root)
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("setpriv: {error}; apt-get install util-linux"));
        let mut machine = Self { process, leader: None };
        machine.leader = Some(until("the first process of a machine", BOOT, || {
            let ended = machine.process.try_wait().is_ok_and(|ended| ended.is_some());
            let said = || fs::read_to_string(console).unwrap_or_default();
            assert!(!ended, "systemd-nspawn ended (apt-get install systemd-container): {}", said());
            let id = machine.process.id();
            let child = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
            let child: i32 = child.split_whitespace().next()?.parse().ok()?;
            // It is the first process of its namespace once it is born completely.
            let status = fs::read_to_string(format!("/proc/{child}/status")).ok()?;
            status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1")).then_some(child)
        }));
        machine
    }

    /// Boots one that has a kernel of its own, with one processor: its files at `root`, what it says into `console`.
    pub(super) fn boot(cable: &str, root: &Path, bridge: &str, console: &Path) -> Self {
        for words in
            [&["tuntap", "add", "dev", cable, "mode", "tap"][..], &["link", "set", cable, "master", bridge, "up"]]
        {
            super::must(Command::new("ip").args(words));
        }
        let folder = root.parent().expect("a folder of its own");
        let output = File::options().create(true).append(true).open(console).expect("a console");
        let process = Command::new("setpriv")
            // Ends with the story, however that ends, and all of its processes with it.
            .args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "linux.uml"])
            .args([
                "mem=768M",
                "rootfstype=hostfs",
                "root=/dev/root",
                "rw",
                "init=/lib/systemd/systemd",
                "quiet",
                "lsm=capability",
            ])
            .args(["con=null", "con0=null,fd:1", "con1=null"])
            .arg(format!("rootflags={}", root.display()))
            .arg(format!("vec0:transport=tap,ifname={cable},depth=128,gro=1"))
            .arg(format!("uml_dir={}/", folder.display()))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("setpriv: {error}; apt-get install util-linux"));
        let mut machine = Self { process, leader: None };
        // What is missing ends it at once; everything else its sshd tells.
        std::thread::sleep(std::time::Duration::from_millis(200));
        let ended = machine.process.try_wait().is_ok_and(|ended| ended.is_some());
        let said = || fs::read_to_string(console).unwrap_or_default();
        assert!(!ended, "the kernel does not start (apt-get install user-mode-linux): {}", said());
        machine
    }

    /// Ends it at once, and takes its cable away.
    pub(super) fn cut_power(&mut self, cable: &str) {
        let kill = |pid: i32| Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        // Every process of a namespace ends with its first, and `systemd-nspawn` with that.
        let process = i32::try_from(self.process.id()).unwrap_or_default();
        let _ = kill(self.leader.unwrap_or(process));
        until("the end of a machine", BOOT, || {
            self.process.try_wait().is_ok_and(|ended| ended.is_some()).then_some(())
        });
        // The kernel takes its time to remove the cable of a machine that is gone.
        let _ = Command::new("ip").args(["link", "delete", cable]).output();
    }
}
