//! One run of a job or function: attempts, waits between them, its time limit. An agent that is restarted finds runs
//! that go on and neither kills nor repeats them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stack::{Command, ResourceRef, Revision, Source};
use tokio_util::sync::CancellationToken;

use crate::{
    adoption, bindings,
    claims::{self, Answer, Claim},
    command, container,
    environment::Environment,
    error::Error,
    files,
    functions::CloudEvent,
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
pub(crate) const PAST_LIMIT: i32 = 124;

/// Largest answer of a run, in bytes.
pub(crate) const LARGEST_ANSWER: u64 = 32 << 20;
/// How often its size is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Names of files in the folder of a run.
const RECORD: &str = "run.json";
const EVENT: &str = "event.json";
const ANSWER: &str = "answer";

/// `run.json` of a run that goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Active {
    /// As it is listed.
    pub(crate) run: Run,
    /// What it is a run of.
    pub(crate) of: ResourceRef,
    /// The release it runs in.
    pub(crate) revision: Revision,
    /// Why it runs.
    #[serde(default)]
    pub(crate) cause: Cause,
    /// What this host claimed it with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claim: Option<Claim>,
}

/// Who waits for the end of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// The schedule.
    #[default]
    Schedule,
    /// The log of a source has an event of this number.
    Delivery {
        /// As in `topic.orders`.
        source: ResourceRef,
        /// In its log.
        number: u64,
    },
    /// Somebody who asked once: a visitor, a broker, a person.
    Asked,
}

/// Everything a run needs.
#[derive(Clone)]
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
    /// Why it runs.
    pub(crate) cause: Cause,
    /// The event it is for.
    pub(crate) event: Option<Arc<CloudEvent>>,
    /// Its standard output is an answer and not a log.
    pub(crate) answers: bool,
    /// What this host claimed it with, where there are several.
    pub(crate) claim: Option<Claim>,
}

/// A run that an agent before this one began.
pub(crate) struct Left {
    folder: PathBuf,
    active: Active,
    adopted: Adopted,
}

impl Left {
    /// What it is a run of.
    pub(crate) fn of(&self) -> &ResourceRef {
        &self.active.of
    }

    /// The release it runs in.
    pub(crate) fn revision(&self) -> &Revision {
        &self.active.revision
    }

    /// Why it runs.
    pub(crate) fn cause(&self) -> &Cause {
        &self.active.cause
    }

    /// What this host claimed it with.
    pub(crate) fn claim(&self) -> Option<&Claim> {
        self.active.claim.as_ref()
    }
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Exit code.
    pub(crate) code: i32,
    /// Its standard output, when that is an answer.
    pub(crate) answer: Vec<u8>,
    /// Nobody knows how far it was: an agent, or the whole host, went away while it began or ran.
    pub(crate) lost: bool,
}

/// Runs that were going on when the agent ended and whose cause `wanted` accepts.
pub(crate) async fn find_left(environment: &Environment, wanted: impl Fn(&Cause) -> bool) -> Vec<Left> {
    let list = std::fs::read_dir(environment.folder.join("tasks")).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for folder in list.map(|entry| entry.path()) {
        let Ok(Some(active)) = files::find_json::<Active>(&folder.join(RECORD), "") else { continue };
        if wanted(&active.cause) {
            let adopted = adoption::adopt(&folder).await.unwrap_or(Adopted::Gone);
            found.push(Left { folder, active, adopted });
        }
    }
    found
}

/// The wait before attempt `attempt`, from 2 on.
pub(crate) fn wait_before(attempt: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << attempt.saturating_sub(2).min(16)).min(LONGEST_WAIT)
}

/// A name for a run of a job or function.
pub(crate) fn id(name: &ResourceRef) -> String {
    run::id(&format!("{}-{}", name.kind, name.name))
}

impl Job {
    fn command(&self) -> Result<&Command, Error> {
        self.loaded
            .command(&self.name)
            .ok_or_else(|| Error::failed(format!("release {} has no `{}`", self.loaded.revision.release, self.name)))
    }

