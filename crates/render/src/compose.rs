//! `compose.yaml`: the whole environment on one Docker host.

mod addresses;
mod backup;
mod service;
mod store;

pub(crate) use addresses::database_name;

use serde_json::{Map, Value, json};
use stack::{Problems, Source};

use crate::{
    File, Input,
    binding::{self, Part},
    dockerfile,
    edge::{self, Place},
    program, yaml,
};

/// `compose.yaml`, `.env.example`, the Dockerfiles and the edge's configuration.
pub(crate) fn render(input: &Input, problems: &mut Problems) -> Vec<File> {
    let stack = &input.resolved.stack;
    let folder = input.folder(crate::Target::Compose);
    let mut services = Map::new();
    let mut volumes = Map::new();
    let mut outside = Vec::new();
    store::all(input, &mut services, &mut volumes, &mut outside);
    let mut files = Vec::new();
    for program in program::all(stack) {
        let mut env = binding::of(stack, &program, &addresses::Compose { stack });
        if program.needs().iter().any(|need| need.kind == stack::Kind::Bucket) {
            env.extend(store::s3(stack));
            env.sort_by(|a, b| a.0.cmp(&b.0));
            env.dedup_by(|a, b| a.0 == b.0);
        }
        outside.extend(binding::outside(env.iter().map(|(_, value)| value)));
        service::add(input, &program, &env, &mut services);
        if let (name, Source::Folder(folder)) = program.source()
            && name == program.name
        {
            let run = program.run().unwrap_or_default();
            let port = program.host.and_then(|(_, service)| service.port);
            files.push(dockerfile::program(name.as_str(), folder, run, port));
        }
    }
    service::migrations(input, &mut services);
    backup::add(input, &mut services);
    let by_files = |database: &stack::Database| {
        let served = matches!(database.engine, stack::DatabaseEngine::Postgres(_));
        served && matches!(database.migrations, Some(stack::Migrations::Folder(_)))
    };
    if stack.databases.values().any(by_files) {
        files.extend(dockerfile::migrate(&folder));
    }
    files.extend(crontab(input));
    if !stack.routes.is_empty() {
        services.insert("edge".to_owned(), service::edge(input));
        let sites: Vec<_> = stack.sites.iter().map(|(name, site)| (name.as_str(), site)).collect();
        files.push(dockerfile::edge(&sites, &folder));
        let place = Place {
            port: 8080,
            certificates: None,
            unprivileged: true,
            instances: &|service| {
                let port = stack.services.get(service).and_then(|service| service.port).unwrap_or(80);
                vec![format!("{service}:{port}")]
            },
            root: &|site| format!("/srv/{site}"),
        };
        let body = edge::nginx(&input.resolved, &place, problems);
        files.push(File::new("edge/nginx.conf", "Routes of the environment. TLS ends in front of it.", &body));
    }
    outside.sort();
    outside.dedup();
    files.push(values(input, &outside));
    let whole = json!({
        "name": format!("{}-{}", stack.app, input.resolved.name),
        "services": services,
        "# the edge reaches services, services reach data; data never leave the host": null,
        "networks": { "front": {}, "back": { "internal": false } },
        "volumes": volumes,
    });
    let about = format!(
        "{} in the environment {}. Values come from .env beside this file: begin with .env.example.\n\
         Start:   docker compose up --detach --build --wait\n\
         The schema changes first: services wait for migrate-NAME to succeed.\n\
         Jobs:    docker compose --profile jobs run --rm NAME",
        stack.app, input.resolved.name
    );
    files.push(File::new("compose.yaml", &about, &yaml::document(&whole)));
    files
}

/// A value as compose writes it: `$` is doubled, what comes from outside must be there.
pub(crate) fn interpolated(value: &[Part]) -> Value {
    let text: String = value
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.replace('$', "$$"),
            Part::Outside(name) => format!("${{{name}:?set {name} in .env}}"),
        })
        .collect();
    text.into()
}

/// `.env.example`: every name that must be given, what it must look like, and no value.
fn values(input: &Input, outside: &[String]) -> File {
    use std::fmt::Write as _;

    let mut body = String::new();
    for name in outside {
        let variable = input.resolved.stack.variables.get(name);
        let mut says: Vec<String> = Vec::new();
        if let Some(variable) = variable {
            says.extend(variable.about.clone());
            says.push(variable.form.expected());
            says.extend(variable.min_length.map(|least| format!("at least {least} characters")));
            says.extend(variable.rotate.map(|period| format!("changes every {period}")));
            if variable.secret {
                says.push("secret".to_owned());
            }
        } else {
            says.push("password of a server this file starts; letters and digits, at least 20".to_owned());
        }
        // writing to a String cannot fail
        let _ = writeln!(body, "# {}\n{name}=\n", says.join("; "));
    }
    let about = "Copy it to .env, fill it in, keep it out of version control (mode 600).";
    File::new(".env.example", about, body.trim_end_matches('\n')).ended()
}

/// What the host's own cron runs: compose has no schedule.
fn crontab(input: &Input) -> Option<File> {
    use std::fmt::Write as _;

    let stack = &input.resolved.stack;
    let jobs = stack.jobs.iter().map(|(name, job)| (name, &job.schedule, "jobs"));
    let functions =
        stack.functions.iter().filter_map(|(name, function)| Some((name, function.schedule.as_ref()?, "functions")));
    let mut body = String::new();
    let mut zone = "UTC";
    for (minute, hour, step) in backup::steps(input) {
        // writing to a String cannot fail
        let _ = writeln!(
            body,
            "{minute} {hour} * * * root cd /opt/{} && docker compose --profile backup run --rm --quiet-pull {step}",
            stack.app
        );
    }
    for (name, schedule, profile) in jobs.chain(functions) {
        if schedule.time_zone != zone {
            let _ = writeln!(body, "CRON_TZ={}", schedule.time_zone);
            zone = &schedule.time_zone;
        }
        let lock = format!("flock --nonblock /run/lock/{}-{name}", stack.app);
        let run = format!("docker compose --profile {profile} run --rm --quiet-pull {name}");
        let _ = writeln!(body, "{} root cd /opt/{} && {lock} {run}", schedule.cron, stack.app);
    }
    let about = "Copy it to /etc/cron.d: compose itself has no schedule. It expects this folder as /opt/APP.";
    (!body.is_empty()).then(|| File::new("crontab", about, &body))
}
