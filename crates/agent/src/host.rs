//! What the agent of one host has in hand.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use engine::target::TargetError;
use jiff::Timestamp;
use release::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    buckets,
    edge_process::Edge,
    environment::{self, Environment},
    error::Error,
    functions,
    home::Home,
    peers,
    ports::Ports,
    protocol::Scope,
    recovery,
    scaling::{self, Pace},
    schedule, services, supervisor, upload,
    values::Key,
};

/// One host.
pub(crate) struct Host {
    /// Its folder.
    pub(crate) home: Home,
    /// The program that is also shim and edge.
    pub(crate) binary: PathBuf,
    /// Its releases.
    pub(crate) store: Store,
    /// Makes ids of values.
    pub(crate) key: Key,
    /// Ports given out.
    pub(crate) ports: Ports,
    /// The reverse proxy.
    pub(crate) edge: Edge,
    /// How quickly numbers of instances follow the load.
    pub(crate) pace: Pace,
    /// When the agent began.
    pub(crate) started_at: Timestamp,
    /// Releases that are on their way here.
    pub(crate) uploads: upload::Busy,
    /// The agent is to end.
    pub(crate) stopping: CancellationToken,
    changed: watch::Sender<u64>,
    environments: Mutex<BTreeMap<Scope, Slot>>,
}

/// An environment, or why it cannot be opened.
#[derive(Clone)]
enum Slot {
    Open(Arc<Environment>),
    Broken(String),
}

impl Host {
    /// Opens everything below a home. A damaged environment does not keep the others from being opened.
    pub(crate) fn open(home: Home, binary: PathBuf, pace: Pace) -> Result<Arc<Self>, Error> {
        let store = Store::open(home.store())
            .map_err(|error| Error::failed(format!("the releases of this host cannot be opened: {error}")))?;
        let changed = watch::Sender::new(0);
        let host = Self {
            edge: Edge::new(&home, &binary),
            key: Key::of(&home)?,
            ports: Ports::default(),
            pace,
            started_at: Timestamp::now(),
            uploads: upload::Busy::default(),
            stopping: CancellationToken::new(),
            environments: Mutex::default(),
            store,
            binary,
            changed,
            home,
        };
        for (scope, folder) in environment::find_all(&host.home.path().join("apps"))? {
            let slot = match Environment::open(scope.clone(), folder, host.changed.clone()) {
                Ok(environment) => {
                    environment.internal().keep(&host.ports);
                    environment.functions.publishing.keep(&host.ports);
                    environment.services.book().keep(&host.ports);
                    environment.buckets.keep(&host.ports);
                    Slot::Open(Arc::new(environment))
                }
                Err(error) => {
                    tracing::error!(%scope, "{error}");
                    Slot::Broken(error.to_string())
                }
            };
            host.slots().insert(scope, slot);
        }
        Ok(Arc::new(host))
    }

    /// Is told of every change of any environment.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Names of all environments, also of damaged ones.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        self.slots().keys().cloned().collect()
    }

    /// Every environment that is open.
    pub(crate) fn environments(&self) -> Vec<Arc<Environment>> {
        let open = |slot: &Slot| match slot {
            Slot::Open(environment) => Some(environment.clone()),
            Slot::Broken(_) => None,
        };
        self.slots().values().filter_map(open).collect()
    }

    /// An environment that is here.
    pub(crate) fn find(&self, scope: &Scope) -> Result<Option<Arc<Environment>>, TargetError> {
        match self.slots().get(scope) {
            Some(Slot::Open(environment)) => Ok(Some(environment.clone())),
            Some(Slot::Broken(reason)) => Err(TargetError::Failed { reason: reason.clone() }),
            None => Ok(None),
        }
    }

    /// An environment, begun when it is not here yet. One that was damaged is tried again.
    pub(crate) fn get(self: &Arc<Self>, scope: &Scope) -> Result<Arc<Environment>, TargetError> {
        let mut slots = self.slots();
        if let Some(Slot::Open(environment)) = slots.get(scope) {
            return Ok(environment.clone());
        }
        let environment = Environment::open(scope.clone(), self.home.environment(scope), self.changed.clone())?;
        environment.internal().keep(&self.ports);
        environment.functions.publishing.keep(&self.ports);
        environment.services.book().keep(&self.ports);
        environment.buckets.keep(&self.ports);
        let environment = Arc::new(environment);
        slots.insert(scope.clone(), Slot::Open(environment.clone()));
        drop(slots);
        self.meet(&environment);
        self.attend(&environment, Vec::new());
        Ok(environment)
    }

    /// Begins to look at the other hosts of an environment.
    pub(crate) fn meet(self: &Arc<Self>, environment: &Arc<Environment>) {
        tokio::spawn(peers::run(self.clone(), environment.clone()));
    }

    /// Begins to look after an environment: its instances, its jobs, its lease.
    pub(crate) fn attend(self: &Arc<Self>, environment: &Arc<Environment>, members: Vec<supervisor::Member>) {
        tokio::spawn(services::run(self.clone(), environment.clone()));
        tokio::spawn(buckets::run(self.clone(), environment.clone()));
        tokio::spawn(supervisor::run(self.clone(), environment.clone(), members));
        tokio::spawn(schedule::run(self.clone(), environment.clone()));
        tokio::spawn(functions::run(self.clone(), environment.clone()));
        tokio::spawn(recovery::run(self.clone(), environment.clone()));
        tokio::spawn(scaling::run(self.clone(), environment.clone()));
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<Scope, Slot>> {
        self.environments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
