//! The health report of one environment (S4.4).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use engine::desired::{Desired, Instance, InstanceState};
use observe::health::{self, About, DatabaseCheck, Memory, Report, Status};
use stack::Revision;

use crate::{bindings, environment::Environment, error::Error, host::Host, revision::Loaded, services};

/// Longest wait for a database: the report is due within 2 s (S4.P4).
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Asks the databases, looks at memory and instances. Takes less than 2 s whatever they do. Fails when nothing has
/// visitors.
pub(crate) async fn report(host: &Arc<Host>, environment: &Arc<Environment>) -> Result<Report, Error> {
    let desired = environment.desired();
    let Some(revision) = leading(&desired) else {
        return Err(Error::failed(format!("{} serves nothing; deploy it first", environment.scope)));
    };
    let (read_host, read_environment, wanted) = (host.clone(), environment.clone(), revision.clone());
    let loaded = tokio::task::spawn_blocking(move || {
        let environment = read_environment;
        environment.revisions.get(&read_host.store, &environment.scope, &environment.folder, &wanted)
    });
    let loaded = loaded.await.map_err(|error| Error::failed(error.to_string()))??;
    let mut checks = Vec::new();
    for name in loaded.resolved.stack.databases.keys() {
        let url = bindings::database_url(&loaded, name, &environment.place(&revision));
        checks.push((name.to_string(), ask(url.map(Asked::Database))));
    }
    let count = checks.len();
    for (name, size) in environment.buckets.sizes().await {
        let reference = stack::ResourceRef { kind: stack::Kind::Bucket, name };
        checks.push((reference.to_string(), ask(Ok(Asked::Bucket(size)))));
    }
    for (name, entry) in services::stores(environment, &loaded) {
        checks.push((name.to_string(), ask(Ok(Asked::Store(Box::new(entry))))));
    }
    let mut answers = health::collect(checks, PATIENCE).await;
    let stores = answers.split_off(count);
    let instances: Vec<Instance> =
        environment.instances().into_values().filter(|instance| instance.revision == revision).collect();
    let began = instances.iter().filter_map(|instance| instance.started_at).min();
    let now = jiff::Timestamp::now();
    let uptime = began.and_then(|began| Duration::try_from(now.duration_since(began)).ok()).unwrap_or_default();
    let about = About { version: loaded.version.clone(), uptime, now };
    let mut report = health::judge(about, answers, memory(&loaded, &instances));
    report.status = report.status.max(of_instances(environment, &loaded, &instances));
    for answer in stores {
        let status = if answer.result.is_ok() { Status::Healthy } else { Status::Degraded };
        report.status = report.status.max(status);
        let response_time = u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX);
        report.checks.more.insert(answer.name, DatabaseCheck { status, response_time, reason: answer.result.err() });
    }
    Ok(report)
}

/// What is asked how it is.
enum Asked {
    /// A database, at its address.
    Database(String),
    /// A cache or queue that this host runs.
    Store(Box<services::Entry>),
    /// A bucket of this host: how many objects and bytes it counted, or why it cannot.
    Bucket(Result<(i64, i64), String>),
}

async fn ask(what: Result<Asked, Error>) -> Result<(), String> {
    match what.map_err(|error| error.to_string())? {
        Asked::Database(url) => migrate::check_connection(&url, PATIENCE).await.map(drop),
        Asked::Store(entry) => services::answers(&entry).await,
        Asked::Bucket(counted) => counted.map(drop),
    }
}

/// The revision most visitors get.
pub(crate) fn leading(desired: &Desired) -> Option<Revision> {
    desired.traffic.iter().max_by_key(|(_, percent)| **percent).map(|(revision, _)| revision.clone())
}

/// A service without a ready instance is unhealthy, one that lacks some is degraded.
fn of_instances(environment: &Environment, loaded: &Loaded, instances: &[Instance]) -> Status {
    let mut worst = Status::Healthy;
    for (name, service) in &loaded.resolved.stack.services {
        let wanted = environment.replicas(name, service, &loaded.revision) as usize;
        let ready = instances
            .iter()
            .filter(|instance| instance.service == *name && instance.state == InstanceState::Ready)
            .count();
        worst = worst.max(match ready {
            0 if wanted > 0 => Status::Unhealthy,
            ready if ready < wanted => Status::Degraded,
            _ => Status::Healthy,
        });
    }
    worst
}

/// The instance that is nearest to its limit; without limits, the host.
fn memory(loaded: &Loaded, instances: &[Instance]) -> Memory {
    let limits: BTreeMap<_, _> = loaded
        .resolved
        .stack
        .services
        .iter()
        .filter_map(|(name, service)| Some((name, service.size.memory?.max.0)))
        .collect();
    let used = instances
        .iter()
        .filter_map(|instance| Some(Memory { used: instance.memory?, total: *limits.get(&instance.service)? }));
    let share = |memory: &Memory| memory.used.saturating_mul(1_000).checked_div(memory.total).unwrap_or(0);
    used.max_by_key(share).or_else(|| observe::process::host_memory().ok()).unwrap_or(Memory { used: 0, total: 0 })
}
