//! The life of one instance: started, probed, started again when it ends, drained and stopped when it is not wanted.
//!
//! Each instance has a task of its own, so that nothing that happens to one disturbs another.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use engine::desired::{self, InstanceState};
use stack::{Service, Source};
use tokio_util::sync::CancellationToken;

use crate::{
    adoption,
    backoff::{Backoff, Next},
    buckets,
    container::{self, Inside},
    environment::Environment,
    error::Error,
    files,
    host::Host,
    instance_spec::{self, Record},
    ports::{self, Port},
    probing::{self, Unfit},
    revision::Loaded,
    services,
    shim::{self, Adopted, Running, ShimError, Waited},
    tenant,
};

/// What a host is called where instances are listed.
pub(crate) const HOST_NAME: &str = crate::client::THIS_MACHINE;

/// Lines of output that a failure shows.
const SHOWN_LINES: usize = 20;

/// How long a look for the edge to stop sending visitors may take before the instance is stopped all the same.
const EDGE_PATIENCE: Duration = Duration::from_secs(5);

/// How long between two starts of an instance whose folder or files are in the way.
const TROUBLED: Duration = Duration::from_secs(5);

/// One instance and its past.
pub(crate) struct Life {
    /// The host.
    pub(crate) host: Arc<Host>,
    /// Where it belongs.
    pub(crate) environment: Arc<Environment>,
    /// What it is made from.
    pub(crate) loaded: Arc<Loaded>,
    /// What a restarted agent must know.
    pub(crate) record: Record,
    /// Cancelled once it is not wanted any more.
    pub(crate) leave: CancellationToken,
    port: Port,
    backoff: Backoff,
    /// `record` could not be written.
    unkept: bool,
}

/// What a restarted agent found of an instance.
pub(crate) enum Found {
    /// It runs, and its shim too.
    Running(Running),
    /// It runs without its shim.
    Orphaned(shim::Orphan),
}

/// Why an instance is not watched any more.
enum End {
    /// It is not wanted any more.
    Left,
    /// It ended by itself.
    Exited(String),
    /// It must be ended: it hangs, is too large, or does not become ready.
    Unfit(Unfit),
    /// Its shim was killed.
    Orphaned(shim::Orphan),
}

impl Life {
    /// An instance that begins, or one that was found.
    pub(crate) fn new(
        host: Arc<Host>,
        environment: Arc<Environment>,
        loaded: Arc<Loaded>,
        record: Record,
        port: Port,
    ) -> Self {
        let backoff = Backoff::new(record.proven);
        Self { host, environment, loaded, record, leave: CancellationToken::new(), port, backoff, unkept: false }
    }

    /// Enters it into the environment's list.
    pub(crate) fn enter(&self, found: Option<&Found>) {
        let record = found.map(|found| match found {
            Found::Running(running) => running.record(),
            Found::Orphaned(orphan) => orphan.record(),
        });
        let state = if record.is_some() && self.record.ready { InstanceState::Ready } else { InstanceState::Starting };
        self.environment.enter(desired::Instance {
            id: self.record.id.clone(),
            host: HOST_NAME.to_owned(),
            revision: self.record.revision.clone(),
            service: self.record.service.clone(),
            state,
            restarts: self.record.restarts,
            pid: record.map(|record| record.pid),
            port: Some(self.port.number()),
            started_at: record.map(|record| record.started_at),
            memory: None,
        });
    }

    /// Lives until it is not wanted any more, and then takes everything of it away.
    pub(crate) async fn run(mut self, mut found: Option<Found>) {
        loop {
            // What was found goes on as it was; what is started is asked until it is ready.
            let verdict = found.as_ref().filter(|_| self.record.proven).map(|_| self.record.ready);
            let started = match found.take() {
                Some(Found::Running(running)) => Ok(running),
                Some(Found::Orphaned(orphan)) => self.reshim(&orphan).await,
                None => self.start().await,
            };
            let running = match started {
                Ok(running) => running,
                Err(error) => {
                    if !self.not_started(&error).await {
                        break;
                    }
                    continue;
                }
            };
            let began = Instant::now();
            let end = self.watch(&running, verdict).await;
            let well = if self.record.ready { began.elapsed() } else { Duration::ZERO };
            match end {
                End::Left => {
                    self.depart(&running).await;
                    break;
                }
                End::Orphaned(orphan) => {
                    tracing::warn!(scope = %self.environment.scope, instance = %self.record.id, "its shim was killed; it gets a new one");
                    found = Some(Found::Orphaned(orphan));
                }
                End::Exited(why) => {
                    // Its client may have been killed and left the container behind.
                    self.clear_container().await;
                    if !self.rest(&why, well).await {
                        break;
                    }
                }
                End::Unfit(unfit) => {
                    tracing::warn!(scope = %self.environment.scope, instance = %self.record.id, "stopped: {}", unfit.why);
                    self.end(&running).await;
                    if unfit.hopeless && !self.backoff.proven() {
                        let why = self.with_output(&unfit.why);
                        self.fail(why);
                        self.leave.cancelled().await;
                        break;
                    }
                    if !self.rest(&unfit.why, well).await {
                        break;
                    }
                }
            }
        }
        self.clear_away();
    }

