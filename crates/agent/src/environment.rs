//! One environment of one app on this host: its durable state, and what is known of its instances right now.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use engine::{
    desired::{Desired, Instance},
    journal::Entry,
    target::Fence,
};
use stack::{ResourceName, Revision, Service};
use tokio::sync::watch;

use crate::{
    bindings::Place,
    buckets::Buckets,
    claims::Claims,
    error::Error,
    files,
    functions::Functions,
    history::History,
    internal::Internal,
    journal::{self, Journal},
    members::{Kept, Members},
    membership::{Membership, share},
    peers::Peers,
    protocol::{PeerState, Scope},
    revision::{Loaded, Revisions},
    scaling::{Bounds, Scaling},
    services::Services,
    state::State,
};

/// Bytes of output of one environment that stay.
const KEPT_LOGS: u64 = 256 << 20;

/// An environment. All locks are held for moments only, never across an `await`.
pub(crate) struct Environment {
    /// Which.
    pub(crate) scope: Scope,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// Its revisions, as far as they were read.
    pub(crate) revisions: Revisions,
    /// Its data services.
    pub(crate) services: Services,
    /// Its buckets.
    pub(crate) buckets: Buckets,
    /// Its functions.
    pub(crate) functions: Functions,
    /// Which host runs what was due, where there are several.
    pub(crate) claims: Claims,
    /// Past runs of its jobs and functions.
    pub(crate) history: History,
    /// How many instances of its services are kept.
    pub(crate) scaling: Scaling,
    /// Its other hosts.
    pub(crate) peers: Peers,
    /// Held by the task that changes databases.
    pub(crate) databases: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    journal: Mutex<Option<Journal>>,
    internal: Mutex<Internal>,
    instances: Mutex<BTreeMap<String, Instance>>,
    troubles: Mutex<BTreeMap<String, String>>,
    membership: Mutex<Option<Arc<Membership>>>,
    changed: watch::Sender<u64>,
    /// Of the whole host.
    all_changed: watch::Sender<u64>,
}

impl Environment {
    /// Opens the environment in `folder`, or begins it. A damaged journal is a trouble and refuses what needs it;
    /// everything else goes on. Fails when the state is damaged.
    pub(crate) fn open(scope: Scope, folder: PathBuf, all_changed: watch::Sender<u64>) -> Result<Self, Error> {
        for name in ["instances", "logs", "data", "tasks"] {
            files::make_folder(&folder.join(name))?;
        }
        let state = State::open(&folder.join("state.json"))?;
        journal::finish_switch(&folder, state.journal())?;
        let internal = Internal::open(&folder.join("internal.json"))?;
        let services = Services::open(&folder)?;
        let buckets = Buckets::open(&folder)?;
        let functions = Functions::open(&folder)?;
        let history = History::open(&folder);
        let claims = Claims::open(&folder);
        let kept = Kept::find(&folder)?;
        let scaling = Scaling::open(&folder);
        let peers = Peers::default();
        if let Some(kept) = &kept {
            peers.take_up(&kept.me, &kept.members)?;
        }
        let environment = Self {
            scope,
            folder,
            services,
            buckets,
            functions,
            history,
            claims,
            revisions: Revisions::default(),
            peers,
            scaling,
            databases: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
            journal: Mutex::new(None),
            internal: Mutex::new(internal),
            instances: Mutex::default(),
            troubles: Mutex::default(),
            membership: Mutex::new(kept.map(|kept| Arc::new(Membership::new(kept.me, kept.members)))),
            changed: watch::Sender::new(0),
            all_changed,
        };
        if let Err(error) = environment.with_journal(|_| Ok(())) {
            environment.trouble("journal", Some(error.to_string()));
        }
        Ok(environment)
    }

    /// The durable state.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wanted now.
    pub(crate) fn desired(&self) -> Desired {
        self.state().desired().clone()
    }

