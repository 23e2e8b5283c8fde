//! What a shim leaves in its folder: `shim.json` while the program runs, `exit.json` once it ended.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// File of the [`Record`].
pub(super) const SHIM: &str = "shim.json";
/// File of the [`Exit`].
pub(super) const EXIT: &str = "exit.json";
/// File the shim's stderr goes to.
pub(super) const COMPLAINTS: &str = "shim.err";

/// `shim.json`: enough to find the program again after the agent was restarted, and never to mistake another
/// process for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `/proc/sys/kernel/random/boot_id` when it was written.
    pub boot_id: String,
    /// The program, which leads a session and a process group of this id.
    pub pid: u32,
    /// When the program started, in clock ticks since boot.
    pub pid_start_time: u64,
    /// The shim.
    pub shim_pid: u32,
    /// When the shim started, in clock ticks since boot.
    pub shim_start_time: u64,
    /// How often the program was started, from 1.
    pub generation: u32,
    /// When the program was started.
    pub started_at: jiff::Timestamp,
    /// Its control groups.
    #[serde(default)]
    pub groups: super::limits::Groups,
}

/// `exit.json`: how the program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Code, signal or unknown.
    #[serde(flatten)]
    pub ending: Ending,
    /// When.
    pub at: jiff::Timestamp,
    /// Which start of the program this was the end of, from 1.
    pub generation: u32,
    /// The kernel killed a process of it for want of memory.
    #[serde(default)]
    pub oom: bool,
}

/// The way a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It exited with this code.
    Code(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// It ended while no shim was its parent, so nobody was told how.
    Unknown,
}

impl Exit {
    /// The code as a shell tells it: 128 + signal when killed, 255 when unknown.
    pub fn code(&self) -> i32 {
        match self.ending {
            Ending::Code(code) => code,
            Ending::Signal(signal) => 128 + signal,
            Ending::Unknown => 255,
        }
    }

    /// It exited with 0.
    pub fn success(&self) -> bool {
        self.ending == Ending::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.ending {
            Ending::Code(code) => write!(f, "exited with code {code}")?,
            Ending::Signal(signal) => match nix::sys::signal::Signal::try_from(signal) {
                Ok(name) => write!(f, "was killed by {name}")?,
                Err(_) => write!(f, "was killed by signal {signal}")?,
            },
            Ending::Unknown => write!(f, "ended unseen")?,
        }
        if self.oom {
            write!(f, ": it used more memory than its limit")?;
        }
        Ok(())
    }
}

/// Replaces a file so that a reader sees the old or the new content, whole, also after a power cut.
pub(super) fn write(folder: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let draft = folder.join(format!("{name}.draft"));
    let mut file = fs::File::create(&draft)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&draft, folder.join(name))?;
    fs::File::open(folder)?.sync_all()
}

/// Bytes set aside for a record that must be written even when the disk is full: the end of a program.
const RESERVED: usize = 512;
/// Where they are.
const RESERVE: &str = "reserve";

/// Sets room aside for [`write_reserved`].
pub(super) fn reserve(folder: &Path) -> io::Result<()> {
    let mut file = fs::File::create(folder.join(RESERVE))?;
    file.write_all(&[b' '; RESERVED])?;
    file.sync_all()
}

/// Like [`write`], into room that was set aside, so that a full disk is no obstacle.
pub(super) fn write_reserved(folder: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let mut json = serde_json::to_vec(value)?;
    json.resize(json.len().max(RESERVED), b' ');
    let reserve = folder.join(RESERVE);
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&reserve)?;
    file.write_all(&json)?;
    file.sync_all()?;
    fs::rename(&reserve, folder.join(name))?;
    fs::File::open(folder)?.sync_all()
}

/// Reads a file that [`write`] or [`write_reserved`] wrote; `None` when there is none.
pub(super) fn find<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
