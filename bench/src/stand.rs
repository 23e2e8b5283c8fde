//! An application that is deployed again and again, with an agent of its own in a temporary folder.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    fault::{Doing, Fault},
    process::{Running, signal},
    visit::{free_address, get},
};

/// The host name visitors ask for.
pub(crate) const HOST: &str = "harbour.test";

/// The real program: `SLIPWAY_BIN`, or the one beside this program.
pub(crate) fn slipway() -> Result<PathBuf, Fault> {
    if let Some(path) = std::env::var_os("SLIPWAY_BIN") {
        return Ok(path.into());
    }
    sibling("slipway")
}

fn sibling(name: &str) -> Result<PathBuf, Fault> {
    let own = std::env::current_exe().doing("cannot find this program")?;
    let path = own.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Fault::new(format!(
        "{} is not built: cargo build --release --workspace --bins, or set SLIPWAY_BIN",
        path.display()
    )))
}

/// A project, an agent's home and an address, all thrown away at the end.
#[derive(Debug)]
pub(crate) struct Stand {
    folder: tempfile::TempDir,
    /// Where visitors connect.
    pub(crate) address: SocketAddr,
}

impl Stand {
    /// An empty project.
    pub(crate) fn empty() -> Result<Self, Fault> {
        // short, because unix sockets lie in it
        let folder = tempfile::Builder::new().prefix("sb").tempdir_in("/tmp").doing("no temporary folder")?;
        fs::create_dir(folder.path().join("p")).doing("no project folder")?;
        Ok(Self { folder, address: free_address()? })
    }

    /// The stories' application, not deployed yet.
    pub(crate) fn harbour() -> Result<Self, Fault> {
        Self::harbour_with("", "")
    }

    /// As [`Stand::harbour`], with more keys for the service and more tables for the stack.
    pub(crate) fn harbour_with(keys: &str, tables: &str) -> Result<Self, Fault> {
        let stand = Self::empty()?;
        let text = format!(
            r#"app = "harbour"

[service.web]
dir = "."
out = ["marker.txt"]
run = "{}"
port = 4000
health = {{ path = "/health", every = "500ms", timeout = "400ms", up = 1, down = 2 }}
drain = "2s"
{keys}

[route."{HOST}"]
"/" = "service.web"

[environment.dev]
target = "local"
listen = ["{}"]

{tables}
"#,
            sibling("harbour")?.display(),
            stand.address
        );
        fs::write(stand.project().join("slipway.toml"), text).doing("cannot write the stack file")?;
        stand.mark("one")?;
        Ok(stand)
    }

    /// The project's folder.
    pub(crate) fn project(&self) -> PathBuf {
        self.folder.path().join("p")
    }

    /// The agent's folder.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("h")
    }

    /// Changes what the next release answers, so that it is a new one.
    pub(crate) fn mark(&self, marker: &str) -> Result<(), Fault> {
        fs::write(self.project().join("marker.txt"), marker).doing("cannot write the marker")
    }

    /// `slipway ARGUMENTS` in this project.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<Command, Fault> {
        let mut command = Command::new(slipway()?);
        command
            .args(arguments)
            .current_dir(self.project())
            .env("SLIPWAY_HOME", self.home())
            .env("CI", "true")
            .env_remove("SLIPWAY_ENV")
            .env_remove("SLIPWAY_FILE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Ok(command)
    }

    /// Runs `slipway ARGUMENTS` and returns how long it took. Fails when it does.
    pub(crate) fn slipway(&self, arguments: &[&str]) -> Result<Duration, Fault> {
        let begun = Instant::now();
        let output = self.command(arguments)?.output().doing("slipway does not start")?;
        let took = begun.elapsed();
        if output.status.success() {
            Ok(took)
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(Fault::new(format!("slipway {} ended with {}: {}", arguments.join(" "), output.status, said.trim())))
        }
    }

    /// Runs `slipway ARGUMENTS` and returns the time from its start until a visitor gets `marker`.
    pub(crate) fn until_served(&self, arguments: &[&str], marker: &str) -> Result<Duration, Fault> {
        let begun = Instant::now();
        let child = self.command(arguments)?.spawn().doing("slipway does not start")?;
        let served = loop {
            if self.serves(marker) {
                break Some(begun.elapsed());
            }
            if begun.elapsed() > Duration::from_mins(1) {
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let output = child.wait_with_output().doing("slipway does not end")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Fault::new(format!("slipway {}: {}", arguments.join(" "), said.trim())));
        }
        served.ok_or_else(|| Fault::new(format!("nobody got `{marker}` within a minute")))
    }

    /// A visitor gets this marker now.
    pub(crate) fn serves(&self, marker: &str) -> bool {
        get(self.address, HOST, "/").is_some_and(|(status, body)| status == 200 && body.contains(marker))
    }

    /// How long the application itself takes from its start until it answers.
    pub(crate) fn own_start(&self) -> Result<Duration, Fault> {
        let address = free_address()?;
        let begun = Instant::now();
        let mut process = Running::start(
            "harbour",
            Command::new(sibling("harbour")?).current_dir(self.project()).env("PORT", address.port().to_string()),
        )?;
        process.wait_until(|| get(address, HOST, "/health").is_some())?;
        Ok(begun.elapsed())
    }

    /// The agent's process.
    pub(crate) fn agent(&self) -> Result<u32, Fault> {
        Ok(self.shim("agent/shim.json")?.program)
    }

    /// The edge's process; each version of it has a shim of its own, and the last one serves.
    pub(crate) fn edge(&self) -> Result<u32, Fault> {
        let shims = self.home().join("edge/shims");
        let numbers = fs::read_dir(&shims).doing(shims.display())?.flatten();
        let last = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok()).max();
        let last = last.ok_or_else(|| Fault::new(format!("no edge has a shim in {}", shims.display())))?;
        Ok(self.shim(&format!("edge/shims/{last}/shim.json"))?.program)
    }

    /// What a shim recorded in a file of the agent's folder.
    pub(crate) fn shim(&self, file: &str) -> Result<Shim, Fault> {
        let path = self.home().join(file);
        let text = fs::read_to_string(&path).doing(path.display())?;
        let record: serde_json::Value = serde_json::from_str(&text).doing(path.display())?;
        let pid = |key: &str| record[key].as_u64().and_then(|pid| u32::try_from(pid).ok());
        match (pid("pid"), pid("shim_pid")) {
            (Some(program), Some(shim)) => Ok(Shim { program, shim }),
            _ => Err(Fault::new(format!("{} names no processes", path.display()))),
        }
    }
}

/// A program and its shim, by process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shim {
    pub(crate) program: u32,
    pub(crate) shim: u32,
}

impl Drop for Stand {
    fn drop(&mut self) {
        if !self.home().exists() {
            return;
        }
        let stopped = self.slipway(&["stop", "--everything", "--yes"]);
        // whatever a failed stop left behind is known by its folder
        for pid in processes_of(&self.home()) {
            signal(pid, Signal::KILL);
        }
        if let Err(fault) = stopped {
            eprintln!("warning: {fault}");
        }
    }
}

/// Processes whose command line or environment names this folder.
fn processes_of(home: &std::path::Path) -> Vec<u32> {
    let needle = home.as_os_str().as_encoded_bytes();
    let names =
        |file: PathBuf| fs::read(file).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle));
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .filter(|(pid, path)| {
            *pid != std::process::id() && (names(path.join("cmdline")) || names(path.join("environ")))
        })
        .map(|(pid, _)| pid)
        .collect()
}
