//! The buckets of one environment: which are open, and where they are reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use stack::{Kind, ResourceName, Revision};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    api::Api,
    book::{Book, Keys, agreed_port},
    definition::Definition,
    front::{Front, KeyRing},
    listen,
    store::Store,
    upkeep,
};
use crate::{
    environment::Environment,
    error::Error,
    health,
    host::Host,
    members::{Kept, MemberHost},
    membership::Membership,
    ports::Ports,
    revision::Loaded,
    state::LeaseState,
};

/// How programs reach the buckets of their environment. Has no `Debug`: it holds a secret.
#[derive(Clone)]
pub(crate) struct Access {
    /// As in `http://127.0.0.1:20123`.
    pub(crate) endpoint: String,
    /// What they sign with.
    pub(crate) keys: Keys,
}

/// The buckets of one environment.
pub(crate) struct Buckets {
    data: PathBuf,
    book: Mutex<Book>,
    api: Api,
    keys: KeyRing,
    front: Front,
    /// Changed by one task at a time.
    open: tokio::sync::Mutex<Open>,
}

#[derive(Default)]
struct Open {
    stores: BTreeMap<ResourceName, (Arc<Store>, JoinHandle<()>)>,
    listeners: BTreeMap<SocketAddr, (CancellationToken, JoinHandle<()>)>,
}

