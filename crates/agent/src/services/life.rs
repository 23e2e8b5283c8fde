//! The life of one server: prepared, started, probed, started again when it ends, stopped when it is not wanted.

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use engine::desired::{DataService, InstanceState};
use stack::ResourceRef;
use tokio::sync::watch;

use super::{Agreement, Definition, Entry, definition::id, server};
use crate::{
    backoff::{Backoff, Next},
    environment::Environment,
    error::Error,
    files,
    host::Host,
    instance::HOST_NAME,
    shim::{self, Adopted, Orphan, Running, ShimError, Waited},
};

/// What the server was started with, in the shim's folder.
const RECORD: &str = "service.json";

/// How long between two tries to start a server whose program or files are in the way.
const TROUBLED: Duration = Duration::from_secs(5);

/// How often a server that starts, or does not answer, is asked.
const EAGER: Duration = Duration::from_millis(100);

/// How often a server that is well is asked.
const CALM: Duration = Duration::from_secs(5);

/// So many starts without an answer, and nobody should wait for it.
const STARTS: u32 = 3;

/// How long a port that somebody listens on may take to become free.
const LINGER: Duration = Duration::from_secs(3);

/// Lines of output that a failure shows.
const SHOWN_LINES: usize = 10;

/// One server and its past.
pub(super) struct Life {
    host: Arc<Host>,
    environment: Arc<Environment>,
    /// What it was last started with.
    definition: Definition,
    /// What it should be; `None`: at rest.
    wanted: watch::Receiver<Option<Definition>>,
    restarts: u32,
}

/// What runs already.
enum Found {
    Running(Running),
    /// Its shim was killed.
    Orphaned(Orphan),
}

/// Why a server is not watched any more.
enum End {
    /// It is to be something else, or at rest.
    Changed,
    Exited(String),
    Orphaned(Orphan),
}

/// The servers an earlier agent started, with what they were started with.
pub(super) fn find_left(environment: &Environment) -> Vec<(ResourceRef, Definition)> {
    let list = std::fs::read_dir(environment.folder.join("services")).into_iter().flatten().flatten();
    let definitions = list.filter_map(|entry| {
        let record = files::find_json::<Definition>(&entry.path().join(RECORD), "remove it");
        record.inspect_err(|error| tracing::warn!(scope = %environment.scope, "{error}")).ok()?
    });
    definitions.map(|definition| (definition.name.clone(), definition)).collect()
}

impl Life {
    /// A server that begins, or that an earlier agent started with `definition`.
    pub(super) fn new(
        host: Arc<Host>,
        environment: Arc<Environment>,
        definition: Definition,
        wanted: watch::Receiver<Option<Definition>>,
    ) -> Self {
        let life = Self { host, environment, definition, wanted, restarts: 0 };
        life.tell(InstanceState::Starting, None);
        life
    }

