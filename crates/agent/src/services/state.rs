//! What is known of an environment's servers, and waiting for them.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use engine::desired::{DataService, InstanceState};
use stack::{ResourceName, ResourceRef, Revision};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Agreement, Book, Definition, Entry, server};
use crate::{environment::Environment, error::Error, host::Host, revision::Loaded};

/// How long a task or an instance waits for a server that starts. A first start writes some 40 MB.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often a server of another host is asked.
const ELSEWHERE: Duration = Duration::from_millis(200);

/// A server that failed is tried again meanwhile; whoever waits is told after this.
const FAILED_FOR: Duration = Duration::from_secs(7);

/// The servers of one environment. All locks are held for moments only.
pub(crate) struct Services {
    book: Mutex<Book>,
    /// Revisions that a task of the present deploy needs servers for.
    called: Mutex<BTreeMap<Revision, Arc<Loaded>>>,
    seen: Mutex<BTreeMap<ResourceRef, DataService>>,
    changed: watch::Sender<u64>,
}

impl Services {
    /// Opens what is known in an environment's folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        Ok(Self {
            book: Mutex::new(Book::open(folder)?),
            called: Mutex::default(),
            seen: Mutex::default(),
            changed: watch::Sender::new(0),
        })
    }

    /// Ports and passwords.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives every server of a revision its port and passwords, so that programs can be told of them.
    pub(crate) fn enter(&self, host: &Host, environment: &Environment, loaded: &Loaded) -> Result<(), Error> {
        let agreement = Agreement::of(environment);
        for definition in Definition::all(&loaded.resolved) {
            self.book().enter(&environment.scope.app, &definition, agreement.as_ref(), &host.ports)?;
        }
        Ok(())
    }

    /// Revisions that tasks need servers for.
    pub(crate) fn called(&self) -> MutexGuard<'_, BTreeMap<Revision, Arc<Loaded>>> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every server that is not at rest, by kind and name.
    pub(crate) fn seen(&self) -> BTreeMap<ResourceRef, DataService> {
        self.known().clone()
    }

    /// Is told of every change of a server.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Tells how a server is.
    pub(super) fn tell(&self, service: DataService) {
        let before = self.known().insert(service.name.clone(), service.clone());
        if before.is_none_or(|before| (before.state, before.pid) != (service.state, service.pid)) {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// A server is at rest.
    pub(super) fn forget(&self, name: &ResourceRef) {
        self.known().remove(name);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Waits until all of `names` are ready, here or on the host that keeps the data. Fails when one cannot become so,
    /// or after a minute.
    async fn wait(&self, names: &[ResourceRef], agreement: Option<&Agreement>) -> Result<(), Error> {
        match agreement.filter(|agreement| !agreement.is_here()) {
            Some(elsewhere) => self.wait_for(names, elsewhere).await,
            None => self.wait_here(names).await,
        }
    }

    /// Asks the servers on another host until all of `names` let the application in.
    async fn wait_for(&self, names: &[ResourceRef], agreement: &Agreement) -> Result<(), Error> {
        let began = Instant::now();
        for name in names {
            loop {
                let entry = self.book().find(name).cloned();
                let answer = match entry {
                    Some(entry) => server::answers(&entry, &mut true).await,
                    None => Err("this host does not know it yet".to_owned()),
                };
                let Err(why) = answer else { break };
                if began.elapsed() > PATIENCE {
                    return Err(Error::failed(format!(
                        "`{name}` of host `{}` is not ready after {} s: {why}; see `slipway status`, and whether the hosts \
                         reach each other",
                        agreement.keeper,
                        PATIENCE.as_secs()
                    )));
                }
                tokio::time::sleep(ELSEWHERE).await;
            }
        }
        Ok(())
    }

    async fn wait_here(&self, names: &[ResourceRef]) -> Result<(), Error> {
        let began = Instant::now();
        let mut changes = self.watch();
        loop {
            changes.mark_unchanged();
            let seen = self.seen();
            let lacking: Vec<_> = names
                .iter()
                .filter(|name| seen.get(*name).is_none_or(|seen| seen.state != InstanceState::Ready))
                .collect();
            let Some(first) = lacking.first() else { return Ok(()) };
            let state = lacking.iter().find_map(|name| seen.get(*name)).map(|seen| &seen.state);
            if let Some(InstanceState::Failed { why }) = state
                && began.elapsed() > FAILED_FOR
            {
                return Err(Error::failed(format!("`{first}` cannot be started: {why}")));
            }
            if began.elapsed() > PATIENCE {
                let why = match state {
                    Some(InstanceState::Unready { why } | InstanceState::Waiting { why }) => why.as_str(),
                    _ => "it still starts",
                };
                return Err(Error::failed(format!(
                    "`{first}` is not ready after {} s: {why}; see `slipway logs {first}`",
                    PATIENCE.as_secs()
                )));
            }
            // Looked at again also when nothing changes: the deadlines.
            drop(tokio::time::timeout(Duration::from_secs(1), changes.changed()).await);
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ResourceRef, DataService>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the servers a revision asks for, for as long as the lease is held, and waits until they are ready. Fails
/// when one cannot be started, or is not ready within a minute.
pub(crate) async fn ensure(host: &Host, environment: &Environment, loaded: &Arc<Loaded>) -> Result<(), Error> {
    let names: Vec<_> = Definition::all(&loaded.resolved).into_iter().map(|one| one.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    environment.services.enter(host, environment, loaded)?;
    call(environment, loaded);
    environment.services.wait(&names, Agreement::of(environment).as_ref()).await
}

/// Starts the servers a revision asks for, for as long as the lease is held, if they are to run here.
pub(super) fn call(environment: &Environment, loaded: &Loaded) {
    // Read by whoever holds it.
    let Some(loaded) = environment.revisions.find(&loaded.revision) else { return };
    let new = environment.services.called().insert(loaded.revision.clone(), loaded).is_none();
    if new {
        environment.touch();
    }
}

/// Waits until the servers that a service needs are ready, or it is to leave.
pub(crate) async fn wait_for_needs(
    environment: &Environment,
    loaded: &Loaded,
    service: &ResourceName,
    leave: &CancellationToken,
) -> Result<(), Error> {
    let needs = &loaded.service(service)?.needs;
    let all = Definition::all(&loaded.resolved).into_iter().map(|one| one.name);
    let names: Vec<_> = all.filter(|name| needs.contains(name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let agreement = Agreement::of(environment);
    tokio::select! {
        () = leave.cancelled() => Err(Error::failed("it is not wanted any more")),
        ready = environment.services.wait(&names, agreement.as_ref()) => ready,
    }
}

/// The caches and queues of a revision that this host runs, and how they are reached.
pub(crate) fn stores(environment: &Environment, loaded: &Loaded) -> Vec<(ResourceRef, Entry)> {
    let names = Definition::all(&loaded.resolved).into_iter().map(|one| one.name);
    let book = environment.services.book();
    names
        .filter(|name| name.kind != stack::Kind::Database)
        .filter_map(|name| Some((name.clone(), book.find(&name)?.clone())))
        .collect()
}

/// Whether a server lets the application in.
pub(crate) async fn answers(entry: &Entry) -> Result<(), String> {
    server::answers(entry, &mut true).await
}
