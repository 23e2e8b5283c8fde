//! What a shim is asked to run.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// Everything a shim needs to know. It travels as JSON over the shim's stdin and is never written to disk or put
/// into an argument: it holds secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Program and arguments. A program without a slash is searched in the `PATH` of `env`; one with a slash is
    /// relative to `cwd`.
    pub argv: Vec<String>,
    /// The complete environment. Nothing is inherited but defaults for `PATH`, `HOME`, `LANG` and `TZ`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Working folder.
    pub cwd: PathBuf,
    /// What the output belongs to, as in `service.api`; no slash, no `@`.
    pub source: String,
    /// The instance, as in `api-3f9c2a1b-1`; no slash.
    pub instance: String,
    /// Where the output goes, absolute. Several shims may share it: each writes files named after its instance.
    pub log_folder: PathBuf,
    /// Size at which a log file is closed and the next begun.
    #[serde(default = "default_segment_bytes")]
    pub log_segment_bytes: u64,
    /// How many log files are kept per instance, the current one included; at least 1.
    #[serde(default = "default_segments")]
    pub log_segments: u32,
    /// Values that must never reach a log.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Milliseconds between TERM and KILL when nobody says otherwise.
    #[serde(default = "default_stop_ms")]
    pub stop_ms: u64,
    /// What the program is told first when it is to end.
    #[serde(default)]
    pub stop_signal: StopSignal,
    /// The user the program runs as, with its groups; only the superuser may choose one. `None`: the shim's own.
    #[serde(default)]
    pub user: Option<String>,
    /// A folder the program finds at [`HANDED_FOLDER`], also when its user may not enter those above it.
    #[serde(default)]
    pub hand: Option<PathBuf>,
    /// A file the program reads as its standard input; `None`: there is nothing to read.
    #[serde(default)]
    pub stdin: Option<PathBuf>,
    /// A file that takes the program's standard output as it is, in place of the log. Made when it is missing.
    #[serde(default)]
    pub stdout: Option<PathBuf>,
    /// Start the program again when it ends by itself with anything but 0.
    #[serde(default)]
    pub keep: bool,
    /// Control socket of an older shim whose listening sockets are taken over first.
    #[serde(default)]
    pub inherit: Option<PathBuf>,
    /// What the program may use.
    #[serde(default)]
    pub limits: Limits,
    /// The program starts shims of its own, which outlive it: the agent under its keeper. Only its process group is
    /// ended with it, and it gets no control group.
    #[serde(default)]
    pub starts_shims: bool,
    /// Name of its control group below the agent's, as in `jobsprint-production/api-3f9c2a1b-1` (slashes become
    /// dashes); `None` makes up one from the instance and its folder.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
}

impl Spec {
    /// A spec with an empty environment, 5 log files of 8 MiB, 10 s to stop, no limits, not kept.
    pub fn new(
        argv: impl IntoIterator<Item = impl Into<String>>,
        cwd: impl Into<PathBuf>,
        source: impl Into<String>,
        instance: impl Into<String>,
        log_folder: impl Into<PathBuf>,
    ) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: BTreeMap::new(),
            cwd: cwd.into(),
            source: source.into(),
            instance: instance.into(),
            log_folder: log_folder.into(),
            log_segment_bytes: default_segment_bytes(),
            log_segments: default_segments(),
            secrets: Vec::new(),
            stop_ms: default_stop_ms(),
            stop_signal: StopSignal::default(),
            user: None,
            hand: None,
            stdin: None,
            stdout: None,
            keep: false,
            inherit: None,
            limits: Limits::default(),
            starts_shims: false,
            cgroup: None,
        }
    }

    /// Time between TERM and KILL.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.stop_ms)
    }
}

impl std::fmt::Debug for Spec {
    /// Shows what is run, never the values it is run with.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spec")
            .field("argv", &self.argv)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("cwd", &self.cwd)
            .field("source", &self.source)
            .field("instance", &self.instance)
            .field("log_folder", &self.log_folder)
            .field("secrets", &self.secrets.len())
            .field("stop_ms", &self.stop_ms)
            .field("user", &self.user)
            .field("keep", &self.keep)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Where a program finds the folder its spec hands it. Source: `proc_pid_fd(5)`.
pub const HANDED_FOLDER: &str = "/proc/self/fd/10";

/// The descriptor behind [`HANDED_FOLDER`].
pub(super) const HANDED: i32 = 10;

/// What a program is told first when it is to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopSignal {
    /// TERM.
    #[default]
    Terminate,
    /// INT: what some servers take for an end that does not wait for their clients.
    Interrupt,
}

/// What a program may use; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, all its processes together.
    #[serde(default)]
    pub memory: Option<u64>,
    /// Thousandths of one processor core.
    #[serde(default)]
    pub cpu_millis: Option<u32>,
    /// Open files of each process.
    #[serde(default)]
    pub open_files: Option<u64>,
}

/// The few variables a program gets although its spec does not name them.
pub(super) fn inherited(find: impl Fn(&str) -> Option<String>) -> impl Iterator<Item = (&'static str, String)> {
    const DEFAULTS: [(&str, Option<&str>); 4] = [
        ("PATH", Some("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")),
        ("HOME", Some("/")),
        ("LANG", Some("C.UTF-8")),
        ("TZ", None),
    ];
    DEFAULTS
        .into_iter()
        .filter_map(move |(name, default)| Some((name, find(name).or_else(|| default.map(str::to_owned))?)))
}

fn default_segment_bytes() -> u64 {
    8 << 20
}

fn default_segments() -> u32 {
    5
}

fn default_stop_ms() -> u64 {
    10_000
}
