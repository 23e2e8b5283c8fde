//! The table in the form requests are answered from.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::{
    balance::{Pool, Revision},
    cors::Cors,
    link::Identity,
    registry::Registry,
    report::Report,
    routes::{Action, Hosts, Passing, Rule, Rules},
    site::Site,
    table::{self, Table},
};

/// Instances behind one peer that are told apart when visitors are shared out.
const MOST_DRAWN: u32 = 1000;

/// A table that cannot be served as it is.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TableError {
    /// A rule names a pool that is not there.
    #[error("rule `{rule}` names the pool `{pool}`, which the table does not have: add it to `pools`")]
    NoPool {
        /// The rule's name.
        rule: String,
        /// The missing pool.
        pool: String,
    },
    /// A rule names a site that is not there.
    #[error("rule `{rule}` names the site `{site}`, which the table does not have: add it to `sites`")]
    NoSite {
        /// The rule's name.
        rule: String,
        /// The missing site.
        site: String,
    },
    /// A path that cannot match.
    #[error("rule `{rule}` has the path `{path}`, which must begin with `/`")]
    Path {
        /// The rule's name.
        rule: String,
        /// Its path.
        path: String,
    },
    /// A header that cannot be sent.
    #[error("rule `{rule}` adds the header `{header}`, whose name or value HTTP does not allow")]
    Header {
        /// The rule's name.
        rule: String,
        /// The header's name.
        header: String,
    },
    /// A redirect without a host.
    #[error("rule `{rule}` redirects to `{to}`, which is not a host or `scheme://host`")]
    Redirect {
        /// The rule's name.
        rule: String,
        /// Its target.
        to: String,
    },
    /// A site's index cannot be read.
    #[error("site `{site}`: {reason}: pack the release again")]
    Site {
        /// The site's id.
        site: String,
        /// What is wrong with which file.
        reason: String,
    },
    /// An address twice.
    #[error("the address {0} has two listeners: merge their hosts")]
    TwoListeners(SocketAddr),
    /// Certificates or a key that cannot be used.
    #[error("the identity `{identity}`: {reason}")]
    Identity {
        /// Its server name.
        identity: String,
        /// What is wrong.
        reason: String,
    },
    /// An upstream on another host names an identity that is not there.
    #[error(
        "upstream `{upstream}` names the identity `{identity}`, which the table does not have: add it to `identities`"
    )]
    NoIdentity {
        /// The upstream's id.
        upstream: String,
        /// The missing identity.
        identity: String,
    },
    /// A pool that peers may not ask for.
    #[error("the identity `{identity}` exports the pool `{pool}`, which {reason}")]
    Export {
        /// The identity's server name.
        identity: String,
        /// The pool.
        pool: String,
        /// Why not, and what to do.
        reason: &'static str,
    },
}

/// A compiled table.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    pub(crate) version: u64,
    /// A handful at most: searched from the front.
    listeners: Vec<(SocketAddr, Arc<Hosts>)>,
    pools: HashMap<String, Arc<Pool>>,
    sites: HashMap<String, Arc<Site>>,
    cookies: HashMap<u64, String>,
    pub(crate) trusted: Vec<IpNet>,
    peer_listeners: Vec<SocketAddr>,
    /// By server name.
    exports: HashMap<String, Exports>,
}

/// What peers of one identity may ask for.
#[derive(Debug)]
pub(crate) struct Exports {
    pub(crate) identity: Arc<Identity>,
    pub(crate) pools: HashMap<String, Arc<Pool>>,
}

