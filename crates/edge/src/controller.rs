//! The control thread: swaps tables, moves listeners, answers the agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use tokio::sync::{Mutex, Notify, mpsc, oneshot};

use crate::{
    compiled::{Compiled, TableError},
    control::{Drain, Status},
    health::Checks,
    listen::Source,
    registry::Registry,
    shared::Shared,
    table::Table,
    worker::Order,
};

/// What the control thread holds.
#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) shared: Arc<Shared>,
    workers: Vec<mpsc::UnboundedSender<Order>>,
    source: Source,
    state: Mutex<State>,
    /// Rung to leave.
    pub(crate) quit: Notify,
}

#[derive(Debug)]
struct State {
    registry: Registry,
    /// The table that is served.
    document: Table,
    checks: Checks,
    listening: BTreeSet<SocketAddr>,
    refused: BTreeMap<String, String>,
}

impl Controller {
    pub(crate) fn new(shared: Arc<Shared>, workers: Vec<mpsc::UnboundedSender<Order>>, source: Source) -> Self {
        let registry = Registry::new(workers.len());
        let state = State {
            registry,
            document: Table::default(),
            checks: Checks::default(),
            listening: BTreeSet::new(),
            refused: BTreeMap::new(),
        };
        Self { shared, workers, source, state: Mutex::new(state), quit: Notify::new() }
    }

    /// Serves `table`. When this returns no new request goes to an instance that is not in it or has no weight there,
    /// and every address it names is accepted on or refused with a reason.
    pub(crate) async fn swap(&self, table: Table) -> Result<(), TableError> {
        let mut state = self.state.lock().await;
        // reading a site's index may take a moment, in which checks and other calls should go on
        let (table, compiled) = {
            let mut registry = std::mem::replace(&mut state.registry, Registry::new(0));
            let task = tokio::task::spawn_blocking(move || {
                let compiled = Compiled::new(&table, &mut registry);
                (table, registry, compiled)
            });
            let (table, registry, compiled) = match task.await {
                Ok(done) => done,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            };
            state.registry = registry;
            match compiled {
                Ok(compiled) => (table, compiled),
                Err(error) => {
                    let State { registry, document, .. } = &mut *state;
                    registry.tidy(document); // what the refused table brought along
                    return Err(error);
                }
            }
        };
        let wanted: BTreeSet<SocketAddr> = compiled.addresses().collect();
        self.shared.serve(Arc::new(compiled));
        let State { registry, checks, .. } = &mut *state;
        checks.follow(&table, registry, &self.shared);
        registry.tidy(&table);
        let version = table.version;
        state.document = table;
        self.move_listeners(&mut state, wanted).await;
        for worker in &self.workers {
            let _ = worker.send(Order::Refresh);
        }
        tracing::info!(version, "serving another table");
        Ok(())
    }

    async fn move_listeners(&self, state: &mut State, wanted: BTreeSet<SocketAddr>) {
        for address in state.listening.difference(&wanted).copied().collect::<Vec<_>>() {
            self.each_worker(|done| Order::Unlisten(address, done)).await;
            let source = self.source.clone();
            let _ = tokio::task::spawn_blocking(move || source.release(address)).await;
            state.listening.remove(&address);
        }
        state.refused.clear();
        for address in wanted {
            if !state.listening.contains(&address) && !self.shared.quitting() {
                match self.listen(address).await {
                    Ok(()) => {
                        state.listening.insert(address);
                    }
                    Err(reason) => {
                        tracing::warn!(%address, reason, "cannot listen");
                        state.refused.insert(address.to_string(), reason);
                    }
                }
            }
        }
    }

    async fn listen(&self, address: SocketAddr) -> Result<(), String> {
        let (source, count) = (self.source.clone(), self.workers.len());
        let sockets = tokio::task::spawn_blocking(move || source.listen(address, count));
        let sockets = sockets.await.map_err(|error| format!("cannot listen: {error}"))??;
        for (worker, socket) in self.workers.iter().zip(sockets) {
            let (done, outcome) = oneshot::channel();
            let _ = worker.send(Order::Listen(address, socket, done));
            outcome
                .await
                .map_err(|_| "a worker has ended".to_owned())?
                .map_err(|error| format!("cannot accept: {error}"))?;
        }
        Ok(())
    }

    /// Sends an order to every worker and waits until all have done it.
    async fn each_worker(&self, order: impl Fn(oneshot::Sender<()>) -> Order) {
        let mut waiting = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (done, finished) = oneshot::channel();
            let _ = worker.send(order(done));
            waiting.push(finished);
        }
        for finished in waiting {
            let _ = finished.await; // a worker that has ended has nothing left to do
        }
    }

    /// Notes why the stored table is not served, until another one is.
    pub(crate) async fn refuse_stored(&self, reason: String) {
        self.state.lock().await.refused.insert("table.json".to_owned(), reason);
    }

    pub(crate) async fn status(&self) -> Status {
        let state = self.state.lock().await;
        Status {
            pid: std::process::id(),
            table: self.shared.table().version,
            listening: state.listening.iter().copied().collect(),
            refused: state.refused.clone(),
            upstreams: state.registry.upstreams(),
            traffic: state.registry.traffic(),
            requests: self.shared.requests.iter().map(|one| one.0.load(Relaxed)).sum(),
            connections: self.shared.connections.load(Relaxed) + self.shared.tunnels.load(Relaxed),
        }
    }

    /// Waits until nothing is in flight to these instances, or for the deadline.
    pub(crate) async fn drain(&self, drain: &Drain) {
        let instances = self.state.lock().await.registry.find(&drain.upstreams);
        let all = async {
            for instance in &instances {
                instance.empty().await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(drain.deadline_ms), all).await;
    }

    pub(crate) async fn forget_quiet_clients(&self) {
        self.state.lock().await.registry.forget_quiet_clients();
    }

    /// Stops accepting and waits until every connection and tunnel has ended, or for the deadline.
    pub(crate) async fn finish(&self, deadline: Duration) {
        self.shared.quitting.store(true, SeqCst);
        let left = async {
            self.each_worker(Order::Quit).await;
            self.state.lock().await.listening.clear();
            while self.shared.connections.load(Relaxed) > 0 || self.shared.tunnels.load(Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(deadline, left).await.is_err() {
            let (connections, tunnels) = (self.shared.connections.load(Relaxed), self.shared.tunnels.load(Relaxed));
            tracing::warn!(connections, tunnels, "leaving although not everybody has finished");
        }
    }
}
