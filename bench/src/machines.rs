//! Machines of their own with a real systemd and sshd, as the stories have them, made hosts.

use std::{fs, path::Path, process::Command};

use stories::{Fleet, Hosts, Outcome};

use crate::{
    fault::{Doing, Fault},
    peers::find,
};

/// What the machines are made with.
const PROGRAMS: [&str; 7] = ["systemd-nspawn", "debootstrap", "ip", "iptables", "nsenter", "setpriv", "ssh"];

/// Starts machines and makes them hosts of an application that is not deployed yet. Needs root.
pub(crate) fn start(count: u32) -> Result<Fleet, Fault> {
    if !rustix::process::geteuid().is_root() {
        return Err(Fault::new("machines of their own need root; run this with sudo"));
    }
    for program in PROGRAMS {
        find(program).map_err(|_| {
            Fault::new(format!(
                "{program} is missing: apt-get install -y --no-install-recommends systemd-container debootstrap iproute2 \
                 iptables util-linux openssh-client"
            ))
        })?;
    }
    let hosts = Hosts::start(usize::try_from(count).doing("so many machines")?);
    let story = hosts.harbour("harbour", count);
    let fleet = Fleet { story, hosts };
    let destinations: Vec<String> = (0..fleet.hosts.count()).map(|index| fleet.hosts.destination(index)).collect();
    let arguments: Vec<&str> =
        ["host", "add", "--yes"].into_iter().chain(destinations.iter().map(String::as_str)).collect();
    well(&fleet.slipway(&arguments), "slipway host add")?;
    Ok(fleet)
}

/// Fails when a command did.
pub(crate) fn well(outcome: &Outcome, what: &str) -> Result<(), Fault> {
    if outcome.code == 0 {
        return Ok(());
    }
    Err(Fault::new(format!("{what} ended with {}: {}", outcome.code, outcome.stderr.trim())))
}

/// Puts a program of this machine, with the libraries it is linked to, on all machines: they have no network to get it by.
pub(crate) fn install(hosts: &Hosts, program: &Path) -> Result<(), Fault> {
    let linked = Command::new("ldd").arg(program).output().doing("ldd does not start")?;
    let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
    let libraries = linked.split_whitespace().filter(|word| word.starts_with('/')).map(Path::new);
    for file in libraries.chain([program]) {
        for index in 0..hosts.count() {
            let to = hosts.root(index).join(file.strip_prefix("/").unwrap_or(file));
            if !to.exists() {
                fs::create_dir_all(to.parent().unwrap_or(&to)).doing(to.display())?;
                fs::copy(file, &to).doing(to.display())?;
            }
        }
    }
    Ok(())
}
