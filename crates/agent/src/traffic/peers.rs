//! The other hosts of an environment: what this host's edge lets theirs ask for, what it asks theirs for, and how
//! shares of visitors become shares of hosts.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use edge::table::{Identity, Peer, Pool, Upstream};
use engine::desired::Desired;
use stack::{Kind, ResourceName, Revision};

use super::{Made, Part, pool_id, reference};
use crate::{members::EDGE_PORT, membership::Membership, probing, protocol::Scope};

/// Opens the door to the edges of the other hosts: every service of every revision that runs here, with this host's
/// instances alone.
pub(super) fn add_door(part: &Part, membership: &Membership, made: &mut Made) {
    let Some(own) = membership.own() else { return };
    let mut exports = BTreeSet::new();
    for (revision, loaded) in &part.loaded {
        for (name, service) in &loaded.resolved.stack.services {
            let Some(probe) = probing::health(service) else { continue };
            let id = export_id(&part.scope, name, revision);
            let instances = part.instances.iter().filter(|instance| instance.revision == *revision);
            let upstreams = super::upstreams(part, instances, name, |_| 1);
            // Not held here: the edge that asks knows other hosts, and holds visitors itself.
            let pool = Pool { upstreams, probe: Some(probe), hold: Duration::ZERO };
            made.table.pools.insert(id.clone(), pool);
            exports.insert(id);
        }
    }
    let shared = &membership.members.identity;
    let identity = Identity {
        authority: shared.authority.clone(),
        certificate: shared.certificate.clone(),
        key: shared.key.clone(),
        exports,
    };
    let door = SocketAddr::new(own.address, EDGE_PORT);
    made.table.identities.insert(shared.server_name(), identity);
    made.table.peer_listeners.insert(door);
    made.doors.insert(part.scope.clone(), door);
}

/// One upstream for each host that may have visitors and has ready instances of a revision with a share.
pub(super) fn upstreams(part: &Part, service: &ResourceName, share: impl Fn(&Revision) -> u32) -> Vec<Upstream> {
    let Some(membership) = &part.membership else { return Vec::new() };
    if membership.own().is_none() {
        return Vec::new(); // without a door of its own the table has no identity to ask with
    }
    let mut found = Vec::new();
    for peer in membership.peers.iter().filter(|peer| peer.alive && !peer.drained) {
        for (revision, services) in &peer.ready {
            let (instances, weight) = (services.get(service).copied().unwrap_or_default(), share(revision));
            if instances == 0 || weight == 0 {
                continue;
            }
            let pool = export_id(&part.scope, service, revision);
            found.push(Upstream {
                id: format!("{pool}@{}", peer.name),
                address: SocketAddr::new(peer.address, EDGE_PORT),
                revision: revision.to_string(),
                weight,
                peer: Some(Peer { identity: membership.members.identity.server_name(), pool, instances }),
            });
        }
    }
    found
}

/// The name under which hosts ask each other for the instances of a service. What is asked there is not counted: the
/// edge that asks has counted it.
fn export_id(scope: &Scope, service: &ResourceName, revision: &Revision) -> String {
    let pool = pool_id(scope, &reference(Kind::Service, service));
    format!("{pool}@{}-{}@host", revision.release, revision.values)
}

/// The shares of visitors as this host's own edge realises them.
///
/// With [`Desired::by_host`], a host is on one side of the change: of the hosts that run instances, in the members'
/// order, the first `ceil(percent * hosts / 100)` send all their visitors to the newer revision and the others none.
/// The newer one is the one that is not yet [`Desired::schedules`], which stays with the revision that a deploy comes
/// from until it is over. A host that runs no instances, and one that cannot tell which is newer, splits its visitors.
pub(super) fn shares(desired: &Desired, membership: Option<&Membership>) -> BTreeMap<Revision, u8> {
    let all = desired.traffic.clone();
    let Some((place, hosts)) = membership.filter(|_| desired.by_host).and_then(Membership::place) else { return all };
    let mut newer =
        all.iter().filter(|(revision, percent)| **percent > 0 && desired.schedules.as_ref() != Some(revision));
    let (Some((newer, percent)), None) = (newer.next(), newer.next()) else { return all };
    if desired.schedules.is_none() || *percent >= 100 {
        return all;
    }
    let first = (usize::from(*percent) * hosts).div_ceil(100);
    let on_newer = place < first;
    let share = |revision: &Revision, percent: u8| match (revision == newer, on_newer) {
        (true, true) => 100,
        (false, false) => percent,
        _ => 0,
    };
    all.iter().map(|(revision, percent)| (revision.clone(), share(revision, *percent))).collect()
}
