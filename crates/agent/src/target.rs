//! The target's verbs for one environment of this host.

use std::{sync::Arc, time::Duration};

use engine::{
    desired::{Desired, Observed},
    journal::Entry,
    target::{Fence, Level, Target, TargetError, Task, TaskEnd},
};
use stack::Revision;

use crate::{environment::Environment, error::Error, host::Host, members::Members, peers, scaling, tasks};

/// One environment of one host, as the engine drives it.
#[derive(Clone)]
pub(crate) struct HostTarget {
    /// The host.
    pub(crate) host: Arc<Host>,
    /// The environment.
    pub(crate) environment: Arc<Environment>,
}

impl HostTarget {
    /// Does something with the durable state where waiting for the disk disturbs nobody.
    async fn with_disk<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Environment) -> Result<T, TargetError> + Send + 'static,
    ) -> Result<T, TargetError> {
        let environment = self.environment.clone();
        let done = tokio::task::spawn_blocking(move || act(&environment)).await;
        done.unwrap_or_else(|error| Err(Error::failed(format!("the agent broke down: {error}")).into()))
    }

    /// Replaces the list of hosts.
    pub(crate) async fn put_members(&self, me: String, members: Members) -> Result<(), TargetError> {
        self.with_disk(move |environment| Ok(environment.put_members(me, members)?)).await
    }

    /// Promotes the present stage of the newest deploy.
    pub(crate) async fn promote(&self, deploy: u64) -> Result<(), TargetError> {
        self.with_disk(move |environment| {
            let mut state = environment.state();
            let entries = environment.with_journal(|journal| journal.read())?;
            let newest = engine::record::records(&entries).pop();
            let running = newest.filter(|newest| newest.number == deploy && newest.outcome().is_none());
            if running.is_none() {
                let reason =
                    format!("deploy {deploy} is not at work, so nothing of it can be promoted; see `slipway status`");
                return Err(TargetError::Failed { reason });
            }
            Ok(state.promote(deploy)?)
        })
        .await?;
        self.environment.touch();
        Ok(())
    }

    /// Refuses a token that is not the newest.
    pub(crate) fn check(&self, fence: Fence) -> Result<(), TargetError> {
        self.environment.state().check(fence)
    }
}