impl Compiled {
    /// Compiles a table, or says the first thing that is wrong with it. The registry only grows.
    pub(crate) fn new(table: &Table, registry: &mut Registry) -> Result<Self, TableError> {
        let mut compiled = Self { version: table.version, trusted: table.trusted_proxies.clone(), ..Self::default() };
        for (name, identity) in &table.identities {
            registry
                .identity(name, identity)
                .map_err(|reason| TableError::Identity { identity: name.clone(), reason })?;
        }
        for (id, pool) in &table.pools {
            for upstream in &pool.upstreams {
                if let Some(peer) = &upstream.peer
                    && !table.identities.contains_key(&peer.identity)
                {
                    let (upstream, identity) = (upstream.id.clone(), peer.identity.clone());
                    return Err(TableError::NoIdentity { upstream, identity });
                }
                let instance = registry.instance(upstream);
                compiled.cookies.insert(instance.cookie, id.clone());
            }
            compiled.pools.insert(id.clone(), Arc::new(compile_pool(id, pool, registry)));
        }
        for (id, site) in &table.sites {
            let site = Site::new(id, site, registry).map_err(|reason| TableError::Site { site: id.clone(), reason })?;
            compiled.sites.insert(id.clone(), Arc::new(site));
        }
        for listener in &table.listeners {
            if compiled.hosts(listener.address).is_some() {
                return Err(TableError::TwoListeners(listener.address));
            }
            let mut hosts = Hosts::default();
            for (name, rules) in &listener.hosts {
                let rules = compiled.rules(rules, registry)?;
                match name.strip_prefix("*.") {
                    Some(parent) => hosts.wildcard.insert(parent.to_ascii_lowercase().into(), rules),
                    None => hosts.exact.insert(name.to_ascii_lowercase().into(), rules),
                };
            }
            if let Some(rules) = &listener.fallback {
                hosts.fallback = Some(compiled.rules(rules, registry)?);
            }
            compiled.listeners.push((listener.address, Arc::new(hosts)));
        }
        for address in &table.peer_listeners {
            if compiled.hosts(*address).is_some() {
                return Err(TableError::TwoListeners(*address));
            }
            compiled.peer_listeners.push(*address);
        }
        for (name, identity) in &table.identities {
            let exports = compiled.exports_of(name, identity, table, registry)?;
            compiled.exports.insert(name.clone(), exports);
        }
        Ok(compiled)
    }

    fn exports_of(
        &self,
        name: &str,
        identity: &table::Identity,
        table: &Table,
        registry: &mut Registry,
    ) -> Result<Exports, TableError> {
        let refused =
            |pool: &str, reason| TableError::Export { identity: name.to_owned(), pool: pool.to_owned(), reason };
        let mut pools = HashMap::new();
        for id in &identity.exports {
            let (Some(pool), Some(document)) = (self.pools.get(id), table.pools.get(id)) else {
                return Err(refused(id, "the table does not have: add it to `pools`"));
            };
            if document.upstreams.iter().any(|upstream| upstream.peer.is_some()) {
                return Err(refused(
                    id,
                    "has an upstream on another host: export one with instances of this host only",
                ));
            }
            pools.insert(id.clone(), Arc::clone(pool));
        }
        let identity = registry
            .identity(name, identity)
            .map_err(|reason| TableError::Identity { identity: name.to_owned(), reason })?;
        Ok(Exports { identity, pools })
    }

    fn rules(&self, rules: &[table::PathRule], registry: &mut Registry) -> Result<Rules, TableError> {
        let mut compiled = rules.iter().map(|rule| self.rule(rule, registry)).collect::<Result<Rules, _>>()?;
        compiled.sort_by_key(|rule| std::cmp::Reverse(rule.passing.prefix.len()));
        Ok(compiled)
    }

