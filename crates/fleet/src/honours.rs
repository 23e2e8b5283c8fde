//! Which parts of a stack this target can make real. What it cannot is said, never ignored.

use std::collections::BTreeSet;

use stack::{
    DataClass, DatabaseEngine, Failover, Kind, Problem, Problems, Resolved, ResourceName, ResourceRef, TargetKind,
};

/// Everything of the resolved stack that a fleet cannot honour, be it this machine or hosts.
///
/// What the application could not run without is an error. What only makes it safer (replicas, failover, backups,
/// alarms) is an error where the data are real, and a warning in an environment of invented data, which merely
/// stands in for another.
pub fn honours(resolved: &Resolved) -> Problems {
    let mut problems = Problems::new();
    let stack = &resolved.stack;
    let target = match resolved.environment.target {
        TargetKind::Local => "local",
        TargetKind::Hosts => "hosts",
        other @ (TargetKind::Kubernetes | TargetKind::Aws) => {
            let target = if other == TargetKind::Aws { "aws" } else { "kubernetes" };
            problems.push(
                Problem::error(
                    "target-unavailable",
                    format!("environment.{}.target", resolved.name),
                    format!(
                        "environment `{}` has target `{target}`, and this build of slipway deploys to `local` and `hosts`",
                        resolved.name
                    ),
                )
                .with_mend("deploy an environment with target = \"local\" or \"hosts\""),
            );
            return problems;
        }
    };
    let mut refuse = |key: String, message: String, mend: &str| {
        problems.push(Problem::error("not-on-this-target", key, message).with_mend(mend));
    };
    for (name, function) in &stack.functions {
        if let Some(on) = &function.on
            && !matches!(on.on.kind, Kind::Bucket | Kind::Queue | Kind::Topic | Kind::Service)
        {
            refuse(
                format!("function.{name}.on"),
                format!("function `{name}` waits for events of `{}`, which target `{target}` does not deliver", on.on),
                "let it wait for a bucket, a queue, a topic or a service, give it a `schedule`, or deploy it to target `aws`",
            );
        }
    }
    let count = resolved.environment.hosts.len();
    for name in stack.databases.iter().filter(|(_, one)| one.engine == DatabaseEngine::Sqlite).map(|(name, _)| name) {
        if count > 1 {
            refuse(
                format!("database.{name}.engine"),
                format!(
                    "database `{name}` is a file of SQLite, which one host has, and `{}` has {count} hosts",
                    resolved.name
                ),
                "use engine = \"postgres:15\", or name one host",
            );
        }
    }
    let caches = stack
        .caches
        .iter()
        .filter(|(_, cache)| cache.url.is_none() && !cache.engine.starts_with("redis:"))
        .map(|(name, cache)| (Kind::Cache, name, &cache.engine, "use engine = \"redis:7\""));
    let queues = stack
        .queues
        .iter()
        .filter(|(_, queue)| queue.url.is_none() && !queue.engine.starts_with("rabbitmq:"))
        .map(|(name, queue)| (Kind::Queue, name, &queue.engine, "use engine = \"rabbitmq:3.12\""));
    for (kind, name, engine, instead) in caches.chain(queues) {
        refuse(
            format!("{kind}.{name}.url"),
            format!("{kind} `{name}` has no `url`, and target `{target}` starts no {engine} server"),
            &format!("set `url` to an existing server, or {instead}"),
        );
    }
    let asked = asked(resolved);
    let seed = resolved.environment.data == DataClass::Seed;
    for reference in stack.extras.keys().filter(|one| needed(one.kind) && (!seed || asked.contains(one))) {
        refuse(
            reference.to_string(),
            format!("{} `{}`: target `{target}` cannot make one", reference.kind, reference.name),
            "deploy to target `aws`, or leave it out of this environment",
        );
    }
    problems.extend(safety(resolved, target, &asked));
    problems.extend(spread(resolved));
    problems
}

/// What a program asks for, or is started by.
fn asked(resolved: &Resolved) -> BTreeSet<&ResourceRef> {
    let stack = &resolved.stack;
    let services = stack.services.values().flat_map(|service| &service.needs);
    let jobs = stack.jobs.values().flat_map(|job| &job.command.needs);
    let functions = stack.functions.values();
    let functions =
        functions.flat_map(|one| one.command.needs.iter().chain(one.on.as_ref().map(|trigger| &trigger.on)));
    services.chain(jobs).chain(functions).collect()
}

/// Whether an application cannot run without what a fleet does not make.
fn needed(kind: Kind) -> bool {
    matches!(kind, Kind::Table | Kind::Search | Kind::Mail | Kind::Identity)
}

/// Whether a kind is made elsewhere, around an application or for programs that do not ask for it here.
fn surrounding(kind: Kind) -> bool {
    // a topic is served here, and an external service, a gate, a phase or a price is nothing that is made
    !matches!(kind, Kind::Topic | Kind::External | Kind::Gate | Kind::Phase | Kind::Price)
}

