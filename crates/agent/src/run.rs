//! Programs that run to their end under a shim: commands, foreign migrations, jobs.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use stack::{Size, Source};

use crate::{
    adoption,
    bindings::Bound,
    container,
    environment::Environment,
    error::Error,
    files,
    host::Host,
    revision::Loaded,
    shim::{self, Adopted, Exit, Running, Spec, Waited},
    tenant,
};

/// Bytes of output that are kept of a task.
const KEPT_OUTPUT: usize = 64 << 10;

/// Between TERM and KILL.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// A program to run.
pub(crate) struct Program<'a> {
    /// Unique name of the run, as in `run-1a2b3c`; its folder below `tasks`.
    pub(crate) id: &'a str,
    /// What its output belongs to, as in `service.api`.
    pub(crate) source: String,
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// Working folder.
    pub(crate) cwd: PathBuf,
    /// Its environment.
    pub(crate) bound: Bound,
    /// Its limits.
    pub(crate) size: Option<&'a Size>,
    /// Where its output goes.
    pub(crate) log_folder: PathBuf,
    /// A file it reads as its standard input.
    pub(crate) stdin: Option<PathBuf>,
    /// A file that takes its standard output in place of the log.
    pub(crate) stdout: Option<PathBuf>,
}

impl Program<'_> {
    /// Lets it run in the files of `source`, or in a container of its image. `own` are the tables of variables that
    /// the application chose. Whether it is a container.
    pub(crate) fn enter(
        &mut self,
        environment: &Environment,
        loaded: &Loaded,
        source: &Source,
        own: &[&BTreeMap<String, String>],
    ) -> Result<bool, Error> {
        match loaded.image(source)? {
            Some(image) => container::enter(environment, loaded, image, own, self)?,
            None => self.cwd = loaded.files(source)?.into(),
        }
        Ok(!matches!(source, Source::Folder(_)))
    }
}

/// Starts a program. It goes on when the agent ends.
pub(crate) async fn start(host: &Host, environment: &Environment, program: Program<'_>) -> Result<Running, Error> {
    // A container's program is the engine's client, which works in the folder of data.
    let contained = program.cwd == environment.data();
    let mut spec = Spec::new(program.argv, program.cwd, program.source, program.id, program.log_folder);
    spec.env = program.bound.env;
    spec.secrets = program.bound.secrets;
    (spec.stdin, spec.stdout) = (program.stdin, program.stdout);
    spec.stop_ms = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
    if let Some(size) = program.size {
        spec.limits.memory = size.memory.map(|memory| memory.max.0);
        spec.limits.cpu_millis = size.cpu.map(|cpu| cpu.max.0);
    }
    if !contained {
        spec.user = tenant::ensure(host, environment).await?;
        if let (Some(user), Some(file)) = (&spec.user, &spec.stdin) {
            tenant::show(user, file)?;
        }
    }
    let folder = environment.folder.join("tasks").join(program.id);
    shim::start(&host.binary, &folder, &spec).await.map_err(|error| Error::failed(error.to_string()))
}

/// Waits for the end of a program, however its shim fares. One that takes longer than `timeout` is ended.
pub(crate) async fn end(running: &Running, timeout: Option<Duration>) -> Result<(Exit, bool), Error> {
    let failed = |error: shim::ShimError| Error::failed(error.to_string());
    let waited = match timeout {
        Some(timeout) => match tokio::time::timeout(timeout, running.wait()).await {
            Ok(waited) => waited,
            Err(_) => return Ok((running.stop(GRACE).await.map_err(failed)?, true)),
        },
        None => running.wait().await,
    };
    match waited.map_err(failed)? {
        Waited::Ended(exit) => Ok((exit, false)),
        // Without its shim nobody can tell how it ends.
        Waited::Orphaned(orphan) => Ok((orphan.stop(GRACE).await.map_err(failed)?, false)),
    }
}

/// Runs a program and returns its exit code and its redacted output, at most the last 64 KiB.
pub(crate) async fn to_end(
    host: &Host,
    environment: &Environment,
    mut program: Program<'_>,
) -> Result<(i32, String), Error> {
    let folder = environment.folder.join("tasks").join(program.id);
    program.log_folder = folder.join("log");
    let log = program.log_folder.clone();
    let running = start(host, environment, program).await;
    let ended = match &running {
        Ok(running) => end(running, None).await,
        Err(_) => Err(Error::failed("it was not started")),
    };
    let output = output(&log);
    files::remove_folder(&folder)?;
    running?;
    Ok((ended?.0.code(), output))
}

/// The output in a folder as one text, at most its last 64 KiB.
pub(crate) fn output(folder: &Path) -> String {
    let lines = crate::log::read(folder, 20_000).unwrap_or_default();
    let mut kept = 0;
    let mut first = lines.len();
    while first > 0 && kept + lines[first - 1].line.len() < KEPT_OUTPUT {
        first -= 1;
        kept += lines[first].line.len() + 1;
    }
    let mut text = String::with_capacity(kept);
    for line in &lines[first..] {
        text.push_str(&line.line);
        text.push('\n');
    }
    text
}

/// A name for a run that no other has.
pub(crate) fn id(stem: &str) -> String {
    format!("{stem}-{:012x}", rand::random::<u64>() >> 16)
}

/// Tasks that were at work when the agent ended: one that changes databases is waited for before the next such.
pub(crate) async fn finish_left(environment: Arc<Environment>) {
    let Ok(list) = std::fs::read_dir(environment.folder.join("tasks")) else { return };
    for path in list.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("job-") || name.starts_with("function-") {
            continue;
        }
        let left = match adoption::adopt(&path).await {
            Ok(Adopted::Running(running)) => Some(running),
            Ok(Adopted::Orphaned(orphan)) => {
                drop(orphan.stop(GRACE).await);
                None
            }
            _ => None,
        };
        let Some(running) = left else {
            drop(files::remove_folder(&path));
            continue;
        };
        tracing::info!(scope = %environment.scope, task = name, "is still at work");
        let environment = environment.clone();
        // Taken at once, before the API answers anybody.
        let held = name.starts_with("migrate-");
        tokio::spawn(async move {
            let guard = if held { environment.databases.try_lock().ok() } else { None };
            drop(end(&running, None).await);
            drop(guard);
            drop(files::remove_folder(&path));
        });
        tokio::task::yield_now().await;
    }
}
