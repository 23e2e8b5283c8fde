//! The whole way from a stack to a release, and the types its steps share.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use stack::{AppName, FolderSource, Problem, ReleaseId, Resolved, ResourceName};

use crate::{BuildError, Manifest, Record, Store, compile, pack, scan::Found, verify};

/// How to build.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Run every build command even when nothing changed since it last ran.
    pub rebuild: bool,
    /// Fail with `Stale` instead of running a build command.
    pub only_fresh: bool,
    /// Variables for build commands, on top of this process's own. Never recorded; a change makes commands run again.
    pub env: BTreeMap<String, String>,
    /// Values removed from all output, events and errors: the secrets among `env`.
    pub secrets: Vec<String>,
    /// Commands and threads at a time, at least 1. Commands whose folders overlap never run together.
    pub jobs: usize,
    /// Ends a build command that runs longer; `None`: no limit.
    pub timeout: Option<Duration>,
    /// Asks the build to stop.
    pub stop: Stop,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            rebuild: false,
            only_fresh: false,
            env: BTreeMap::new(),
            secrets: Vec::new(),
            jobs: std::thread::available_parallelism().map_or(2, usize::from),
            timeout: None,
            stop: Stop::default(),
        }
    }
}

/// A request to stop, shared with whoever listens for Ctrl-C: all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for it: running commands and all they started are ended, and the build fails with `Stopped`.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked for.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Which of a command's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a build tells while it goes on. `wanted` names the resources it is for, as in `service.api, job.match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// Another build has the project or the store; this one waits for it.
    Waiting {
        /// Who, as `user@machine, process 123`; empty when that is not known.
        holder: String,
    },
    /// Nothing changed since the command last ran, so it is left out.
    Unchanged {
        /// For whom.
        wanted: String,
    },
    /// A command starts.
    Started {
        /// For whom.
        wanted: String,
        /// The command line.
        command: String,
        /// Where, relative to the stack file.
        folder: String,
    },
    /// One line of a command's output, secrets removed, without its line end.
    Output {
        /// For whom.
        wanted: String,
        /// Where it came from.
        stream: Stream,
        /// The line.
        line: String,
    },
    /// A command ended well.
    Finished {
        /// For whom.
        wanted: String,
        /// How long it took.
        took: Duration,
    },
    /// The release is being written to the store.
    Packing {
        /// Files of the release.
        files: usize,
        /// Bytes that the store does not have yet.
        new_bytes: u64,
    },
}

/// A release in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// Which.
    pub release: ReleaseId,
    /// Its record; of its first build when it was built before.
    pub record: Record,
    /// Whether this build made it.
    pub is_new: bool,
}

/// What the build commands left, looked at and digested, but not yet verified or packed.
///
/// Holds the project's build lock: no other build changes these files until it is packed or dropped.
#[derive(Debug)]
pub struct Compiled {
    pub(crate) app: AppName,
    pub(crate) version: Option<String>,
    pub(crate) stack_text: String,
    pub(crate) project: PathBuf,
    pub(crate) trees: Vec<(FolderSource, Vec<Found>)>,
    pub(crate) sites: Vec<SiteFiles>,
    pub(crate) migrations: BTreeMap<ResourceName, Vec<Found>>,
    pub(crate) images: BTreeMap<String, String>,
    pub(crate) carried: BTreeMap<String, Vec<Found>>,
    /// What they were exported to.
    pub(crate) _exported: Vec<tempfile::TempDir>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) previous: Option<Manifest>,
    pub(crate) ran: usize,
    pub(crate) _lock: File,
}

/// The release that a build would give, when no build command would have to run and it was packed before. Changes
/// nothing, and waits for nobody but another build of the same project.
pub fn peek(resolved: &Resolved, stack_text: &str, project: &Path, store: &Store) -> Option<Record> {
    let options = BuildOptions { only_fresh: true, ..BuildOptions::default() };
    let compiled = compile(resolved, stack_text, project, store, &options, &mut |_| {}).ok()?;
    verify(&compiled).ok()?;
    let id = pack::manifest(&compiled).id();
    store.find(&compiled.app, id.as_str()).ok()
}

/// The files of one site.
#[derive(Debug)]
pub(crate) struct SiteFiles {
    pub(crate) name: ResourceName,
    pub(crate) source: FolderSource,
    pub(crate) hashed: bool,
    pub(crate) files: Vec<Found>,
}

impl Compiled {
    /// How many build commands ran; 0 when nothing had changed.
    pub fn commands_run(&self) -> usize {
        self.ran
    }
}

/// Builds, verifies and packs a release: `project` is the stack file's folder, `stack_text` the file's text.
///
/// Fails with `Command` when a build command fails, `Problems` when what it left is not what the stack declares,
/// `DiskFull` when there is no room. After a failure the store is as it was (S4.E1).
pub fn build(
    resolved: &Resolved,
    stack_text: &str,
    project: &Path,
    store: &Store,
    options: &BuildOptions,
    events: &mut dyn FnMut(BuildEvent),
) -> Result<Built, BuildError> {
    let compiled = compile(resolved, stack_text, project, store, options, events)?;
    verify(&compiled)?;
    pack(compiled, store, options, events)
}
