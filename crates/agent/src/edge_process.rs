//! Keeps the edge running and its route table true.
//!
//! The edge runs under a shim that starts it again when it ends and holds its listening sockets meanwhile, so that
//! connections wait instead of being refused. A restarted agent finds it and goes on.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use edge::{
    control::{Drain, Status},
    table::Table,
};
use engine::desired::Traffic;
use http::Method;
use http_body_util::BodyExt;
use stack::Revision;
use tokio::sync::watch;

use crate::{
    counters::Counters,
    edge_shim,
    error::Error,
    files,
    home::Home,
    host::Host,
    protocol::Scope,
    shim::Running,
    socket,
    traffic::{self, Made, Part},
};

/// How long an edge that was started may take to answer.
const START: Duration = Duration::from_secs(10);
/// How long one that runs may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How soon something that failed (an address in use, a full disk) is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// A status this fresh is not asked for again.
const FRESH: Duration = Duration::from_millis(100);

/// The edge of this host.
pub(crate) struct Edge {
    folder: PathBuf,
    binary: PathBuf,
    applied: watch::Sender<Applied>,
    seen: Mutex<Seen>,
}

/// What the edge confirmed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applied {
    /// The last change of the environments that it knows.
    pub(crate) number: u64,
    /// What it serves.
    pub(crate) made: Arc<Made>,
    /// Addresses it could not listen on, with the reason.
    pub(crate) refused: BTreeMap<String, String>,
    /// Why it does not serve what it should.
    pub(crate) trouble: Option<String>,
}

#[derive(Default)]
struct Seen {
    at: Option<Instant>,
    counters: Counters,
}

/// The edge's process as the keeper knows it.
#[derive(Default)]
struct Kept {
    running: Option<Running>,
    /// Edges of another version: they leave once the new one serves.
    retiring: Vec<Running>,
    table: Option<Table>,
    /// Why `table` is not in `table.json`.
    unwritten: Option<String>,
    /// The edge said that it serves `table`.
    confirmed: bool,
}

impl Edge {
    /// An edge that is looked after once [`run`] runs.
    pub(crate) fn new(home: &Home, binary: &Path) -> Self {
        Self {
            folder: home.edge_folder(),
            binary: binary.to_owned(),
            applied: watch::Sender::default(),
            seen: Mutex::default(),
        }
    }

    /// What the edge confirmed last.
    pub(crate) fn state(&self) -> Applied {
        self.applied.borrow().clone()
    }

    /// Returns once the edge serves what was known at change `number`.
    pub(crate) async fn applied(&self, number: u64) {
        // The sender lives as long as `self`.
        let mut applied = self.applied.subscribe();
        drop(applied.wait_for(|applied| applied.number >= number).await);
    }