    /// Runs until it succeeds, its attempts are used up, or another takes its place.
    pub(crate) async fn run(self, id: String, mut left: Option<Left>) {
        let first = self.claim.as_ref().map_or(1, |claim| claim.attempt);
        let mut attempt = left.as_ref().map_or(first, |left| left.active.run.attempt);
        let mut id = Some(id);
        loop {
            let done = match left.take() {
                Some(left) => self.go_on(left).await,
                None => self.attempt(attempt, id.take().unwrap_or_else(|| self::id(&self.name))).await,
            };
            if self.tell(attempt, &done) {
                break;
            }
            let retries = self.command().map_or(0, |command| command.retries);
            let tried = attempt - first.min(attempt) + 1;
            if tried > retries || self.replaced.is_cancelled() {
                break;
            }
            attempt += 1;
            tokio::select! {
                () = tokio::time::sleep(wait_before(tried + 1)) => {}
                () = self.replaced.cancelled() => break,
            }
            if !self.is_ours().await {
                self.prune();
                return;
            }
        }
        if let Some(claim) = &self.claim {
            claims::end(&self.environment, claim).await;
        }
        self.prune();
    }

    /// Whether no other host took it over, because this one was silent for long.
    async fn is_ours(&self) -> bool {
        let (Some(claim), Some(membership)) = (&self.claim, self.environment.membership()) else { return true };
        let answer = claims::claim(&self.environment, &membership, claim).await;
        match answer {
            Ok(Answer::Taken(by)) => {
                tracing::warn!(scope = %self.environment.scope, job = %self.name, "left to {}, which took it over", by.host);
                false
            }
            // Cut off from the others it goes on: a job runs at least once.
            Ok(Answer::Ours | Answer::Silence) | Err(_) => true,
        }
    }

    /// Writes into the agent's log how an attempt ended. Whether it succeeded.
    pub(crate) fn tell(&self, attempt: u32, done: &Result<Ended, Error>) -> bool {
        let scope = &self.environment.scope;
        match done {
            Ok(Ended { code: 0, .. }) => return true,
            Ok(Ended { code, .. }) => tracing::warn!(%scope, job = %self.name, attempt, code, "failed"),
            Err(error) => tracing::warn!(%scope, job = %self.name, attempt, "not run: {error}"),
        }
        false
    }

    /// Removes the oldest output of runs that are gone.
    pub(crate) fn prune(&self) {
        let environment = self.environment.clone();
        drop(tokio::task::spawn_blocking(move || environment.prune_logs()));
    }

    fn is_container(&self) -> bool {
        let source = self.command().and_then(|command| self.loaded.command_source(command));
        source.is_ok_and(|source| !matches!(source, Source::Folder(_)))
    }