    fn rule(&self, rule: &table::PathRule, registry: &mut Registry) -> Result<Rule, TableError> {
        let name = || rule.name.clone();
        if !rule.path.starts_with('/') {
            return Err(TableError::Path { rule: name(), path: rule.path.clone() });
        }
        let action = match &rule.action {
            table::Action::Pool(pool) => Action::Pool(Arc::clone(
                self.pools.get(pool).ok_or_else(|| TableError::NoPool { rule: name(), pool: pool.clone() })?,
            )),
            table::Action::Site(site) => Action::Site(Arc::clone(
                self.sites.get(site).ok_or_else(|| TableError::NoSite { rule: name(), site: site.clone() })?,
            )),
            table::Action::Report { socket, uri } => Action::Report(Report::new(socket, uri)),
            table::Action::Redirect(to) => {
                let (scheme, host) = match to.split_once("://") {
                    Some((scheme, host)) => (Some(scheme.into()), host.trim_end_matches('/')),
                    None => (None, to.as_str()),
                };
                if host.is_empty() || host.parse::<http::uri::Authority>().is_err() {
                    return Err(TableError::Redirect { rule: name(), to: to.clone() });
                }
                Action::Redirect(scheme, host.into())
            }
        };
        let mut headers = Vec::with_capacity(rule.headers.len());
        for (header, value) in &rule.headers {
            let wrong = || TableError::Header { rule: name(), header: header.clone() };
            let key = HeaderName::from_bytes(header.as_bytes()).map_err(|_| wrong())?;
            headers.push((key, HeaderValue::from_str(value).map_err(|_| wrong())?));
        }
        Ok(Rule {
            action,
            limit: rule.limit.as_ref().map(|limit| registry.limiter(&rule.name, limit)),
            cors: rule.cors.as_deref().map(Cors::new),
            headers,
            passing: Passing {
                prefix: rule.path.trim_end_matches('/').into(),
                strip: rule.strip,
                sticky: rule.sticky,
                websocket: rule.websocket,
                max_body: rule.max_body,
            },
        })
    }

    /// The hosts of a listener.
    pub(crate) fn hosts(&self, listener: SocketAddr) -> Option<&Arc<Hosts>> {
        self.listeners.iter().find(|(address, _)| *address == listener).map(|(_, hosts)| hosts)
    }

    /// The addresses to accept on.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(|(address, _)| *address).chain(self.peer_listeners.iter().copied())
    }

    /// Whether edges of other hosts connect here, instead of visitors.
    pub(crate) fn is_for_peers(&self, address: SocketAddr) -> bool {
        self.peer_listeners.contains(&address)
    }

    /// What peers that know this server name may ask for.
    pub(crate) fn exports(&self, server_name: &str) -> Option<&Exports> {
        self.exports.get(server_name)
    }

    /// What has become of a pool in this table: nothing at all if it is not in it any more.
    pub(crate) fn current_pool(&self, pool: &Arc<Pool>) -> Arc<Pool> {
        match self.pools.get(&pool.id) {
            Some(current) => Arc::clone(current),
            None => Arc::new(Pool { id: pool.id.clone(), hold: std::time::Duration::ZERO, revisions: Vec::new() }),
        }
    }

    /// What has become of a site in this table; a page under way keeps the old one if it is gone.
    pub(crate) fn current_site(&self, site: &Arc<Site>) -> Arc<Site> {
        Arc::clone(self.sites.get(&site.id).unwrap_or(site))
    }

    /// The pool of the instance with this sticky name.
    pub(crate) fn cookie_pool(&self, cookie: u64) -> Option<&str> {
        self.cookies.get(&cookie).map(String::as_str)
    }
}

fn compile_pool(id: &str, pool: &table::Pool, registry: &mut Registry) -> Pool {
    let mut revisions: Vec<(String, Revision)> = Vec::new();
    for upstream in &pool.upstreams {
        let meter = registry.meter(id, &upstream.revision);
        if upstream.weight == 0 {
            continue;
        }
        let instance = registry.instance(upstream);
        // drawn as often as there are instances behind it
        let behind = upstream.peer.as_ref().map_or(1, |peer| peer.instances.clamp(1, MOST_DRAWN));
        instance.stands_for(behind);
        let instances = std::iter::repeat_n(instance, behind as usize);
        match revisions.iter_mut().find(|(name, _)| *name == upstream.revision) {
            Some((_, revision)) => {
                revision.weight = revision.weight.max(upstream.weight);
                revision.instances.extend(instances);
            }
            None => revisions.push((
                upstream.revision.clone(),
                Revision { weight: upstream.weight, instances: instances.collect(), meter },
            )),
        }
    }
    Pool { id: id.to_owned(), hold: pool.hold, revisions: revisions.into_iter().map(|(_, one)| one).collect() }
}
