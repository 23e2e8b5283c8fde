//! A place to run programs under shims, which is clean again when a test is over, however it ends.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use agent::{
    log,
    shim::{self, Running, Spec},
};

#[path = "../host/left.rs"]
mod left;

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_agent-test"))
}

pub(crate) struct Bed {
    root: tempfile::TempDir,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.path().join("instance")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path().join("logs")
    }

    /// A spec for any program.
    pub(crate) fn spec(&self, argv: &[&str]) -> Spec {
        let mut spec = Spec::new(argv.iter().copied(), self.path(), "service.api", "api-1", self.logs());
        spec.stop_ms = 5000;
        spec
    }

    /// A spec for one of the programs `agent-test` plays.
    pub(crate) fn play(&self, words: &[&str]) -> Spec {
        let mut argv = vec![binary().to_str().unwrap()];
        argv.extend(words);
        self.spec(&argv)
    }

    /// A spec for a shell script.
    pub(crate) fn sh(&self, script: &str) -> Spec {
        self.spec(&["sh", "-c", script])
    }

    pub(crate) async fn start(&self, spec: &Spec) -> Running {
        shim::start(binary(), &self.folder(), spec).await.unwrap()
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        log::read(&self.logs(), usize::MAX).unwrap().into_iter().map(|line| line.line).collect()
    }

    /// Waits until some line is this.
    pub(crate) async fn line(&self, text: &str) {
        eventually(&format!("the line `{text}`"), || self.lines().iter().any(|line| line == text)).await;
    }

    /// Starts a process that starts a shim as an agent does. Returns it and the pid of the program.
    pub(crate) fn agent(&self, spec: &Spec) -> (std::process::Child, u32) {
        use std::io::{BufRead, BufReader};
        let mut agent = Command::new(binary())
            .arg0("agent")
            .arg("agent")
            .arg(self.folder())
            .arg(serde_json::to_string(spec).unwrap())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(agent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (agent, line.trim().parse().unwrap())
    }
}

impl Drop for Bed {
    /// Ends what a failed test left running.
    fn drop(&mut self) {
        left::end_all_of(self.path());
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process still does something.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

pub(crate) fn kill9(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
