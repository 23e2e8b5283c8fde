//! Makes the instances of one environment what they should be, whenever something changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use engine::desired::{Desired, Instance, InstanceState};
use stack::{Kind, ResourceName, Revision};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    adoption, container,
    environment::Environment,
    error::Error,
    files,
    host::Host,
    instance::{Found, Life},
    instance_spec::Record,
    ports,
    revision::Loaded,
    shim::Adopted,
};

/// How soon something that failed (an unreadable release, a full disk) is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// An instance that lives.
pub(crate) struct Member {
    life: Option<(Life, Option<Found>)>,
    record: Record,
    leave: CancellationToken,
    /// Services it calls.
    uses: Vec<ResourceName>,
}

impl Member {
    fn new(life: Life, found: Option<Found>) -> Self {
        life.enter(found.as_ref());
        let needs = life.loaded.service(&life.record.service).map(|service| service.needs.clone()).unwrap_or_default();
        let uses = needs.into_iter().filter(|need| need.kind == Kind::Service).map(|need| need.name).collect();
        Self { record: life.record.clone(), leave: life.leave.clone(), life: Some((life, found)), uses }
    }

    /// Nothing of it runs.
    fn is_at_rest(&self) -> bool {
        self.life.as_ref().is_some_and(|(_, found)| found.is_none())
    }
}

/// Finds the instances that ran before the agent was restarted. They are not disturbed; those that ended meanwhile are
/// started again in the usual way, unless they are not wanted any more.
///
/// Those of a revision that cannot be read are left alone and are a trouble until somebody mends it.
pub(crate) async fn adopt(host: &Arc<Host>, environment: &Arc<Environment>) -> Vec<Member> {
    let mut members = Vec::new();
    let folder = environment.folder.join("instances");
    let Ok(list) = std::fs::read_dir(&folder) else { return members };
    for path in list.flatten().map(|entry| entry.path()) {
        let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if environment.instances().contains_key(&id) {
            continue;
        }
        let adopted = adopt_one(host, environment, &path).await;
        environment.trouble(&format!("adopt {id}"), adopted.as_ref().err().map(ToString::to_string));
        members.extend(adopted.ok().flatten());
    }
    members
}

async fn adopt_one(
    host: &Arc<Host>,
    environment: &Arc<Environment>,
    folder: &std::path::Path,
) -> Result<Option<Member>, Error> {
    let adopted = adoption::adopt(folder).await.map_err(|error| Error::failed(error.to_string()))?;
    let record = files::find_json::<Record>(&folder.join("instance.json"), "remove it").unwrap_or_default();
    let Some(record) = record else {
        // Nobody knows what it is.
        match adopted {
            Adopted::Running(running) => drop(running.stop(Duration::from_secs(10)).await),
            Adopted::Orphaned(orphan) => drop(orphan.stop(Duration::from_secs(10)).await),
            Adopted::Ended(_) | Adopted::Gone => {}
        }
        files::remove_folder(folder)?;
        return Ok(None);
    };
    let loaded = environment.revisions.get(&host.store, &environment.scope, &environment.folder, &record.revision)?;
    let port = host.ports.keep(record.port);
    let life = Life::new(host.clone(), environment.clone(), loaded, record, port);
    Ok(Some(match adopted {
        Adopted::Running(running) => Member::new(life, Some(Found::Running(running))),
        Adopted::Orphaned(orphan) => Member::new(life, Some(Found::Orphaned(orphan))),
        Adopted::Ended(_) | Adopted::Gone if environment.desired().running.contains(&life.record.revision) => {
            Member::new(life, None)
        }
        Adopted::Ended(_) | Adopted::Gone => {
            files::remove_folder(folder)?;
            return Ok(None);
        }
    }))
}

/// Looks after the instances of an environment for as long as the agent runs.
pub(crate) async fn run(host: Arc<Host>, environment: Arc<Environment>, members: Vec<Member>) {
    let mut changes = environment.watch();
    let mut lives = JoinSet::new();
    let mut known = BTreeMap::new();
    let desired = environment.desired();
    for member in members {
        if member.is_at_rest() && !desired.running.contains(&member.record.revision) {
            // It was wanted when the agent began, and what the other hosts said since is newer.
            let id = &member.record.id;
            let removed = files::remove_folder(&environment.instance_folder(id));
            environment.trouble(&format!("instance {id}"), removed.err().map(|error| error.to_string()));
            environment.forget(id);
            continue;
        }
        live(&mut lives, &mut known, member);
    }
    let swept = environment.clone();
    drop(tokio::spawn(async move { container::sweep(&swept).await }));
    loop {
        changes.mark_unchanged();
        let settled = reconcile(&host, &environment, &mut known, &mut lives);
        tokio::select! {
            () = host.stopping.cancelled() => {
                // Instances go on without an agent; only their tasks here end.
                lives.abort_all();
                return;
            }
            told = changes.changed() => if told.is_err() { return },
            Some(ended) = lives.join_next() => match ended {
                Ok(id) => {
                    known.remove(&id);
                    let environment = environment.clone();
                    drop(tokio::task::spawn_blocking(move || environment.prune_logs()));
                }
                Err(error) => tracing::error!(scope = %environment.scope, "an instance's task broke down: {error}"),
            },
            () = tokio::time::sleep(AGAIN), if !settled => {
                for member in adopt(&host, &environment).await {
                    live(&mut lives, &mut known, member);
                }
            }
        }
    }
}

fn live(lives: &mut JoinSet<String>, known: &mut BTreeMap<String, Member>, mut member: Member) {
    if let Some((life, running)) = member.life.take() {
        let id = member.record.id.clone();
        known.insert(id.clone(), member);
        lives.spawn(async move {
            life.run(running).await;
            id
        });
    }
}

