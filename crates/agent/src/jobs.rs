//! One run of a job or function: attempts, waits between them, its time limit. An agent that is restarted finds runs
//! that go on and neither kills nor repeats them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stack::{Command, ResourceRef, Revision, Source};
use tokio_util::sync::CancellationToken;

use crate::{
    adoption, bindings, command, container,
    environment::Environment,
    error::Error,
    files, history,
    host::Host,
    protocol::Run,
    revision::Loaded,
    run::{self, Program},
    shim::{Adopted, Running},
};

/// Wait before the second attempt; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Code of a run that its time limit ended, as `timeout(1)` has it.
const PAST_LIMIT: i32 = 124;

/// `run.json` of a run that goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Active {
    /// As it is listed.
    pub(crate) run: Run,
    /// What it is a run of.
    pub(crate) of: ResourceRef,
    /// The release it runs in.
    pub(crate) revision: Revision,
}

/// Everything a run needs.
pub(crate) struct Job {
    /// The host.
    pub(crate) host: Arc<Host>,
    /// Where it belongs.
    pub(crate) environment: Arc<Environment>,
    /// The release it runs in, to its end.
    pub(crate) loaded: Arc<Loaded>,
    /// Which job or function.
    pub(crate) name: ResourceRef,
    /// Cancelled when a newer run takes its place.
    pub(crate) replaced: CancellationToken,
}

/// A run that an agent before this one began.
pub(crate) struct Left {
    folder: PathBuf,
    active: Active,
    adopted: Adopted,
}

/// Runs that were going on when the agent ended, by what they are runs of.
pub(crate) async fn find_left(environment: &Environment) -> Vec<(ResourceRef, Revision, Left)> {
    let list = std::fs::read_dir(environment.folder.join("tasks")).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for folder in list.map(|entry| entry.path()) {
        let Ok(Some(active)) = files::find_json::<Active>(&folder.join("run.json"), "") else { continue };
        let adopted = adoption::adopt(&folder).await.unwrap_or(Adopted::Gone);
        found.push((active.of.clone(), active.revision.clone(), Left { folder, active, adopted }));
    }
    found
}

impl Job {
    fn command(&self) -> Result<&Command, Error> {
        self.loaded
            .command(&self.name)
            .ok_or_else(|| Error::failed(format!("release {} has no `{}`", self.loaded.revision.release, self.name)))
    }

