//! Finishes or undoes a deploy whose engine fell silent.
//!
//! Whoever has the lease must renew it. When it lapses, or is free while the journal has a deploy without an end, the
//! host takes the lease itself and brings the deploy to its end with the same function the CLI uses.

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

use crate::{clock::SystemClock, environment::Environment, host::Host, state::LeaseState, target::HostTarget};

/// Who has the lease meanwhile.
const HOLDER: &str = "agent";
/// How long the host's own lease is good without a sign of life.
const TTL: Duration = Duration::from_secs(15);
/// How soon a recovery that failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// A lease that is given back while a deploy has no end is not yet a deploy that was left: its engine may just be
/// about to lock again.
const SETTLE: Duration = Duration::from_millis(500);

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
    // At the start of the agent nobody knows whether a deploy was left.
    let mut look = true;
    let mut again = None;
    loop {
        changes.mark_unchanged();
        let lease = environment.state().lease(Instant::now());
        let due = match lease {
            LeaseState::Lapsed => true,
            LeaseState::Free => look,
            LeaseState::Held(_) => false,
        };
        let waiting = again.is_some_and(|at| at > Instant::now());
        if due && !waiting {
            look = false;
            again = match bring_to_end(&target, lease).await {
                Ok(()) => {
                    environment.trouble("recovery", None);
                    None
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
            () = later => {}
        }
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
