//! `slipway shim FOLDER`: the loop.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use nix::sys::{signal::Signal as Received, signalfd::SignalFd};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::{AsFd, OwnedFd},
    process::{Signal, WaitOptions, wait},
};

use super::{
    Ending, Exit, Record, Refusal, Spec, StopSignal,
    begin::group_name,
    child::{self, Pipes},
    limits::Groups,
    process::{self, Stat},
    record,
    report::Report,
    server::{Command, Reply, Server},
    sockets::Sockets,
};
use crate::log::{Stream, Writer};

/// First wait before a kept program is started again; doubles each time.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A program that lived so long is well: the next wait is the first again.
const WELL_AFTER: Duration = Duration::from_secs(10);
/// What a program leaves behind gets so long between TERM and KILL when it ended by itself.
const LEFTOVERS: Duration = Duration::from_secs(1);
/// How often leftovers are looked for: those that are no children of ours end without a signal to us.
const LOOK: Duration = Duration::from_millis(10);
/// How much is read from a pipe at a time.
const CHUNK: usize = 16 << 10;

/// Runs a shim to its end. Its stdin holds the spec; its stdout takes one report.
pub(super) fn main(folder: &Path, take_over: bool) -> ExitCode {
    let shim = match Shim::begin(folder, take_over) {
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

pub(super) struct Shim {
    /// Where it lies, absolute; also the working folder.
    pub(super) folder: PathBuf,
    pub(super) spec: Spec,
    /// Held while the shim lives: nobody else starts a program in its folder.
    pub(super) _lock: File,
    /// How the program reaches the control socket.
    pub(super) socket: PathBuf,
    pub(super) groups: Groups,
    pub(super) pipes: Pipes,
    pub(super) signals: SignalFd,
    pub(super) server: Server,
    pub(super) sockets: Sockets,
    pub(super) log: Writer,
    pub(super) record: Record,
    pub(super) program: Program,
    /// When everything that is left is killed, once the program is to end.
    pub(super) stop: Option<Instant>,
    pub(super) wait: Duration,
}

/// How the program is.
pub(super) enum Program {
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
    /// Starts the program, again or for the first time.
    pub(super) fn spawn(&mut self) -> Result<(), Refusal> {
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
    pub(super) fn take_over(&mut self, earlier: &Record) -> Result<(), Refusal> {
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

    pub(super) fn keep_record(&self) -> Result<(), Refusal> {
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
    pub(super) fn kill_all(&self) {
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

/// Into `shim.err`.
pub(super) fn complain(text: &str) {
    let _nowhere_to_complain = writeln!(io::stderr(), "{} {text}", jiff::Timestamp::now());
}
