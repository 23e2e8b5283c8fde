//! Decides which servers of an environment run, whenever something changes.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use stack::{ResourceRef, Revision};
use tokio::{sync::watch, task::JoinSet};

use super::{Agreement, Definition, life};
use crate::{environment::Environment, error::Error, health, host::Host, state::LeaseState};

/// How soon a release that could not be read is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// How long all servers of an environment may take to end.
const STOPPING: Duration = Duration::from_mins(2);

/// What the servers should be.
struct Wanted {
    servers: BTreeMap<ResourceRef, Definition>,
    /// A release could not be read, so that nobody knows what else is wanted.
    unknown: bool,
    /// When the lease lapses, while a task needs servers.
    until: Option<Instant>,
}

/// Looks after the servers of an environment for as long as the agent runs. They go on without it.
pub(crate) async fn run(host: Arc<Host>, environment: Arc<Environment>) {
    let mut changes = environment.watch();
    let mut lives = JoinSet::new();
    let mut known: BTreeMap<ResourceRef, watch::Sender<Option<Definition>>> = BTreeMap::new();
    let mut found = life::find_left(&environment);
    loop {
        changes.mark_unchanged();
        let wanted = wanted(&host, &environment);
        let mut all = wanted.servers.clone();
        for (name, definition) in std::mem::take(&mut found) {
            // What runs goes on as it is until somebody can tell whether it is wanted.
            let now = wanted.servers.get(&name).cloned().or_else(|| wanted.unknown.then(|| definition.clone()));
            known.insert(name.clone(), begin(&host, &environment, &mut lives, definition, now.clone()));
            all.extend(now.map(|now| (name, now)));
        }
        for (name, definition) in &all {
            if !known.contains_key(name) {
                let begun = begin(&host, &environment, &mut lives, definition.clone(), Some(definition.clone()));
                known.insert(name.clone(), begun);
            }
        }
        for (name, sender) in &known {
            let now = all.get(name).cloned();
            if now.is_some() || !wanted.unknown {
                sender.send_if_modified(|old| std::mem::replace(old, now.clone()) != now);
            }
        }
        let later = async {
            match wanted.until {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None if wanted.unknown => tokio::time::sleep(AGAIN).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = host.stopping.cancelled() => {
                lives.abort_all();
                return;
            }
            told = changes.changed() => if told.is_err() { return },
            Some(ended) = lives.join_next() => match ended {
                Ok(name) => drop(known.remove(&name)),
                Err(error) => tracing::error!(scope = %environment.scope, "a server's task broke down: {error}"),
            },
            () = later => {}
        }
    }
}

fn begin(
    host: &Arc<Host>,
    environment: &Arc<Environment>,
    lives: &mut JoinSet<ResourceRef>,
    definition: Definition,
    now: Option<Definition>,
) -> watch::Sender<Option<Definition>> {
    let (sender, receiver) = watch::channel(now);
    let name = definition.name.clone();
    let life = life::Life::new(host.clone(), environment.clone(), definition, receiver);
    lives.spawn(async move {
        life.run().await;
        name
    });
    sender
}

/// What the revisions that run, or that a task needs servers for, ask for. The release with most visitors decides how a
/// server is to be.
fn wanted(host: &Host, environment: &Environment) -> Wanted {
    let desired = environment.desired();
    let lease = environment.state().lease(Instant::now());
    let until = match lease {
        LeaseState::Held(at) if !environment.services.called().is_empty() => Some(at),
        LeaseState::Held(_) => None,
        LeaseState::Free | LeaseState::Lapsed => {
            environment.services.called().clear();
            None
        }
    };
    let instances = environment.instances();
    let mut revisions: Vec<Revision> = health::leading(&desired).into_iter().collect();
    revisions.extend(desired.traffic.keys().chain(&desired.running).chain(&desired.schedules).cloned());
    revisions.extend(instances.values().map(|instance| instance.revision.clone()));
    let mut wanted = Wanted { servers: BTreeMap::new(), unknown: false, until };
    let agreement = Agreement::of(environment);
    let elsewhere = agreement.as_ref().is_some_and(|agreement| !agreement.is_here());
    let mut add = |resolved: &stack::Resolved| {
        for definition in Definition::all(resolved) {
            if elsewhere {
                write_down(host, environment, &definition, agreement.as_ref());
            } else {
                let definition = definition.agreed(agreement.as_ref());
                wanted.servers.entry(definition.name.clone()).or_insert(definition);
            }
        }
    };
    for revision in &revisions {
        match environment.revisions.get(&host.store, &environment.scope, &environment.folder, revision) {
            Ok(loaded) => add(&loaded.resolved),
            // The supervisor tells why.
            Err(_) => wanted.unknown = true,
        }
    }
    for loaded in environment.services.called().values() {
        add(&loaded.resolved);
    }
    wanted
}

/// Notes how a server of another host is reached, for the programs that run here.
fn write_down(host: &Host, environment: &Environment, definition: &Definition, agreement: Option<&Agreement>) {
    let noted = environment.services.book().enter(&environment.scope.app, definition, agreement, &host.ports);
    environment.trouble(&definition.name.to_string(), noted.err().map(|error| error.to_string()));
}

/// Waits until no server of an environment in which nothing is wanted runs.
pub(crate) async fn stop_all(environment: &Environment) -> Result<(), Error> {
    environment.services.called().clear();
    environment.touch();
    let began = Instant::now();
    let mut changes = environment.services.watch();
    loop {
        changes.mark_unchanged();
        let left = environment.services.seen();
        let Some(first) = left.keys().next() else { return Ok(()) };
        let rest = STOPPING.saturating_sub(began.elapsed());
        if tokio::time::timeout(rest, changes.changed()).await.is_err() {
            return Err(Error::failed(format!(
                "`{first}` of {} does not end; see `slipway logs {first}`",
                environment.scope
            )));
        }
    }
}
