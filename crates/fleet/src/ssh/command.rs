//! How `ssh` is called.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use super::{Destination, quoted};

/// A host that is gone is noticed after this many unanswered signs of life.
const SIGNS: u32 = 3;

/// Seconds between signs of life: a host that is gone is noticed within 12 s.
const SIGN_SECONDS: u32 = 3;

/// Seconds a connection may take to come about.
const CONNECT_SECONDS: u32 = 10;

/// What the shell of the host says once the connection is good.
pub(super) const READY: &str = "slipway-is-connected";

/// The process that holds the connection. It ends when its stdin does, so nothing of it is left after this program was
/// killed. It says [`READY`] once others may use its socket.
pub(super) fn master(destination: &Destination, control: &Path) -> Command {
    let mut command = quiet();
    command
        .args(["-T", "-a", "-x", "-M", "-S"])
        .arg(control)
        .args(["-o", "StrictHostKeyChecking=yes", "-o", "UpdateHostKeys=no", "-o", "ControlPersist=no"])
        .args(["-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none", "-o", "PermitLocalCommand=no"])
        .args(["-o", "SessionType=default", "-o", "ForkAfterAuthentication=no", "-o", "StdinNull=no"])
        .args(["-o", "TCPKeepAlive=yes", "-o", "NumberOfPasswordPrompts=0"])
        .args(["-o", &format!("ConnectTimeout={CONNECT_SECONDS}")])
        .args(["-o", &format!("ServerAliveInterval={SIGN_SECONDS}")])
        .args(["-o", &format!("ServerAliveCountMax={SIGNS}")])
        .args(["--", destination.argument(), &format!("echo {READY}; exec cat")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Prints what the user's configuration makes of a destination.
pub(super) fn explain(destination: &Destination) -> Command {
    let mut command = quiet();
    command.args(["-G", "--", destination.argument()]);
    command
}

/// A connection of its own, shared with nobody, that carries nothing else along.
fn lone() -> Command {
    let mut command = quiet();
    command.args([
        "-T",
        "-a",
        "-x",
        "-o",
        "ControlMaster=no",
        "-o",
        "ControlPath=none",
        "-o",
        "ClearAllForwardings=yes",
    ]);
    command.args(["-o", "RemoteCommand=none"]);
    command
}

/// Connects to a host that others are reached through, as `ssh` does for them, and at once ends. Exit code 255 when no
/// connection came about.
pub(super) fn knock(destination: &Destination, before: Option<&str>, strict: bool) -> Command {
    let mut command = lone();
    command.args(["-o", &format!("ConnectTimeout={CONNECT_SECONDS}")]);
    if strict {
        // so that it names the host whose key it does not know
        command.args(["-o", "StrictHostKeyChecking=yes"]);
    }
    if let Some(before) = before {
        command.args(["-J", before]);
    }
    command.args(["--", destination.argument(), "exit 0"]);
    command
}

/// Connects anew, with everything the user's configuration says, to the sshd that a command line starts on the host, and
/// at once ends. Its packets travel over the connection that is there. Exit code 255 when it lets nobody in.
pub(super) fn rehearse(destination: &Destination, control: &Path, line: &str) -> Command {
    let way = format!(
        "ssh -F none -o BatchMode=yes -o ControlMaster=no -S {} -T -- host {}",
        quoted(&control.display().to_string()),
        quoted(line)
    );
    let mut command = lone();
    command.args(["-o", "StrictHostKeyChecking=yes", "-o", "UpdateHostKeys=no"]);
    command.args(["-o", "NumberOfPasswordPrompts=0", "-o", &format!("ProxyCommand={}", way.replace('%', "%%"))]);
    command.args(["--", destination.argument(), "exit 0"]);
    command
}

/// Runs a command line in the user's shell of the host, over the connection and never over a new one.
pub(super) fn session(control: &Path, line: &str) -> Command {
    let mut command = over(control);
    command.arg("-T").args(["--", "host", line]);
    command
}

/// Lets connections to `local` come out at `remote`, both unix sockets.
pub(super) fn forward(control: &Path, local: &Path, remote: &Path) -> Command {
    let mut pair = local.as_os_str().to_owned();
    pair.push(":");
    pair.push(remote);
    let mut command = over(control);
    command.args(["-o", "StreamLocalBindUnlink=yes", "-O", "forward", "-L"]).arg(pair).args(["--", "host"]);
    command
}

/// Ends the process that holds the connection, and all that goes over it.
pub(super) fn exit(control: &Path) -> Command {
    let mut command = over(control);
    command.args(["-O", "exit", "--", "host"]);
    command
}

fn over(control: &Path) -> Command {
    let mut command = quiet();
    // the user's configuration has spoken when the connection was made; without it there is no way
    command.args(["-F", "none", "-o", "ProxyCommand=false", "-o", "ControlMaster=no", "-S"]).arg(control);
    command
}

fn quiet() -> Command {
    let mut command = Command::new("ssh");
    command
        .args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
        // the words that errors are recognised by
        .env("LC_ALL", "C")
        // a jump host's own process of ssh would otherwise wait for a password where nobody sees it
        .env("SSH_ASKPASS_REQUIRE", "force")
        // Ctrl-C is this program's to answer: it stops safely, and needs the connection for it
        .process_group(0)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if std::env::var_os("SSH_ASKPASS").is_none() {
        command.env("SSH_ASKPASS", "false");
    }
    command
}
