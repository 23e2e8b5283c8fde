//! One service of a compose file.

use std::collections::BTreeSet;

use toml::Value;

use super::{
    compose::environment,
    compose_keys,
    data::{self, Role},
};
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
    report::Fate,
    text,
    trap::Trap,
};

/// Reads one service, whatever it is.
pub(crate) fn read(
    name: &str,
    at: &Cursor<'_>,
    services: &BTreeSet<String>,
    proxies: &BTreeSet<String>,
    draft: &mut Draft,
) {
    let role = role(at);
    let own = label(name, "service");
    match role {
        Role::Program => program(&own, at, services, proxies, draft),
        Role::Proxy => {
            at.changed("Slipway's edge takes its place: routes, limits, TLS and balancing are keys of `route`");
            if let Some(volumes) = at.find("volumes") {
                volumes.changed("write what its configuration routes as [route.\"HOST\"] tables");
            }
        }
        Role::Database | Role::Cache | Role::Queue | Role::Bucket => server(&own, at, role, draft),
    }
}

/// What a service is: a known image that nothing here builds, or a program.
pub(crate) fn role(at: &Cursor<'_>) -> Role {
    let image = at.find("image").and_then(|image| image.text());
    image.as_deref().filter(|_| at.find("build").is_none()).map_or(Role::Program, data::role)
}

/// A data service: Slipway runs it.
fn server(name: &str, at: &Cursor<'_>, role: Role, draft: &mut Draft) {
    at.changed(
        "Slipway runs this data service itself: its user, password, address, files and health are its own business",
    );
    if let Some(image) = at.find("image") {
        if image.text().is_some_and(|image| text::is_latest(&image)) {
            image.trapped(Trap::LATE_MIGRATION, Fate::Changed, "a version of its own instead of `latest`");
        } else {
            image.kept_as("`engine`");
        }
    }
    for (key, at) in at.entries() {
        match key {
            "environment" | "env_file" => {
                at.changed("user, password and name are made by Slipway and given to whoever `needs` it");
            }
            "ports" | "expose" => at.changed("only the application's own programs reach it"),
            "command" | "entrypoint" => at.refused(
                "settings of the server go into `settings` of the database, or into an existing server named by `url`",
            ),
            "healthcheck" => at.changed("its health is asked for in the engine's own way"),
            "deploy" => deploy(("", name), &at, draft),
            "volumes" => {
                at.changed("data are kept below the environment's folder");
                for volume in at.items() {
                    let target = volume.text().or_else(|| volume.find("target")?.text()).unwrap_or_default();
                    if target.contains("/docker-entrypoint-initdb.d") {
                        let source = target.split(':').next().unwrap_or_default().trim_start_matches("./").to_owned();
                        let folder = !source.is_empty()
                            && source.split('/').all(|part| !part.is_empty() && part != "..")
                            && !source.starts_with('/');
                        if folder && role == Role::Database && !source.contains(".sql") {
                            draft.section("database", name).set("migrations", source);
                            volume.trapped(Trap::TWO_MIGRATIONS, Fate::Changed, "`migrations`: applied in order, once, before each release; take the other way of migrating away");
                        } else {
                            volume.trapped(
                                Trap::TWO_MIGRATIONS,
                                Fate::Refused,
                                "make it a migration: scripts of the start-up folder run only on an empty server",
                            );
                        }
                    }
                }
            }
            _ => {}
        }
    }
}

