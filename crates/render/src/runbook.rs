//! A page for people: how this very stack is deployed, taken back, restored and failed over, in each environment.

use std::fmt::Write as _;

use serde_json::Value;
use stack::{DataClass, Failover, Kind, Migrations, Resolved, TargetKind, gate::When};

use crate::{File, Input, kubernetes};

pub(crate) fn render(input: &Input) -> Vec<File> {
    let stack = &input.resolved.stack;
    let mut text = format!(
        "<!-- {} -->\n\n# Runbook of {}\n\nWhat to do, by environment. Every command is run beside `slipway.toml`.\n",
        crate::file::MARK,
        stack.app
    );
    let _ = writeln!(text, "\n| environment | where | data | deploys | visitors come to |\n|---|---|---|---|---|");
    for resolved in &input.all {
        let hosts: Vec<&str> = resolved.stack.routes.iter().map(|route| route.host.as_str()).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            resolved.name,
            place(resolved),
            data(resolved.environment.data),
            if resolved.environment.approve { "after a person's yes" } else { "at once" },
            hosts.join(", ")
        );
    }
    for resolved in &input.all {
        environment(&mut text, resolved);
    }
    alarms(&mut text, input);
    secrets(&mut text, input);
    phases(&mut text, input);
    while text.ends_with("\n\n") {
        text.pop();
    }
    vec![File { path: "runbook.md".to_owned(), text }]
}

fn place(resolved: &Resolved) -> String {
    match resolved.environment.target {
        TargetKind::Local => "this machine".to_owned(),
        TargetKind::Hosts => resolved.environment.hosts.join(", "),
        TargetKind::Kubernetes => "Kubernetes".to_owned(),
        TargetKind::Aws => "AWS".to_owned(),
    }
}

fn data(kind: DataClass) -> &'static str {
    match kind {
        DataClass::Seed => "invented",
        DataClass::Anonymised => "real, with persons made unrecognisable",
        DataClass::Real => "real",
    }
}

fn environment(text: &mut String, resolved: &Resolved) {
    let name = &resolved.name;
    let _ = writeln!(text, "\n## {name}");
    gates(text, resolved, When::Before, "Before a deploy");
    let _ = writeln!(
        text,
        "\n### Deploy to {name}\n\n```console\n$ slipway deploy --env {name} --dry-run\n$ slipway deploy --env {name}\n$ slipway status --env {name}\n```\n"
    );
    let stages: Vec<String> = resolved
        .environment
        .rollout
        .stages
        .iter()
        .map(|stage| {
            serde_json::to_value(stage)
                .ok()
                .and_then(|stage| stage.get("percent").or_else(|| stage.get("share")).map(ToString::to_string))
        })
        .map(Option::unwrap_or_default)
        .collect();
    if stages.len() > 1 {
        let _ =
            writeln!(text, "Visitors move in {} stages; worse than before, and it goes back by itself.", stages.len());
    }
    for (database_name, database) in &resolved.stack.databases {
        match &database.migrations {
            Some(Migrations::Folder(folder)) => {
                let _ = writeln!(
                    text,
                    "The schema of `{database_name}` is changed before the switch, by the files in `{folder}`."
                );
            }
            Some(Migrations::Command { run, .. }) => {
                let _ = writeln!(
                    text,
                    "The schema of `{database_name}` is changed before the switch, by `{run}`, which knows no way back: keep a backup."
                );
            }
            None => {}
        }
    }
    gates(text, resolved, When::After, "After a deploy");
    let _ = writeln!(
        text,
        "\n### Take {name} back\n\n```console\n$ slipway releases\n$ slipway rollback --env {name}\n```\n\nThe schema stays. `slipway rollback --env {name} --with-database` also undoes this release's migrations, after it has said what is lost."
    );
    restore(text, resolved);
    failover(text, resolved);
}

fn gates(text: &mut String, resolved: &Resolved, when: When, heading: &str) {
    let gates = resolved.stack.gates(when);
    let orders = orders(resolved, when);
    if gates.is_empty() && orders.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n### {heading} ({})\n", resolved.name);
    if !gates.is_empty() {
        let _ = writeln!(text, "`slipway deploy` sees to these itself, and asks a person for those with a box.\n");
    }
    for gate in gates {
        if let Some(run) = &gate.run {
            let _ = writeln!(text, "- `{run}` succeeds");
        }
        for check in &gate.checks {
            let _ = writeln!(text, "- {}{}", if check.asks() { "[ ] " } else { "" }, check.text);
        }
    }
    for order in orders {
        let _ = writeln!(text, "- in this order: {order}");
    }
}