impl Buckets {
    /// Those of the environment in `folder`; none is open.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let (api, keys) = (Api::default(), KeyRing::default());
        Ok(Self {
            data: folder.join("data"),
            book: Mutex::new(Book::open(folder)?),
            front: Front::new(api.clone(), keys.clone()),
            api,
            keys,
            open: tokio::sync::Mutex::default(),
        })
    }

    /// Keeps their ports from being given out to others.
    pub(crate) fn keep(&self, ports: &Ports) {
        self.book().keep(ports);
    }

    /// How programs of this host reach them; `None`: there never were any.
    pub(crate) fn access(&self, membership: Option<&Membership>) -> Option<Access> {
        access_by(&self.book(), membership)
    }

    /// Where the edge passes visitors of a bucket to; `None`: nowhere.
    pub(crate) fn upstreams(&self, membership: Option<&Membership>) -> BTreeMap<ResourceName, SocketAddr> {
        let routes = self.book().routes();
        let address = |(name, port): (ResourceName, u16)| {
            let Some((membership, host)) = membership.and_then(|all| Some((all, keeper(all)?))) else {
                return (name, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            };
            let port = agreed_port(&membership.members.identity, name.as_str());
            let address = if host.name == membership.me { Ipv4Addr::LOCALHOST.into() } else { host.address };
            (name, SocketAddr::new(address, port))
        };
        routes.into_iter().map(address).collect()
    }

    /// How many objects there are in each open bucket, and their bytes.
    pub(crate) async fn sizes(&self) -> BTreeMap<ResourceName, Result<(i64, i64), String>> {
        let stores: Vec<(ResourceName, Arc<Store>)> =
            self.open.lock().await.stores.iter().map(|(name, (store, _))| (name.clone(), store.clone())).collect();
        let mut sizes = BTreeMap::new();
        for (name, store) in stores {
            sizes.insert(name, store.index.total().await.map_err(|error| error.to_string()));
        }
        sizes
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens what is wanted and not open, and the listeners. `complete`: nothing else is wanted.
    async fn reach(
        &self,
        environment: &Arc<Environment>,
        wanted: &BTreeMap<ResourceName, Arc<Definition>>,
        complete: bool,
    ) -> Result<(), Error> {
        let membership = environment.membership();
        let membership = membership.as_deref();
        let mut open = self.open.lock().await;
        let here = membership.is_none_or(|all| keeper(all).is_some_and(|host| host.name == all.me));
        if !here || (complete && wanted.is_empty()) {
            self.close(&mut open);
            return Ok(());
        }
        let mut keys: Vec<Keys> = self.book().find().map(|(_, keys)| keys).into_iter().collect();
        keys.extend(membership.map(|all| Keys::of(&all.members.identity)));
        self.keys.replace(keys);
        for (name, definition) in wanted {
            match open.stores.get(name) {
                Some((store, _)) if complete => {
                    let before = store.definition();
                    if before != *definition {
                        store.define(definition.clone());
                        self.api.enter(&definition.bucket, store.clone());
                    }
                }
                Some(_) => {}
                None => {
                    let store = Store::open(self.data.join(definition.folder()), definition.clone()).await?;
                    let store = Arc::new(store);
                    self.api.enter(&definition.bucket, store.clone());
                    let upkeep = tokio::spawn(upkeep::run(environment.clone(), store.clone()));
                    open.stores.insert(name.clone(), (store, upkeep));
                }
            }
        }
        let names: BTreeSet<String> =
            open.stores.values().map(|(store, _)| store.definition().bucket.clone()).collect();
        self.api.retain(|bucket| names.contains(bucket));
        self.listen(&mut open, membership)
    }

    /// Listens where programs and edges come.
    fn listen(&self, open: &mut Open, membership: Option<&Membership>) -> Result<(), Error> {
        let mut wanted: BTreeMap<SocketAddr, Option<ResourceName>> = BTreeMap::new();
        let private: Option<IpAddr> = membership.and_then(|all| all.own()).map(|own| own.address);
        let mut add = |port: u16, agreed: Option<u16>, routed: Option<&ResourceName>| {
            let local = Ipv4Addr::LOCALHOST;
            wanted.insert(SocketAddr::from((local, port)), routed.cloned());
            for address in agreed.into_iter().flat_map(|port| {
                let own = private.filter(|own| *own != IpAddr::from(local)).map(|own| SocketAddr::new(own, port));
                own.into_iter().chain([SocketAddr::from((local, port))])
            }) {
                wanted.insert(address, routed.cloned());
            }
        };
        let identity = membership.map(|all| &all.members.identity);
        {
            let book = self.book();
            if let Some((port, _)) = book.find() {
                add(port, identity.map(|identity| agreed_port(identity, PROGRAMS)), None);
            }
            for (name, port) in book.routes() {
                if !open.stores.contains_key(&name) {
                    continue;
                }
                let agreed = identity.map(|identity| agreed_port(identity, name.as_str()));
                add(port, agreed, Some(&name));
            }
        }
        open.listeners.retain(|address, (stop, serving)| {
            let keep = wanted.contains_key(address) && !serving.is_finished();
            if !keep {
                stop.cancel();
            }
            keep
        });
        for (address, routed) in wanted {
            if open.listeners.contains_key(&address) {
                continue;
            }
            let listener = listen::bind(address).map_err(|error| {
                Error::failed(format!(
                    "buckets cannot listen on {address}: {error}; stop what listens there (`ss -ltnp`)"
                ))
            })?;
            let stop = CancellationToken::new();
            let serving = tokio::spawn(listen::serve(listener, self.front.clone(), routed, stop.clone()));
            open.listeners.insert(address, (stop, serving));
        }
        Ok(())
    }

    fn close(&self, open: &mut Open) {
        for (stop, _) in std::mem::take(&mut open.listeners).into_values() {
            stop.cancel();
        }
        self.api.retain(|_| false);
        for (_, upkeep) in std::mem::take(&mut open.stores).into_values() {
            upkeep.abort();
        }
    }

    /// Takes nobody new, and waits until everybody has been answered.
    async fn finish(&self) {
        let listeners = std::mem::take(&mut self.open.lock().await.listeners);
        for (stop, _) in listeners.values() {
            stop.cancel();
        }
        for (_, serving) in listeners.into_values() {
            drop(serving.await);
        }
    }
}

/// How programs of this host reach the buckets of the environment in `folder`. Asks no agent.
pub(crate) fn access(folder: &Path) -> Result<Option<Access>, Error> {
    let membership = Kept::find(folder)?.map(|kept| Membership::new(kept.me, kept.members));
    Ok(access_by(&Book::open(folder)?, membership.as_ref()))
}

fn access_by(book: &Book, membership: Option<&Membership>) -> Option<Access> {
    let (port, keys) = book.find()?;
    let Some((membership, host)) = membership.and_then(|all| Some((all, keeper(all)?))) else {
        return Some(Access { endpoint: format!("http://127.0.0.1:{port}"), keys });
    };
    let identity = &membership.members.identity;
    let address = if host.name == membership.me { Ipv4Addr::LOCALHOST.into() } else { host.address };
    let endpoint = format!("http://{}", SocketAddr::new(address, agreed_port(identity, PROGRAMS)));
    Some(Access { endpoint, keys: Keys::of(identity) })
}

/// The host with the data. When all are drained they stay where they would be first.
fn keeper(membership: &Membership) -> Option<&MemberHost> {
    membership.data_host().or(membership.members.hosts.first())
}

/// What the port for programs is agreed on by; no resource has that name.
const PROGRAMS: &str = "/";

/// Opens the buckets of a release, so that its programs and tasks can use them.
pub(crate) async fn ensure(host: &Host, environment: &Arc<Environment>, loaded: &Loaded) -> Result<(), Error> {
    let wanted = Definition::all(loaded)?;
    if wanted.is_empty() {
        return Ok(());
    }
    environment.buckets.book().enter(&routed(loaded), &host.ports)?;
    environment.buckets.reach(environment, &wanted, false).await
}

/// The buckets that routes lead to.
fn routed(loaded: &Loaded) -> Vec<ResourceName> {
    let paths = loaded.resolved.stack.routes.iter().flat_map(|route| &route.paths);
    let names: BTreeSet<ResourceName> =
        paths.filter(|path| path.to.kind == Kind::Bucket).map(|path| path.to.name.clone()).collect();
    names.into_iter().collect()
}

/// Looks after the buckets of an environment for as long as the agent runs.
pub(crate) async fn run(host: Arc<Host>, environment: Arc<Environment>) {
    let mut changes = environment.watch();
    loop {
        changes.mark_unchanged();
        let reached = match wanted(&host, &environment) {
            Ok(Some((wanted, complete))) => {
                let entered = wanted.is_empty() || environment.buckets.book().find().is_some();
                let entered = if entered { Ok(()) } else { environment.buckets.book().enter(&[], &host.ports) };
                match entered {
                    Ok(()) => environment.buckets.reach(&environment, &wanted, complete).await,
                    Err(error) => Err(error),
                }
            }
            // Nobody knows what is wanted: what is open stays open.
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        environment.trouble("buckets", reached.err().map(|error| error.to_string()));
        tokio::select! {
            () = host.stopping.cancelled() => break,
            told = changes.changed() => if told.is_err() { break },
        }
    }
}

/// Takes nobody new anywhere, and waits a while until everybody has been answered: the agent ends.
pub(crate) async fn finish(host: &Host, patience: Duration) {
    let all = host.environments();
    let finished = futures_util::future::join_all(all.iter().map(|environment| environment.buckets.finish()));
    if tokio::time::timeout(patience, finished).await.is_err() {
        tracing::warn!("requests to buckets are left unanswered");
    }
}

/// What the releases that run ask for, and whether that is all; the one with most visitors decides how a bucket is to
/// be. `None` when one cannot be read: the supervisor tells why.
#[expect(clippy::type_complexity, reason = "two answers of one look")]
fn wanted(
    host: &Host,
    environment: &Environment,
) -> Result<Option<(BTreeMap<ResourceName, Arc<Definition>>, bool)>, Error> {
    let desired = environment.desired();
    let held = matches!(environment.state().lease(Instant::now()), LeaseState::Held(_));
    let mut revisions: Vec<Revision> = health::leading(&desired).into_iter().collect();
    revisions.extend(desired.traffic.keys().chain(&desired.running).chain(&desired.schedules).cloned());
    revisions.extend(environment.instances().values().map(|instance| instance.revision.clone()));
    let mut wanted = BTreeMap::new();
    for revision in revisions {
        let loaded = environment.revisions.get(&host.store, &environment.scope, &environment.folder, &revision);
        let Ok(loaded) = loaded else { return Ok(None) };
        for (name, definition) in Definition::all(&loaded)? {
            wanted.entry(name).or_insert(definition);
        }
    }
    // A deploy that has not begun to run anything may have opened some for its tasks.
    let complete = !wanted.is_empty() || !held;
    Ok(Some((wanted, complete)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::{Identity, Members};

    /// Of hosts `a` and `b`, as `me` sees it.
    fn membership(me: &str, drained: bool) -> Membership {
        let host = |name: &str, last: u8| MemberHost {
            name: name.to_owned(),
            address: IpAddr::from([10, 0, 0, last]),
            drained: drained && name == "a",
        };
        let identity = Identity {
            secret: "5".repeat(64),
            authority: String::new(),
            certificate: String::new(),
            key: String::new(),
        };
        let changed_at = jiff::Timestamp::UNIX_EPOCH;
        Membership::new(me.to_owned(), Members { changed_at, hosts: vec![host("a", 1), host("b", 2)], identity })
    }

    // proves S0.6
    #[test]
    fn hosts_agree_on_where_buckets_are_and_what_opens_them() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [a, b] = folders.each_ref().map(|folder| Buckets::open(folder.path()).unwrap());
        assert!(a.access(None).is_none() && a.access(Some(&membership("a", false))).is_none());
        let assets: ResourceName = "assets".parse().unwrap();
        for buckets in [&a, &b] {
            buckets.book().enter(std::slice::from_ref(&assets), &Ports::default()).unwrap();
        }
        assert!(a.access(None).unwrap().keys != b.access(None).unwrap().keys);
        let (here, there) = (membership("a", false), membership("b", false));
        let (local, remote) = (a.access(Some(&here)).unwrap(), b.access(Some(&there)).unwrap());
        assert!(local.keys == remote.keys);
        let port = local.endpoint.strip_prefix("http://127.0.0.1:").unwrap();
        assert_eq!(remote.endpoint, format!("http://10.0.0.1:{port}"));
        let visitors = b.upstreams(Some(&there))[&assets];
        assert_eq!(visitors.ip(), IpAddr::from([10, 0, 0, 1]));
        assert_eq!(visitors.port(), a.upstreams(Some(&here))[&assets].port());
        assert_ne!(visitors.port().to_string(), port);
        let moved = b.access(Some(&membership("b", true))).unwrap();
        assert_eq!(moved.endpoint, format!("http://127.0.0.1:{port}"));
    }
}
