//! Releases on their way to hosts and off them, and hosts that lag.

use std::time::{Duration, Instant};

use agent::{
    asks::unexpected,
    protocol::{Call, Reply},
    upload::Removed,
};
use engine::{
    journal::Entry,
    target::{Target, TargetError},
};
use futures_util::future::join_all;
use stack::ReleaseId;

use super::{Fleet, FleetError, Healed, Ways};
use crate::ship::{Listener, Sent, Shipper};

/// How long a host may take to catch up.
const CATCHING_UP: Duration = Duration::from_secs(15);

impl Fleet {
    /// Removes old releases from the hosts, never one that an environment runs or may go back to; says what each of them
    /// removed. This machine's own releases stay until `slipway releases prune`.
    pub async fn prune(&self, keep: usize) -> Vec<(String, Result<Removed, TargetError>)> {
        let Ways::Hosts(hosts) = &self.ways else { return Vec::new() };
        hosts.give_up_silent().await;
        let asked = hosts.found().await.iter().filter(|host| host.client().is_some()).map(|host| async move {
            let removed = host.ask(|client| async move { client.prune(&self.scope.app, keep).await });
            (host.name.clone(), removed.await)
        });
        join_all(asked).await
    }

    /// What was sent to the hosts so far.
    pub fn sent(&self) -> Vec<Sent> {
        match &self.ways {
            Ways::Here(_) => Vec::new(),
            Ways::Hosts(hosts) => hosts.shipper.get().map(Shipper::sent).unwrap_or_default(),
        }
    }

    /// Sends a release of this machine to every host that answers and lacks it, and says how much travelled. Changes
    /// nothing visible: a deploy does the same as one of its steps.
    pub async fn send(&self, release: &ReleaseId) -> Result<Vec<Sent>, FleetError> {
        let Ways::Hosts(hosts) = &self.ways else { return Ok(Vec::new()) };
        let shipper = hosts.shipper(&self.home, &self.scope.app)?;
        let asked = hosts.found().await.iter().filter(|host| host.client().is_some()).map(|host| {
            let shipper = &shipper;
            async move {
                let bytes = host.ask(|client| async move { shipper.send(&client, release).await }).await?;
                Ok(Sent { host: host.name.clone(), release: release.clone(), bytes })
            }
        });
        join_all(asked).await.into_iter().collect()
    }

    /// Whom to tell what is on its way to the hosts: host, bytes so far, bytes in all.
    pub fn on_shipping(&self, listener: Listener) -> Result<(), FleetError> {
        if let Ways::Hosts(hosts) = &self.ways {
            hosts.shipper(&self.home, &self.scope.app)?.tell(listener);
        }
        Ok(())
    }

    /// Brings every host level with the others: each has the list of hosts, the journal and the desired state of the
    /// majority, and the releases that are wanted; what no peer can give it is sent from here. Says what was done.
    pub async fn heal(&self) -> Result<Vec<Healed>, FleetError> {
        let Ways::Hosts(hosts) = &self.ways else { return Ok(Vec::new()) };
        let shipper = hosts.shipper(&self.home, &self.scope.app)?;
        let group = self.group().await?;
        let (observed, journal) = tokio::join!(group.observe(), group.journal());
        let (desired, journal) = (observed?.desired, journal?);
        hosts.give_up_silent().await;
        let wanted: Vec<ReleaseId> = desired.running.iter().map(|revision| revision.release.clone()).collect();
        let asked = hosts.found().await.iter().map(|host| {
            let (shipper, wanted, journal) = (&shipper, &wanted, &journal);
            async move {
                let name = host.name.clone();
                let level = |client| async move { self.level(&client, shipper, wanted, journal).await };
                let healed = host.ask(level).await;
                match healed {
                    Ok(done) => Healed { host: name, done, failed: None },
                    Err(error) => Healed { host: name, done: Vec::new(), failed: Some(error.to_string()) },
                }
            }
        });
        Ok(join_all(asked).await)
    }

    async fn level(
        &self,
        client: &agent::Client,
        shipper: &Shipper,
        wanted: &[ReleaseId],
        journal: &[Entry],
    ) -> Result<Vec<String>, TargetError> {
        // first what its peers have: their link is likely the faster one
        let level = || async {
            match client.call(Some(&self.scope), Call::Level).await? {
                Reply::Level { done } => Ok(done),
                other => Err(unexpected(&other)),
            }
        };
        let mut first = level().await;
        // an agent that has just started does not know its peers yet, or holds a lease that has to lapse
        let began = Instant::now();
        loop {
            match client.call(Some(&self.scope), Call::Journal).await? {
                Reply::Journal { entries } if entries.starts_with(journal) => break,
                Reply::Journal { .. } if began.elapsed() > CATCHING_UP => {
                    let reason = "it does not know yet what the others did; it catches up by itself".to_owned();
                    return Err(first.err().unwrap_or(TargetError::Failed { reason }));
                }
                Reply::Journal { .. } => {}
                other => return Err(unexpected(&other)),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            let again = level().await;
            first = match (first, again) {
                (Ok(mut done), Ok(more)) => {
                    done.extend(more);
                    Ok(done)
                }
                (_, again) => again,
            };
        }
        let mut sent = Vec::new();
        for release in wanted.iter().filter(|release| shipper.has(release)) {
            let bytes = shipper.send(client, release).await?;
            if bytes > 0 {
                sent.push(format!("sent release {release}, {bytes} bytes"));
            }
        }
        if sent.is_empty() {
            return first;
        }
        let mut done = first.unwrap_or_default();
        done.append(&mut sent);
        done.extend(level().await?);
        Ok(done)
    }
}