/// Starts what is missing and tells what is too much to leave. `false`: something could not be done yet.
fn reconcile(
    host: &Arc<Host>,
    environment: &Arc<Environment>,
    known: &mut BTreeMap<String, Member>,
    lives: &mut JoinSet<String>,
) -> bool {
    let desired = environment.desired();
    let mut settled = true;
    let mut revisions = BTreeMap::new();
    for revision in &desired.running {
        let read = environment.revisions.get(&host.store, &environment.scope, &environment.folder, revision).and_then(
            |loaded| {
                environment.internal().open_for(revision, &loaded.resolved, &host.ports)?;
                environment.functions.publishing.open_for(&loaded, &host.ports)?;
                Ok(loaded)
            },
        );
        environment.trouble(&format!("revision {revision}"), read.as_ref().err().map(ToString::to_string));
        match read {
            Ok(loaded) => drop(revisions.insert(revision, loaded)),
            Err(_) => settled = false,
        }
    }
    let seen = environment.instances();
    dismiss(environment, &desired, &revisions, known);
    for (revision, loaded) in &revisions {
        for service in missing(environment, loaded, known, &seen) {
            match begin(host, environment, loaded, revision, &service, known) {
                Ok(member) => {
                    environment.trouble(&format!("start {service}"), None);
                    live(lives, known, member);
                }
                Err(error) => {
                    environment.trouble(&format!("start {service}"), Some(error.to_string()));
                    settled = false;
                }
            }
        }
    }
    tidy(environment, &desired, known);
    settled
}

/// Tells instances that are not wanted to leave: first those that use others, then those that are used.
fn dismiss(
    environment: &Environment,
    desired: &Desired,
    revisions: &BTreeMap<&Revision, Arc<Loaded>>,
    known: &BTreeMap<String, Member>,
) {
    let mut counts: BTreeMap<(&Revision, &ResourceName), u32> = BTreeMap::new();
    for member in known.values() {
        let record = &member.record;
        if desired.running.contains(&record.revision) {
            // A revision that cannot be read keeps what it has.
            let Some(loaded) = revisions.get(&record.revision) else { continue };
            let wanted = loaded
                .service(&record.service)
                .map_or(0, |service| environment.replicas(&record.service, service, &record.revision));
            let count = counts.entry((&record.revision, &record.service)).or_default();
            if !member.leave.is_cancelled() {
                *count += 1;
            }
            if *count > wanted {
                member.leave.cancel();
            }
            continue;
        }
        let used = known
            .values()
            .any(|other| other.record.revision == record.revision && other.uses.contains(&record.service));
        if !used {
            member.leave.cancel();
        }
    }
}

/// The services of which an instance is to be started now: those that lack one and whose needs are ready.
fn missing(
    environment: &Environment,
    loaded: &Loaded,
    known: &BTreeMap<String, Member>,
    seen: &BTreeMap<String, Instance>,
) -> Vec<ResourceName> {
    let mut found = Vec::new();
    let ready = |name: &ResourceName| {
        seen.values().any(|instance| {
            instance.revision == loaded.revision && instance.service == *name && instance.state == InstanceState::Ready
        })
    };
    for (name, service) in &loaded.resolved.stack.services {
        let alive = known
            .values()
            .filter(|member| member.record.revision == loaded.revision && member.record.service == *name)
            .filter(|member| !member.leave.is_cancelled())
            .count();
        let wanted = |name: &ResourceName, service| environment.replicas(name, service, &loaded.revision);
        let lacking = (wanted(name, service) as usize).saturating_sub(alive);
        let needs = service.needs.iter().filter(|need| need.kind == Kind::Service);
        let kept = |name: &ResourceName| loaded.service(name).is_ok_and(|service| wanted(name, service) > 0);
        if lacking > 0 && needs.clone().all(|need| !kept(&need.name) || ready(&need.name)) {
            found.extend(std::iter::repeat_n(name.clone(), lacking));
        }
    }
    found
}

fn begin(
    host: &Arc<Host>,
    environment: &Arc<Environment>,
    loaded: &Arc<Loaded>,
    revision: &Revision,
    service: &ResourceName,
    known: &BTreeMap<String, Member>,
) -> Result<Member, Error> {
    let stem = format!("{service}-{}", &revision.release.as_str()[..8]);
    let taken = |id: &String| known.contains_key(id) || environment.instance_folder(id).exists();
    let id = (1..=u32::MAX).map(|number| format!("{stem}-{number}")).find(|id| !taken(id));
    let id = id.ok_or_else(|| Error::failed("no name is left for an instance"))?;
    let port = host.ports.take(ports::INSTANCES)?;
    let record = Record {
        id,
        revision: revision.clone(),
        service: service.clone(),
        port: port.number(),
        proven: false,
        ready: false,
        restarts: 0,
    };
    files::make_folder(&environment.instance_folder(&record.id))?;
    Ok(Member::new(Life::new(host.clone(), environment.clone(), loaded.clone(), record, port), None))
}

/// Forgets what belongs to revisions that are gone.
fn tidy(environment: &Environment, desired: &Desired, known: &BTreeMap<String, Member>) {
    let mut used: BTreeSet<&Revision> = desired.running.iter().chain(desired.traffic.keys()).collect();
    used.extend(&desired.schedules);
    used.extend(known.values().map(|member| &member.record.revision));
    environment.revisions.retain(|revision| used.contains(revision));
    let internal = environment.internal().retain(|revision| used.contains(revision));
    match internal {
        Ok(true) => drop(environment.touch()),
        Ok(false) => {}
        Err(error) => environment.trouble("internal", Some(error.to_string())),
    }
}
