//! From what every environment should be, and the instances there are, to the edge's route table.
//!
//! Pure: the same input gives the same table. The revision with most of the visitors decides which hosts and paths
//! there are; each service's pool holds the instances of every revision that gets visitors, each with its share, and
//! those of the other hosts of the environment behind one upstream for each.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use edge::table::{Action, Listener, PathRule, Pool, Table, Upstream};
use engine::desired::{Desired, Instance};
use ipnet::IpNet;
use stack::{Kind, PathRoute, ResourceName, ResourceRef, Revision, Route, TargetKind};

use self::pools::{Seen, rules, upstreams};
use crate::{functions::Places, membership::Membership, probing, protocol::Scope, revision::Loaded};

mod peers;
mod pools;

/// How long a visitor waits while every instance of a service is being started again, before 503.
const HOLD: Duration = Duration::from_secs(10);

/// One environment as the table needs it.
pub(crate) struct Part {
    /// Which.
    pub(crate) scope: Scope,
    /// What it should be.
    pub(crate) desired: Desired,
    /// Its revisions that could be read.
    pub(crate) loaded: BTreeMap<Revision, Arc<Loaded>>,
    /// Its instances.
    pub(crate) instances: Vec<Instance>,
    /// The agent's socket, which tells its health.
    pub(crate) socket: PathBuf,
    /// Ports at which its services call each other.
    pub(crate) internal: BTreeMap<Revision, BTreeMap<ResourceName, u16>>,
    /// Where its buckets take visitors.
    pub(crate) buckets: BTreeMap<ResourceName, SocketAddr>,
    /// Where its functions answer, and where its programs publish.
    pub(crate) functions: Places,
    /// Revisions that had visitors before, newest first, with their release's folder: pages that are still open may ask
    /// for their scripts.
    pub(crate) earlier: Vec<(Revision, PathBuf)>,
    /// The hosts it is on, when they are several.
    pub(crate) membership: Option<Arc<Membership>>,
}

/// A table and what it says of each environment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Made {
    /// Version 0: the edge's keeper numbers it.
    pub(crate) table: Table,
    /// Shares of visitors.
    pub(crate) serving: BTreeMap<Scope, BTreeMap<Revision, u8>>,
    /// Addresses of each environment that visitors come to.
    pub(crate) addresses: BTreeMap<Scope, BTreeSet<SocketAddr>>,
    /// Where the edges of each environment's other hosts come to.
    pub(crate) doors: BTreeMap<Scope, SocketAddr>,
    /// What could not be put into the table, in words for a person.
    pub(crate) troubles: BTreeMap<Scope, Vec<String>>,
}

/// The edge's name of an instance: unique on the host.
pub(crate) fn upstream_id(scope: &Scope, instance: &str) -> String {
    format!("{scope}/{instance}")
}

/// The edge's name of a service's or site's pool.
pub(crate) fn pool_id(scope: &Scope, reference: &ResourceRef) -> String {
    format!("{scope}/{reference}")
}

/// The whole table.
pub(crate) fn plan(parts: &[Part]) -> Made {
    let mut plan = Plan::default();
    for part in parts {
        plan.add(part);
    }
    let mut made = plan.made;
    made.table.listeners = plan
        .listeners
        .into_iter()
        .map(|(address, hosts)| Listener { address, hosts: hosts.named, fallback: hosts.fallback })
        .collect();
    made.table.trusted_proxies = plan.trusted.into_iter().collect();
    made
}

#[derive(Default)]
struct Plan {
    made: Made,
    listeners: BTreeMap<SocketAddr, Hosts>,
    trusted: BTreeSet<IpNet>,
}

#[derive(Default)]
struct Hosts {
    named: BTreeMap<String, Vec<PathRule>>,
    /// Whose each name is.
    owners: BTreeMap<String, Scope>,
    fallback: Option<Vec<PathRule>>,
    /// Whose the fallback is.
    owner: Option<Scope>,
}

