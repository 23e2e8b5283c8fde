//! What a host knows of the other hosts of an environment right now.

use std::{collections::BTreeMap, net::IpAddr};

use stack::{ResourceName, Revision};

use crate::members::{MemberHost, Members};

/// The hosts of an environment as this host sees them. Kept by the peer link; an environment of one host has none.
#[derive(Clone)]
pub(crate) struct Membership {
    /// This host's name in the list.
    pub(crate) me: String,
    /// The list.
    pub(crate) members: Members,
    /// The other hosts, in the list's order.
    pub(crate) peers: Vec<Peer>,
}

/// Another host as the last look at it said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Peer {
    /// Its name.
    pub(crate) name: String,
    /// Where its agent and its edge answer.
    pub(crate) address: IpAddr,
    /// No visitors are to be sent to it.
    pub(crate) drained: bool,
    /// It answered lately.
    pub(crate) alive: bool,
    /// How many ready instances it has of each service of each revision.
    pub(crate) ready: BTreeMap<Revision, BTreeMap<ResourceName, u32>>,
}

impl Membership {
    /// The hosts of a list, before any of them was looked at.
    pub(crate) fn new(me: String, members: Members) -> Self {
        let others = members.hosts.iter().filter(|host| host.name != me);
        let peers = others.map(|host| Peer {
            name: host.name.clone(),
            address: host.address,
            drained: host.drained,
            alive: false,
            ready: BTreeMap::new(),
        });
        Self { peers: peers.collect(), me, members }
    }

    /// This host's entry.
    pub(crate) fn own(&self) -> Option<&MemberHost> {
        self.members.hosts.iter().find(|host| host.name == self.me)
    }

    /// The first host of the list that lives, as far as this host knows.
    pub(crate) fn first_alive(&self) -> &str {
        let alive = |host: &&MemberHost| {
            host.name == self.me || self.peers.iter().any(|peer| peer.name == host.name && peer.alive)
        };
        self.members.hosts.iter().find(alive).map_or(&self.me, |host| &host.name)
    }

    /// The host that has the environment's data: the first that is not drained, whether or not it lives.
    pub(crate) fn data_host(&self) -> Option<&MemberHost> {
        self.members.hosts.iter().find(|host| !host.drained)
    }

    /// Whether every other host that has instances of a service has its share of the most, and one has any.
    pub(crate) fn others_are_full(&self, service: &ResourceName, most: u32, revision: &Revision) -> bool {
        let running: Vec<&MemberHost> = self.members.hosts.iter().filter(|host| !host.drained).collect();
        let mut some = false;
        for peer in self.peers.iter().filter(|peer| peer.alive && !peer.drained) {
            let Some(place) = running.iter().position(|host| host.name == peer.name) else { continue };
            let ready = peer.ready.get(revision).and_then(|services| services.get(service)).copied().unwrap_or(0);
            if ready > 0 && ready < share(most, place, running.len()) {
                return false;
            }
            some |= ready > 0;
        }
        some
    }

    /// This host's place among those that run instances, and how many those are; `None` while it is drained.
    pub(crate) fn place(&self) -> Option<(usize, usize)> {
        let running: Vec<&MemberHost> = self.members.hosts.iter().filter(|host| !host.drained).collect();
        Some((running.iter().position(|host| host.name == self.me)?, running.len()))
    }
}

/// This host's share of `replicas` of an environment: they are spread evenly, the first hosts have the odd ones.
pub(crate) fn share(replicas: u32, place: usize, hosts: usize) -> u32 {
    let (place, hosts) = (u32::try_from(place).unwrap_or(u32::MAX), u32::try_from(hosts.max(1)).unwrap_or(u32::MAX));
    replicas / hosts + u32::from(place < replicas % hosts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_replica_has_a_host_and_hosts_differ_by_one_at_most(replicas in 0u32..500, hosts in 1usize..25) {
            let shares: Vec<u32> = (0..hosts).map(|place| share(replicas, place, hosts)).collect();
            prop_assert_eq!(shares.iter().sum::<u32>(), replicas);
            prop_assert!(shares.first().unwrap() - shares.last().unwrap() <= 1);
        }
    }
}
