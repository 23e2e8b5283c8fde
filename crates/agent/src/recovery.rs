//! Finishes or undoes a deploy whose engine fell silent.
//!
//! Whoever has the lease must renew it. When it lapses, or is free while the journal has a deploy without an end, the
//! host takes the lease itself and brings the deploy to its end with the same function the CLI uses. Where other hosts
//! make the environment too, the lease is that of the majority, and the first of the hosts that live goes first.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use engine::{
    error::EngineError,
    policy::Policy,
    recover::{Recovered, recover},
    target::Target,
    watcher::{Progress, Watcher},
};

use crate::{
    clock::SystemClock, environment::Environment, host::Host, membership::Membership, peers, state::LeaseState,
    target::HostTarget,
};

/// Who has the lease meanwhile.
const HOLDER: &str = "agent";
/// How long the host's own lease is good without a sign of life.
const TTL: Duration = Duration::from_secs(15);
/// How soon a recovery that failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// A lease that is given back while a deploy has no end is not yet a deploy that was left: its engine may just be
/// about to lock again.
const SETTLE: Duration = Duration::from_millis(500);
/// How long each host leaves a recovery to the one before it.
const TURN: Duration = Duration::from_secs(3);

/// Writes to the agent's own log.
struct Log(String);

impl Watcher for Log {
    fn see(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Recovering { deploy, by } => {
                tracing::warn!(scope = self.0, deploy, by, "a deploy was left unfinished; bringing it to its end");
            }
            Progress::Ended { deploy, outcome } => tracing::info!(scope = self.0, deploy, ?outcome, "it ended"),
            Progress::Note { text } => tracing::info!(scope = self.0, "{text}"),
            _ => {}
        }
    }
}

/// Watches the lease of an environment for as long as the agent runs.
pub(crate) async fn run(host: Arc<Host>, environment: Arc<Environment>) {
    let target = HostTarget { host: host.clone(), environment: environment.clone() };
    let mut changes = environment.watch();
    let mut news = environment.peers.watch();
    // At the start of the agent nobody knows whether a deploy was left.
    let mut look = true;
    let mut again = None;
    // Since when it is due, as far as other hosts know.
    let mut since = None;
    loop {
        changes.mark_unchanged();
        news.mark_unchanged();
        let lease = environment.state().lease(Instant::now());
        let fleet = environment.membership().filter(|known| !known.peers.is_empty());
        let due = match (lease, &fleet) {
            (LeaseState::Held(_), _) => false,
            (_, Some(known)) => is_due_in_fleet(&environment, known, lease),
            (LeaseState::Lapsed, None) => true,
            (LeaseState::Free, None) => look,
        };
        since = since.filter(|_| due).or_else(|| due.then(Instant::now));
        if let (Some(known), Some(since), None) = (&fleet, since, again) {
            again = Some(since + TURN * turn(known)).filter(|at| *at > Instant::now());
        }
        let waiting = again.is_some_and(|at| at > Instant::now());
        if due && !waiting {
            look = false;
            let ended = match &fleet {
                Some(known) => bring_fleet_to_end(&target, known, lease).await,
                None => bring_to_end(&target, lease).await,
            };
            since = None;
            again = match ended {
                Ok(()) => {
                    environment.trouble("recovery", None);
                    // Another host may be about it.
                    fleet.as_ref().map(|_| Instant::now() + TURN)
                }
                Err(reason) => {
                    environment.trouble(
                        "recovery",
                        Some(format!("an unfinished deploy cannot be brought to its end: {reason}")),
                    );
                    look = true;
                    Some(Instant::now() + AGAIN)
                }
            };
            continue;
        }
        let until = match (lease, again) {
            (LeaseState::Held(at), _) => Some(at),
            (_, Some(at)) if due => Some(at),
            _ => None,
        };
        if !due {
            again = None;
            if fleet.is_some() {
                // Another host may have done it.
                environment.trouble("recovery", None);
            }
        }
        let later = async {
            match until {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = host.stopping.cancelled() => return,
            told = changes.changed() => {
                if told.is_err() {
                    return;
                }
                // Changes of instances are many; the lease is only looked at again.
                tokio::time::sleep(SETTLE).await;
            }
            told = news.changed() => {
                if told.is_err() {
                    return;
                }
                tokio::time::sleep(SETTLE).await;
            }
            () = later => {}
        }
    }
}

/// Whether a deploy was left, as far as this host and the others know. While a host says that somebody has its lease,
/// the deploy may be at work without this host.
fn is_due_in_fleet(environment: &Environment, known: &Membership, lease: LeaseState) -> bool {
    if known.own().is_none() {
        // It was taken out of the list: what happens is not its business any more.
        return false;
    }
    let head = environment.with_journal(|journal| Ok(journal.head().clone())).unwrap_or_default();
    let alive = |name: &String| known.peers.iter().any(|peer| peer.name == *name && peer.alive);
    let said = environment.peers.heard();
    let at_work = said.iter().any(|(name, said)| alive(name) && said.state.held_ms.is_some());
    !at_work && (head.unfinished || lease == LeaseState::Lapsed)
}

/// How many living hosts come before this one.
fn turn(known: &Membership) -> u32 {
    let before = known.members.hosts.iter().take_while(|host| host.name != known.me);
    let alive = before.filter(|host| known.peers.iter().any(|peer| peer.name == host.name && peer.alive));
    u32::try_from(alive.count()).unwrap_or(u32::MAX)
}

/// Brings a deploy of all hosts to its end, once a majority of them answers.
async fn bring_fleet_to_end(target: &HostTarget, known: &Membership, lease: LeaseState) -> Result<(), String> {
    let entries = target.journal().await.map_err(|error| error.to_string())?;
    if !engine::record::unfinished(&entries) {
        return bring_to_end(target, lease).await;
    }
    let (hosts, alive) = (known.members.hosts.len(), known.peers.iter().filter(|peer| peer.alive).count() + 1);
    if alive * 2 <= hosts {
        return Err(format!(
            "only {alive} of {hosts} hosts answer, which is no majority, so this host stays as it is; look at the \
             others, or at the network between them"
        ));
    }
    let mut log = Log(target.environment.scope.to_string());
    let fleet = peers::of_fleet(target, known);
    let holder = format!("{HOLDER} of {}", known.me);
    let policy = Policy::default();
    // Boxed: what it does over many hosts at a time is deep.
    let recovered = Box::pin(recover(&fleet, &SystemClock, &holder, TTL, &policy, &mut log));
    match recovered.await {
        Ok(Recovered::Nothing | Recovered::Ended { .. }) | Err(EngineError::Locked { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

async fn bring_to_end(target: &HostTarget, lease: LeaseState) -> Result<(), String> {
    let entries = target.journal().await.map_err(|error| error.to_string())?;
    if !engine::record::unfinished(&entries) {
        if lease == LeaseState::Lapsed {
            // Nothing was left, so only the token is taken from whoever fell silent.
            let fence = target.lock(HOLDER, TTL).await.map_err(|error| error.to_string())?;
            target.unlock(fence).await.map_err(|error| error.to_string())?;
        }
        return Ok(());
    }
    let mut log = Log(target.environment.scope.to_string());
    match recover(target, &SystemClock, HOLDER, TTL, &Policy::default(), &mut log).await {
        Ok(Recovered::Nothing | Recovered::Ended { .. }) | Err(EngineError::Locked { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