fn program(name: &str, at: &Cursor<'_>, services: &BTreeSet<String>, proxies: &BTreeSet<String>, draft: &mut Draft) {
    draft.section("service", name);
    at.refused("not a key of the Compose specification; nothing reads it");
    for (key, at) in at.entries() {
        match key {
            "image" => image(name, &at, draft),
            "build" => build(name, &at, draft),
            "command" | "entrypoint" => {}
            "environment" => environment(("service", name), &at, draft),
            "env_file" => at.changed("values come from .env.<environment> and --env-file; declare each in [variable]"),
            "ports" | "expose" => ports(name, key, &at, draft),
            "depends_on" => depends_on(name, &at, services, proxies, draft),
            "healthcheck" => healthcheck(name, &at, draft),
            "deploy" => deploy(("service", name), &at, draft),
            "scale" => {
                if let Some(count) = at.text().and_then(|count| count.parse::<i64>().ok()) {
                    draft.section("service", name).put("size", "replicas", count);
                    at.kept_as("`size.replicas`");
                }
            }
            "cpus" | "mem_limit" | "mem_reservation" => limit(("service", name), key, &at, draft),
            "stop_grace_period" => match at.text().and_then(|text| text::duration(&text)) {
                Some(period) => {
                    draft.section("service", name).set("stop", period);
                    at.kept_as("`stop`");
                }
                None => at.refused("not a duration"),
            },
            "profiles" => {
                let names: Vec<String> = at.items().iter().filter_map(Cursor::text).collect();
                draft.section("service", name).about(&format!(
                    "only with the profile {}; take it away from environments that do not have it",
                    names.join(", ")
                ));
                at.changed("there are no profiles: an environment says what is different in it");
            }
            "volumes" => volumes(name, &at, draft),
            "secrets" => {
                for secret in at.items() {
                    let source = secret.text().or_else(|| secret.find("source")?.text()).unwrap_or_default();
                    let variable = source.to_ascii_uppercase().replace(['-', '.'], "_");
                    draft.variable(&variable, None, true);
                    draft.section("service", name).put("env", &variable, format!("${{{variable}}}"));
                    secret.changed(&format!("given in the variable {variable}, not in a file"));
                }
            }
            "extends" => match at.find("file") {
                Some(_) => at.refused("the other file is not followed; import it as well, or write both into one"),
                None => at.kept_as("both services are written out"),
            },
            "labels" => labels(name, &at, draft),
            _ if key.starts_with("x-") => at.changed("an extension: nothing reads it"),
            _ => match compose_keys::service(key) {
                Some((Fate::Refused, reason)) => at.refused(reason),
                Some((_, reason)) => at.changed(reason),
                None => {}
            },
        }
    }
    command(name, at, draft);
    if at.find("image").is_none() && at.find("build").is_none() {
        let place = draft.section("service", name);
        place.about("it names neither an image nor a build: say how its files come to be");
    }
}

fn image(name: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let Some(text) = at.text() else { return at.refused("an image is a text") };
    if draft.section("service", name).get("dockerfile").is_some() {
        return at.changed("it is built here, and named by digest");
    }
    let image = text::template(&text, draft);
    draft.section("service", name).set("image", image);
    if text::is_latest(&text) && !text.contains('$') {
        at.trapped(
            Trap::LATE_MIGRATION,
            Fate::Kept,
            "pin a version: what `latest` is changes under you; each release keeps the digest it was built with",
        );
    } else {
        at.kept();
    }
}

fn build(name: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let mut context = at.text();
    let mut file = None;
    if context.is_some() {
        at.kept_as("`context` and `dockerfile`");
    }
    for (key, at) in at.entries() {
        match key {
            "context" => {
                context = at.text();
                at.kept();
            }
            "dockerfile" => {
                file = at.text();
                at.kept();
            }
            _ => match compose_keys::build(key) {
                Some((Fate::Refused, reason)) => at.refused(reason),
                Some((_, reason)) => at.changed(reason),
                None => at.refused("not a key of the Compose specification; nothing reads it"),
            },
        }
    }
    let context = context.unwrap_or_else(|| ".".to_owned());
    let section = draft.section("service", name);
    // an image beside a build is only its name
    section.remove("image");
    if let Some(context) = inside(&context) {
        let file = file.unwrap_or_else(|| "Dockerfile".to_owned());
        let file = if context == "." { file } else { format!("{context}/{}", file.trim_start_matches("./")) };
        section.set("dockerfile", file).set("context", context);
    } else {
        section.set("dockerfile", "Dockerfile");
        at.refused("the build's folder lies outside of this one, or is an address; put the stack file above all that it builds");
    }
}