    fn service(&self) -> Result<&Service, Error> {
        self.loaded.service(&self.record.service)
    }

    fn folder(&self) -> PathBuf {
        self.environment.instance_folder(&self.record.id)
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number()))
    }

    fn set(&self, change: impl FnOnce(&mut desired::Instance)) -> u64 {
        self.environment.update(&self.record.id, change)
    }

    /// Writes down what a restarted agent must know.
    fn keep(&mut self) {
        let path = self.folder().join("instance.json");
        let kept = files::make_folder(&self.folder()).and_then(|()| files::replace_lightly(&path, &self.record));
        self.unkept = kept.is_err();
        self.environment.trouble(&format!("instance {}", self.record.id), kept.err().map(|error| error.to_string()));
    }

    /// Whether it is a container and not a process.
    fn is_container(&self) -> bool {
        self.service().is_ok_and(|service| !matches!(service.source, Source::Folder(_)))
    }

    /// Removes what the engine may still have of it, once its client is gone.
    async fn clear_container(&self) {
        if self.is_container()
            && let Err(error) = container::remove(&self.environment, &self.record.id).await
        {
            tracing::warn!(scope = %self.environment.scope, instance = %self.record.id, "{error}");
        }
    }

    async fn start(&mut self) -> Result<Running, Error> {
        let service = &self.record.service;
        services::wait_for_needs(&self.environment, &self.loaded, service, &self.leave).await?;
        buckets::ensure(&self.host, &self.environment, &self.loaded).await?;
        if self.is_container() {
            container::remove(&self.environment, &self.record.id).await?;
            // Preflight brought it; an engine may have lost it since, or this host was away then.
            if let Some(image) = self.loaded.image(&self.service()?.source)? {
                container::ready(&self.loaded, image).await?;
            }
        }
        if !self.port.is_free() {
            // Somebody else listens there since it ended.
            self.port = self.host.ports.take(ports::INSTANCES)?;
        }
        self.record.port = self.port.number();
        self.record.ready = false;
        self.keep();
        self.set(|instance| {
            instance.state = InstanceState::Starting;
            instance.port = Some(self.record.port);
        });
        let spec = self.spec().await?;
        let running = match shim::start(&self.host.binary, &self.folder(), &spec).await {
            // Begun by an agent that was killed while it did so.
            Err(busy @ ShimError::Busy { .. }) => match adoption::adopt(&self.folder()).await {
                Ok(Adopted::Running(running)) => running,
                _ => return Err(refused(&busy)),
            },
            started => started.map_err(|error| refused(&error))?,
        };
        self.started(&running);
        Ok(running)
    }

    /// What its shim is told; a process runs as its application's own user.
    async fn spec(&self) -> Result<shim::Spec, Error> {
        let mut spec = instance_spec::of(&self.environment, &self.loaded, &self.record)?;
        if !self.is_container() {
            spec.user = tenant::ensure(&self.host, &self.environment).await?;
        }
        Ok(spec)
    }

    async fn reshim(&mut self, orphan: &shim::Orphan) -> Result<Running, Error> {
        let spec = self.spec().await?;
        let running = shim::reshim(&self.host.binary, orphan, &spec).await.map_err(|error| refused(&error))?;
        self.started(&running);
        Ok(running)
    }

    fn started(&self, running: &Running) {
        let record = running.record();
        tracing::info!(scope = %self.environment.scope, instance = %self.record.id, pid = record.pid, port = self.record.port, "started");
        self.set(|instance| {
            instance.pid = Some(record.pid);
            instance.started_at = Some(record.started_at);
        });
    }

    /// Probes it until something must be done. Ready or not, an end and the wish to leave are seen at once.
    async fn watch(&mut self, running: &Running, verdict: Option<bool>) -> End {
        let ended = async {
            match running.wait().await {
                Ok(Waited::Ended(exit)) => End::Exited(exit.to_string()),
                Ok(Waited::Orphaned(orphan)) => End::Orphaned(orphan),
                Err(error) => End::Exited(error.to_string()),
            }
        };
        let leave = self.leave.clone();
        let unfit = async {
            match self.loaded.service(&self.record.service) {
                Ok(service) => {
                    let service = service.clone();
                    let address = self.address();
                    let inside = self.is_container().then(|| Inside::new(&self.environment, &self.record, &service));
                    let seen = &mut |state, memory| self.seen(state, memory);
                    probing::watch(running, inside, &service, address, verdict, seen).await
                }
                Err(error) => Unfit { why: error.to_string(), hopeless: true },
            }
        };
        tokio::select! {
            biased;
            () = leave.cancelled() => End::Left,
            end = ended => end,
            unfit = unfit => End::Unfit(unfit),
        }
    }

    /// A probe told something.
    fn seen(&mut self, state: Option<InstanceState>, memory: Option<u64>) {
        if let Some(state) = &state {
            let ready = *state == InstanceState::Ready;
            let first = ready && !self.record.proven;
            if ready {
                self.backoff.ready();
            }
            if first || ready != self.record.ready {
                self.record.proven |= ready;
                self.record.ready = ready;
                self.keep();
                tracing::info!(scope = %self.environment.scope, instance = %self.record.id, "{}", match state {
                    InstanceState::Unready { why } => format!("not ready: {why}"),
                    _ => "ready".to_owned(),
                });
            }
        }
        if self.unkept {
            self.keep();
        }
        self.set(|instance| {
            if let Some(state) = state {
                instance.state = state;
            }
            if memory.is_some() {
                instance.memory = memory;
            }
        });
    }

    /// It could not be started. `false`: it is to leave.
    async fn not_started(&mut self, error: &Error) -> bool {
        tracing::warn!(scope = %self.environment.scope, instance = %self.record.id, "not started: {error}");
        self.fail(error.to_string());
        tokio::select! {
            () = self.leave.cancelled() => false,
            // The reason may go away: a full disk, a missing program.
            () = tokio::time::sleep(TROUBLED) => true,
        }
    }

    /// It ended. Waits as long as its past demands; `false`: it is to leave.
    async fn rest(&mut self, why: &str, well: Duration) -> bool {
        self.record.ready = false;
        self.record.restarts += 1;
        let next = self.backoff.ended(Instant::now(), well, rand::random());
        tracing::warn!(scope = %self.environment.scope, instance = %self.record.id, ?next, "ended: {why}");
        let wait = match next {
            Next::Again(wait) => {
                self.set(|instance| {
                    instance.state = InstanceState::Waiting { why: why.to_owned() };
                    instance.restarts = self.record.restarts;
                    (instance.pid, instance.started_at, instance.memory) = (None, None, None);
                });
                wait
            }
            Next::Loop(wait) => {
                let why = self.with_output(&format!("it ends again and again: {why}"));
                self.fail(why);
                wait
            }
            Next::GiveUp => {
                let why = self.with_output(&format!("it ended before it was ready, three times: {why}"));
                self.fail(why);
                self.leave.cancelled().await;
                return false;
            }
        };
        tokio::select! {
            () = self.leave.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    fn fail(&self, why: String) {
        self.set(|instance| {
            instance.state = InstanceState::Failed { why };
            instance.restarts = self.record.restarts;
            (instance.pid, instance.started_at, instance.memory) = (None, None, None);
        });
    }

    /// A reason with the last lines of its output, which were redacted when they were written.
    fn with_output(&self, why: &str) -> String {
        let folder = self.environment.logs(&self.record.service);
        let Ok(lines) = crate::log::read(&folder, 500) else { return why.to_owned() };
        let own: Vec<&str> =
            lines.iter().filter(|line| line.instance == self.record.id).map(|line| line.line.as_str()).collect();
        if own.is_empty() {
            return format!("{why}; it wrote nothing");
        }
        format!("{why}; its last output:\n{}", own[own.len().saturating_sub(SHOWN_LINES)..].join("\n"))
    }

    /// It is not wanted any more: no new visitors, those it has finish, then it ends.
    async fn depart(&mut self, running: &Running) {
        let (drain, stop) =
            self.service().map_or((Duration::ZERO, Duration::ZERO), |service| (service.drain.0, service.stop.0));
        if self.record.proven {
            let number = self.set(|instance| instance.state = InstanceState::Draining);
            let upstream = crate::traffic::upstream_id(&self.environment.scope, &self.record.id);
            let drained = async {
                if tokio::time::timeout(EDGE_PATIENCE, self.host.edge.applied(number)).await.is_err() {
                    tracing::warn!(scope = %self.environment.scope, instance = %self.record.id, "the edge did not confirm that visitors go elsewhere");
                }
                self.host.edge.drain(&upstream, drain).await;
            };
            tokio::select! {
                () = drained => {}
                _ended = running.wait() => {}
            }
        }
        self.set(|instance| instance.state = InstanceState::Stopping);
        match running.stop(stop).await {
            Ok(exit) => tracing::info!(scope = %self.environment.scope, instance = %self.record.id, "stopped: {exit}"),
            Err(error) => {
                tracing::error!(scope = %self.environment.scope, instance = %self.record.id, "cannot be stopped: {error}");
            }
        }
        self.clear_container().await;
    }

    /// Ends an instance that will be started again.
    async fn end(&self, running: &Running) {
        let stop = self.service().map_or(Duration::ZERO, |service| service.stop.0);
        self.set(|instance| instance.state = InstanceState::Stopping);
        if let Err(error) = running.stop(stop).await {
            tracing::error!(scope = %self.environment.scope, instance = %self.record.id, "cannot be stopped: {error}");
        }
        self.clear_container().await;
    }

    fn clear_away(&self) {
        if let Err(error) = files::remove_folder(&self.folder()) {
            tracing::warn!(scope = %self.environment.scope, instance = %self.record.id, "{error}");
        }
        self.environment.trouble(&format!("instance {}", self.record.id), None);
        self.environment.forget(&self.record.id);
    }
}

fn refused(error: &ShimError) -> Error {
    Error::failed(error.to_string())
}
