//! What hosts do by themselves: finish deploys that nobody else finishes, and become level with their peers.

use std::time::Duration;

use super::{
    host::Host,
    link::Link,
    mutant::Mutant,
    people::Lines,
    story::{Engine, TTL, Theatre},
    world::World,
};
use crate::{
    group::{
        Group,
        merge::{Holding, adopt},
    },
    record::unfinished,
    recover::{Recovered, recover},
    watcher::Silent,
};

/// Of a group, with a host that does not answer.
const PATIENCE: Duration = Duration::from_secs(1);

impl Theatre {
    /// A host has something to do that nobody else does: a deploy to finish, or to become level with its peers.
    pub(super) fn is_needed(&self, world: &World, at: usize) -> bool {
        let host = &world.hosts[at];
        let at_work = || self.engines.iter().any(|engine| engine.home == Some(at));
        if host.is_buried() || world.is_locked(at) || world.mutant == Mutant::NoRecovery || at_work() {
            return false;
        }
        let differs =
            |peer: &Host| peer.journal.len() != host.journal.len() || peer.journal.last() != host.journal.last();
        let mut peers = world.hosts.iter().filter(|host| host.is_up(world.now));
        let many = world.hosts.len() > 1;
        host.unfinished
            || many && peers.any(differs)
            || many && host.resting.as_ref().is_some_and(|desired| *desired != host.desired)
    }

    /// Hosts do what nobody else does.
    pub(super) fn tend(&mut self) {
        for at in 0..self.next_recovery.len() {
            let (now, mutant, hosts) = {
                let world = self.world.borrow();
                let up = world.hosts[at].is_up(world.now);
                if !up || world.now < self.next_recovery[at] || !self.is_needed(&world, at) {
                    continue;
                }
                (world.now, world.mutant, world.hosts.len())
            };
            self.next_recovery[at] = now + self.world.borrow_mut().random.between(400, 600);
            let link = self.link(&format!("agent {at}"), Some(at), if hosts == 1 { 250 } else { 50 });
            let (me, policy) = (Link { host: at, ..link.clone() }, self.policy.clone());
            let life = Box::pin(async move {
                if hosts > 1 && mutant != Mutant::RecoverAlone && level(&me, hosts).await {
                    return Ok(false);
                }
                let alone = hosts == 1 || mutant == Mutant::RecoverAlone;
                let lines = lines(&me, if alone { at..at + 1 } else { 0..hosts });
                let (mut watcher, holder) = (Silent, format!("agent {at}"));
                let recovered = recover(&lines, &me, &holder, TTL, &policy, &mut watcher).await?;
                Ok(recovered != Recovered::Nothing)
            });
            self.engines.push(Engine { link, life, home: Some(at) });
        }
    }
}

/// The hosts `some`, as the engine of `link` reaches them.
pub(super) fn lines(link: &Link, some: std::ops::Range<usize>) -> Lines {
    let member = |host: usize| (format!("host {host}"), Link { host, ..link.clone() });
    Group::new(some.map(member).collect(), link.clone(), PATIENCE)
}

/// What an agent does first: looks at its peers and adopts what they hold. True when that was something, or when it and
/// those that answer are too few.
async fn level(me: &Link, hosts: usize) -> bool {
    let mut peers = Vec::new();
    for host in (0..hosts).filter(|host| *host != me.host) {
        peers.extend(Link { host, ..me.clone() }.holding().await);
    }
    let (own, token) = {
        let world = me.world.borrow();
        let host = &world.hosts[me.host];
        (Holding { journal: host.journal.clone(), desired: host.desired.clone() }, host.fence)
    };
    if (peers.len() + 1) * 2 <= hosts {
        return true;
    }
    let Some(holding) = adopt(&own, &peers, hosts) else { return !unfinished(&own.journal) };
    me.world.borrow_mut().adopt(me.host, token, holding);
    true
}
