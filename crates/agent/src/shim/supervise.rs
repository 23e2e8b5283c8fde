//! `slipway shim FOLDER`: the loop.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use nix::sys::{
    signal::{SigSet, Signal as Received},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::{AsFd, OwnedFd},
    fs::{FlockOperation, flock},
    process::{Resource, Rlimit, Signal, WaitOptions, getrlimit, set_child_subreaper, setrlimit, wait},
};
use secrets::redact::Redactor;

use super::{
    Ending, Exit, Record, Refusal, Spec, StopSignal,
    child::{self, Pipes},
    control::SOCKET,
    limits::Groups,
    process::{self, Stat},
    record,
    report::Report,
    server::{Command, Reply, Server},
    sockets::Sockets,
};
use crate::log::{Stream, Writer};

/// First wait before a kept program is started again; doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A program that lived so long is well: the next wait is the first again.
const WELL_AFTER: Duration = Duration::from_secs(10);
/// What a program leaves behind gets so long between TERM and KILL when it ended by itself.
const LEFTOVERS: Duration = Duration::from_secs(1);
/// How often leftovers are looked for: those that are no children of ours end without a signal to us.
const LOOK: Duration = Duration::from_millis(10);
/// Longest path a socket's address can hold, without the zero at its end.
const SOCKET_PATH: usize = 107;
/// How much is read from a pipe at a time.
const CHUNK: usize = 16 << 10;

/// Runs a shim to its end. Its stdin holds the spec; its stdout takes one report.
pub(super) fn main(folder: &Path, take_over: bool) -> ExitCode {
    let shim = match Shim::start(folder, take_over) {
        Ok(shim) => shim,
        Err(report) => {
            tell(&report);
            return ExitCode::FAILURE;
        }
    };
    tell(&Report::Started(Box::new(shim.record.clone())));
    // The agent reads our report to its end.
    if let Ok(nothing) = File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(nothing);
    }
    shim.run();
    ExitCode::SUCCESS
}

fn tell(report: &Report) {
    let json = serde_json::to_vec(report).unwrap_or_default();
    let mut out = io::stdout();
    let _nobody_listens = out.write_all(&json).and_then(|()| out.flush());
}

struct Shim {
    /// Where it lies, absolute; also the working folder.
    folder: PathBuf,
    spec: Spec,
    /// Held while the shim lives: nobody else starts a program in its folder.
    _lock: File,
    /// How the program reaches the control socket.
    socket: PathBuf,
    groups: Groups,
    pipes: Pipes,
    signals: SignalFd,
    server: Server,
    sockets: Sockets,
    log: Writer,
    record: Record,
    program: Program,
    /// When everything that is left is killed, once the program is to end.
    stop: Option<Instant>,
    wait: Duration,
}

enum Program {
    Runs {
        since: Instant,
        oom_kills: u64,
        /// Tells the end of a program that is not our child.
        handle: Option<OwnedFd>,
    },
    /// It ended; what it left behind is told to end and killed at this time.
    Leaves {
        exit: Exit,
        lived: Duration,
        kill_at: Instant,
    },
    /// It is started again at this time.
    Waits {
        until: Instant,
    },
    Over,
}

