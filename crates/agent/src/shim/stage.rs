//! `slipway shim-exec`: the step between the shim and the program.
//!
//! Its stdin is a socket to the shim: the order comes in on it, and if the program cannot be started the reason goes
//! out. The program itself does not get it, so when it closes without a word the program runs.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    os::{
        fd::AsRawFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use nix::unistd::{User, initgroups, setgid, setuid};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags},
    io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd},
    process::{Resource, Rlimit, getrlimit, setrlimit, setsid},
    thread::set_no_new_privs,
};
use serde::{Deserialize, Serialize};

use super::spec::HANDED;

/// What the shim wants this process to become.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    /// Path of the program.
    pub(super) program: PathBuf,
    /// Its arguments; the first is how it is called.
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) cwd: PathBuf,
    /// Control groups to join.
    pub(super) groups: Vec<PathBuf>,
    pub(super) open_files: Option<u64>,
    /// Whom to become.
    pub(super) user: Option<String>,
    /// A folder to hand on.
    pub(super) hand: Option<PathBuf>,
    /// What it reads as its standard input.
    pub(super) stdin: Option<PathBuf>,
}

/// Becomes the program; returns only when that failed.
pub(super) fn main() -> ExitCode {
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    let mut socket = UnixStream::from(socket);
    let error = match become_program(&mut socket) {
        Err(error) => error,
        Ok(never) => match never {},
    };
    let _shim_is_gone = socket.write_all(error.as_bytes());
    ExitCode::FAILURE
}

fn become_program(socket: &mut UnixStream) -> Result<std::convert::Infallible, String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("{what}: {error}")
    };
    let mut order = Vec::new();
    socket.read_to_end(&mut order).map_err(failed("reading the order"))?;
    let order: Order = serde_json::from_slice(&order).map_err(|error| format!("reading the order: {error}"))?;
    let input = order.stdin.as_deref().unwrap_or(Path::new("/dev/null"));
    let input = File::open(input).map_err(failed(&format!("opening {}", input.display())))?;
    nix::unistd::dup2_stdin(input).map_err(|error| failed("closing stdin")(error.into()))?;
    setsid().map_err(|error| failed("beginning a session")(error.into()))?;
    for group in &order.groups {
        fs::write(group.join("cgroup.procs"), std::process::id().to_string())
            .map_err(failed(&format!("joining the control group {}", group.display())))?;
    }
    if let Some(files) = order.open_files {
        limit_files(files).map_err(failed(&format!("allowing {files} open files")))?;
    }
    let handed = order.hand.as_deref().map(hand_on).transpose()?;
    set_no_new_privs(true).map_err(|error| failed("giving up new privileges")(error.into()))?;
    // The shim takes its signals from a file; a program expects to be struck by them.
    nix::sys::signal::SigSet::empty().thread_set_mask().map_err(|error| failed("unblocking signals")(error.into()))?;
    std::env::set_current_dir(&order.cwd).map_err(failed(&format!("entering {}", order.cwd.display())))?;
    // A folder is entered first: the user may not be let through those above it.
    if let Some(user) = &order.user {
        become_user(user)?;
    }
    let (name, arguments) = order.argv.split_first().ok_or("there is nothing to run")?;
    let error = Command::new(&order.program).arg0(name).args(arguments).env_clear().envs(&order.env).exec();
    drop(handed);
    Err(match error.kind() {
        io::ErrorKind::NotFound => {
            "the interpreter its first line names, or the loader it was linked for, is not on this machine; install it"
                .to_owned()
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            "it is no program for this machine; if it is a script, begin it with `#!` and its interpreter".to_owned()
        }
        io::ErrorKind::ArgumentListTooLong => "its arguments and environment together are too long".to_owned(),
        _ => error.to_string(),
    })
}

/// Opens a folder where the program will find it.
fn hand_on(folder: &Path) -> Result<OwnedFd, String> {
    let open = || -> io::Result<OwnedFd> {
        let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let handed = fcntl_dupfd_cloexec(&folder, HANDED)?;
        if handed.as_raw_fd() != HANDED {
            return Err(io::Error::other("its descriptor is taken"));
        }
        fcntl_setfd(&handed, FdFlags::empty())?;
        Ok(handed)
    };
    open().map_err(|error| format!("handing on the folder {}: {error}", folder.display()))
}

/// Becomes a user with its groups, for good.
fn become_user(name: &str) -> Result<(), String> {
    let user = User::from_name(name).map_err(|error| format!("looking for user `{name}`: {error}"))?;
    let user = user.ok_or_else(|| format!("there is no user `{name}` on this machine; make it with `useradd`"))?;
    let failed = |error: nix::errno::Errno| format!("becoming user `{name}`: {error}; run the agent as root");
    let groups = std::ffi::CString::new(name).map_err(|error| error.to_string())?;
    initgroups(&groups, user.gid).map_err(failed)?;
    setgid(user.gid).map_err(failed)?;
    setuid(user.uid).map_err(failed)
}

/// Without the right to raise its own ceiling, a process gets as many as it may have.
fn limit_files(files: u64) -> io::Result<()> {
    let wanted = Rlimit { current: Some(files), maximum: Some(files) };
    if setrlimit(Resource::Nofile, wanted).is_ok() {
        return Ok(());
    }
    let ceiling = getrlimit(Resource::Nofile).maximum;
    let most = ceiling.map_or(files, |ceiling| ceiling.min(files));
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: ceiling })?)
}