/// A path below the folder, without the `./` before it.
fn inside(path: &str) -> Option<String> {
    let path = path.trim_end_matches('/');
    let path = path.strip_prefix("./").unwrap_or(path);
    let path = if path.is_empty() { "." } else { path };
    let good = !path.starts_with('/')
        && !path.contains("://")
        && !path.contains('$')
        && path.split('/').all(|part| part != ".." && !part.is_empty());
    good.then(|| path.to_owned())
}

/// `entrypoint` and `command` together are the command line.
fn command(name: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let words = |at: &Cursor<'_>| -> String {
        match at.text() {
            Some(text) => text,
            None => text::command(&at.items().iter().filter_map(Cursor::text).collect::<Vec<_>>()),
        }
    };
    let parts: Vec<Cursor<'_>> = ["entrypoint", "command"].into_iter().filter_map(|key| at.find(key)).collect();
    let line = parts.iter().map(words).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    for part in &parts {
        part.kept_as("`run`");
    }
    if line.is_empty() {
        return;
    }
    if line.contains("migrate") {
        for part in &parts {
            part.trapped(Trap::LATE_MIGRATION, Fate::Kept, "it migrates when it starts: name the command in `migrate` of the database, so that it runs once, before the switch");
        }
    }
    let line = text::template(&line.replace('\n', " "), draft);
    draft.section("service", name).set("run", line);
}

fn ports(name: &str, key: &str, at: &Cursor<'_>, draft: &mut Draft) {
    for item in at.items() {
        let text = item.text();
        let (container, published) = if let Some(text) = &text {
            let text = text.split('/').next().unwrap_or_default();
            let mut parts = text.rsplit(':');
            let container = parts.next().unwrap_or_default().to_owned();
            (container, parts.next().map(str::to_owned))
        } else {
            let get = |key: &str| item.find(key).and_then(|at| at.text());
            for (known, at) in item.entries() {
                match known {
                    "target" => at.kept_as("`port`"),
                    "published" => {
                        at.changed("visitors come to `listen` of the environment and are led by [route]");
                    }
                    _ => at.changed("the edge listens, and speaks HTTP"),
                }
            }
            (get("target").unwrap_or_default(), get("published"))
        };
        let Ok(port) = container.parse::<u16>().map(i64::from) else {
            item.refused("a range of ports, or a variable; write the one port that the service listens on as `port`");
            continue;
        };
        if text.as_deref().is_some_and(|text| text.ends_with("/udp")) {
            item.refused("only TCP ports are reached through the edge");
            continue;
        }
        let section = draft.section("service", name);
        if section.get("port").is_some_and(|known| *known != Value::Integer(port)) {
            item.refused("a service has one port; make the other a service of its own");
            continue;
        }
        section.set("port", port);
        if text.is_some() {
            if key == "expose" || published.is_none() {
                item.kept_as("`port`");
            } else {
                item.changed("`port`; visitors come to `listen` of the environment and are led by [route]");
            }
        }
    }
}

fn depends_on(name: &str, at: &Cursor<'_>, services: &BTreeSet<String>, proxies: &BTreeSet<String>, draft: &mut Draft) {
    let names: Vec<(String, Cursor<'_>)> = match at.entries() {
        entries if entries.is_empty() => at.items().into_iter().filter_map(|at| Some((at.text()?, at))).collect(),
        entries => entries.into_iter().map(|(name, at)| (name.to_owned(), at)).collect(),
    };
    for (other, at) in names {
        let reference = data::find(&other, draft).or_else(|| {
            let own = label(&other, "service");
            services.contains(&other).then(|| format!("service.{own}"))
        });
        if proxies.contains(&other) {
            at.changed("Slipway's edge takes the place of the proxy");
            continue;
        }
        match reference {
            Some(reference) if reference != format!("service.{name}") => {
                draft.section("service", name).add("needs", &reference);
                at.kept_as(&format!("`needs` {reference}, which is ready before this starts"));
            }
            _ => at.refused("no such service in this file"),
        }
    }
}