    /// The journal. One that was damaged is opened again each time, in case somebody mended it.
    pub(crate) fn with_journal<T>(&self, act: impl FnOnce(&mut Journal) -> Result<T, Error>) -> Result<T, Error> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if journal.is_none() {
            *journal = Some(Journal::open(&self.folder.join("journal.jsonl"))?);
            self.trouble("journal", None);
        }
        match journal.as_mut() {
            Some(journal) => act(journal),
            None => Err(Error::failed("the journal is not open")),
        }
    }

    /// Takes over the journal and what is wanted from other hosts, in one durable change; `None` leaves what is wanted.
    /// Returns the copy of the journal as it was, when it had what the new one has not.
    pub(crate) fn take_over(
        &self,
        state: &mut State,
        entries: &[Entry],
        desired: Option<&Desired>,
        floor: Fence,
    ) -> Result<Option<PathBuf>, Error> {
        self.with_journal(|journal| {
            let prepared = journal.prepare(entries)?;
            state.take_over(desired, floor, prepared.name.clone())?;
            journal.switch(&prepared)?;
            Ok(prepared.kept)
        })
    }

    /// Ports at which services of this environment call each other.
    pub(crate) fn internal(&self) -> MutexGuard<'_, Internal> {
        self.internal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a revision's programs find data and each other.
    pub(crate) fn place(&self, revision: &Revision) -> Place {
        let internal = self.internal().of(revision);
        let publishing = self.functions.publishing.address().clone();
        let buckets = self.buckets.access(self.membership().as_deref());
        Place { data: self.data(), internal, servers: self.services.book().urls(), buckets, publishing }
    }

    /// The folder that outlives releases.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The folder of an instance.
    pub(crate) fn instance_folder(&self, id: &str) -> PathBuf {
        self.folder.join("instances").join(id)
    }

    /// The folder of a service's output.
    pub(crate) fn logs(&self, service: &ResourceName) -> PathBuf {
        self.folder.join("logs").join(service.as_str())
    }

    /// Removes the oldest output of instances and runs that are gone once all output takes more than its share.
    pub(crate) fn prune_logs(&self) {
        let mut live: Vec<String> = self.known().keys().cloned().collect();
        let tasks = std::fs::read_dir(self.folder.join("tasks")).into_iter().flatten().flatten();
        live.extend(tasks.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        live.extend(self.services.seen().keys().map(|name| format!("{}-{}", name.kind, name.name)));
        let live: Vec<&str> = live.iter().map(String::as_str).collect();
        if let Err(error) = crate::log::prune(&self.folder.join("logs"), &live, KEPT_LOGS) {
            tracing::warn!(scope = %self.scope, "cannot remove old output: {error}");
        }
    }

    /// Every instance as it is now, by id.
    pub(crate) fn instances(&self) -> BTreeMap<String, Instance> {
        self.known().clone()
    }

    /// Enters an instance.
    pub(crate) fn enter(&self, instance: Instance) {
        self.known().insert(instance.id.clone(), instance);
        self.touch();
    }

    /// Changes what is known of an instance; tells everybody when that makes a difference to them. Returns the number
    /// of the change.
    pub(crate) fn update(&self, id: &str, change: impl FnOnce(&mut Instance)) -> u64 {
        let different = {
            let mut known = self.known();
            let Some(instance) = known.get_mut(id) else { return *self.all_changed.borrow() };
            let before = instance.clone();
            change(instance);
            (&before.state, before.port, before.pid) != (&instance.state, instance.port, instance.pid)
        };
        if different { self.touch() } else { *self.all_changed.borrow() }
    }

    /// Takes an instance out.
    pub(crate) fn forget(&self, id: &str) {
        self.known().remove(id);
        self.touch();
    }

    /// Tells everybody that something changed. Returns the number of the change.
    pub(crate) fn touch(&self) -> u64 {
        self.changed.send_modify(|count| *count += 1);
        let mut number = 0;
        self.all_changed.send_modify(|count| {
            *count += 1;
            number = *count;
        });
        number
    }

    /// The other hosts; `None` for an environment of one host.
    pub(crate) fn membership(&self) -> Option<Arc<Membership>> {
        self.membership.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Enters what another host said, or that it said nothing; tells everybody when that makes a difference.
    pub(crate) fn hear(&self, name: &str, said: Option<PeerState>) {
        self.peers.enter(name, said);
        let changed = {
            let mut known = self.membership.lock().unwrap_or_else(PoisonError::into_inner);
            known.as_mut().is_some_and(|known| self.peers.describe(Arc::make_mut(known)))
        };
        if changed {
            self.touch();
        }
    }

    /// Replaces the list of hosts; durable before it returns. Fails when the host's own is newer.
    pub(crate) fn put_members(&self, me: String, members: Members) -> Result<(), Error> {
        {
            let mut known = self.membership.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = known.as_ref() {
                if (&known.me, &known.members) == (&me, &members) {
                    return Ok(());
                }
                if known.members.changed_at >= members.changed_at {
                    return Err(Error::failed(format!(
                        "this host knows the hosts of {} as they were at {}, and was told of {}; read its list first",
                        self.scope, known.members.changed_at, members.changed_at
                    )));
                }
            }
            let kept = Kept { me, members };
            let before = known.clone();
            self.peers.take_up(&kept.me, &kept.members)?;
            if let Err(error) = kept.keep(&self.folder) {
                if let Some(before) = before {
                    self.peers.take_up(&before.me, &before.members)?;
                }
                return Err(error);
            }
            let mut now = Membership::new(kept.me, kept.members);
            self.peers.describe(&mut now);
            *known = Some(Arc::new(now));
        }
        self.touch();
        Ok(())
    }

    /// The least and the most instances of a service of a revision that this host keeps: its shares of what the stack
    /// asks for over all hosts. A drained host keeps none.
    pub(crate) fn bounds(&self, name: &ResourceName, service: &Service, revision: &Revision) -> Bounds {
        let replicas = service.size.replicas;
        let Some(known) = self.membership() else { return Bounds { min: replicas.min, max: replicas.max } };
        let Some((place, hosts)) = known.place() else { return Bounds { min: 0, max: 0 } };
        let max = share(replicas.max, place, hosts);
        let mut min = share(replicas.min, place, hosts);
        // A host without a share of the minimum sees no load of its own, so it helps once the others can do no more.
        if min == 0 && max > 0 && service.size.scale_at.is_some() && known.others_are_full(name, replicas.max, revision)
        {
            min = 1;
        }
        Bounds { min, max }
    }

    /// How many instances of a service of a revision this host keeps now.
    pub(crate) fn replicas(&self, name: &ResourceName, service: &Service, revision: &Revision) -> u32 {
        let bounds = self.bounds(name, service, revision);
        let scales = service.size.scale_at.is_some();
        let number = self.scaling.find(name).filter(|_| scales);
        number.map_or(bounds.min, |number| bounds.hold(number.replicas))
    }

    /// How many instances of all services of a revision this host keeps now.
    pub(crate) fn expected(&self, loaded: &Loaded) -> u32 {
        let services = loaded.resolved.stack.services.iter();
        services.map(|(name, service)| self.replicas(name, service, &loaded.revision)).sum()
    }

    /// Is told of every change.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Says or takes back why the desired state cannot be reached.
    pub(crate) fn trouble(&self, about: &str, what: Option<String>) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        match what {
            Some(what) => {
                if troubles.insert(about.to_owned(), what.clone()).as_ref() != Some(&what) {
                    tracing::warn!(scope = %self.scope, about, "{what}");
                }
            }
            None => drop(troubles.remove(about)),
        }
    }

    /// Every trouble, in words for a person.
    pub(crate) fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The environments below `apps` of a home, by their folders.
pub(crate) fn find_all(apps: &Path) -> Result<Vec<(Scope, PathBuf)>, Error> {
    let mut found = Vec::new();
    for (app, folder) in folders(apps)? {
        let Ok(app) = stack::AppName::new(app) else { continue };
        for (environment, folder) in folders(&folder)? {
            if let Ok(environment) = stack::EnvironmentName::new(environment) {
                found.push((Scope { app: app.clone(), environment }, folder));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn folders(path: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let list = match std::fs::read_dir(path) {
        Ok(list) => list,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read", path)(error)),
    };
    let folders = list.flatten().filter(|entry| entry.path().is_dir());
    Ok(folders.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect())
}