impl Shim {
    fn start(folder: &Path, take_over: bool) -> Result<Self, Report> {
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
            None => Groups::make(&group_name(&spec, &folder), spec.limits),
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

    /// Starts the program, again or for the first time.
    fn spawn(&mut self) -> Result<(), Refusal> {
        let oom_kills = self.groups.oom_kills();
        let stat = child::spawn(&self.spec, &self.groups, &self.socket)?;
        self.record.pid = stat.pid;
        self.record.pid_start_time = stat.start_time;
        self.record.generation += 1;
        self.record.started_at = jiff::Timestamp::now();
        self.program = Program::Runs { since: Instant::now(), oom_kills, handle: None };
        Ok(())
    }

    /// Watches over a program whose shim was killed.
    fn take_over(&mut self, earlier: &Record) -> Result<(), Refusal> {
        let gone = |reason: String| Refusal::BadSpec { reason };
        let handle = process::open(earlier.pid, earlier.pid_start_time)
            .map_err(|error| gone(error.to_string()))?
            .ok_or_else(|| gone("its program has ended meanwhile; start it again".to_owned()))?;
        self.record.pid = earlier.pid;
        self.record.pid_start_time = earlier.pid_start_time;
        self.record.started_at = earlier.started_at;
        let oom_kills = self.groups.oom_kills();
        self.program = Program::Runs { since: Instant::now(), oom_kills, handle: Some(handle) };
        Ok(())
    }

    fn keep_record(&self) -> Result<(), Refusal> {
        record::write(Path::new("."), record::SHIM, &self.record).map_err(|error| Refusal::Failed {
            program: self.spec.argv.first().cloned().unwrap_or_default(),
            reason: format!("writing shim.json: {error}"),
        })
    }

    fn run(mut self) {
        while !matches!(self.program, Program::Over) {
            if let Err(error) = self.turn() {
                complain(&format!("waiting for events: {error}"));
                std::thread::sleep(LOOK);
            }
        }
        self.pump_all();
        self.log.finish();
        self.server.finish();
        self.groups.remove();
    }

    /// Waits for something to happen and deals with it.
    fn turn(&mut self) -> io::Result<()> {
        let (has_signal, has_output, has_client, has_ended) = {
            let watch = |file| PollFd::from_borrowed_fd(file, PollFlags::IN);
            let handle = match &self.program {
                Program::Runs { handle: Some(handle), .. } => Some(watch(handle.as_fd())),
                _ => None,
            };
            let fixed = [self.signals.as_fd(), self.pipes.out.as_fd(), self.pipes.err.as_fd()].map(watch);
            let mut watched: Vec<PollFd<'_>> = fixed.into_iter().chain(self.server.polled()).chain(handle).collect();
            let timeout = self.timeout().and_then(|timeout| Timespec::try_from(timeout).ok());
            match poll(&mut watched, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let happened = |index: usize| !watched[index].revents().is_empty();
            let has_handle = matches!(&self.program, Program::Runs { handle: Some(_), .. });
            let clients = 3..watched.len() - usize::from(has_handle);
            (
                happened(0),
                [happened(1), happened(2)],
                clients.clone().any(happened),
                has_handle && happened(watched.len() - 1),
            )
        };
        if has_output[0] {
            pump(&self.pipes.out, Stream::Out, &mut self.log);
        }
        if has_output[1] {
            pump(&self.pipes.err, Stream::Err, &mut self.log);
        }
        if has_signal {
            self.take_signals();
        }
        if has_ended {
            self.ended(Ending::Unknown);
        }
        if has_client {
            self.serve();
        }
        self.keep_time();
        Ok(())
    }

    /// How long nothing needs to be done by itself.
    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        match &self.program {
            Program::Runs { .. } => self.stop.map(|at| at.saturating_duration_since(now)),
            Program::Leaves { .. } => Some(LOOK),
            Program::Waits { until } => Some(until.saturating_duration_since(now)),
            Program::Over => Some(Duration::ZERO),
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Received::try_from(number).ok());
            if matches!(signal, Some(Received::SIGTERM | Received::SIGINT)) {
                self.stop_within(self.spec.grace());
            }
        }
        // One SIGCHLD may stand for many ends, and not only those of the program: orphans come to us.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if u32::try_from(pid.as_raw_pid()) != Ok(self.record.pid) {
                continue;
            }
            match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => self.ended(Ending::Code(code)),
                (_, Some(signal)) => self.ended(Ending::Signal(signal)),
                _ => {}
            }
        }
    }

    fn serve(&mut self) {
        let mut stop = None;
        let Self { server, sockets, record, program, log, spec, stop: stopping, .. } = self;
        server.receive(|command| match command {
            Command::Status => Reply {
                json: serde_json::json!({
                    "ok": true,
                    "pid": record.pid,
                    "generation": record.generation,
                    "running": matches!(program, Program::Runs { .. }),
                    "stopping": stopping.is_some() || stop.is_some(),
                    "lost_lines": log.lost(),
                }),
                sockets: Vec::new(),
            },
            Command::Stop(grace) => {
                stop = Some(grace.unwrap_or_else(|| spec.grace()));
                Reply::ok()
            }
            Command::Kill => {
                stop = Some(Duration::ZERO);
                Reply::ok()
            }
            Command::Listen(address, count) => match sockets.listen(address, count) {
                Ok((address, sockets)) => Reply { json: serde_json::json!({"ok": true, "address": address}), sockets },
                Err(error) => Reply::error(&error),
            },
            Command::Unlisten(address) => {
                sockets.unlisten(address);
                Reply::ok()
            }
            Command::Listeners => {
                Reply { json: serde_json::json!({"ok": true, "listeners": sockets.list()}), sockets: sockets.all() }
            }
        });
        if let Some(grace) = stop {
            self.stop_within(grace);
        }
    }

    /// Tells the program to end. Told again, the shorter time holds.
    fn stop_within(&mut self, grace: Duration) {
        let kill_at = Instant::now() + grace;
        self.stop = Some(self.stop.map_or(kill_at, |earlier| earlier.min(kill_at)));
        match &mut self.program {
            Program::Runs { .. } if !grace.is_zero() => {
                let signal = match self.spec.stop_signal {
                    StopSignal::Terminate => Signal::TERM,
                    StopSignal::Interrupt => Signal::INT,
                };
                process::signal_group(self.record.pid, self.record.pid_start_time, signal);
                // One that was stopped cannot take TERM before it goes on.
                process::signal_group(self.record.pid, self.record.pid_start_time, Signal::CONT);
            }
            Program::Leaves { kill_at: at, .. } => *at = (*at).min(kill_at),
            Program::Waits { .. } => self.program = Program::Over,
            Program::Runs { .. } | Program::Over => {}
        }
    }

    /// The program's own process ended; what it started may live on.
    fn ended(&mut self, ending: Ending) {
        let Program::Runs { since, oom_kills, .. } = &self.program else { return };
        let oom = self.groups.oom_kills() > *oom_kills;
        let exit = Exit { ending, at: jiff::Timestamp::now(), generation: self.record.generation, oom };
        let lived = since.elapsed();
        let leftovers = Instant::now() + LEFTOVERS;
        let kill_at = self.stop.map_or(leftovers, |stop| stop.min(leftovers).max(Instant::now()));
        for pid in self.survivors() {
            process::signal(pid, Signal::TERM);
        }
        self.program = Program::Leaves { exit, lived, kill_at };
    }

    /// Does what is due.
    fn keep_time(&mut self) {
        let now = Instant::now();
        match &self.program {
            Program::Runs { .. } => {
                if self.stop.is_some_and(|at| at <= now) {
                    self.kill_all();
                    // It is dying; should one of them hang in the kernel, try again.
                    self.stop = Some(now + LOOK);
                }
            }
            Program::Leaves { exit, lived, kill_at } => {
                let (exit, lived, kill_at) = (exit.clone(), *lived, *kill_at);
                if self.survivors().is_empty() {
                    self.over(&exit, lived);
                } else if kill_at <= now {
                    self.kill_all();
                }
            }
            Program::Waits { until } => {
                if *until <= now {
                    self.start_again();
                }
            }
            Program::Over => {}
        }
    }

    /// Everything of the program is gone.
    fn over(&mut self, exit: &Exit, lived: Duration) {
        self.pump_all();
        self.log.finish();
        if let Err(error) = record::write_reserved(Path::new("."), record::EXIT, exit) {
            complain(&format!("writing exit.json: {error}"));
        }
        if !self.spec.keep || self.stop.is_some() || exit.success() {
            self.program = Program::Over;
            return;
        }
        if lived >= WELL_AFTER {
            self.wait = FIRST_WAIT;
        }
        self.wait_for_next(&exit.to_string());
    }

    fn wait_for_next(&mut self, why: &str) {
        let wait = self.wait;
        self.log.push(Stream::Err, format!("{why}; starting it again in {} ms\n", wait.as_millis()).as_bytes());
        self.program = Program::Waits { until: Instant::now() + wait };
        self.wait = (wait * 2).min(LONGEST_WAIT);
    }

    fn start_again(&mut self) {
        if let Err(error) = record::reserve(Path::new(".")) {
            complain(&format!("reserving room for exit.json: {error}"));
        }
        if self.groups.folders().iter().any(|group| !group.exists()) {
            self.groups = Groups::make(&group_name(&self.spec, &self.folder), self.spec.limits);
            self.record.groups = self.groups.clone();
        }
        match self.spawn() {
            Ok(()) => {
                // A full disk is no reason to leave the program down; `adopt` finds it through this shim.
                if let Err(refusal) = self.keep_record() {
                    complain(&refusal.to_string());
                }
            }
            Err(refusal) => self.wait_for_next(&refusal.to_string()),
        }
    }

    /// Processes that live on without the program's own.
    fn survivors(&self) -> Vec<u32> {
        let program = self.record.pid;
        if program == 0 {
            return Vec::new();
        }
        let session = process::session(program, self.record.pid_start_time).into_iter().map(|stat| stat.pid);
        let mut found: Vec<u32> = if self.spec.starts_shims {
            session.collect()
        } else {
            let members = self.groups.members().into_iter();
            let members = members.filter(|pid| Stat::find(*pid).is_some_and(|stat| !stat.is_dead()));
            session.chain(process::descendants(std::process::id())).chain(members).collect()
        };
        found.sort_unstable();
        found.dedup();
        found.retain(|pid| *pid != std::process::id());
        found
    }

    /// KILL to everything, also what tried to get away.
    fn kill_all(&self) {
        if self.record.pid == 0 {
            // Nothing was started.
            return;
        }
        if !self.spec.starts_shims {
            self.groups.kill();
        }
        process::signal_group(self.record.pid, self.record.pid_start_time, Signal::KILL);
        for pid in self.survivors() {
            process::signal(pid, Signal::KILL);
        }
    }

    /// Reads what is left in the pipes; nobody writes to them any more.
    fn pump_all(&mut self) {
        while pump(&self.pipes.out, Stream::Out, &mut self.log) {}
        while pump(&self.pipes.err, Stream::Err, &mut self.log) {}
    }
}

/// Moves one chunk from a pipe to the log; false when there was nothing.
fn pump(pipe: &OwnedFd, stream: Stream, log: &mut Writer) -> bool {
    let mut chunk = [0; CHUNK];
    match rustix::io::read(pipe, &mut chunk) {
        Ok(0) | Err(_) => false,
        Ok(length) => {
            log.push(stream, &chunk[..length]);
            true
        }
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
fn group_name(spec: &Spec, folder: &Path) -> PathBuf {
    spec.cgroup.clone().unwrap_or_else(|| {
        let digest = blake3::hash(folder.as_os_str().as_encoded_bytes()).to_hex();
        PathBuf::from(format!("{}-{}", spec.instance, &digest[..8]))
    })
}

/// Into `shim.err`.
fn complain(text: &str) {
    let _nowhere_to_complain = writeln!(io::stderr(), "{} {text}", jiff::Timestamp::now());
}
