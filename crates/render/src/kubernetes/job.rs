//! Programs that end: scheduled ones as CronJobs, migrations as Jobs before a rollout (never after it, T14).

use serde_json::{Value, json};
use stack::{DatabaseEngine, Kind, Migrations, Overlap, Period, ResourceName, ResourceRef, Schedule, Source};

use super::{Scene, Sheet, addresses::Cluster, labels, pod, policy};
use crate::{binding::Addresses, program::Program};

/// Jobs and scheduled functions.
pub(crate) fn crons(scene: &Scene<'_>) -> Vec<Sheet> {
    let stack = &scene.input.resolved.stack;
    let jobs =
        stack.jobs.iter().filter_map(|(name, job)| Some((Program::job(stack, name)?, &job.schedule, job.overlap)));
    let functions = stack.functions.iter().filter_map(|(name, function)| {
        Some((Program::function(stack, name)?, function.schedule.as_ref()?, Overlap::Skip))
    });
    jobs.chain(functions).map(|(program, schedule, overlap)| cron(scene, &program, schedule, overlap)).collect()
}

fn cron(scene: &Scene<'_>, program: &Program<'_>, schedule: &Schedule, overlap: Overlap) -> Sheet {
    let name = program.name.as_str();
    let (component, command) = (program.kind.as_str(), program.command);
    let at = format!("jobs.{}", super::chart::key(name));
    let document = json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": labels::meta(scene, component, name, name),
        "spec": {
            "schedule": schedule.cron,
            "timeZone": schedule.time_zone,
            // one that waits for the last is refused before: there is no word for it
            "concurrencyPolicy": if overlap == Overlap::Replace { "Replace" } else { "Forbid" },
            "startingDeadlineSeconds": 300,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 5,
            "jobTemplate": {
                "metadata": { "labels": labels::all(scene, component, name) },
                "spec": run(scene, program, &at, command.map_or(0, |command| command.retries), command.map(|c| c.timeout)),
            },
        },
    });
    let documents = vec![pod::account(scene, component, name), document, policy::program(scene, program)];
    (format!("{component}-{name}"), format!("The {component} {name}, {schedule}."), documents)
}

fn run(scene: &Scene<'_>, program: &Program<'_>, at: &str, retries: u32, timeout: Option<Period>) -> Value {
    let (_, source) = program.source();
    let mut spec = pod::spec(scene, program.name.as_str(), source, pod::container(scene, program, at));
    spec["restartPolicy"] = "Never".into();
    spec["topologySpreadConstraints"] = Value::Null;
    // of each try: a limit of the Job would be one of all tries together
    spec["activeDeadlineSeconds"] = timeout.map(|timeout| timeout.0.as_secs().max(1)).into();
    json!({
        "backoffLimit": retries,
        "ttlSecondsAfterFinished": 86400,
        "template": { "metadata": pod::meta(scene, program.kind.as_str(), program.name.as_str()), "spec": spec },
    })
}

/// One Job per database whose schema changes. Its name holds the release: a Job cannot be changed.
pub(crate) fn migrations(scene: &Scene<'_>) -> Vec<Sheet> {
    let stack = &scene.input.resolved.stack;
    let mut sheets = Vec::new();
    for (database_name, database) in &stack.databases {
        let Some(migrations) = &database.migrations else { continue };
        if database.engine == DatabaseEngine::Sqlite {
            continue;
        }
        let host = match migrations {
            Migrations::Command { service, .. } => service.as_ref().or_else(|| stack.services.keys().next()),
            Migrations::Folder(_) => None,
        };
        let host = host.and_then(|name| stack.services.get_key_value(name));
        sheets.push(migration(scene, database_name, migrations, host));
    }
    sheets
}

fn migration(
    scene: &Scene<'_>,
    database: &ResourceName,
    migrations: &Migrations,
    host: Option<(&ResourceName, &stack::Service)>,
) -> Sheet {
    let stack = &scene.input.resolved.stack;
    let name = format!("migrate-{database}");
    let need = ResourceRef { kind: Kind::Database, name: database.clone() };
    let built = Source::Folder(stack::FolderSource { dir: ".".to_owned(), build: None, out: Vec::new() });
    let (image, command, env, source) =
        if let (Migrations::Command { run, .. }, Some((host, service))) = (migrations, host) {
            let program = Program::service(host, service);
            let env = pod::env(scene, &program);
            (pod::image(scene, &program), Some(crate::dockerfile::arguments(run)), env, &service.source)
        } else {
            let url = Cluster { stack }.address(&need).map(|url| ("DATABASE_URL".to_owned(), url));
            let env = pod::variables(url.as_slice());
            (scene.form.image("migrate"), None, env, &built)
        };
    let container = json!({
        "name": "migrate",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "envFrom": (!stack.variables.is_empty()).then(|| json!([{ "configMapRef": { "name": "app-config" } }])),
        "env": env,
        "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "cpu": "1", "memory": "512Mi" } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }],
    });
    let mut spec = pod::spec(scene, &name, source, container);
    spec["restartPolicy"] = "Never".into();
    spec["topologySpreadConstraints"] = Value::Null;
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": labels::meta(scene, "migrate", &name, &scene.form.once(&name)),
        "spec": {
            "# the database may still be starting: each try comes later than the last, ten minutes in all": null,
            "backoffLimit": 6,
            "activeDeadlineSeconds": 3600,
            "ttlSecondsAfterFinished": 604_800,
            "template": { "metadata": pod::meta(scene, "migrate", &name), "spec": spec },
        },
    });
    let mut documents = vec![pod::account(scene, "migrate", &name), policy::migration(scene, database, &name), job];
    for document in &mut documents {
        document["metadata"] = scene.form.hooked(document["metadata"].take());
    }
    let about = format!("Changes the schema of {database}. Apply it and wait for it before the services.");
    (name, about, documents)
}
