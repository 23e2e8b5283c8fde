//! Starting the program.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt},
        net::UnixStream,
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    fd::OwnedFd,
    fs::{Access, CWD, Mode, OFlags, access, mkfifoat},
    pipe::fcntl_setpipe_size,
    process::{Pid, WaitOptions, waitpid},
};

use super::{Refusal, Spec, limits::Groups, process::Stat, spec::inherited, stage::Order};

/// How long the step between may take: it waits for nothing but a file system.
const STAGE: Duration = Duration::from_secs(30);
/// How much a program may write while no shim reads: enough for the moment until the agent gives it a new one, and
/// little enough that a user's share of such memory (64 MiB) is not used up by a hundred instances.
const PIPE_BYTES: usize = 256 << 10;

/// Names of the pipes in the shim's folder.
const PIPES: [&str; 2] = ["out", "err"];

/// The program's two outputs, read without blocking. They have no end: the shim holds them open for writing too.
pub(super) struct Pipes {
    pub(super) out: OwnedFd,
    pub(super) err: OwnedFd,
}

impl Pipes {
    /// Makes them in the current folder, or opens those an earlier shim made when its program is taken over.
    pub(super) fn open(take_over: bool) -> io::Result<Self> {
        let open = |name: &str| {
            if !take_over {
                match fs::remove_file(name) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                mkfifoat(CWD, name, Mode::RUSR | Mode::WUSR)?;
            }
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let pipe = rustix::fs::open(name, flags, Mode::empty())?;
            let _stays_smaller = fcntl_setpipe_size(&pipe, PIPE_BYTES);
            io::Result::Ok(pipe)
        };
        Ok(Self { out: open(PIPES[0])?, err: open(PIPES[1])? })
    }
}

/// Finds the program's file. Source: `execvp(3)`.
pub(super) fn find(spec: &Spec, path: &str) -> Result<PathBuf, Refusal> {
    let cwd = spec.cwd.display().to_string();
    if !spec.cwd.is_dir() {
        return Err(Refusal::NoFolder { cwd });
    }
    let name = spec.argv.first().map_or("", String::as_str);
    let program = name.to_owned();
    let (candidates, searched): (Vec<PathBuf>, String) = if name.contains('/') {
        (vec![spec.cwd.join(name)], cwd)
    } else {
        (path.split(':').map(|folder| spec.cwd.join(folder).join(name)).collect(), path.to_owned())
    };
    let mut not_executable = None;
    for candidate in candidates {
        match fs::metadata(&candidate) {
            Ok(file) if file.is_file() && file.mode() & 0o111 != 0 && access(&candidate, Access::EXEC_OK).is_ok() => {
                return Ok(candidate);
            }
            Ok(file) if file.is_file() => not_executable = not_executable.or(Some(candidate)),
            _ => {}
        }
    }
    Err(match not_executable {
        Some(path) => Refusal::NotExecutable { program: path.display().to_string() },
        None => Refusal::NotFound { program, searched },
    })
}

/// The program's whole environment.
pub(super) fn environment(spec: &Spec, socket: &Path) -> BTreeMap<String, String> {
    let mut env = spec.env.clone();
    for (name, value) in inherited(|name| std::env::var(name).ok()) {
        env.entry(name.to_owned()).or_insert(value);
    }
    env.insert("SLIPWAY_SHIM_SOCKET".to_owned(), socket.display().to_string());
    env
}

/// Starts the program and returns its process once it is the program and no longer the step before.
pub(super) fn spawn(spec: &Spec, groups: &Groups, socket: &Path) -> Result<Stat, Refusal> {
    let env = environment(spec, socket);
    let program = find(spec, env.get("PATH").map_or("", String::as_str))?;
    let name = spec.argv.first().cloned().unwrap_or_default();
    let failed = |what: &'static str| {
        let program = name.clone();
        move |error: io::Error| Refusal::Failed { program, reason: format!("{what}: {error}") }
    };
    let groups = groups.folders().into_iter().map(Path::to_owned).collect();
    let (argv, cwd, open_files) = (spec.argv.clone(), spec.cwd.clone(), spec.limits.open_files);
    let (user, hand, stdin) = (spec.user.clone(), spec.hand.clone(), spec.stdin.clone());
    let order = Order { program, argv, env, cwd, groups, open_files, user, hand, stdin };
    let order = serde_json::to_vec(&order).map_err(|error| failed("writing the order")(error.into()))?;

    let (mut ours, theirs) = UnixStream::pair().map_err(failed("making a socket"))?;
    // Open for reading too: a program whose shim was killed is its own reader and gets no SIGPIPE.
    let end =
        |name: &str| fs::OpenOptions::new().read(true).write(true).open(name).map_err(failed("opening its output"));
    let out: File = match &spec.stdout {
        Some(path) => {
            let options = &mut fs::OpenOptions::new();
            options.create(true).append(true).mode(0o600).open(path).map_err(failed("opening its output"))?
        }
        None => end(PIPES[0])?,
    };
    let err: File = end(PIPES[1])?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("slipway").arg("shim-exec").env_clear();
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::from(out)).stderr(Stdio::from(err));
    let pid = command.spawn().map_err(failed("starting a process"))?.id();
    // The command holds their end of the socket: while it does, the socket has no end.
    drop(command);

    let answer = (|| {
        ours.set_read_timeout(Some(STAGE))?;
        ours.set_write_timeout(Some(STAGE))?;
        ours.write_all(&order)?;
        ours.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        ours.read_to_string(&mut answer)?;
        io::Result::Ok(answer)
    })();
    let reason = match answer {
        Ok(answer) if answer.is_empty() => match Stat::find(pid) {
            Some(stat) => return Ok(stat),
            None => "its process is gone".to_owned(),
        },
        Ok(answer) => answer,
        Err(error) => format!("the step before it did not answer: {error}"),
    };
    super::process::signal(pid, rustix::process::Signal::KILL);
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _reaped = waitpid(Some(pid), WaitOptions::empty());
    }
    Err(Refusal::Failed { program: name, reason })
}
