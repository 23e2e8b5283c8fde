//! Which parts of a stack this target can make real. What it cannot is said, never ignored.

use stack::{DataClass, Failover, Kind, Problem, Problems, Resolved, ResourceName, TargetKind};

/// Everything of the resolved stack that a fleet of one host cannot honour.
///
/// What the application could not run without is an error. What only makes it safer (replicas, failover, backups,
/// alarms) is an error where the data are real, and a warning in an environment of invented data, which merely
/// stands in for another.
pub fn honours(resolved: &Resolved) -> Problems {
    let mut problems = Problems::new();
    let stack = &resolved.stack;
    if resolved.environment.target != TargetKind::Local {
        let target = match resolved.environment.target {
            TargetKind::Local => "local",
            TargetKind::Hosts => "hosts",
            TargetKind::Kubernetes => "kubernetes",
            TargetKind::Aws => "aws",
        };
        problems.push(
            Problem::error(
                "target-unavailable",
                format!("environment.{}.target", resolved.name),
                format!(
                    "environment `{}` has target `{target}`, and this build of slipway deploys to `local`",
                    resolved.name
                ),
            )
            .with_mend("deploy an environment with target = \"local\""),
        );
        return problems;
    }
    let mut refuse = |key: String, message: String, mend: &str| {
        problems.push(Problem::error("not-on-this-target", key, message).with_mend(mend));
    };
    for (name, function) in &stack.functions {
        if let Some(on) = &function.on {
            refuse(
                format!("function.{name}.on"),
                format!("function `{name}` waits for events of `{}`, which target `local` does not deliver", on.on),
                "give it a `schedule` here, or deploy it to target `aws`",
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
            format!("{kind} `{name}` has no `url`, and target `local` starts no {engine} server"),
            &format!("set `url` to an existing server, or {instead}"),
        );
    }
    for name in stack.buckets.keys() {
        refuse(
            format!("bucket.{name}"),
            format!("bucket `{name}`: target `local` serves no buckets"),
            "keep files below the folder in SLIPWAY_DATA here, or deploy to target `aws`",
        );
    }
    for reference in stack.extras.keys() {
        refuse(
            reference.to_string(),
            format!("{} `{}`: target `local` cannot make one", reference.kind, reference.name),
            "deploy to target `aws`, or leave it out of this environment",
        );
    }
    problems.extend(safety(resolved));
    problems
}

/// What makes an environment safer and is not done here.
fn safety(resolved: &Resolved) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut note = |key: String, message: String, mend: &'static str| {
        let problem = if resolved.environment.data == DataClass::Seed {
            Problem::warning("not-on-this-target", key, message)
        } else {
            Problem::error("not-on-this-target", key, message)
        };
        found.push(problem.with_mend(mend));
    };
    for (name, queue) in resolved.stack.queues.iter().filter(|(_, queue)| queue.url.is_none() && queue.replicas > 1) {
        note(
            format!("queue.{name}.replicas"),
            format!("queue `{name}` has {} members, and target `local` runs one", queue.replicas),
            "deploy to target `kubernetes` or `aws`, or set replicas = 1 for this environment",
        );
    }
    for (name, cache) in &resolved.stack.caches {
        for (key, many) in [("replicas", cache.replicas > 0), ("shards", cache.shards > 1)] {
            if many && cache.url.is_none() {
                note(
                    format!("cache.{name}.{key}"),
                    format!("cache `{name}` has {key}, and target `local` runs one server"),
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
                format!("database `{name}` has replicas, which target `local` does not make"),
                "deploy to target `kubernetes` or `aws`, or set replicas = 0 for this environment",
            );
        }
        if database.failover == Failover::Automatic {
            note(
                key("failover"),
                format!("database `{name}` fails over by itself, which target `local` does not do"),
                "deploy to target `kubernetes` or `aws`, or set failover = \"none\" for this environment",
            );
        }
        if database.backup.is_some() {
            note(
                key("backup"),
                format!(
                    "database `{name}` has a backup plan, which target `local` does not carry out; each deploy copies a SQLite file before it migrates"
                ),
                "deploy to target `kubernetes` or `aws`, or leave `backup` to those environments",
            );
        }
    }
    let scaled =
        resolved.stack.services.iter().filter(|(_, service)| service.size.replicas.max > service.size.replicas.min);
    for (name, service) in scaled {
        let message = format!(
            "service `{name}` scales from {} to {} replicas, and target `local` keeps {}",
            service.size.replicas.min, service.size.replicas.max, service.size.replicas.min
        );
        note(
            format!("service.{name}.size.replicas"),
            message,
            "write one number for this environment, or deploy to target `kubernetes` or `aws`",
        );
    }
    if let Some(alarm) = first(resolved.stack.alarms.keys()) {
        let message = format!("alarm `{alarm}` and its like are not watched by target `local`");
        found.push(
            Problem::warning("not-on-this-target", format!("alarm.{alarm}"), message)
                .with_mend("watch `slipway status --json` from the monitoring you have"),
        );
    }
    found
}

fn first<'n>(mut names: impl Iterator<Item = &'n ResourceName>) -> Option<&'n ResourceName> {
    names.next()
}