fn healthcheck(name: &str, at: &Cursor<'_>, draft: &mut Draft) {
    if at.find("disable").and_then(|at| at.text()).as_deref() == Some("true") {
        return at.changed("without a check, accepting a connection counts");
    }
    let mut words: Vec<String> = Vec::new();
    if let Some(test) = at.find("test") {
        words = match test.text() {
            Some(text) => vec![text],
            None => test.items().iter().filter_map(Cursor::text).collect(),
        };
        if words.first().is_some_and(|word| word == "NONE") {
            return at.changed("without a check, accepting a connection counts");
        }
    }
    let path = text::checked_path(&words.join(" "));
    let Some(path) = path else {
        at.refused(
            "a check that is no HTTP request; give the service a path that answers 2xx and write it as `health`",
        );
        return;
    };
    if let Some(test) = at.find("test") {
        test.changed(&format!("asked for over HTTP: `health` {path}"));
    }
    let section = draft.section("service", name);
    section.put("health", "path", path);
    if let (None, Some(port)) = (section.get("port"), text::checked_port(&words.join(" "))) {
        section.set("port", i64::from(port));
    }
    let mut every = None;
    for (key, at) in at.entries() {
        let period = || at.text().and_then(|text| text::duration(&text));
        match key {
            "interval" => match period() {
                Some(period) => {
                    section.put("health", "every", period.clone());
                    every = Some(period);
                    at.kept_as("`health.every`");
                }
                None => at.refused("not a duration"),
            },
            "retries" => {
                match at.text().and_then(|text| text.parse::<i64>().ok()).filter(|count| (1..=1000).contains(count)) {
                    Some(count) => {
                        section.put("health", "down", count);
                        at.kept_as("`health.down`");
                    }
                    None => at.refused("not a number of checks"),
                }
            }
            "start_period" => match period() {
                Some(period) => {
                    section.set("start", period);
                    at.changed("`start`: how long it may take until it is ready");
                }
                None => at.refused("not a duration"),
            },
            "start_interval" => at.changed("a new instance is asked several times a second"),
            "timeout" | "test" | "disable" => {}
            _ => at.refused("not a key of the Compose specification; nothing reads it"),
        }
    }
    if let Some(at) = at.find("timeout") {
        let parse = |text: &str| text.parse::<stack::Period>().ok();
        let period = at.text().and_then(|text| text::duration(&text));
        let longest = every.as_deref().and_then(parse).unwrap_or(stack::Period::from_secs(10));
        match period.as_deref().and_then(parse) {
            Some(period) if period > longest => {
                section.put("health", "timeout", longest.to_string());
                at.changed("at most as long as the time between checks");
            }
            Some(period) => {
                section.put("health", "timeout", period.to_string());
                at.kept_as("`health.timeout`");
            }
            None => at.refused("not a duration"),
        }
    }
}

fn deploy(owner: (&str, &str), at: &Cursor<'_>, draft: &mut Draft) {
    let (kind, name) = owner;
    for (key, at) in at.entries() {
        match key {
            "replicas" if kind.is_empty() => match at.text().as_deref() {
                Some("1" | "0") => at.changed("one server"),
                _ => at.trapped(
                    Trap::THREE_PRIMARIES,
                    Fate::Refused,
                    "write `replicas` of the database or cache: replicas that follow one primary",
                ),
            },
            "replicas" => match at.text().and_then(|count| count.parse::<i64>().ok()) {
                Some(count) => {
                    draft.section(kind, name).put("size", "replicas", count);
                    at.kept_as("`size.replicas`");
                }
                None => at.refused("not a number; write it as `size.replicas`"),
            },
            "resources" => {
                for (group, at) in at.entries() {
                    for (key, at) in at.entries() {
                        match (group, key) {
                            ("limits" | "reservations", "cpus" | "memory") if kind.is_empty() => {
                                at.changed("write it as `size` of the database, where the target runs one");
                            }
                            ("limits", "cpus") => limit(owner, "cpus", &at, draft),
                            ("limits", "memory") => limit(owner, "mem_limit", &at, draft),
                            ("reservations", "cpus") => limit(owner, "cpu_reservation", &at, draft),
                            ("reservations", "memory") => limit(owner, "mem_reservation", &at, draft),
                            (_, "pids") => {
                                at.refused("there is no limit on processes; memory and CPU are capped by `size`");
                            }
                            (_, "devices" | "generic_resources") => at.refused("instances get no devices"),
                            _ => at.refused("not a key of the Compose specification; nothing reads it"),
                        }
                    }
                }
            }
            _ => match compose_keys::deploy(key) {
                Some((Fate::Refused, reason)) => at.refused(reason),
                Some((_, reason)) => at.changed(reason),
                None => at.refused("not a key of the Compose specification; nothing reads it"),
            },
        }
    }
}