    /// Returns once an instance has no visitor in flight, at `deadline` at the latest, or at once when no edge runs.
    pub(crate) async fn drain(&self, upstream: &str, deadline: Duration) {
        let millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let drain = Drain { upstreams: vec![upstream.to_owned()], deadline_ms: millis };
        let Ok(body) = serde_json::to_vec(&drain) else { return };
        let asked = self.ask(Method::POST, "/drain", body);
        match tokio::time::timeout(deadline + ANSWER, asked).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(upstream, "the edge cannot drain: {error}"),
            Err(_) => tracing::warn!(upstream, "the edge did not answer `drain`"),
        }
    }

    /// What visitors of an environment got so far, by revision; never less than before while the agent runs.
    pub(crate) async fn traffic(&self, scope: &Scope) -> BTreeMap<Revision, Traffic> {
        let fresh = |seen: &Seen| seen.at.is_some_and(|at| at.elapsed() < FRESH);
        let known = !fresh(&self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        if known
            && let Ok(Ok(answer)) = tokio::time::timeout(FRESH * 5, self.ask(Method::GET, "/status", Vec::new())).await
            && let Ok(status) = serde_json::from_slice::<Status>(&answer)
        {
            self.count(&status);
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).counters.of(scope)
    }

    fn count(&self, status: &Status) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.at = Some(Instant::now());
        seen.counters.add(status);
    }

    async fn ask(&self, method: Method, uri: &str, body: Vec<u8>) -> Result<Vec<u8>, String> {
        let response = socket::send(&self.folder.join("control.sock"), method, uri, body).await?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        if status.is_success() {
            return Ok(body.to_vec());
        }
        Err(format!("it answered {status}: {}", String::from_utf8_lossy(&body)))
    }

    /// Makes the edge serve `made`, starting it when there is something to serve.
    ///
    /// A table that cannot be written to disk is served all the same; only an edge that is started again before it is
    /// written would begin with an older one.
    async fn serve(&self, kept: &mut Kept, made: &Made) -> Result<Status, Error> {
        let same = kept.table.as_ref().is_some_and(|table| Table { version: 0, ..table.clone() } == made.table);
        let idle = made.table.listeners.is_empty() && made.table.peer_listeners.is_empty();
        if idle && kept.running.is_none() {
            return Ok(Status::default());
        }
        files::make_folder(&self.folder)?;
        if !same {
            let version = kept.table.as_ref().map_or(0, |table| table.version) + 1;
            let table = Table { version, ..made.table.clone() };
            kept.table = Some(table);
            kept.unwritten = Some("not tried yet".to_owned());
            kept.confirmed = false;
        }
        let Some(table) = &kept.table else { return Ok(Status::default()) };
        if kept.unwritten.is_some() {
            let written = files::replace_json(&self.folder.join("table.json"), table);
            kept.unwritten = written.err().map(|error| error.to_string());
        }
        if kept.running.is_none() {
            let (running, retiring) = edge_shim::ensure(&self.binary, &self.folder).await?;
            kept.running = Some(running);
            kept.retiring.extend(retiring);
            kept.confirmed = false;
        }
        let body = serde_json::to_vec(table)
            .map_err(|error| Error::failed(format!("cannot write the route table: {error}")))?;
        let began = Instant::now();
        loop {
            // Also when it is confirmed: an address that was refused is tried again.
            let answer = tokio::time::timeout(ANSWER, self.ask(Method::PUT, "/table", body.clone())).await;
            let why = match answer {
                Ok(Ok(answer)) => match serde_json::from_slice::<Status>(&answer) {
                    Ok(status) if status.table >= table.version => {
                        self.count(&status);
                        kept.confirmed = true;
                        kept.retiring.drain(..).for_each(|running| drop(tokio::spawn(edge_shim::retire(running))));
                        return Ok(status);
                    }
                    Ok(status) => format!("it still serves table {}", status.table),
                    Err(error) => format!("its answer is not understood: {error}"),
                },
                Ok(Err(error)) => error,
                Err(_) => "it does not answer".to_owned(),
            };
            if began.elapsed() > START {
                let log = self.folder.join("log");
                return Err(Error::failed(format!("the edge does not take its table: {why}; see {}", log.display())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets the edge finish what it does, and ends it.
    pub(crate) async fn stop(&self) -> Result<(), Error> {
        edge_shim::stop_all(&self.folder).await
    }
}

/// Looks after the edge for as long as the agent runs.
pub(crate) async fn run(host: Arc<Host>) {
    let edge = &host.edge;
    let mut changes = host.watch();
    let table = files::find_json(&edge.folder.join("table.json"), "").ok().flatten();
    let mut kept = Kept { table, ..Kept::default() };
    if edge_shim::is_there(&edge.folder) {
        match edge_shim::ensure(&edge.binary, &edge.folder).await {
            Ok((running, retiring)) => (kept.running, kept.retiring) = (Some(running), retiring),
            Err(error) => tracing::error!("{error}"),
        }
    }
    loop {
        let number = *changes.borrow_and_update();
        let made = Arc::new(traffic::plan(&parts(&host)));
        let settled = bring(edge, &mut kept, number, made).await;
        let running = kept.running.clone();
        let ended = async {
            match &running {
                Some(running) => drop(running.wait().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = host.stopping.cancelled() => return,
            told = changes.changed() => if told.is_err() { return },
            () = ended => {
                tracing::warn!("the edge or its shim ended");
                kept.running = None;
            }
            () = tokio::time::sleep(AGAIN), if !settled => {}
        }
    }
}

/// `false`: to be tried again.
async fn bring(edge: &Edge, kept: &mut Kept, number: u64, made: Arc<Made>) -> bool {
    let before = edge.state();
    let unchanged = kept.confirmed
        && kept.unwritten.is_none()
        && kept.running.is_some()
        && before.refused.is_empty()
        && before.made == made;
    if unchanged && before.trouble.is_none() {
        edge.applied.send_modify(|applied| applied.number = number);
        return true;
    }
    match edge.serve(kept, &made).await {
        Ok(status) => {
            for (address, reason) in &status.refused {
                if before.refused.get(address) != Some(reason) {
                    tracing::warn!(address, "the edge cannot listen: {reason}");
                }
            }
            let settled = status.refused.is_empty() && kept.unwritten.is_none();
            if kept.unwritten != before.trouble
                && let Some(reason) = &kept.unwritten
            {
                tracing::error!("{reason}");
            }
            edge.applied.send_replace(Applied {
                number,
                made,
                refused: status.refused,
                trouble: kept.unwritten.clone(),
            });
            settled
        }
        Err(error) => {
            tracing::error!("{error}");
            edge.applied.send_modify(|applied| applied.trouble = Some(error.to_string()));
            if let Some(running) = &kept.running
                && running.status().await.is_err()
            {
                kept.running = None;
            }
            false
        }
    }
}

/// Every environment as the table needs it.
pub(crate) fn parts(host: &Host) -> Vec<Part> {
    let mut parts = Vec::new();
    for environment in host.environments() {
        let (desired, served) = {
            let state = environment.state();
            (state.desired().clone(), state.served().to_vec())
        };
        let instances: Vec<_> = environment.instances().into_values().collect();
        let internal = environment.internal().all().clone();
        let mut loaded = BTreeMap::new();
        let used = desired.running.iter().chain(desired.traffic.keys()).chain(internal.keys());
        for revision in used {
            let read = environment.revisions.get(&host.store, &environment.scope, &environment.folder, revision);
            if let Ok(read) = read {
                loaded.insert(revision.clone(), read);
            }
        }
        let folder = |revision: &Revision| host.store.folder(&environment.scope.app, &revision.release);
        let earlier = served
            .iter()
            .filter(|revision| !desired.traffic.contains_key(revision))
            .map(|revision| (revision.clone(), folder(revision)))
            .filter(|(_, folder)| folder.is_dir())
            .collect();
        let functions = environment.functions.places();
        let buckets = environment.buckets.upstreams(environment.membership().as_deref());
        let (scope, socket) = (environment.scope.clone(), host.home.agent_socket());
        let membership = environment.membership();
        parts.push(Part {
            scope,
            desired,
            loaded,
            instances,
            socket,
            internal,
            buckets,
            functions,
            earlier,
            membership,
        });
    }
    parts
}