impl Plan {
    fn add(&mut self, part: &Part) {
        self.made.serving.insert(part.scope.clone(), part.desired.traffic.clone());
        self.add_internal(part);
        self.add_publishing(part);
        if let Some(membership) = &part.membership {
            peers::add_door(part, membership, &mut self.made);
        }
        let shares = peers::shares(&part.desired, part.membership.as_deref());
        // The later revision of two with equal shares: a deploy moves towards it.
        let leading = shares.iter().filter(|(_, percent)| **percent > 0).max_by_key(|(_, percent)| **percent);
        let Some(leader) = leading.and_then(|(revision, _)| part.loaded.get(revision)) else { return };
        let environment = &leader.resolved.environment;
        for network in &environment.trusted_proxies {
            match parse_network(network) {
                Some(network) => drop(self.trusted.insert(network)),
                None => self.trouble(
                    part,
                    format!("`{network}` in `trusted_proxies` is not a network; write it as 10.0.0.0/8"),
                ),
            }
        }
        let local = environment.target == TargetKind::Local;
        let mut routes = leader.resolved.stack.routes.clone();
        if routes.is_empty() && local {
            routes.extend(only_route(leader));
        }
        for address in &environment.listen {
            self.made.addresses.entry(part.scope.clone()).or_default().insert(*address);
            let listener = self.listeners.entry(*address).or_default();
            let mut troubles = Vec::new();
            let mut any = None;
            for (index, route) in routes.iter().enumerate() {
                let seen = Seen { part, leader, shares: &shares };
                let mut rules = rules(&seen, route, *address, local, &mut self.made.table, &mut troubles);
                rules.extend(environment.health.as_ref().map(|path| report(part, path, &route.host)));
                if index == 0 && local {
                    any = Some(rules.clone());
                }
                if route.host == "*" {
                    any = Some(rules);
                    continue;
                }
                for (name, rules) in names(route, rules, *address, local) {
                    listener.name(&part.scope, name, rules, *address, &mut troubles);
                }
            }
            let alone = listener.named.is_empty();
            match (any, &listener.fallback) {
                (Some(rules), None) => {
                    (listener.fallback, listener.owner) = (Some(rules), Some(part.scope.clone()));
                }
                (Some(_), Some(_)) if alone => {
                    let owner = listener.owner.as_ref().map_or("another environment".to_owned(), ToString::to_string);
                    troubles.push(format!(
                        "{address} answers for {owner} already; set `listen` of environment `{}` to another address",
                        part.scope.environment
                    ));
                }
                _ => {}
            }
            for what in troubles {
                self.trouble(part, what);
            }
        }
    }

    /// Where services of one revision call each other.
    fn add_internal(&mut self, part: &Part) {
        for (revision, ports) in &part.internal {
            let Some(loaded) = part.loaded.get(revision) else { continue };
            for (name, port) in ports {
                let Ok(service) = loaded.service(name) else { continue };
                let pool = pool_id(&part.scope, &reference(Kind::Service, name));
                let id = format!("{pool}@{}-{}", revision.release, revision.values);
                let instances = part.instances.iter().filter(|instance| instance.revision == *revision);
                let mut upstreams = upstreams(part, instances, name, |_| 1);
                upstreams.extend(peers::upstreams(part, name, |of| u32::from(of == revision)));
                let rule = PathRule {
                    websocket: true,
                    ..PathRule::new("/", Action::Pool(id.clone()), format!("{name}.internal/"))
                };
                self.made.table.pools.insert(id, Pool { upstreams, probe: probing::health(service), hold: HOLD });
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
                self.listeners.insert(address, Hosts { fallback: Some(vec![rule]), ..Hosts::default() });
            }
        }
    }

