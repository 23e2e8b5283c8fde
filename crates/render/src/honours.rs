//! What a target cannot honour: each is an error that names the targets that can.

use stack::{Kind, Problem};

use crate::{Input, Target};

/// Code of these problems.
pub(crate) const CODE: &str = "cannot-render";

/// Kinds that are about people, machines or the cloud account, and that a target which runs programs need not carry.
fn concerns_programs(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Topic
            | Kind::Table
            | Kind::Search
            | Kind::Mail
            | Kind::Identity
            | Kind::Waf
            | Kind::Function
            | Kind::Bucket
    )
}

/// Whether a target can make resources of this kind real.
fn can(target: Target, kind: Kind) -> bool {
    match target {
        Target::Compose | Target::Systemd => {
            !matches!(kind, Kind::Topic | Kind::Table | Kind::Mail | Kind::Identity | Kind::Waf)
        }
        Target::Kubernetes => {
            !matches!(kind, Kind::Topic | Kind::Table | Kind::Search | Kind::Mail | Kind::Identity | Kind::Waf)
        }
        // Terraform can, the others say nothing of resources
        _ => true,
    }
}

/// The targets that write files which run programs, in the order they are named.
fn able(kind: Kind) -> Vec<&'static str> {
    Target::ALL.into_iter().filter(|target| can(*target, kind)).map(Target::as_str).collect()
}

/// An error about `key`, naming the targets that can.
pub(crate) fn refusal(target: Target, key: &str, what: &str, able: &[&str]) -> Problem {
    let message = format!("`{key}`: {target} cannot honour {what}");
    let others = if able.is_empty() {
        "take it out of this environment".to_owned()
    } else {
        format!("render {}, or take it out of this environment", able.join(" or "))
    };
    Problem::error(CODE, key, message).with_mend(format!("{others}; or leave it out with --leave-out"))
}

/// Everything in the stack that the target cannot honour.
pub(crate) fn check(target: Target, input: &Input) -> Vec<Problem> {
    let mut found = Vec::new();
    let stack = &input.resolved.stack;
    for (reference, extra) in &stack.extras {
        let elsewhere = extra.settings.contains_key("url");
        if concerns_programs(reference.kind) && !can(target, reference.kind) && !elsewhere {
            let what = format!("a {}", reference.kind);
            found.push(refusal(target, &reference.to_string(), &what, &able(reference.kind)));
        }
    }
    for (name, database) in &stack.databases {
        if target == Target::Compose && database.replicas > 0 {
            let key = format!("database.{name}.replicas");
            found.push(refusal(target, &key, "read replicas", &["kubernetes", "terraform"]));
        }
    }
    found.extend(routes(target, input));
    found.extend(left_to_slipway(target, input));
    for (name, cache) in &stack.caches {
        if target == Target::Compose && cache.shards > 1 {
            found.push(refusal(target, &format!("cache.{name}.shards"), "shards", &["kubernetes", "terraform"]));
        }
        if target == Target::Compose && cache.replicas > 0 {
            found.push(refusal(target, &format!("cache.{name}.replicas"), "replicas", &["kubernetes", "terraform"]));
        }
    }
    for (name, queue) in &stack.queues {
        if target == Target::Compose && queue.replicas > 1 {
            found.push(refusal(target, &format!("queue.{name}.replicas"), "members", &["kubernetes", "terraform"]));
        }
    }
    if target == Target::Kubernetes {
        found.extend(crate::kubernetes::check(input));
    }
    if matches!(target, Target::Compose | Target::Kubernetes | Target::Systemd) {
        for (name, function) in &stack.functions {
            if let Some(trigger) = &function.on {
                let key = format!("function.{name}.on.{}", trigger.on.kind);
                found.push(refusal(target, &key, "an event that starts a function", &["terraform"]));
            }
        }
    }
    found
}

/// Routes to what a target has no address for.
fn routes(target: Target, input: &Input) -> Vec<Problem> {
    let able: &[&str] = match target {
        Target::Compose | Target::Kubernetes | Target::Nginx | Target::Terraform => &["terraform"],
        // HAProxy says it itself, with more
        _ => return Vec::new(),
    };
    let mut found = Vec::new();
    for route in &input.resolved.stack.routes {
        for path in &route.paths {
            let refused = match path.to.kind {
                Kind::Bucket => target != Target::Terraform,
                Kind::Function => true,
                _ => false,
            };
            let able = if path.to.kind == Kind::Function { &[] } else { able };
            if refused {
                let key = format!("route.\"{}\".\"{}\".to", route.host, path.path);
                found.push(refusal(target, &key, &format!("a route to a {}", path.to.kind), able));
            }
        }
    }
    found
}

/// What no file carries because `slipway` itself does it at a deploy or on a schedule: said, not refused.
fn left_to_slipway(target: Target, input: &Input) -> Vec<Problem> {
    if !matches!(target, Target::Compose | Target::Kubernetes | Target::Terraform | Target::Systemd) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut say = |key: String, what: &str| {
        let message = format!("`{key}`: {what} is no part of these files");
        found.push(
            Problem::warning("left-to-slipway", key, message)
                .with_mend("slipway itself does it, at a deploy or on its schedule"),
        );
    };
    if input.resolved.environment.rollout.stages.len() > 1 {
        say(format!("environment.{}.rollout", input.resolved.name), "moving visitors in stages");
    }
    for (name, database) in &input.resolved.stack.databases {
        let backup = database.backup.as_ref();
        if backup.is_some_and(|backup| backup.drill.is_some()) {
            say(format!("database.{name}.backup.drill"), "rehearsing a restore");
        }
        if backup.is_some_and(|backup| !backup.encrypt_to.is_empty()) {
            say(format!("database.{name}.backup.encrypt_to"), "encrypting backups to a public key");
        }
    }
    found
}
