//! One service of a compose file.

use super::{
    UNKNOWN, build, environment, health, keys, label as labels, needs, port,
    scene::{Part, Scene},
    server, size, step, volume,
};
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
    report::Fate,
    text,
    trap::Trap,
};

/// Reads one service, whatever it is.
pub(crate) fn read(name: &str, at: &Cursor<'_>, scene: &Scene, draft: &mut Draft) {
    let own = label(name, "service");
    match scene.is(name) {
        Some(Part::Base) => at.changed("only a base that others extend; what it says is in them"),
        Some(Part::Proxy) => proxy(at, scene, draft),
        Some(Part::Server(role)) => server::read(name, at, *role, draft),
        Some(Part::Migration(server)) => step::migration(at, server, scene, draft),
        Some(Part::Backup) => step::backup(name, at, draft),
        Some(Part::Buckets(_)) => at.changed("buckets are made before what needs them starts"),
        Some(Part::Step) => at.refused(
            "it runs to its end before others start: put it into `build`, or name it in `migrate` of a database",
        ),
        Some(Part::Once) => at.refused("a command for people; `slipway run` runs one in the files of a service"),
        Some(Part::Job) => job(name, &own, at, scene, draft),
        Some(Part::Program) | None => program(name, ("service", &own), at, scene, draft),
    }
}

fn proxy(at: &Cursor<'_>, scene: &Scene, draft: &mut Draft) {
    at.changed("Slipway's edge takes its place: routes, limits, TLS and balancing are keys of `route`");
    if let Some(volumes) = at.find("volumes") {
        volumes.changed("write what its configuration routes as [route.\"HOST\"] tables");
    }
    // only a file of our own says which address of the host is meant for visitors
    let Some(environment) = draft.names("environment").first().cloned().filter(|_| scene.app.is_some()) else { return };
    let ports = at.find("ports").map(|ports| ports.items()).unwrap_or_default();
    let listen = ports.iter().filter_map(Cursor::text).find_map(|port| {
        let (listen, _) = port.rsplit_once(':')?;
        listen.parse::<std::net::SocketAddr>().ok()
    });
    if let Some(listen) = listen {
        draft.section("environment", &environment).set("listen", listen.to_string());
    }
}

/// A service that a crontab runs.
fn job(name: &str, own: &str, at: &Cursor<'_>, scene: &Scene, draft: &mut Draft) {
    program(name, ("job", own), at, scene, draft);
    let Some(when) = draft.beside.schedules.get(name).cloned() else { return };
    let section = draft.section("job", own);
    section.set("schedule", when.cron);
    if let Some(zone) = when.zone.filter(|zone| zone != "UTC") {
        section.set("time_zone", zone);
    }
    for key in ["restart", "profiles"] {
        if let Some(at) = at.find(key) {
            at.changed("it runs on a schedule: [job]");
        }
    }
}

fn program(name: &str, owner: (&str, &str), at: &Cursor<'_>, scene: &Scene, draft: &mut Draft) {
    let (kind, own) = owner;
    draft.section(kind, own);
    at.refused(UNKNOWN);
    let is_service = kind == "service";
    // whom it needs decides what of its variables is given to it
    if let Some(at) = at.find("depends_on") {
        needs::read(owner, &at, scene, draft);
    }
    for (key, at) in at.entries() {
        match key {
            "image" => image(name, owner, &at, scene, draft),
            "build" => build::read(owner, name, &at, scene, draft),
            "command" | "entrypoint" | "depends_on" | "labels" => {}
            "environment" => environment::read(owner, &at, draft),
            "env_file" => at.changed("values come from .env.<environment> and --env-file; declare each in [variable]"),
            "ports" | "expose" if is_service => port::read(own, key, &at, draft),
            "healthcheck" if is_service => health::read(own, &at, draft),
            "stop_grace_period" if is_service => grace(own, &at, draft),
            "scale" if is_service => size::replicas(owner, &at, draft),
            "ports" | "expose" | "healthcheck" | "stop_grace_period" | "scale" => {
                at.refused("nobody asks a job for anything: it ends by itself");
            }
            "deploy" => size::deploy(owner, &at, draft),
            "cpus" | "mem_limit" | "mem_reservation" => size::limit(owner, key, &at, draft),
            "profiles" => {
                let names: Vec<String> = at.items().iter().filter_map(Cursor::text).collect();
                draft.section(kind, own).about(&format!(
                    "only with the profile {}; take it away from environments that do not have it",
                    names.join(", ")
                ));
                at.changed("there are no profiles: an environment says what is different in it");
            }
            "volumes" => volume::read(owner, &at, draft),
            "secrets" => secrets(owner, &at, draft),
            "extends" => match at.find("file") {
                Some(_) => at.refused("the other file is not followed; import it as well, or write both into one"),
                None => at.kept_as("both services are written out"),
            },
            "security_opt" => security(&at),
            _ if key.starts_with("x-") => at.changed("an extension: nothing reads it"),
            _ => match keys::service(key) {
                Some((Fate::Refused, reason)) => at.refused(reason),
                Some((_, reason)) => at.changed(reason),
                None => {}
            },
        }
    }
    command(owner, at, draft);
    // whether it has a port decides whether anybody can be led to it
    if let Some(at) = at.find("labels") {
        labels::read(own, &at, draft);
    }
    if at.find("image").is_none() && at.find("build").is_none() {
        let place = draft.section(kind, own);
        place.about("it names neither an image nor a build: say how its files come to be");
    }
}

