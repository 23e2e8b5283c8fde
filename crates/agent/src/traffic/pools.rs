//! What answers behind a path: pools of instances, functions and buckets, and sites, each with its shares.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use edge::table::{Action, Limit, PathRule, Pool, Site, SiteRoot, Table, Upstream};
use engine::desired::{Instance, InstanceState};
use stack::{Kind, LimitKey, ResourceName, Revision, Route};

use super::{HOLD, Part, peers, pool_id, upstream_id};
use crate::{headers, probing, revision::Loaded};

/// An environment as its visitors see it.
pub(super) struct Seen<'a> {
    pub(super) part: &'a Part,
    /// The revision that decides which hosts and paths there are.
    pub(super) leader: &'a Loaded,
    /// This host's own shares of visitors.
    pub(super) shares: &'a BTreeMap<Revision, u8>,
}

/// What answers below each path of a route, with its pools and sites in the table.
pub(super) fn rules(
    seen: &Seen<'_>,
    route: &Route,
    address: SocketAddr,
    local: bool,
    table: &mut Table,
    troubles: &mut Vec<String>,
) -> Vec<PathRule> {
    let Seen { part, leader, .. } = *seen;
    let mut rules = Vec::new();
    for path in &route.paths {
        let id = pool_id(&part.scope, &path.to);
        let (action, headers) = match path.to.kind {
            Kind::Service => {
                add_pool(seen, &path.to.name, &id, table);
                (Action::Pool(id), headers::of_service(local))
            }
            Kind::Function => {
                add_function(seen, &path.to.name, &id, table);
                (Action::Pool(id), headers::of_service(local))
            }
            Kind::Bucket => {
                add_bucket(seen, &path.to.name, &id, table);
                (Action::Pool(id), headers::of_service(local))
            }
            Kind::Site => {
                add_site(seen, &path.to.name, &id, table);
                (Action::Site(id), headers::of_site(&leader.resolved, &path.to.name, address))
            }
            _ => {
                troubles.push(format!(
                    "route `{}{}` leads to `{}`, which this host cannot serve; lead it to a service or a site",
                    route.host, path.path, path.to
                ));
                continue;
            }
        };
        rules.push(PathRule {
            path: path.path.clone(),
            action,
            name: format!("{}{}", route.host, path.path),
            strip: path.strip,
            limit: path.limit.as_ref().map(|limit| Limit {
                requests: limit.requests,
                period: limit.period.0,
                per_client: limit.per == LimitKey::Ip,
            }),
            cors: path.cors.as_ref().map(|variable| {
                let origins = leader.values.values.get(variable).map_or("", String::as_str);
                origins.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect()
            }),
            sticky: path.sticky,
            websocket: path.websocket,
            max_body: path.max_body.map(|size| size.0),
            headers,
        });
    }
    rules
}

fn add_pool(seen: &Seen<'_>, name: &ResourceName, id: &str, table: &mut Table) {
    if table.pools.contains_key(id) {
        return;
    }
    let Seen { part, leader, shares } = *seen;
    let share = |revision: &Revision| shares.get(revision).copied().map_or(0, u32::from);
    let with_visitors = part.instances.iter().filter(|instance| shares.contains_key(&instance.revision));
    let probe = leader.service(name).ok().and_then(probing::health);
    let mut upstreams = upstreams(part, with_visitors, name, share);
    upstreams.extend(peers::upstreams(part, name, share));
    table.pools.insert(id.to_owned(), Pool { upstreams, probe, hold: HOLD });
}

/// Those instances of a service that may take visitors. One that fails its probe stays: the edge probes as well and
/// decides by its own eyes.
pub(super) fn upstreams<'a>(
    part: &Part,
    instances: impl Iterator<Item = &'a Instance>,
    service: &ResourceName,
    share: impl Fn(&Revision) -> u32,
) -> Vec<Upstream> {
    instances
        .filter(|instance| instance.service == *service)
        .filter(|instance| matches!(instance.state, InstanceState::Ready | InstanceState::Unready { .. }))
        .filter_map(|instance| {
            Some(Upstream {
                id: upstream_id(&part.scope, &instance.id),
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, instance.port?)),
                revision: instance.revision.to_string(),
                weight: share(&instance.revision),
                peer: None,
            })
        })
        .collect()
}

/// The agent answers for a function: at an address of its own for each revision.
fn add_function(seen: &Seen<'_>, name: &ResourceName, id: &str, table: &mut Table) {
    let Seen { part, shares, .. } = *seen;
    let upstreams = shares.iter().filter_map(|(revision, percent)| {
        let address = part.functions.functions.get(&(revision.clone(), name.clone()))?;
        Some(Upstream {
            // Another address is another upstream: nothing that was known of the last one holds.
            id: upstream_id(&part.scope, &format!("function.{name}:{}", address.port())),
            address: *address,
            revision: revision.to_string(),
            weight: u32::from(*percent),
            peer: None,
        })
    });
    table.pools.insert(id.to_owned(), Pool { upstreams: upstreams.collect(), probe: None, hold: HOLD });
}

/// A bucket belongs to no release: all its visitors count as those of the leading one.
fn add_bucket(seen: &Seen<'_>, name: &ResourceName, id: &str, table: &mut Table) {
    let Seen { part, leader, .. } = *seen;
    let upstream = part.buckets.get(name).map(|address| Upstream {
        id: upstream_id(&part.scope, &format!("bucket.{name}:{}", address.port())),
        address: *address,
        revision: leader.revision.to_string(),
        weight: 1,
        peer: None,
    });
    table.pools.insert(id.to_owned(), Pool { upstreams: upstream.into_iter().collect(), probe: None, hold: HOLD });
}

fn add_site(seen: &Seen<'_>, name: &ResourceName, id: &str, table: &mut Table) {
    if table.sites.contains_key(id) {
        return;
    }
    let Seen { part, leader, shares } = *seen;
    let root = |revision: &Revision, release: &std::path::Path, weight| SiteRoot {
        folder: release.join("site").join(name.as_str()),
        revision: revision.to_string(),
        weight,
    };
    let has_site = |loaded: &Loaded| loaded.resolved.stack.sites.contains_key(name);
    let mut roots: Vec<SiteRoot> = part
        .loaded
        .iter()
        .filter(|(_, loaded)| has_site(loaded))
        .filter_map(|(revision, loaded)| Some((revision, loaded, *shares.get(revision)?)))
        .map(|(revision, loaded, percent)| root(revision, &loaded.folder, u32::from(percent)))
        .collect();
    roots.sort_by_key(|root| std::cmp::Reverse(root.weight));
    let current: BTreeSet<PathBuf> = roots.iter().map(|root| root.folder.clone()).collect();
    let mut others = BTreeSet::new();
    for (revision, release) in &part.earlier {
        let root = root(revision, release, 0);
        if !current.contains(&root.folder) && others.insert(root.folder.clone()) {
            roots.push(root);
        }
    }
    let spa = leader.resolved.stack.sites.get(name).is_some_and(|site| site.spa);
    table.sites.insert(id.to_owned(), Site { roots, spa });
}
