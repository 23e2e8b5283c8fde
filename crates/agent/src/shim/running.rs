//! The agent's side: start a shim, find it again, wait for it, stop it.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use rustix::{
    fd::{AsFd, OwnedFd},
    process::{Signal, pidfd_send_signal},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, unix::AsyncFd};

use super::{
    Ending, Exit, Record, ShimError, Spec, control,
    limits::{self, Usage},
    process, record,
    report::Report,
};

/// How long a shim may take beyond the grace it was given before it is taken for stuck.
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// A program with its shim. Cloning gives another handle on the same; dropping one changes nothing.
#[derive(Debug, Clone)]
pub struct Running {
    folder: PathBuf,
    record: Record,
    handle: Arc<OwnedFd>,
}

/// A program whose shim was killed: it lives on, and what it writes waits in its named pipes (256 KiB each; when
/// they are full it blocks). Give it a new shim with [`reshim`] or end it with [`Orphan::stop`].
#[derive(Debug, Clone)]
pub struct Orphan {
    folder: PathBuf,
    record: Record,
    handle: Arc<OwnedFd>,
}

/// What an instance's folder and `/proc` tell together.
#[derive(Debug, Clone)]
pub enum Adopted {
    /// The shim runs. Between two starts of a kept program there may be no program for a moment.
    Running(Running),
    /// The program runs and its shim is gone.
    Orphaned(Orphan),
    /// The program ended and the shim saw how.
    Ended(Exit),
    /// Nothing runs and nobody saw the end: the machine was restarted, or shim and program were killed. Also when
    /// there never was anything.
    Gone,
}

/// What came of waiting.
#[derive(Debug, Clone)]
pub enum Waited {
    /// The program ended; `Ending::Unknown` when nobody saw how.
    Ended(Exit),
    /// The shim was killed and the program lives.
    Orphaned(Orphan),
}

/// Starts a program in `folder` (made with mode 0700) and returns once `shim.json` is durable.
///
/// `binary` is the program whose `main` calls [`dispatch`](super::dispatch). The shim gets a session of its own and
/// outlives the caller. Fails with `Refused` when the program cannot be run and `Busy` when the folder has one
/// already. Must be called inside a Tokio runtime.
pub async fn start(binary: &Path, folder: &Path, spec: &Spec) -> Result<Running, ShimError> {
    launch(binary, folder, spec, false).await
}

/// Gives a program whose shim was killed a new one, with the spec it was started with. What it wrote meanwhile is
/// read; how it ends stays unknown unless it is `keep` and was started again by the new shim.
pub async fn reshim(binary: &Path, orphan: &Orphan, spec: &Spec) -> Result<Running, ShimError> {
    launch(binary, &orphan.folder, spec, true).await
}

/// Finds out what became of the instance in `folder`, usually after the agent was restarted. Takes well under a
/// millisecond.
pub fn adopt(folder: &Path) -> Result<Adopted, ShimError> {
    let read = |name: &str| format!("reading {}", folder.join(name).display());
    let exit = record::find::<Exit>(&folder.join(record::EXIT)).map_err(ShimError::io(read(record::EXIT)))?;
    let Some(record) = record::find::<Record>(&folder.join(record::SHIM)).map_err(ShimError::io(read(record::SHIM)))?
    else {
        return Ok(exit.map_or(Adopted::Gone, Adopted::Ended));
    };
    let boot_id = process::boot_id().map_err(ShimError::io("reading the machine's boot id"))?;
    if record.boot_id == boot_id {
        let looking = "looking for the instance's process";
        let folder = folder.to_owned();
        if let Some(handle) = process::open(record.shim_pid, record.shim_start_time).map_err(ShimError::io(looking))? {
            return Ok(Adopted::Running(Running { folder, record, handle: Arc::new(handle) }));
        }
        // The shim may have ended well between the two looks at its folder.
        let exit = record::find::<Exit>(&folder.join(record::EXIT)).map_err(ShimError::io(read(record::EXIT)))?;
        if let Some(exit) = exit.filter(|exit| exit.generation >= record.generation) {
            return Ok(Adopted::Ended(exit));
        }
        let program = process::open(record.pid, record.pid_start_time).map_err(ShimError::io(looking))?;
        if let Some(handle) = program {
            return Ok(Adopted::Orphaned(Orphan { folder, record, handle: Arc::new(handle) }));
        }
        // Shim and program were killed together; what the program started is nobody's now.
        sweep_up(&record);
        return Ok(Adopted::Gone);
    }
    Ok(exit.filter(|exit| exit.generation >= record.generation).map_or(Adopted::Gone, Adopted::Ended))
}