    /// Runs once, to the end.
    pub(crate) async fn attempt(&self, attempt: u32, id: String) -> Result<Ended, Error> {
        let folder = self.environment.folder.join("tasks").join(&id);
        let run = Run {
            name: self.name.to_string(),
            started_at: Timestamp::now(),
            millis: None,
            code: None,
            attempt,
            id: id.clone(),
            event: self.event.as_ref().map(|event| event.id.clone()),
            host: self.environment.membership().map(|membership| membership.me.clone()),
        };
        let revision = self.loaded.revision.clone();
        let (cause, claim) = (self.cause.clone(), self.claim.clone());
        let active = Active { run, of: self.name.clone(), revision, cause, claim };
        let started = async {
            files::make_folder(&folder)?;
            if let Some(event) = &self.event {
                files::replace_lightly(&folder.join(EVENT), event.as_ref())?;
            }
            // Nobody repeats what somebody asked for once: then it need not outlive a power cut.
            let record = folder.join(RECORD);
            match self.cause {
                Cause::Asked => files::replace_lightly(&record, &active)?,
                Cause::Schedule | Cause::Delivery { .. } => files::replace_json(&record, &active)?,
            }
            self.start(&id, &folder).await
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

    async fn start(&self, id: &str, folder: &Path) -> Result<Running, Error> {
        let command = self.command()?;
        let environment = &self.environment;
        let place = environment.place(&self.loaded.revision);
        let mut bound = bindings::of_command(&environment.scope, &self.loaded, command, &place)?;
        bound.env.insert("SLIPWAY_INSTANCE".to_owned(), id.to_owned());
        let event = self.event.as_ref().map(|event| (folder.join(EVENT), event.variables()));
        let stdin = event.map(|(path, variables)| {
            bound.env.extend(variables);
            bound.env.insert("SLIPWAY_EVENT".to_owned(), path.display().to_string());
            path
        });
        let mut program = Program {
            id,
            source: self.name.to_string(),
            argv: command::parse(&command.run)?,
            cwd: PathBuf::new(),
            bound,
            size: Some(&command.size),
            log_folder: environment.logs(&self.name.name),
            stdin,
            stdout: self.answers.then(|| folder.join(ANSWER)),
        };
        let shared = self.loaded.host_service(command).map(|service| &service.env);
        let own: Vec<_> = shared.into_iter().chain([&command.env]).collect();
        let source = self.loaded.command_source(command)?;
        if let Some(image) = self.loaded.image(source)? {
            container::ready(&self.loaded, image).await?;
        }
        program.enter(environment, &self.loaded, source, &own)?;
        run::start(&self.host, environment, program).await
    }

    /// Waits for the end of a run that an agent before this one began.
    pub(crate) async fn go_on(&self, left: Left) -> Result<Ended, Error> {
        let Left { folder, active, adopted } = left;
        let (code, lost) = match adopted {
            Adopted::Running(running) => {
                tracing::info!(scope = %self.environment.scope, job = %self.name, pid = running.pid(), "still runs");
                return self.until_end(&folder, active, &running).await;
            }
            Adopted::Ended(exit) => (exit.code(), false),
            Adopted::Orphaned(orphan) => {
                let stopped = orphan.stop(Duration::from_secs(10)).await;
                (stopped.map_err(|error| Error::failed(error.to_string()))?.code(), true)
            }
            Adopted::Gone => (255, true),
        };
        self.sweep().await;
        self.record(&folder, active.run, code);
        Ok(Ended { code, answer: Vec::new(), lost })
    }

    /// The engine's client may have been killed and left the container behind.
    async fn sweep(&self) {
        if self.is_container() {
            container::sweep(&self.environment).await;
        }
    }

    /// Waits for its end, its time limit, or the wish of another to take its place.
    async fn until_end(&self, folder: &Path, active: Active, running: &Running) -> Result<Ended, Error> {
        let limit = self.command().map_or(Duration::from_hours(1), |command| command.timeout.0);
        let gone = Duration::try_from(Timestamp::now().duration_since(active.run.started_at)).unwrap_or_default();
        let answer = folder.join(ANSWER);
        let too_much = async {
            while !self.answers || std::fs::metadata(&answer).is_ok_and(|file| file.len() <= LARGEST_ANSWER) {
                tokio::time::sleep(LOOK).await;
            }
        };
        let ended = tokio::select! {
            ended = run::end(running, Some(limit.saturating_sub(gone))) => ended,
            () = self.replaced.cancelled() => run::end(running, Some(Duration::ZERO)).await,
            () = too_much => {
                tracing::warn!(scope = %self.environment.scope, job = %self.name, "ended: its answer is larger than {LARGEST_ANSWER} bytes");
                run::end(running, Some(Duration::ZERO)).await
            }
        };
        self.sweep().await;
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
        let answer = if self.answers && code == 0 { std::fs::read(&answer).unwrap_or_default() } else { Vec::new() };
        self.record(folder, active.run, code);
        Ok(Ended { code, answer, lost: false })
    }

    fn record(&self, folder: &Path, run: Run, code: i32) {
        let took = Timestamp::now().duration_since(run.started_at).as_millis();
        let run = Run { millis: Some(u64::try_from(took).unwrap_or(0)), code: Some(code), ..run };
        let kept = self.environment.history.add(run).and_then(|()| files::remove_folder(folder));
        self.environment.trouble(&format!("runs of {}", self.name), kept.err().map(|error| error.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let waits: Vec<u64> = (2..13).map(|attempt| wait_before(attempt).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }
}
