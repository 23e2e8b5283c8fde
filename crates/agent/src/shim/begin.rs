//! How a shim begins: everything that may fail, before the agent is told that the program runs.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use nix::sys::{
    signal::{SigSet, Signal as Received},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    fs::{FlockOperation, flock},
    process::{Resource, Rlimit, getrlimit, set_child_subreaper, setrlimit},
};
use secrets::redact::Redactor;

use super::{
    Record, Refusal, Spec,
    child::Pipes,
    control::SOCKET,
    limits::{Groups, sweep},
    process::{self, Stat},
    record,
    report::Report,
    server::Server,
    sockets::Sockets,
    supervise::{FIRST_WAIT, Program, Shim, complain},
};
use crate::log::Writer;

/// Longest path a socket's address can hold, without the zero at its end.
const SOCKET_PATH: usize = 107;

impl Shim {
    /// Reads the spec from stdin and starts its program, or takes over the one that runs in `folder`.
    pub(super) fn begin(folder: &Path, take_over: bool) -> Result<Self, Report> {
        let refuse = |reason: String| Report::Refused(Refusal::BadSpec { reason });
        let io = |what: &'static str| move |error: io::Error| refuse(format!("{what}: {error}"));
        let _already_leads_one = rustix::process::setsid();
        let folder = fs::canonicalize(folder).map_err(io("finding the instance's folder"))?;
        std::env::set_current_dir(&folder).map_err(io("entering the instance's folder"))?;
        let spec = read_spec().map_err(io("reading the spec"))?;
        check(&spec).map_err(refuse)?;

        let lock = File::open(".").map_err(io("opening the instance's folder"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let pid = record::find::<Record>(record::SHIM.as_ref()).ok().flatten().map_or(0, |record| record.pid);
            return Err(Report::Busy { pid });
        }
        // Its memory, like the program's, holds secrets: no dump of it may reach the disk.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: getrlimit(Resource::Core).maximum });
        set_child_subreaper(Some(rustix::process::getpid())).map_err(|error| io("adopting orphans")(error.into()))?;
        let signals = signals().map_err(|error| io("taking signals")(error.into()))?;

        let earlier = if take_over { record::find::<Record>(record::SHIM.as_ref()).ok().flatten() } else { None };
        if take_over && earlier.is_none() {
            return Err(refuse("there is no shim.json to take over from; start it instead".to_owned()));
        }
        if earlier.is_none() {
            for file in [record::SHIM, record::EXIT] {
                let _there_was_none = fs::remove_file(file);
            }
        }
        record::reserve(Path::new(".")).map_err(io("writing into the instance's folder"))?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&spec.log_folder)
            .map_err(io("making the log folder"))?;
        let log = Writer::new(
            &spec.log_folder,
            &spec.source,
            &spec.instance,
            (spec.log_segment_bytes, spec.log_segments),
            Redactor::new(spec.secrets.iter().cloned()),
        );
        let pipes = Pipes::open(earlier.is_some()).map_err(io("making the pipes for its output"))?;
        let server = Server::open().map_err(io("opening the control socket"))?;
        let mut sockets = Sockets::default();
        if let Some(older) = &spec.inherit
            && let Err(error) = sockets.inherit(older)
        {
            // The program asks for its sockets and gets new ones; only connections that wait in the old are lost.
            complain(&format!("taking over the sockets of {}: {error}", older.display()));
        }
        let socket = socket_path(&folder);
        let groups = match &earlier {
            Some(record) => record.groups.clone(),
            None if spec.starts_shims => Groups::default(),
            None => {
                sweep();
                Groups::make(&group_name(&spec, &folder), spec.limits)
            }
        };
        let mut shim = Self {
            _lock: lock,
            socket,
            groups,
            pipes,
            signals,
            server,
            sockets,
            log,
            record: Record {
                boot_id: process::boot_id().map_err(io("reading the machine's boot id"))?,
                pid: 0,
                pid_start_time: 0,
                shim_pid: std::process::id(),
                shim_start_time: Stat::find(std::process::id()).map_or(0, |stat| stat.start_time),
                generation: earlier.as_ref().map_or(0, |record| record.generation),
                started_at: jiff::Timestamp::now(),
                groups: Groups::default(),
            },
            program: Program::Over,
            stop: None,
            wait: FIRST_WAIT,
            folder,
            spec,
        };
        shim.record.groups = shim.groups.clone();
        let begun = match earlier {
            Some(earlier) => shim.take_over(&earlier),
            None => shim.spawn(),
        };
        begun.and_then(|()| shim.keep_record()).map_err(|refusal| {
            shim.kill_all();
            shim.groups.remove();
            Report::Refused(refusal)
        })?;
        shim.spec.secrets = Vec::new();
        if !shim.spec.keep {
            shim.spec.env.clear();
        }
        Ok(shim)
    }
}

fn read_spec() -> io::Result<Spec> {
    let mut json = Vec::new();
    io::stdin().read_to_end(&mut json)?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(serde_json::from_slice(&json)?)
}

/// What no program could be started with.
fn check(spec: &Spec) -> Result<(), String> {
    let is_name = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0', '\n']);
    if spec.argv.first().is_none_or(String::is_empty) {
        return Err("there is nothing to run; set `run`".to_owned());
    }
    if !is_name(&spec.source) || spec.source.contains('@') || !is_name(&spec.instance) {
        return Err(format!("`{}@{}` is no file name; leave out `/` and `@`", spec.source, spec.instance));
    }
    if !spec.log_folder.is_absolute() || !spec.cwd.is_absolute() {
        return Err("its working folder and its log folder must be absolute paths".to_owned());
    }
    let broken =
        spec.env.iter().find(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0'));
    if let Some((name, _)) = broken {
        return Err(format!(
            "the variable `{name}` cannot be passed on: no `=` in its name, no zero byte in its value"
        ));
    }
    if spec.argv.iter().any(|word| word.contains('\0')) {
        return Err("an argument holds a zero byte; remove it".to_owned());
    }
    Ok(())
}

fn signals() -> nix::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [Received::SIGCHLD, Received::SIGTERM, Received::SIGINT, Received::SIGHUP] {
        mask.add(signal);
    }
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// By its own path; when that is too long for a socket's address, through the shim's working folder.
fn socket_path(folder: &Path) -> PathBuf {
    let path = folder.join(SOCKET);
    if path.as_os_str().len() <= SOCKET_PATH {
        return path;
    }
    Path::new("/proc").join(std::process::id().to_string()).join("cwd").join(SOCKET)
}

/// Unique on the machine: two environments may have instances of the same name.
pub(super) fn group_name(spec: &Spec, folder: &Path) -> PathBuf {
    spec.cgroup.clone().unwrap_or_else(|| {
        let digest = blake3::hash(folder.as_os_str().as_encoded_bytes()).to_hex();
        PathBuf::from(format!("{}-{}", spec.instance, &digest[..8]))
    })
}
