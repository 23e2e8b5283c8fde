//! Programs as compose services: long-running ones start by themselves, the others wait in a profile.

use serde_json::{Map, Value, json};
use stack::{DatabaseEngine, Kind, Migrations, ResourceRef, Source};

use super::{
    addresses::{Compose, host},
    interpolated,
    store::{cores, size},
};
use crate::{Input, binding, program::Program};

/// Logs that cannot fill the disk.
pub(crate) fn logging() -> Value {
    json!({ "driver": "local", "options": { "max-size": "20m", "max-file": "5" } })
}

fn build(input: &Input, name: &str, source: &Source) -> (Option<String>, Value) {
    let project = &input.options.project;
    match source {
        Source::Image(image) => (Some(image.clone()), Value::Null),
        Source::Dockerfile { file, context } => {
            // compose looks for the Dockerfile from the context
            let below = file.strip_prefix(&format!("{context}/")).map(str::to_owned);
            let up = || "../".repeat(if context == "." { 0 } else { context.split('/').count() });
            let dockerfile = below.unwrap_or_else(|| format!("{}{file}", up()));
            let context = if context == "." { project.clone() } else { format!("{project}/{context}") };
            (Some(input.image(name)), json!({ "context": context, "dockerfile": dockerfile }))
        }
        Source::Folder(_) => (
            Some(input.image(name)),
            json!({ "context": project, "dockerfile": format!("{}/docker/{name}.Dockerfile", input.folder(crate::Target::Compose)) }),
        ),
    }
}

fn health(service: &stack::Service) -> Value {
    let (Some(port), Some(health)) = (service.port, service.health.as_ref()) else { return Value::Null };
    let path = &health.path;
    // whatever the image has: wget, curl or node
    let ask = format!(
        "wget -q -O /dev/null http://127.0.0.1:{port}{path} || curl -fsS -o /dev/null http://127.0.0.1:{port}{path} || \
         node -e \"fetch('http://127.0.0.1:{port}{path}').then(a => process.exit(a.ok ? 0 : 1), () => process.exit(1))\""
    );
    json!({
        "test": ["CMD-SHELL", ask],
        "interval": health.every.to_string(),
        "timeout": health.timeout.to_string(),
        "retries": health.down,
        "start_period": service.start.to_string(),
        "start_interval": "1s",
    })
}

/// What must be there first: servers healthy, services at least started, migrations done.
pub(crate) fn depends(input: &Input, needs: &[&ResourceRef], migrated: bool) -> Value {
    let stack = &input.resolved.stack;
    let mut depends = Map::new();
    for need in needs {
        let ours = match need.kind {
            Kind::Database => stack.databases.get(&need.name).is_some_and(|database| {
                database.url.is_none() && matches!(database.engine, DatabaseEngine::Postgres(_))
            }),
            Kind::Cache => stack.caches.get(&need.name).is_some_and(|cache| cache.url.is_none()),
            Kind::Queue => stack.queues.get(&need.name).is_some_and(|queue| queue.url.is_none()),
            Kind::Search => stack.extras.get(need).is_some_and(|extra| !extra.settings.contains_key("url")),
            _ => false,
        };
        if ours {
            depends.insert(host(stack, need), json!({ "condition": "service_healthy", "restart": true }));
        }
        if need.kind == Kind::Service && stack.services.contains_key(&need.name) {
            let checked = stack.services[&need.name].health.is_some();
            let condition = if checked { "service_healthy" } else { "service_started" };
            depends.insert(need.name.to_string(), json!({ "condition": condition }));
        }
        if need.kind == Kind::Bucket {
            depends.insert("s3".to_owned(), json!({ "condition": "service_healthy" }));
        }
        if migrated && need.kind == Kind::Database && migration_runs(input, need).is_some() {
            let step = format!("migrate-{}", need.name);
            depends.insert(step, json!({ "condition": "service_completed_successfully" }));
        }
    }
    if depends.is_empty() { Value::Null } else { depends.into() }
}

/// A command line as words; compose fills in nothing.
fn command(run: &str) -> Value {
    crate::dockerfile::arguments(run).into_iter().map(|word| word.replace('$', "$$")).collect()
}

fn environment(env: &[(String, binding::Value)]) -> Value {
    let map: Map<String, Value> = env.iter().map(|(name, value)| (name.clone(), interpolated(value))).collect();
    if map.is_empty() { Value::Null } else { map.into() }
}