/// The steps that gates put in an order, for people.
fn orders(resolved: &Resolved, when: When) -> Vec<String> {
    let when = when.to_string();
    let gates = resolved.stack.extras.iter().filter(|(reference, _)| reference.kind == Kind::Gate);
    let gates = gates.filter(|(_, extra)| extra.settings.get("when").and_then(Value::as_str) == Some(&when));
    let steps = gates.filter_map(|(_, extra)| extra.settings.get("order")?.as_array());
    steps.map(|steps| steps.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")).collect()
}

fn restore(text: &mut String, resolved: &Resolved) {
    for (name, database) in &resolved.stack.databases {
        let Some(backup) = &database.backup else { continue };
        let space = format!("{}-{}", resolved.stack.app, resolved.name);
        let to: Vec<String> = backup.to.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "\n### Restore {name} in {}\n", resolved.name);
        let at = backup.at.as_deref().unwrap_or("night");
        let kept = backup.keep.map(|keep| keep.to_string()).unwrap_or_default();
        let _ = writeln!(text, "Backups are taken at {at} into {} and kept `{kept}`.", to.join(", "));
        if let Some(objective) = &database.objective {
            let part =
                |period: Option<stack::Period>| period.map_or_else(|| "any".to_owned(), |period| period.to_string());
            let _ = writeln!(
                text,
                "At most {} of data may be lost, and {} may pass until it answers again.",
                part(objective.rpo),
                part(objective.rto)
            );
        }
        let _ = writeln!(
            text,
            "\n1. Stop what writes: `slipway stop --env {}`, or leave it up and restore beside it.",
            resolved.name
        );
        match resolved.environment.target {
            TargetKind::Kubernetes => {
                let cluster = kubernetes::cluster_name(name.as_str());
                let _ = writeln!(
                    text,
                    "2. Write a Cluster `{cluster}-restored` with `bootstrap.recovery.source` naming the ObjectStore `{cluster}` and `recoveryTarget.targetTime` a moment before the mishap; apply it in `{space}`.\n\
                     3. Wait: `kubectl --namespace {space} wait --for=condition=Ready cluster/{cluster}-restored --timeout=1h`.\n\
                     4. Look: `kubectl --namespace {space} exec {cluster}-restored-1 -- psql -c 'select count(*) from …'`.\n\
                     5. Point the programs at the Secret `{cluster}-restored-app` and deploy."
                );
            }
            TargetKind::Aws => {
                let own = database
                    .cloud
                    .get("server")
                    .and_then(serde_json::Value::as_str)
                    .map_or_else(|| format!("{space}-{name}"), str::to_owned);
                let serverless = database.cloud.get("kind").and_then(serde_json::Value::as_str) == Some("serverless");
                let command = if serverless {
                    format!(
                        "aws rds restore-db-cluster-to-point-in-time --source-db-cluster-identifier {own} --db-cluster-identifier {own}-restored --restore-to-time 2026-01-01T12:00:00Z --serverless-v2-scaling-configuration MinCapacity=0.5,MaxCapacity=8"
                    )
                } else {
                    format!(
                        "aws rds restore-db-instance-to-point-in-time --source-db-instance-identifier {own} --target-db-instance-identifier {own}-restored --restore-time 2026-01-01T12:00:00Z"
                    )
                };
                let _ = writeln!(
                    text,
                    "2. Restore beside it, to a moment before the mishap: `{command}`.\n\
                     3. Wait: `aws rds wait {} --{} {own}-restored`.\n\
                     4. Look into it with psql, then rename: the old one to `{own}-broken`, the restored one to `{own}`.\n\
                     5. `terraform plan -var-file=environments/{}.tfvars` must want no change.",
                    if serverless { "db-cluster-available" } else { "db-instance-available" },
                    if serverless { "db-cluster-identifier" } else { "db-instance-identifier" },
                    resolved.name
                );
            }
            TargetKind::Local | TargetKind::Hosts => {
                let decrypt = if backup.encrypt_to.is_empty() { "" } else { " | age --decrypt --identity KEY" };
                let _ = writeln!(
                    text,
                    "2. Make an empty database beside the old one: `createdb {name}_restored`.\n\
                     3. Stream the newest good backup into it: `cat BACKUP{decrypt} | pg_restore --dbname={name}_restored --exit-on-error --no-owner`.\n\
                     4. Look: count the rows that matter, and compare with the last drill.\n\
                     5. Exchange the names, then `slipway start --env {}`.",
                    resolved.name
                );
            }
        }
        if let Some(drill) = &backup.drill {
            let _ = writeln!(text, "\nThis is rehearsed {drill}; write down how long it took.");
        }
    }
}