impl Target for HostTarget {
    async fn lock(&self, holder: &str, ttl: Duration) -> Result<Fence, TargetError> {
        let holder = holder.to_owned();
        let fence = self.with_disk(move |environment| environment.state().lock(&holder, ttl)).await?;
        self.environment.touch();
        Ok(fence)
    }

    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), TargetError> {
        self.with_disk(move |environment| environment.state().renew(fence, ttl)).await
    }

    async fn unlock(&self, fence: Fence) -> Result<(), TargetError> {
        self.with_disk(move |environment| environment.state().unlock(fence)).await?;
        self.environment.touch();
        Ok(())
    }

    async fn observe(&self) -> Result<Observed, TargetError> {
        Ok(observe(&self.host, &self.environment).await)
    }

    async fn ship(&self, revision: &Revision, fence: Fence) -> Result<(), TargetError> {
        self.check(fence)?;
        // A host that was away while it was deployed lacks what a rollback goes back to.
        peers::bring(&self.host, &self.environment, revision).await;
        let (host, revision) = (self.host.clone(), revision.clone());
        self.with_disk(move |environment| {
            let verified = host.store.verify(&environment.scope.app, &revision.release);
            verified.map_err(|error| TargetError::Failed { reason: error.to_string() })?;
            environment.revisions.get(&host.store, &environment.scope, &environment.folder, &revision)?;
            Ok(())
        })
        .await
    }

    async fn want(&self, desired: &Desired, fence: Fence) -> Result<(), TargetError> {
        let wanted = desired.clone();
        let changed = self.with_disk(move |environment| environment.state().want(&wanted, fence)).await?;
        if changed {
            tracing::info!(scope = %self.environment.scope, running = desired.running.len(), "wanted something else");
            self.environment.touch();
        }
        Ok(())
    }

    async fn task(&self, task: &Task, fence: Fence) -> Result<TaskEnd, TargetError> {
        // A task of its own: it comes to its end also when its caller is gone.
        let (target, task) = (self.clone(), task.clone());
        let ended = tokio::spawn(async move { tasks::run(&target, &task, fence).await }).await;
        ended.unwrap_or_else(|error| Err(Error::failed(format!("the task broke down: {error}")).into()))
    }

    async fn journal(&self) -> Result<Vec<Entry>, TargetError> {
        self.with_disk(|environment| Ok(environment.with_journal(|journal| journal.read())?)).await
    }

    async fn level(&self, level: &Level, fence: Fence) -> Result<(), TargetError> {
        let level = level.clone();
        let kept = self
            .with_disk(move |environment| {
                let mut state = environment.state();
                state.check(fence)?;
                let mut entries = environment.with_journal(|journal| journal.read())?;
                if entries.len() < level.keep {
                    let reason = format!("its journal has {} entries and not {}", entries.len(), level.keep);
                    return Err(TargetError::Failed { reason });
                }
                entries.truncate(level.keep);
                entries.extend(level.entries);
                Ok(environment.take_over(&mut state, &entries, level.desired.as_ref(), level.floor)?)
            })
            .await?;
        if let Some(kept) = kept {
            tracing::warn!(scope = %self.environment.scope, kept = %kept.display(), "gave up entries that the other hosts do not have");
        }
        self.environment.touch();
        Ok(())
    }

    async fn append(&self, entry: &Entry, fence: Fence) -> Result<(), TargetError> {
        let entry = entry.clone();
        self.with_disk(move |environment| {
            // The token is good until the entry is durable: nobody can take the lease in between.
            let state = environment.state();
            state.check(fence)?;
            Ok(environment.with_journal(|journal| journal.append(&entry))?)
        })
        .await
    }
}

/// What is.
pub(crate) async fn observe(host: &Host, environment: &Environment) -> Observed {
    let traffic = host.edge.traffic(&environment.scope).await;
    let (desired, promoted) = {
        let state = environment.state();
        (state.desired().clone(), state.promoted())
    };
    let edge = host.edge.state();
    let mut troubles = environment.troubles();
    troubles.extend(edge.made.troubles.get(&environment.scope).into_iter().flatten().cloned());
    let addresses = edge.made.addresses.get(&environment.scope);
    let refused = |address: &std::net::SocketAddr| edge.refused.get(&address.to_string());
    for address in addresses.into_iter().flatten() {
        troubles.extend(refused(address).map(|reason| format!("visitors cannot come to {address}: {reason}")));
    }
    if let Some(door) = edge.made.doors.get(&environment.scope) {
        let reason = refused(door);
        troubles.extend(reason.map(|reason| format!("the edges of the other hosts cannot come to {door}: {reason}")));
    }
    if !desired.traffic.is_empty() {
        troubles.extend(edge.trouble.clone());
    }
    let unheard = addresses.is_some_and(|all| !all.is_empty() && all.iter().all(|address| refused(address).is_some()));
    let serving = if unheard { None } else { edge.made.serving.get(&environment.scope).cloned() };
    let loaded = |revision: &Revision| {
        let loaded = environment.revisions.find(revision)?;
        Some((revision.clone(), environment.expected(&loaded)))
    };
    let scaled = scaling::scaled(environment);
    Observed {
        expected: desired.running.iter().filter_map(loaded).collect(),
        instances: environment.instances().into_values().collect(),
        serving: serving.unwrap_or_default(),
        traffic,
        services: environment.services.seen().into_values().collect(),
        troubles,
        lost: Vec::new(),
        promoted,
        scaled,
        desired,
    }
}