/// Adds one program.
pub(crate) fn add(
    input: &Input,
    program: &Program<'_>,
    env: &[(String, binding::Value)],
    services: &mut Map<String, Value>,
) {
    let (built, source) = program.source();
    let (image, mut recipe) = build(input, built.as_str(), source);
    if built != program.name {
        recipe = Value::Null;
    }
    let folder = matches!(source, Source::Folder(_)) && program.kind == Kind::Service;
    let command = program.run().filter(|_| !folder).map(command);
    let long = program.kind == Kind::Service;
    let service = program.host.map(|(_, service)| service).filter(|_| long);
    let program_size = program.size();
    let limit = |part: Option<Value>| part.unwrap_or(Value::Null);
    let cpu = program_size.and_then(|size| size.cpu);
    let memory = program_size.and_then(|size| size.memory);
    let replicas = service.map(|service| service.size.replicas.min).filter(|count| *count != 1);
    let resources = json!({
        "limits": (cpu.is_some() || memory.is_some()).then(|| json!({
            "cpus": cpu.map(|cpu| cores(cpu.max)), "memory": memory.map(|memory| size(memory.max)),
        })),
        "reservations": (cpu.is_some() || memory.is_some()).then(|| json!({
            "cpus": cpu.map(|cpu| cores(cpu.min)), "memory": memory.map(|memory| size(memory.min)),
        })),
    });
    let deploy = (replicas.is_some() || cpu.is_some() || memory.is_some()).then(|| {
        json!({
            "replicas": replicas,
            "resources": resources,
        })
    });
    let sqlite = program.needs().iter().any(|need| {
        input
            .resolved
            .stack
            .databases
            .get(&need.name)
            .is_some_and(|database| need.kind == Kind::Database && database.engine == DatabaseEngine::Sqlite)
    });
    let profile = match program.kind {
        Kind::Service => None,
        Kind::Job => Some("jobs"),
        _ => Some("functions"),
    };
    let whole = json!({
        "image": image,
        "build": recipe,
        "profiles": profile.map(|profile| vec![profile]),
        "command": command,
        "restart": if long { "unless-stopped" } else { "no" },
        "init": true,
        "environment": environment(env),
        "depends_on": depends(input, &program.needs(), true),
        "healthcheck": service.map(health),
        "stop_grace_period": service.map(|service| (service.drain.0 + service.stop.0).as_secs()).map(|s| format!("{s}s")),
        "expose": service.and_then(|service| service.port).map(|port| vec![port.to_string()]),
        "networks": if long { json!(["front", "back"]) } else { json!(["back"]) },
        "volumes": sqlite.then(|| json!(["sqlite-data:/data"])),
        "security_opt": ["no-new-privileges:true"],
        "cap_drop": matches!(source, Source::Folder(_)).then(|| json!(["ALL"])),
        "logging": logging(),
        "deploy": limit(deploy),
    });
    services.insert(program.name.to_string(), whole);
}

/// What migrates a database: the image and the command.
fn migration_runs(input: &Input, need: &ResourceRef) -> Option<Value> {
    let stack = &input.resolved.stack;
    let database = stack.databases.get(&need.name)?;
    match database.migrations.as_ref()? {
        Migrations::Folder(folder) => matches!(database.engine, DatabaseEngine::Postgres(_)).then(|| {
            // the same files as `slipway migrate`, each in a transaction of its own and written down beside what it did
            json!({
                "image": input.image("migrate"),
                "build": {
                    "context": input.options.project,
                    "dockerfile": format!("{}/docker/migrate.Dockerfile", input.folder(crate::Target::Compose)),
                    "args": { "FOLDER": folder },
                },
            })
        }),
        Migrations::Command { run, service } => {
            let name = service.as_ref().or_else(|| stack.services.keys().next())?;
            let (_, source) = (name, &stack.services.get(name)?.source);
            let image = match source {
                Source::Image(image) => image.clone(),
                _ => input.image(name.as_str()),
            };
            Some(json!({ "image": image, "command": command(run) }))
        }
    }
}

/// Adds one step per database whose schema changes, run to its end before what needs it.
pub(crate) fn migrations(input: &Input, services: &mut Map<String, Value>) {
    let stack = &input.resolved.stack;
    for name in stack.databases.keys() {
        let need = ResourceRef { kind: Kind::Database, name: name.clone() };
        let Some(Value::Object(mut step)) = migration_runs(input, &need) else { continue };
        let url = binding::Addresses::address(&Compose { stack }, &need).map(|value| interpolated(&value));
        let rest = json!({
            "restart": "no",
            "environment": { "DATABASE_URL": url },
            "depends_on": depends(input, &[&need], false),
            "networks": ["back"],
            "security_opt": ["no-new-privileges:true"],
            "logging": logging(),
        });
        if let Value::Object(rest) = rest {
            step.extend(rest);
        }
        services.insert(format!("migrate-{name}"), step.into());
    }
}

/// The edge: the only service with a port of the host.
pub(crate) fn edge(input: &Input) -> Value {
    let stack = &input.resolved.stack;
    let mut depends = Map::new();
    for route in stack.routes.iter().flat_map(|route| &route.paths).filter(|path| path.to.kind == Kind::Service) {
        if let Some(service) = stack.services.get(&route.to.name) {
            let condition = if service.health.is_some() { "service_healthy" } else { "service_started" };
            depends.insert(route.to.name.to_string(), json!({ "condition": condition }));
        }
    }
    let listen = input.resolved.environment.listen.first();
    let port = listen.map_or_else(|| "127.0.0.1:8080".to_owned(), ToString::to_string);
    json!({
        "image": input.image("edge"),
        "build": { "context": input.options.project, "dockerfile": format!("{}/docker/edge.Dockerfile", input.folder(crate::Target::Compose)) },
        "restart": "unless-stopped",
        "ports": [format!("{port}:8080")],
        "depends_on": (!depends.is_empty()).then_some(depends),
        "healthcheck": {
            "test": ["CMD", "nginx", "-t", "-q"], "interval": "30s", "timeout": "5s", "retries": 3,
        },
        "networks": ["front"],
        "read_only": true,
        "tmpfs": ["/tmp"],
        "security_opt": ["no-new-privileges:true"],
        "cap_drop": ["ALL"],
        "logging": logging(),
    })
}
