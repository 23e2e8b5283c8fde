//! One story's world: its project folder, its agent's home, its address.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// A project, an agent's home and an address, all thrown away at the end.
#[derive(Debug)]
pub struct Story {
    folder: tempfile::TempDir,
    /// Where visitors connect.
    pub address: SocketAddr,
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Outcome {
    /// The outcome, if the code is `code`; otherwise panics with everything that was printed.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "exit code {}, expected {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.code, self.stdout, self.stderr
        );
        self
    }

    /// Stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.stdout))
    }
}

/// A port nobody listens on now. Below the ports the kernel gives to outgoing connections.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..20_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `check` gives something; panics with `what` after `deadline`.
#[track_caller]
pub fn until<T>(what: &str, deadline: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(started.elapsed() < deadline, "waited {deadline:?} for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program of this workspace. The stories are built before it is needed, by `cargo build --workspace`.
pub fn binary(name: &str) -> PathBuf {
    let deps = std::env::current_exe().expect("the test's own path");
    // beside a program that is no test, as the benchmarks are
    let beside = deps.with_file_name(name);
    if beside.exists() {
        return beside;
    }
    let folder = deps.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --workspace --bins` first", path.display());
    path
}

/// What a visitor of `host` gets at an address: status and body. `Err` when there is no whole answer.
pub fn visit(address: SocketAddr, host: &str, path: &str) -> Result<(u16, String), String> {
    use std::io::{Read, Write};
    let patience = Duration::from_secs(20);
    let mut stream = std::net::TcpStream::connect_timeout(&address, patience).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(patience)).map_err(|error| error.to_string())?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        .map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|error| error.to_string())?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no status line")?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

impl Story {
    /// A project around the `harbour` application with one service, marker `one`.
    pub fn harbour() -> Self {
        Self::harbour_with("", "")
    }

    /// As [`Story::harbour`], with more keys for the service and more tables for the stack.
    pub fn harbour_with(service: &str, tables: &str) -> Self {
        let story = Self::empty();
        let stack = format!(
            r#"app = "harbour"

[service.web]
dir = "."
out = ["marker.txt", "faults.txt"]
run = "{}"
port = 4000
health = {{ path = "/health", every = "500ms", timeout = "400ms", up = 1, down = 2 }}
drain = "2s"
{service}

[route."harbour.test"]
"/" = "service.web"

[environment.dev]
target = "local"
listen = ["{}"]

{tables}
"#,
            story.binary("harbour").display(),
            story.address,
        );
        story.write("slipway.toml", &stack);
        story.write("marker.txt", "one");
        story.write("faults.txt", "none");
        story
    }

    /// An empty project.
    pub fn empty() -> Self {
        // Short, because unix sockets lie in it.
        let folder = tempfile::Builder::new().prefix("sw").tempdir_in("/tmp").expect("a temporary folder");
        std::fs::create_dir(folder.path().join("p")).expect("the project folder");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self { folder, address }
    }

    /// The project folder.
    pub fn project(&self) -> PathBuf {
        self.folder.path().join("p")
    }

    /// The agent's home.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("h")
    }

    /// Writes a file of the project.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.project().join(path);
        std::fs::create_dir_all(path.parent().expect("inside the project")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// Reads a file of the project.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.project().join(path)).expect("a file")
    }

    /// A program of this workspace; see [`binary`].
    pub fn binary(&self, name: &str) -> PathBuf {
        binary(name)
    }

    /// `slipway ARGS` as a command that has not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binary("slipway"));
        command
            .args(arguments)
            .current_dir(self.project())
            .env("SLIPWAY_HOME", self.home())
            .env("CI", "true")
            .env_remove("SLIPWAY_ENV")
            .env_remove("SLIPWAY_FILE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs `slipway ARGS` to its end.
    pub fn slipway(&self, arguments: &[&str]) -> Outcome {
        finish(self.command(arguments))
    }

    /// Deploys and expects exit code 0.
    #[track_caller]
    pub fn deploy(&self) -> Outcome {
        self.slipway(&["deploy", "--yes"]).expect(0)
    }

    /// Changes the marker, so that the next deploy has a new release.
    pub fn mark(&self, marker: &str) {
        self.write("marker.txt", marker);
    }

    /// What a visitor gets at `path`: status and body. `Err` when there is no whole answer.
    pub fn get(&self, path: &str) -> Result<(u16, String), String> {
        visit(self.address, "harbour.test", path)
    }

    /// `status --json`.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        self.slipway(&["status", "--json"]).json()
    }

    /// Process id of this story's agent.
    pub fn agent_pid(&self) -> Option<i32> {
        pid_of(&self.home().join("agent/shim.json"))
    }

    /// Process id of this story's edge.
    pub fn edge_pid(&self) -> Option<i32> {
        // a newer version's edge has a shim of its own, with a higher number
        let shims = std::fs::read_dir(self.home().join("edge/shims")).ok()?;
        let number = |path: &Path| path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
        let newest = shims.flatten().map(|entry| entry.path()).max_by_key(|path| number(path))?;
        pid_of(&newest.join("shim.json"))
    }

    /// Every process of this story's home.
    pub fn processes(&self) -> Vec<i32> {
        processes_of(&self.home())
    }

    /// kill -9.
    pub fn kill(&self, pid: i32) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if self.home().exists() {
            let _ = self.slipway(&["stop", "--everything", "--yes"]);
        }
        for pid in processes_of(&self.home()) {
            self.kill(pid);
        }
        if std::thread::panicking() {
            for log in logs(&self.home()) {
                eprintln!("--- {}\n{}", log.display(), tail(&log));
            }
        }
    }
}

/// The child's pid in a shim's `shim.json`.
fn pid_of(path: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(path).ok()?;
    serde_json::from_str::<serde_json::Value>(&text).ok()?["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok())
}

/// Every process whose command line, environment or open folder names this home: what a failed stop left behind.
fn processes_of(home: &Path) -> Vec<i32> {
    let needle = home.as_os_str().as_encoded_bytes();
    let contains = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if u32::try_from(pid) == Ok(std::process::id()) {
            continue;
        }
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        if contains(&read("cmdline")) || contains(&read("environ")) {
            found.push(pid);
        }
    }
    found
}

/// Log files below a home.
fn logs(home: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("store") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log") {
                found.push(path);
            }
        }
    }
    found
}

fn tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Runs a command to its end. Panics when it takes more than two minutes.
pub(crate) fn finish(mut command: Command) -> Outcome {
    let child = command.spawn().expect("slipway starts");
    let output = child.wait_with_output().expect("slipway ends");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