/// Services that have fewer instances than there are hosts.
fn spread(resolved: &Resolved) -> Vec<Problem> {
    let hosts = u32::try_from(resolved.environment.hosts.len()).unwrap_or(u32::MAX);
    let few = resolved.stack.services.iter().filter(|(_, service)| service.size.replicas.min < hosts);
    few.map(|(name, service)| {
        let replicas = service.size.replicas.min;
        let message = if replicas <= 1 {
            format!("service `{name}` has one replica on {hosts} hosts: a lost host takes it down")
        } else {
            format!("service `{name}` has {replicas} replicas, so some of the {hosts} hosts run none of it")
        };
        Problem::warning("fewer-replicas-than-hosts", format!("service.{name}.size.replicas"), message)
            .with_mend(format!("write replicas = {hosts} or more for this environment"))
    })
    .collect()
}

/// What makes an environment safer and is not done here.
fn safety(resolved: &Resolved, target: &str, asked: &BTreeSet<&ResourceRef>) -> Vec<Problem> {
    let seed = resolved.environment.data == DataClass::Seed;
    let mut found = Vec::new();
    let mut note = |key: String, message: String, mend: &'static str| {
        let problem = if seed {
            Problem::warning("not-on-this-target", key, message)
        } else {
            Problem::error("not-on-this-target", key, message)
        };
        found.push(problem.with_mend(mend));
    };
    for (name, queue) in resolved.stack.queues.iter().filter(|(_, queue)| queue.url.is_none() && queue.replicas > 1) {
        note(
            format!("queue.{name}.replicas"),
            format!("queue `{name}` has {} members, and target `{target}` runs one", queue.replicas),
            "deploy to target `kubernetes` or `aws`, or set replicas = 1 for this environment",
        );
    }
    for (name, cache) in &resolved.stack.caches {
        for (key, many) in [("replicas", cache.replicas > 0), ("shards", cache.shards > 1)] {
            if many && cache.url.is_none() {
                note(
                    format!("cache.{name}.{key}"),
                    format!("cache `{name}` has {key}, and target `{target}` runs one server"),
                    "deploy to target `kubernetes` or `aws`, or leave it out of this environment",
                );
            }
        }
    }
    for (name, database) in &resolved.stack.databases {
        let key = |key: &str| format!("database.{name}.{key}");
        if database.replicas > 0 {
            note(
                key("replicas"),
                format!("database `{name}` has replicas, which target `{target}` does not make"),
                "deploy to target `kubernetes` or `aws`, or set replicas = 0 for this environment",
            );
        }
        if database.failover == Failover::Automatic {
            note(
                key("failover"),
                format!("database `{name}` fails over by itself, which target `{target}` does not do"),
                "deploy to target `kubernetes` or `aws`, or set failover = \"none\" for this environment",
            );
        }
        if database.backup.is_some() {
            note(
                key("backup"),
                format!(
                    "database `{name}` has a backup plan, which target `{target}` does not carry out; each deploy copies a SQLite file before it migrates"
                ),
                "deploy to target `kubernetes` or `aws`, or leave `backup` to those environments",
            );
        }
    }
    let unmade = |one: &&ResourceRef| surrounding(one.kind) && !(needed(one.kind) && (!seed || asked.contains(*one)));
    for reference in resolved.stack.extras.keys().filter(unmade) {
        note(
            reference.to_string(),
            format!("{} `{}` is not made by target `{target}`", reference.kind, reference.name),
            "deploy to target `aws`, write it for another engine with `slipway render`, or leave it out of this environment",
        );
    }
    for (reference, topic) in resolved.stack.extras.iter().filter(|(reference, _)| reference.kind == Kind::Topic) {
        let receivers = topic.settings.get("to").and_then(|to| to.as_array()).into_iter().flatten();
        for receiver in receivers.filter_map(|to| to.as_str()) {
            let Some(why) = undelivered(resolved, receiver) else { continue };
            note(
                format!("{reference}.to"),
                format!("topic `{}` goes to `{receiver}`, {why}", reference.name),
                "name a `function.`, a `service.` with a port or a `queue.`; a function can pass the events on, to people too",
            );
        }
    }
    if let Some(alarm) = first(resolved.stack.alarms.keys()) {
        let message = format!("alarm `{alarm}` and its like are not watched by target `{target}`");
        found.push(
            Problem::warning("not-on-this-target", format!("alarm.{alarm}"), message)
                .with_mend("watch `slipway status --json` from the monitoring you have"),
        );
    }
    found
}

/// Why events of a topic do not come to a receiver; `None` when they do.
fn undelivered(resolved: &Resolved, receiver: &str) -> Option<&'static str> {
    match receiver.parse::<ResourceRef>() {
        Ok(ResourceRef { kind: Kind::Function | Kind::Queue, .. }) => None,
        Ok(ResourceRef { kind: Kind::Service, name }) => {
            let service = resolved.stack.services.get(&name);
            let deaf = |service: &stack::Service| service.port.is_none() && service.health.is_none();
            service.is_some_and(deaf).then_some("which has no `port` to be called at")
        }
        _ => Some("and events are delivered to functions, services and queues only"),
    }
}

fn first<'n>(mut names: impl Iterator<Item = &'n ResourceName>) -> Option<&'n ResourceName> {
    names.next()
}