async fn launch(binary: &Path, folder: &Path, spec: &Spec, take_over: bool) -> Result<Running, ShimError> {
    let making = || format!("making the instance's folder {}", folder.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(ShimError::io(making()))?;
    let log = folder.join(record::COMPLAINTS);
    let complaints = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&log)
        .map_err(ShimError::io(making()))?;
    let broken = |reason: String| ShimError::Broken { instance: spec.instance.clone(), reason, log: log.clone() };

    let mut command = tokio::process::Command::new(binary);
    command.arg("shim").arg(folder).args(take_over.then_some("--adopt"));
    command.env_clear().envs(super::spec::inherited(|name| std::env::var(name).ok()));
    // the allocator of a static program would take two megabytes at once; the program below does not get to see this
    command.env("MIMALLOC_ARENA_EAGER_COMMIT", "0");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(complaints);
    let starting = format!("starting the shim {}", binary.display());
    let mut child = command.spawn().map_err(ShimError::io(starting))?;
    let json = serde_json::to_vec(spec).map_err(|error| broken(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A shim that died early has said why on its stdout, or says nothing, which is an error below.
        let _broken_pipe = stdin.write_all(&json).await;
    }
    let mut answer = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_end(&mut answer).await.map_err(ShimError::io("reading the shim's answer"))?;
    }
    // Dropped, not waited for: Tokio reaps it when it ends, and its pidfd tells us.
    drop(child);
    let report = serde_json::from_slice(&answer).map_err(|_| {
        let said = fs::read_to_string(&log).unwrap_or_default();
        broken(match said.trim() {
            "" => "it ended without a word".to_owned(),
            said => said.to_owned(),
        })
    })?;
    match report {
        Report::Started(record) => {
            let record = *record;
            let found = process::open(record.shim_pid, record.shim_start_time)
                .map_err(ShimError::io("opening a handle on the shim"))?;
            match found {
                Some(handle) => Ok(Running { folder: folder.to_owned(), record, handle: Arc::new(handle) }),
                None => {
                    Running::already_over(folder, record).map_err(ShimError::io("opening a handle on the shim's end"))
                }
            }
        }
        Report::Refused(refusal) => Err(refusal.into()),
        Report::Busy { pid } => Err(ShimError::Busy { folder: folder.to_owned(), pid }),
    }
}

impl Running {
    /// The program and its shim ended and were reaped before a handle could be opened. Any handle that is always
    /// readable will do: [`wait`](Self::wait) then finds the end in the folder.
    fn already_over(folder: &Path, record: Record) -> io::Result<Self> {
        let over = rustix::event::eventfd(1, rustix::event::EventfdFlags::CLOEXEC)?;
        Ok(Self { folder: folder.to_owned(), record, handle: Arc::new(over) })
    }

    /// The instance's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// As written when the handle was made; a kept program that was started again since has a newer one in
    /// `shim.json`, see [`refreshed`](Self::refreshed).
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The record as it is now.
    pub fn refreshed(&self) -> Result<Record, ShimError> {
        let path = self.folder.join(record::SHIM);
        let found = record::find(&path).map_err(ShimError::io(format!("reading {}", path.display())))?;
        Ok(found.unwrap_or_else(|| self.record.clone()))
    }

    /// The program's process, leader of its session and process group.
    pub fn pid(&self) -> u32 {
        self.record.pid
    }

    /// The shim's process.
    pub fn shim_pid(&self) -> u32 {
        self.record.shim_pid
    }

    /// What the program uses now, all its processes together.
    pub fn usage(&self) -> Usage {
        limits::usage(&self.refreshed().unwrap_or_else(|_| self.record.clone()))
    }