fn image(name: &str, owner: (&str, &str), at: &Cursor<'_>, scene: &Scene, draft: &mut Draft) {
    let Some(text) = at.text() else { return at.refused("an image is a text") };
    if let Some(host) = scene.owner(&text).filter(|host| *host != name)
        && let Some((dockerfile, context)) = scene.built(host)
    {
        // the image of a service that is built here is in no image store
        let section = draft.section(owner.0, owner.1);
        if owner.0 == "job" && scene.is(host) == Some(&Part::Program) {
            section.set("service", label(host, "service"));
        } else {
            section.set("dockerfile", dockerfile.clone()).set("context", context.clone());
        }
        return at.changed("it is built here, by another service, and named by digest");
    }
    if scene.built(name).is_some() || draft.section(owner.0, owner.1).get("dockerfile").is_some() {
        return at.changed("it is built here, and named by digest");
    }
    let image = text::template(&text, draft);
    draft.section(owner.0, owner.1).set("image", image);
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

/// `entrypoint` and `command` together are the command line.
fn command(owner: (&str, &str), at: &Cursor<'_>, draft: &mut Draft) {
    let words = |at: &Cursor<'_>| -> String {
        match at.text() {
            Some(text) => text,
            None => text::command(&at.items().iter().filter_map(Cursor::text).collect::<Vec<_>>()),
        }
    };
    let parts: Vec<Cursor<'_>> = ["entrypoint", "command"].into_iter().filter_map(|key| at.find(key)).collect();
    let line = parts.iter().map(words).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    for part in &parts {
        if at.find("entrypoint").is_some() {
            part.changed("`run`, which is both together");
        } else if line.replace("$$", "").contains('$') {
            part.changed("`run`; variables are filled in when it starts");
        } else {
            part.kept_as("`run`");
        }
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
    draft.section(owner.0, owner.1).set("run", line);
}

/// The time an instance gets to end: first its visitors finish, then it must.
fn grace(name: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let Some(whole) = at.text().and_then(|text| text::duration(&text)?.parse::<stack::Period>().ok()) else {
        return at.refused("not a duration");
    };
    let (drain, stop) = text::grace(whole.0.as_secs());
    let section = draft.section("service", name);
    section.set("drain", stack::Period::from_secs(drain).to_string());
    section.set("stop", stack::Period::from_secs(stop).to_string());
    at.kept_as("`drain` and `stop`, together as long");
}

fn secrets(owner: (&str, &str), at: &Cursor<'_>, draft: &mut Draft) {
    for secret in at.items() {
        let source = secret.text().or_else(|| secret.find("source")?.text()).unwrap_or_default();
        let variable = source.to_ascii_uppercase().replace(['-', '.'], "_");
        draft.variable(&variable, None, true);
        draft.section(owner.0, owner.1).put("env", &variable, format!("${{{variable}}}"));
        secret.changed(&format!("given in the variable {variable}, not in a file"));
    }
}

fn security(at: &Cursor<'_>) {
    for at in at.items() {
        if at.text().is_some_and(|text| text.starts_with("no-new-privileges")) {
            at.changed("instances get no rights beyond those of their user");
        } else {
            at.refused("instances get no rights beyond those of their user, and no profile of their own");
        }
    }
}
