//! What outlives a table: instances, counters, rate limit buckets and site indexes, found again by what they are.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::SystemTime,
};

use crate::{
    control::{Traffic, UpstreamStatus},
    instance::Instance,
    limit::Limiter,
    link::{Identity, Link},
    site::Root,
    table::{self, Limit, Table, Upstream},
    traffic::Meter,
    way::Way,
};

/// Counters of revisions that left the table are forgotten, oldest names first, beyond this many.
const REMEMBERED: usize = 512;

/// One per edge, held by the control thread.
#[derive(Debug)]
pub(crate) struct Registry {
    workers: usize,
    next_number: u64,
    /// By id; more than one when an id came back at another address.
    instances: HashMap<String, Vec<Arc<Instance>>>,
    /// By pool or site id, then revision.
    meters: BTreeMap<(String, String), Arc<Meter>>,
    limiters: HashMap<(String, Limit), Arc<Limiter>>,
    roots: HashMap<PathBuf, (Option<SystemTime>, Arc<Root>)>,
    /// By server name.
    identities: HashMap<String, Arc<Identity>>,
    ways: Vec<Weak<Way>>,
}

impl Registry {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers,
            next_number: 0,
            instances: HashMap::new(),
            meters: BTreeMap::new(),
            limiters: HashMap::new(),
            roots: HashMap::new(),
            identities: HashMap::new(),
            ways: Vec::new(),
        }
    }

    /// The upstream of this id at this address, new and healthy if it was not known.
    pub(crate) fn instance(&mut self, upstream: &Upstream) -> Arc<Instance> {
        let (id, address) = (&upstream.id, upstream.address);
        let link = upstream.peer.as_ref().and_then(|peer| {
            let identity = Arc::clone(self.identities.get(&peer.identity)?);
            Link::new(&self.way(address, &identity), &peer.pool)
        });
        let same = self.instances.entry(id.clone()).or_default();
        if let Some(known) = same.iter().find(|one| one.is_reached_at(address, link.as_ref())) {
            if known.retired() {
                known.revive();
            }
            return Arc::clone(known);
        }
        self.next_number += 1;
        let new = Arc::new(Instance::new(id, address, self.next_number, link));
        same.push(Arc::clone(&new));
        new
    }

    /// The way to another host, the same as before while anybody uses it.
    fn way(&mut self, address: SocketAddr, identity: &Arc<Identity>) -> Arc<Way> {
        self.ways.retain(|way| way.strong_count() > 0);
        let known = self.ways.iter().filter_map(Weak::upgrade).find(|way| way.leads_to(address, identity));
        known.unwrap_or_else(|| {
            let new = Arc::new(Way::new(address, identity));
            self.ways.push(Arc::downgrade(&new));
            new
        })
    }

    /// The identity of this server name, the same as before while its certificates and key are.
    pub(crate) fn identity(&mut self, name: &str, identity: &table::Identity) -> Result<Arc<Identity>, String> {
        if let Some(known) = self.identities.get(name).filter(|known| known.is_of(identity)) {
            return Ok(Arc::clone(known));
        }
        let new = Arc::new(Identity::new(name, identity)?);
        self.identities.insert(name.to_owned(), Arc::clone(&new));
        Ok(new)
    }

    pub(crate) fn meter(&mut self, id: &str, revision: &str) -> Arc<Meter> {
        let workers = self.workers;
        let meter = self.meters.entry((id.to_owned(), revision.to_owned()));
        Arc::clone(meter.or_insert_with(|| Arc::new(Meter::new(workers))))
    }

    /// The bucket of a rule keeps its level while rule and limit stay what they are.
    pub(crate) fn limiter(&mut self, rule: &str, limit: &Limit) -> Arc<Limiter> {
        let limiter = self.limiters.entry((rule.to_owned(), limit.clone()));
        Arc::clone(limiter.or_insert_with(|| Arc::new(Limiter::new(limit))))
    }

    /// A site's folder with its index, read once; read again when the index file changed.
    pub(crate) fn root(&mut self, folder: &Path) -> Result<Arc<Root>, String> {
        let changed = Root::index_path(folder).metadata().and_then(|data| data.modified()).ok();
        if let Some((known, root)) = self.roots.get(folder)
            && *known == changed
            && changed.is_some()
        {
            return Ok(Arc::clone(root));
        }
        let root = Arc::new(Root::load(folder)?);
        self.roots.insert(folder.to_owned(), (changed, Arc::clone(&root)));
        Ok(root)
    }

    /// After a swap: marks instances that left, and forgets what nobody needs any more.
    pub(crate) fn tidy(&mut self, table: &Table) {
        for (name, identity) in &table.identities {
            let _ = self.identity(name, identity); // a refused table may have brought another
        }
        let upstreams = table.pools.values().flat_map(|pool| &pool.upstreams);
        let named: HashSet<u64> = upstreams.map(|upstream| self.instance(upstream).number).collect();
        self.identities.retain(|name, _| table.identities.contains_key(name));
        self.instances.retain(|_, same| {
            same.retain(|one| {
                let stays = named.contains(&one.number);
                one.set_retired(!stays);
                stays || one.requests() > 0 || one.tunnels() > 0
            });
            !same.is_empty()
        });
        self.limiters.retain(|_, limiter| Arc::strong_count(limiter) > 1);
        self.roots.retain(|_, (_, root)| Arc::strong_count(root) > 1);
        let mut spare = self.meters.len().saturating_sub(REMEMBERED);
        self.meters.retain(|_, meter| {
            let forget = spare > 0 && Arc::strong_count(meter) == 1;
            spare -= usize::from(forget);
            !forget
        });
    }

    /// All instances known by one of these ids, in the table or on their way out.
    pub(crate) fn find(&self, ids: &[String]) -> Vec<Arc<Instance>> {
        ids.iter().filter_map(|id| self.instances.get(id)).flatten().cloned().collect()
    }

    /// All instances in the table, and those that left it while something is in flight to them.
    pub(crate) fn upstreams(&self) -> BTreeMap<String, UpstreamStatus> {
        let mut all = BTreeMap::new();
        for (id, same) in &self.instances {
            let busy = |one: &&Arc<Instance>| one.requests() > 0 || one.tunnels() > 0;
            let current = same.iter().find(|one| !one.retired()).or_else(|| same.iter().find(busy));
            if let Some(current) = current {
                let status = UpstreamStatus {
                    healthy: current.healthy() && !current.retired(),
                    failure: current.failure(),
                    requests: same.iter().map(|one| one.requests()).sum(),
                    tunnels: same.iter().map(|one| one.tunnels()).sum(),
                };
                all.insert(id.clone(), status);
            }
        }
        all
    }

    pub(crate) fn traffic(&self) -> BTreeMap<String, BTreeMap<String, Traffic>> {
        let mut all: BTreeMap<String, BTreeMap<String, Traffic>> = BTreeMap::new();
        for ((id, revision), meter) in &self.meters {
            all.entry(id.clone()).or_default().insert(revision.clone(), meter.read());
        }
        all
    }

    pub(crate) fn forget_quiet_clients(&self) {
        for limiter in self.limiters.values() {
            limiter.forget_quiet();
        }
    }
}