    /// How the program does, told by the shim.
    pub async fn status(&self) -> Result<control::Status, ShimError> {
        let asking = format!("asking the shim in {}", self.folder.display());
        control::ask(&self.folder, "status").await.map_err(ShimError::io(asking))
    }

    /// Waits until the shim is gone, without polling; also for a shim some other agent started.
    pub async fn wait(&self) -> Result<Waited, ShimError> {
        gone(&self.handle).await.map_err(ShimError::io("waiting for the shim"))?;
        let exit = match adopt(&self.folder)? {
            Adopted::Orphaned(orphan) => return Ok(Waited::Orphaned(orphan)),
            Adopted::Ended(exit) => exit,
            Adopted::Gone | Adopted::Running(_) => unseen(&self.record),
        };
        Ok(Waited::Ended(exit))
    }

    /// Ends the program: TERM to its process group, after `grace` KILL to everything it started, re-sessioned
    /// grandchildren included. Returns when all of it is gone.
    pub async fn stop(&self, grace: Duration) -> Result<Exit, ShimError> {
        if control::ask::<serde::de::IgnoredAny>(&self.folder, &format!("stop {}", grace.as_millis())).await.is_err() {
            let _gone = pidfd_send_signal(self.handle.as_fd(), Signal::TERM);
        }
        self.end(grace).await
    }

    /// Ends the program at once: KILL to everything it started. Returns when all of it is gone.
    pub async fn kill(&self) -> Result<Exit, ShimError> {
        if control::ask::<serde::de::IgnoredAny>(&self.folder, "kill").await.is_err() {
            let _gone = pidfd_send_signal(self.handle.as_fd(), Signal::TERM);
        }
        self.end(Duration::ZERO).await
    }

    async fn end(&self, grace: Duration) -> Result<Exit, ShimError> {
        let waited = match tokio::time::timeout(grace + STUCK_AFTER, self.wait()).await {
            Ok(waited) => waited?,
            Err(_stuck) => {
                let _gone = pidfd_send_signal(self.handle.as_fd(), Signal::KILL);
                self.wait().await?
            }
        };
        match waited {
            Waited::Ended(exit) => Ok(exit),
            Waited::Orphaned(orphan) => orphan.stop(grace).await,
        }
    }
}

impl Orphan {
    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.record.pid
    }

    /// As the dead shim wrote it.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Ends the program: TERM to its process group, after `grace` KILL to its session and its control group. How it
    /// ended stays unknown.
    pub async fn stop(&self, grace: Duration) -> Result<Exit, ShimError> {
        let waiting = || ShimError::io("waiting for the program");
        process::signal_group(self.record.pid, self.record.pid_start_time, Signal::TERM);
        let ended = tokio::time::timeout(grace, gone(&self.handle)).await;
        sweep_up(&self.record);
        match ended {
            Ok(result) => result.map_err(waiting())?,
            Err(_still_there) => gone(&self.handle).await.map_err(waiting())?,
        }
        let exit = unseen(&self.record);
        record::write(&self.folder, record::EXIT, &exit).map_err(ShimError::io("writing exit.json"))?;
        Ok(exit)
    }
}

/// KILL to what is left of a program that is gone, and an end to its control groups.
fn sweep_up(record: &Record) {
    record.groups.kill();
    process::signal_group(record.pid, record.pid_start_time, Signal::KILL);
    for stat in process::session(record.pid, record.pid_start_time) {
        process::signal(stat.pid, Signal::KILL);
    }
    record.groups.remove();
}

fn unseen(record: &Record) -> Exit {
    Exit { ending: Ending::Unknown, at: jiff::Timestamp::now(), generation: record.generation, oom: false }
}

/// Waits until the process behind a pidfd has ended.
async fn gone(handle: &OwnedFd) -> io::Result<()> {
    #[expect(deprecated, reason = "`register` is unsafe only for types that may close early; an OwnedFd does not")]
    let handle = AsyncFd::new(handle.try_clone()?)?;
    handle.readable().await?.retain_ready();
    Ok(())
}