/// A cap or a reservation becomes one end of a range.
fn limit(owner: (&str, &str), key: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let text = at.text().unwrap_or_default();
    let (dimension, value) = match key {
        "cpus" | "cpu_reservation" => ("cpu", text::cpu(&text)),
        _ => ("memory", text::size(&text)),
    };
    let Some(value) = value.filter(|_| text != "0") else {
        return at.refused("a variable, or no amount; write it as `size`");
    };
    draft.section(owner.0, owner.1).range(dimension, &value, key.ends_with("reservation"));
    at.kept_as(&format!("`size.{dimension}`"));
}

fn volumes(name: &str, at: &Cursor<'_>, draft: &mut Draft) {
    for volume in at.items() {
        let (source, target) = if let Some(text) = volume.text() {
            match text.split_once(':') {
                Some((source, rest)) => (source.to_owned(), rest.split(':').next().unwrap_or_default().to_owned()),
                None => (String::new(), text),
            }
        } else {
            let get = |key: &str| volume.find(key).and_then(|at| at.text()).unwrap_or_default();
            (get("source"), get("target"))
        };
        if target.ends_with("docker.sock") {
            volume.refused("no instance is given the container engine");
        } else if source.is_empty() {
            volume.changed("what a build makes is in the release");
        } else if source.starts_with(['.', '/', '~', '$']) {
            volume.changed("the release carries the files; `slipway up` rebuilds when they change");
        } else {
            draft
                .section("service", name)
                .about(&format!("what it kept in {target} goes into the folder that SLIPWAY_DATA names"));
            volume.changed("the folder that SLIPWAY_DATA names outlives releases and is shared by all instances");
        }
    }
}

/// Labels of proxies that say a host's name.
fn labels(name: &str, at: &Cursor<'_>, draft: &mut Draft) {
    at.refused("labels are read by programs beside the application; there are none here");
    for (label, value, at) in at.pairs() {
        let Some(value) = value else { continue };
        if label.starts_with("traefik.http.routers.") && label.contains(".rule") {
            let hosts: Vec<&str> =
                value.split("Host(").skip(1).filter_map(|rest| rest.split(['`', '"', '\'']).nth(1)).collect();
            let prefix =
                value.split("PathPrefix(").nth(1).and_then(|rest| rest.split(['`', '"', '\'']).nth(1)).unwrap_or("/");
            let good: Vec<&&str> = hosts.iter().filter(|host| !host.contains('$') && !host.is_empty()).collect();
            for host in &good {
                draft.section("route", &host.to_lowercase()).set(prefix, format!("service.{name}"));
            }
            if !good.is_empty() {
                at.changed("a [route]");
            }
        } else if label.starts_with("traefik.http.services.") && label.ends_with(".server.port") {
            let section = draft.section("service", name);
            if let (None, Ok(port)) = (section.get("port"), value.parse::<u16>()) {
                section.set("port", i64::from(port));
            }
            at.changed("`port`");
        } else if label.starts_with("traefik.") || label.starts_with("caddy") {
            at.changed("Slipway's edge takes the place of the proxy");
        }
    }
}