    /// Runs until it succeeds, its attempts are used up, or another takes its place.
    pub(crate) async fn run(self, mut left: Option<Left>) {
        let mut attempt = left.as_ref().map_or(1, |left| left.active.run.attempt);
        let mut wait = FIRST_WAIT;
        loop {
            let done = match left.take() {
                Some(left) => self.go_on(left).await,
                None => self.attempt(attempt).await,
            };
            if self.is_container() {
                // Its client may have been killed and left the container behind.
                container::sweep(&self.environment).await;
            }
            let scope = &self.environment.scope;
            match done {
                Ok(0) => break,
                Ok(code) => tracing::warn!(%scope, job = %self.name, attempt, code, "failed"),
                Err(error) => tracing::warn!(%scope, job = %self.name, attempt, "not run: {error}"),
            }
            let retries = self.command().map_or(0, |command| command.retries);
            if attempt > retries || self.replaced.is_cancelled() {
                break;
            }
            attempt += 1;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.replaced.cancelled() => break,
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        let environment = self.environment.clone();
        drop(tokio::task::spawn_blocking(move || environment.prune_logs()));
    }

    fn is_container(&self) -> bool {
        let source = self.command().and_then(|command| self.loaded.command_source(command));
        source.is_ok_and(|source| !matches!(source, Source::Folder(_)))
    }

    async fn attempt(&self, attempt: u32) -> Result<i32, Error> {
        let id = run::id(&format!("{}-{}", self.name.kind, self.name.name));
        let folder = self.environment.folder.join("tasks").join(&id);
        let began = Timestamp::now();
        let run = Run { name: self.name.to_string(), started_at: began, millis: None, code: None, attempt };
        let active = Active { run, of: self.name.clone(), revision: self.loaded.revision.clone() };
        let started = async {
            files::make_folder(&folder)?;
            files::replace_json(&folder.join("run.json"), &active)?;
            self.start(&id).await
        };
        let running = match started.await {
            Ok(running) => running,
            Err(error) => {
                // It counts as a run that failed at once: a shell says 127 of a program it cannot start.
                self.record(&folder, active.run, 127);
                return Err(error);
            }
        };
        tracing::info!(scope = %self.environment.scope, job = %self.name, attempt, pid = running.pid(), "began");
        self.until_end(&folder, active, &running).await
    }

    async fn start(&self, id: &str) -> Result<Running, Error> {
        let command = self.command()?;
        let environment = &self.environment;
        let place = environment.place(&self.loaded.revision);
        let mut bound = bindings::of_command(&environment.scope, &self.loaded, command, &place)?;
        bound.env.insert("SLIPWAY_INSTANCE".to_owned(), id.to_owned());
        let mut program = Program {
            id,
            source: self.name.to_string(),
            argv: command::parse(&command.run)?,
            cwd: PathBuf::new(),
            bound,
            size: Some(&command.size),
            log_folder: environment.logs(&self.name.name),
        };
        let shared = self.loaded.host_service(command).map(|service| &service.env);
        let own: Vec<_> = shared.into_iter().chain([&command.env]).collect();
        program.enter(environment, &self.loaded, self.loaded.command_source(command)?, &own)?;
        run::start(&self.host, environment, program).await
    }

    async fn go_on(&self, left: Left) -> Result<i32, Error> {
        let Left { folder, active, adopted } = left;
        match adopted {
            Adopted::Running(running) => {
                tracing::info!(scope = %self.environment.scope, job = %self.name, pid = running.pid(), "still runs");
                self.until_end(&folder, active, &running).await
            }
            Adopted::Ended(exit) => {
                self.record(&folder, active.run, exit.code());
                Ok(exit.code())
            }
            Adopted::Orphaned(orphan) => {
                let exit =
                    orphan.stop(Duration::from_secs(10)).await.map_err(|error| Error::failed(error.to_string()))?;
                self.record(&folder, active.run, exit.code());
                Ok(exit.code())
            }
            Adopted::Gone => {
                self.record(&folder, active.run, 255);
                Ok(255)
            }
        }
    }

    /// Waits for its end, its time limit, or the wish of another to take its place.
    async fn until_end(&self, folder: &std::path::Path, active: Active, running: &Running) -> Result<i32, Error> {
        let limit = self.command().map_or(Duration::from_hours(1), |command| command.timeout.0);
        let gone = Duration::try_from(Timestamp::now().duration_since(active.run.started_at)).unwrap_or_default();
        let ended = tokio::select! {
            ended = run::end(running, Some(limit.saturating_sub(gone))) => ended,
            () = self.replaced.cancelled() => run::end(running, Some(Duration::ZERO)).await,
        };
        let (exit, late) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                self.record(folder, active.run, 255);
                return Err(error);
            }
        };
        if late && !self.replaced.is_cancelled() {
            tracing::warn!(scope = %self.environment.scope, job = %self.name, "ended after its limit of {} s", limit.as_secs());
        }
        // One that was ended has not done its work, whatever it answered TERM with.
        let past_limit = late && !self.replaced.is_cancelled();
        let code = if past_limit || late && exit.code() == 0 { PAST_LIMIT } else { exit.code() };
        self.record(folder, active.run, code);
        Ok(code)
    }

    fn record(&self, folder: &std::path::Path, run: Run, code: i32) {
        let took = Timestamp::now().duration_since(run.started_at).as_millis();
        let run = Run { millis: Some(u64::try_from(took).unwrap_or(0)), code: Some(code), ..run };
        let kept = history::add(&self.environment, run).and_then(|()| files::remove_folder(folder));
        self.environment.trouble(&format!("runs of {}", self.name), kept.err().map(|error| error.to_string()));
    }
}