    /// Lives until it is not wanted any more.
    pub(super) async fn run(mut self) {
        let mut found = self.find().await;
        let mut backoff = Backoff::new(true);
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            if wanted.as_ref() != Some(&self.definition)
                && let Some(found) = found.take()
            {
                self.end(found).await;
            }
            let Some(definition) = wanted else { break };
            self.definition = definition;
            let began_before = found.is_some();
            let started = match found.take() {
                Some(Found::Running(running)) => Ok(running),
                Some(Found::Orphaned(orphan)) => self.reshim(&orphan).await,
                None => self.start().await,
            };
            if self.definition.shared.is_some() {
                let why = started.as_ref().err().map(|error| format!("`{}`: {error}", self.definition.name));
                self.environment.trouble(&self.definition.name.to_string(), why);
            }
            let running = match started {
                Ok(running) => running,
                Err(error) => {
                    tracing::warn!(scope = %self.environment.scope, service = %self.definition.name, "not started: {error}");
                    self.tell(InstanceState::Failed { why: error.to_string() }, None);
                    self.rest(TROUBLED).await;
                    continue;
                }
            };
            let began = Instant::now();
            match self.watch(&running, began_before).await {
                End::Changed => found = Some(Found::Running(running)),
                End::Orphaned(orphan) => found = Some(Found::Orphaned(orphan)),
                End::Exited(why) => {
                    tracing::warn!(scope = %self.environment.scope, service = %self.definition.name, "ended: {why}");
                    self.restarts += 1;
                    let wait = match backoff.ended(Instant::now(), began.elapsed(), rand::random()) {
                        Next::Again(wait) | Next::Loop(wait) => wait,
                        Next::GiveUp => TROUBLED,
                    };
                    self.tell(InstanceState::Waiting { why }, None);
                    self.rest(wait).await;
                }
            }
        }
        if let Err(error) = files::remove_folder(&self.folder()) {
            tracing::warn!(scope = %self.environment.scope, service = %self.definition.name, "{error}");
        }
        self.environment.services.forget(&self.definition.name);
    }

    fn folder(&self) -> PathBuf {
        self.environment.folder.join("services").join(id(&self.definition.name))
    }

    /// Says how it is.
    fn tell(&self, state: InstanceState, running: Option<&Running>) {
        let record = running.and_then(|running| running.refreshed().ok());
        let port = self.environment.services.book().find(&self.definition.name).map(|entry| entry.port);
        self.environment.services.tell(DataService {
            name: self.definition.name.clone(),
            host: HOST_NAME.to_owned(),
            engine: server::name(&self.definition),
            state,
            restarts: self.restarts + record.as_ref().map_or(0, |record| record.generation.saturating_sub(1)),
            pid: record.as_ref().map(|record| record.pid),
            port,
            started_at: record.map(|record| record.started_at),
            memory: running.map(|running| running.usage().memory),
        });
    }

    /// What an earlier agent started.
    async fn find(&self) -> Option<Found> {
        let folder = self.folder();
        server::end_setup(&folder).await;
        match shim::adopt(&folder) {
            Ok(Adopted::Running(running)) => Some(Found::Running(running)),
            Ok(Adopted::Orphaned(orphan)) => Some(Found::Orphaned(orphan)),
            Ok(Adopted::Ended(_) | Adopted::Gone) => None,
            Err(error) => {
                tracing::warn!(scope = %self.environment.scope, service = %self.definition.name, "{error}");
                None
            }
        }
    }

    async fn start(&self) -> Result<Running, Error> {
        self.tell(InstanceState::Starting, None);
        self.enter()?;
        self.free_port().await?;
        let spec = self.prepare().await?;
        let folder = self.folder();
        files::make_folder(&folder)?;
        files::replace_json(&folder.join(RECORD), &self.definition)?;
        let running = shim::start(&self.host.binary, &folder, &spec).await.map_err(|error| refused(&error))?;
        let pid = running.pid();
        tracing::info!(scope = %self.environment.scope, service = %self.definition.name, pid, "started");
        Ok(running)
    }

    async fn prepare(&self) -> Result<shim::Spec, Error> {
        let entry = self.enter()?;
        let folder = self.folder();
        server::prepare(&self.host, &self.environment, &self.definition, &entry, &folder).await
    }

    /// How it is reached from now on.
    fn enter(&self) -> Result<Entry, Error> {
        let (app, name) = (&self.environment.scope.app, &self.definition.name);
        let agreement = Agreement::of(&self.environment);
        let mut book = self.environment.services.book();
        let entry = book.enter(app, &self.definition, agreement.as_ref(), &self.host.ports)?;
        if let Some(agreement) = &agreement {
            self.refuse_to_begin_again(agreement, entry.keeper.as_deref())?;
            book.keep_data(name, &agreement.me)?;
        }
        Ok(entry)
    }

    /// An empty server in place of one with data would be worse than none.
    fn refuse_to_begin_again(&self, agreement: &Agreement, keeper: Option<&str>) -> Result<(), Error> {
        let Some(keeper) = keeper.filter(|keeper| *keeper != agreement.me) else { return Ok(()) };
        let data = self.environment.data().join(self.definition.id());
        if std::fs::read_dir(&data).is_ok_and(|mut inside| inside.next().is_some()) {
            return Ok(());
        }
        Err(Error::failed(format!(
            "its data are on host `{keeper}`, and this host has none; let `{keeper}` take instances again, or stop the \
             environment and move the data to {} of this host",
            data.display()
        )))
    }

    /// Where other hosts reach it.
    fn shared_at(&self) -> Option<IpAddr> {
        self.definition.shared.as_ref()?.address
    }

    /// Takes another port when somebody else listens on its own. Fails when the hosts agreed on it.
    async fn free_port(&self) -> Result<(), Error> {
        let began = Instant::now();
        let shared = self.shared_at();
        let is_free = |port| {
            crate::ports::is_free(port) && shared.is_none_or(|address| TcpListener::bind((address, port)).is_ok())
        };
        let free = || {
            let book = self.environment.services.book();
            book.find(&self.definition.name).is_none_or(|entry| entry.ports().all(is_free))
        };
        while !free() {
            if began.elapsed() > LINGER {
                let book = self.environment.services.book();
                if let (Some(shared), Some(entry)) = (&self.definition.shared, book.find(&self.definition.name))
                    && !is_free(entry.port)
                {
                    let place = SocketAddr::new(shared.address.unwrap_or(entry.host), entry.port);
                    return Err(Error::failed(format!(
                        "its port, which the hosts of the environment agree on, cannot be listened on at {place}; stop what \
                         listens there (`ss -ltnp`), check that the address is this host's, or rename `{}`",
                        self.definition.name
                    )));
                }
                drop(book);
                tracing::warn!(scope = %self.environment.scope, service = %self.definition.name, "its port is taken by another program; it gets another");
                return self.environment.services.book().renumber(&self.definition.name, &self.host.ports);
            }
            tokio::time::sleep(EAGER).await;
        }
        Ok(())
    }

    async fn reshim(&self, orphan: &Orphan) -> Result<Running, Error> {
        tracing::warn!(scope = %self.environment.scope, service = %self.definition.name, "its shim was killed; it gets a new one");
        let spec = self.prepare().await?;
        shim::reshim(&self.host.binary, orphan, &spec).await.map_err(|error| refused(&error))
    }

    /// Asks it until something must be done.
    async fn watch(&self, running: &Running, began_before: bool) -> End {
        let mut wanted = self.wanted.clone();
        let changed = async {
            loop {
                if wanted.borrow_and_update().as_ref() != Some(&self.definition) || wanted.changed().await.is_err() {
                    return;
                }
            }
        };
        let ended = async {
            match running.wait().await {
                Ok(Waited::Ended(exit)) => End::Exited(exit.to_string()),
                Ok(Waited::Orphaned(orphan)) => End::Orphaned(orphan),
                Err(error) => End::Exited(error.to_string()),
            }
        };
        tokio::select! {
            biased;
            () = changed => End::Changed,
            end = ended => end,
            never = self.probe(running, began_before) => match never {},
        }
    }

    async fn probe(&self, running: &Running, began_before: bool) -> std::convert::Infallible {
        let mut is_set_up = began_before;
        let mut was_ready = false;
        let mut admitted = None;
        loop {
            let entry = self.environment.services.book().find(&self.definition.name).cloned();
            let answer = match &entry {
                Some(entry) => match server::answers(entry, &mut is_set_up).await {
                    Ok(()) => self.is_reached(entry.port).await,
                    failed => failed,
                },
                None => Err("nobody knows its port".to_owned()),
            };
            if let (Ok(()), Some(entry)) = (&answer, &entry) {
                self.admit(entry, running, &mut admitted);
            }
            let ready = answer.is_ok();
            let state = match answer {
                Ok(()) => InstanceState::Ready,
                Err(why) if was_ready => InstanceState::Unready { why },
                Err(why) if running.refreshed().is_ok_and(|record| record.generation >= STARTS) => {
                    InstanceState::Failed { why: self.with_output(&why) }
                }
                Err(_) => InstanceState::Starting,
            };
            if ready && !was_ready {
                tracing::info!(scope = %self.environment.scope, service = %self.definition.name, "ready");
            }
            was_ready |= ready;
            self.tell(state, Some(running));
            tokio::time::sleep(if ready { CALM } else { EAGER }).await;
        }
    }

    /// Whether it listens where other hosts reach it.
    async fn is_reached(&self, port: u16) -> Result<(), String> {
        let Some(place) = self.shared_at().map(|address| SocketAddr::new(address, port)) else { return Ok(()) };
        match tokio::time::timeout(CALM, tokio::net::TcpStream::connect(place)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                Err(format!("the other hosts do not reach it on {place}: {}", crate::socket::plain(&error)))
            }
            Err(_) => Err(format!("the other hosts do not reach it on {place}: no answer")),
        }
    }

    /// Lets the hosts in that are there now. Those of its start are in already.
    fn admit(&self, entry: &Entry, running: &Running, admitted: &mut Option<Vec<IpAddr>>) {
        let Some(agreement) = Agreement::of(&self.environment).filter(|_| self.shared_at().is_some()) else { return };
        if admitted.as_ref() == Some(&agreement.others) {
            return;
        }
        let pid = running.refreshed().map_or(running.pid(), |record| record.pid);
        let others = agreement.others.clone();
        match server::admit(&self.host, &self.environment, &self.definition, entry, others, pid) {
            Ok(()) => *admitted = Some(agreement.others),
            Err(error) => {
                tracing::warn!(scope = %self.environment.scope, service = %self.definition.name, "{error}");
            }
        }
    }

    /// A reason with the last lines of its output, which were redacted when they were written.
    fn with_output(&self, why: &str) -> String {
        let lines = crate::log::read(&server::logs(&self.environment, &self.definition), SHOWN_LINES);
        let lines: Vec<String> = lines.unwrap_or_default().into_iter().map(|line| line.line).collect();
        format!("it does not stay alive ({why}); its last output:\n{}", lines.join("\n"))
    }

    /// Waits, unless something else is wanted.
    async fn rest(&mut self, time: Duration) {
        // A sender that is gone means the agent ends; the time passes all the same.
        drop(tokio::time::timeout(time, self.wanted.changed()).await);
    }

    async fn end(&self, found: Found) {
        self.tell(InstanceState::Stopping, None);
        let ended = match found {
            Found::Running(running) => running.stop(server::STOP).await,
            // A new shim knows how this server is told to end.
            Found::Orphaned(orphan) => match self.reshim(&orphan).await {
                Ok(running) => running.stop(server::STOP).await,
                Err(_) => orphan.stop(server::STOP).await,
            },
        };
        match ended {
            Ok(exit) => {
                tracing::info!(scope = %self.environment.scope, service = %self.definition.name, "stopped: {exit}");
            }
            Err(error) => {
                tracing::error!(scope = %self.environment.scope, service = %self.definition.name, "cannot be stopped: {error}");
            }
        }
    }
}

fn refused(error: &ShimError) -> Error {
    Error::failed(error.to_string())
}
