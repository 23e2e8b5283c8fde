//! What the other hosts of an environment said, and how they are reached.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use engine::desired::InstanceState;
use tokio::sync::watch;

use super::{keys::Keys, link::Link};
use crate::{
    client::Client,
    environment::Environment,
    error::Error,
    members::{Members, PEER_PORT},
    membership::Membership,
    protocol::PeerState,
    state::LeaseState,
};

/// A host that was silent for so many looks in a row is not alive.
const SILENT: u32 = 3;

/// The ways to the other hosts, and what they said last.
pub(crate) struct Peers {
    known: Mutex<Known>,
    /// Held by who catches up.
    pub(super) levelling: tokio::sync::Mutex<()>,
    /// Rises when somebody said something new.
    news: watch::Sender<u64>,
}

#[derive(Default)]
struct Known {
    keys: Option<Arc<Keys>>,
    links: BTreeMap<String, Arc<Link>>,
    heard: BTreeMap<String, Heard>,
}

/// What a host said last.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// How it was.
    pub(crate) state: PeerState,
    /// Looks since then that it did not answer.
    pub(crate) missed: u32,
}

impl Heard {
    /// It answered lately.
    pub(crate) fn is_alive(&self) -> bool {
        self.missed < SILENT
    }
}

impl Default for Peers {
    fn default() -> Self {
        Self { known: Mutex::default(), levelling: tokio::sync::Mutex::default(), news: watch::Sender::new(0) }
    }
}

impl Peers {
    /// Knows the hosts of a list, and forgets others. Fails when its identity is of no use; nothing changed then.
    pub(crate) fn take_up(&self, me: &str, members: &Members) -> Result<(), Error> {
        let mut known = self.known();
        let keys = match &known.keys {
            Some(keys) if keys.is_of(&members.identity) => keys.clone(),
            _ => Arc::new(Keys::of(&members.identity)?),
        };
        let others = members.hosts.iter().filter(|host| host.name != me);
        let links: BTreeMap<String, Arc<Link>> = others
            .map(|host| {
                let address = SocketAddr::new(host.address, PEER_PORT);
                let kept = known.links.get(&host.name).filter(|link| link.leads_to(address, &keys));
                let link = kept.cloned().unwrap_or_else(|| Arc::new(Link::new(address, keys.clone())));
                (host.name.clone(), link)
            })
            .collect();
        known.heard.retain(|name, _| links.contains_key(name));
        (known.keys, known.links) = (Some(keys), links);
        drop(known);
        self.news.send_modify(|count| *count += 1);
        Ok(())
    }

    /// What this host answers with; `None` for an environment that was never told of hosts.
    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.known().keys.clone()
    }

    /// The agents of the other hosts, by name.
    pub(crate) fn clients(&self) -> Vec<Client> {
        self.known().links.iter().map(|(name, link)| Client::to_peer(link.clone(), name.clone())).collect()
    }

    /// What every host said that ever answered, by name.
    pub(crate) fn heard(&self) -> BTreeMap<String, Heard> {
        self.known().heard.clone()
    }

    /// Whether a host that answered before does not any more.
    pub(crate) fn is_silent(&self, name: &str) -> bool {
        self.known().heard.get(name).is_some_and(|heard| !heard.is_alive())
    }

    /// Is told when somebody said something new.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Enters what a host said, or that it said nothing.
    pub(crate) fn enter(&self, name: &str, said: Option<PeerState>) {
        let mut known = self.known();
        if !known.links.contains_key(name) {
            return;
        }
        let new = match (said, known.heard.get_mut(name)) {
            (Some(state), Some(heard)) => {
                // The time a lease has left is no news as long as it has some.
                let held = |state: &PeerState| PeerState { held_ms: state.held_ms.map(|_| 0), ..state.clone() };
                let new = !heard.is_alive() || held(&heard.state) != held(&state);
                *heard = Heard { state, missed: 0 };
                new
            }
            (Some(state), None) => {
                known.heard.insert(name.to_owned(), Heard { state, missed: 0 });
                true
            }
            (None, Some(heard)) => {
                heard.missed = heard.missed.saturating_add(1);
                heard.missed == SILENT
            }
            (None, None) => false,
        };
        drop(known);
        if new {
            self.news.send_modify(|count| *count += 1);
        }
    }

    /// Enters what is known of each host into a membership. Says whether that changed it.
    pub(crate) fn describe(&self, membership: &mut Membership) -> bool {
        let known = self.known();
        let mut changed = false;
        for peer in &mut membership.peers {
            let heard = known.heard.get(&peer.name);
            let alive = heard.is_some_and(Heard::is_alive);
            let ready = heard.map(|heard| heard.state.ready.clone()).unwrap_or_default();
            if (peer.alive, &peer.ready) != (alive, &ready) {
                (peer.alive, peer.ready, changed) = (alive, ready, true);
            }
        }
        changed
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How this host is, as its peers see it.
pub(crate) fn state(environment: &Environment) -> PeerState {
    let mut state = PeerState {
        changed_at: environment.membership().map(|known| known.members.changed_at),
        head: environment.with_journal(|journal| Ok(journal.head().clone())).unwrap_or_default(),
        ..PeerState::default()
    };
    let now = Instant::now();
    {
        let own = environment.state();
        own.desired().clone_into(&mut state.desired);
        if let LeaseState::Held(until) = own.lease(now) {
            state.held_ms = Some(u64::try_from((until - now).as_millis()).unwrap_or(u64::MAX));
        }
    }
    for instance in environment.instances().into_values() {
        if instance.state == InstanceState::Ready {
            *state.ready.entry(instance.revision).or_default().entry(instance.service).or_default() += 1;
        }
    }
    state
}