fn failover(text: &mut String, resolved: &Resolved) {
    for (name, database) in resolved.stack.databases.iter().filter(|(_, database)| database.replicas > 0) {
        let _ = writeln!(text, "\n### {name} loses its primary in {}\n", resolved.name);
        let space = format!("{}-{}", resolved.stack.app, resolved.name);
        let by = match (database.failover, resolved.environment.target) {
            (Failover::Automatic, TargetKind::Kubernetes) => {
                let cluster = kubernetes::cluster_name(name.as_str());
                format!(
                    "CloudNativePG promotes a follower by itself, within about half a minute. Watch: `kubectl --namespace {space} get cluster {cluster}`.\n\
                     Rehearse: `kubectl cnpg promote --namespace {space} {cluster} {cluster}-2`."
                )
            }
            (Failover::Automatic, TargetKind::Aws) => "RDS moves the name to the standby by itself, within about two minutes. Watch: `aws rds describe-events --source-type db-instance`.".to_owned(),
            _ => "A person decides. First make sure that the old primary is down and stays down (power, network, or `systemctl mask`): two primaries are worse than none. Then promote the follower that is furthest (`select pg_last_wal_receive_lsn()`): `pg_ctlcluster VERSION main promote`. Then point the address at it and rebuild the old primary as a follower.".to_owned(),
        };
        let _ = writeln!(text, "{by}\n\nPrograms reconnect by themselves; answers in between are 503.");
    }
}

fn alarms(text: &mut String, input: &Input) {
    if input.resolved.stack.alarms.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n## Alarms\n\n| alarm | condition | first look |\n|---|---|---|");
    for (name, rule) in &input.resolved.stack.alarms {
        let metric = rule.split_whitespace().next().unwrap_or_default();
        let look = match metric.split('.').next().unwrap_or_default() {
            "http" | "logs" => "`slipway logs`, then `slipway rollback` when the last deploy is younger than the alarm",
            "cpu" | "memory" | "restarts" | "unhealthy" => "`slipway status`, then more replicas or a larger size",
            "disk" => "what grows; backups and logs first",
            "backup" | "drill" => "the last backup's log; take one by hand before anything else",
            "db" => "slow queries and open transactions (`pg_stat_activity`)",
            "cache" => "keys without an end, and the size of the cache",
            "queue" | "function" | "job" => "`slipway logs NAME`; messages stay until a run succeeds",
            "certificate" => "why it was not renewed: names, and the record that proves them",
            _ => "`slipway status`",
        };
        let _ = writeln!(text, "| {name} | `{rule}` | {look} |");
    }
}

fn secrets(text: &mut String, input: &Input) {
    let secrets: Vec<_> = input.resolved.stack.variables.iter().filter(|(_, variable)| variable.secret).collect();
    if secrets.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n## Secrets\n\n| name | what for | changes | at least |\n|---|---|---|---|");
    for (name, variable) in secrets {
        let _ = writeln!(
            text,
            "| `{name}` | {} | {} | {} |",
            variable.about.as_deref().unwrap_or(""),
            variable.rotate.map_or_else(|| "when it leaks".to_owned(), |period| format!("every {period}")),
            variable.min_length.map_or_else(String::new, |least| format!("{least} characters"))
        );
    }
    let _ = writeln!(
        text,
        "\nAfter a change: `slipway deploy` with the same release; the old value stays valid until the last old instance has left."
    );
}

fn phases(text: &mut String, input: &Input) {
    let phases: Vec<_> = input.resolved.stack.extras.iter().filter(|(need, _)| need.kind == Kind::Phase).collect();
    if phases.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n## The plan");
    for (need, extra) in phases {
        let months = extra.settings.get("months").and_then(serde_json::Value::as_str).unwrap_or("");
        let _ = writeln!(text, "\n### {}, months {months}\n", need.name);
        for milestone in extra.settings.get("milestones").and_then(serde_json::Value::as_array).into_iter().flatten() {
            let done = milestone.get("done").and_then(serde_json::Value::as_bool).unwrap_or(false);
            let name = milestone.get("name").and_then(serde_json::Value::as_str).unwrap_or_default();
            let _ = writeln!(text, "- [{}] {name}", if done { "x" } else { " " });
        }
    }
}