    /// Where programs publish events. The `@` marks what is not a visitor's.
    fn add_publishing(&mut self, part: &Part) {
        let Some((number, address)) = part.functions.publishing else { return };
        let id = format!("{}/events@{number}", part.scope);
        let upstream = address.map(|address| Upstream {
            id: upstream_id(&part.scope, &format!("events:{}", address.port())),
            address,
            revision: String::new(),
            weight: 1,
            peer: None,
        });
        let rule = PathRule::new("/", Action::Pool(id.clone()), "events.internal/");
        // Who publishes while nobody answers yet waits.
        self.made.table.pools.insert(id, Pool { upstreams: upstream.into_iter().collect(), probe: None, hold: HOLD });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
        self.listeners.insert(address, Hosts { fallback: Some(vec![rule]), ..Hosts::default() });
    }

    fn trouble(&mut self, part: &Part, what: String) {
        let troubles = self.made.troubles.entry(part.scope.clone()).or_default();
        if !troubles.contains(&what) {
            troubles.push(what);
        }
    }
}

impl Hosts {
    fn name(
        &mut self,
        scope: &Scope,
        name: String,
        rules: Vec<PathRule>,
        address: SocketAddr,
        troubles: &mut Vec<String>,
    ) {
        match self.owners.get(&name) {
            Some(owner) if owner != scope => troubles.push(format!(
                "host `{name}` on {address} belongs to {owner} already; give one of them another host or `listen` address"
            )),
            // The first of the same environment counts.
            Some(_) => {}
            None => {
                self.owners.insert(name.clone(), scope.clone());
                self.named.insert(name, rules);
            }
        }
    }
}

/// The names under which a route's host and its redirects are known at an address.
fn names(route: &Route, rules: Vec<PathRule>, address: SocketAddr, local: bool) -> Vec<(String, Vec<PathRule>)> {
    let mut found = vec![(route.host.clone(), rules.clone())];
    let alias = |name: &str| local.then(|| local_alias(name)).flatten();
    let port = if local && address.port() != 80 { format!(":{}", address.port()) } else { String::new() };
    found.extend(alias(&route.host).map(|name| (name, rules)));
    for from in &route.redirect_from {
        found.push((from.clone(), redirect(from, format!("{}{port}", route.host))));
        if let (Some(from), Some(to)) = (alias(from), alias(&route.host)) {
            found.push((from.clone(), redirect(&from, format!("{to}{port}"))));
        }
    }
    found
}

/// The name by which a host is reached on this machine without a name server: browsers send `*.localhost` to it.
pub(crate) fn local_alias(host: &str) -> Option<String> {
    (host != "localhost" && !host.ends_with(".localhost")).then(|| format!("{host}.localhost"))
}

/// The environment's health report at `path` of a host, in place of what the stack routes there.
fn report(part: &Part, path: &str, host: &str) -> PathRule {
    let Scope { app, environment } = &part.scope;
    let uri = format!("/v1/health?app={app}&environment={environment}");
    PathRule::new(path, Action::Report { socket: part.socket.clone(), uri }, format!("{host}{path}"))
}

fn redirect(from: &str, to: String) -> Vec<PathRule> {
    vec![PathRule::new("/", Action::Redirect(to), format!("{from}/"))]
}

/// What a stack without routes shows locally: its first site, or its only service with an address.
fn only_route(loaded: &Loaded) -> Option<Route> {
    let stack = &loaded.resolved.stack;
    let to = if let Some(site) = stack.sites.keys().next() {
        reference(Kind::Site, site)
    } else {
        let mut services = stack.services.iter().filter(|(_, service)| Loaded::has_address(service));
        let (name, _) = services.next()?;
        if services.next().is_some() {
            return None;
        }
        reference(Kind::Service, name)
    };
    let path = PathRoute {
        path: "/".to_owned(),
        to,
        strip: false,
        limit: None,
        cors: None,
        sticky: false,
        websocket: true,
        max_body: None,
    };
    Some(Route { host: "*".to_owned(), paths: vec![path], redirect_from: Vec::new() })
}

fn reference(kind: Kind, name: &ResourceName) -> ResourceRef {
    ResourceRef { kind, name: name.clone() }
}

/// A network, or a single address.
fn parse_network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests;
