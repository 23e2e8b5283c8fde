//! Kamal's deploy.yml and Fly's fly.toml.

use super::{compose, data};
use crate::{
    cursor::{Cursor, Marks, entries},
    detect::File,
    draft::{self, Draft, label},
    report::Entry,
    text, tree,
};

/// What is said of a key that is not known.
const UNKNOWN: &str = "a setting that Slipway does not have";

/// Reads Kamal's config/deploy.yml. Source: <https://kamal-deploy.org/docs/configuration/overview/>.
pub(crate) fn kamal(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let Some(tree) = tree::yaml(&file.text)?.into_iter().next() else { return Ok(Vec::new()) };
    let marks = Marks::default();
    let at = Cursor::root(&tree, &marks);
    if let Some(name) = at.take("service") {
        draft.app.get_or_insert(name);
    }
    for (name, accessory) in at.find("accessories").map(|all| all.entries()).unwrap_or_default() {
        let own = label(name, "data");
        let image = accessory.find("image").and_then(|image| image.text()).unwrap_or_default();
        accessory.changed(
            "Slipway runs this data service itself: its user, password, address and files are its own business",
        );
        if data::declare(&image, &own, draft).is_none() {
            draft.section("service", &own).set("image", image);
            accessory.changed("a service from its image");
            for key in ["port", "volumes", "files", "directories", "host", "hosts", "roles", "cmd", "options"] {
                if let Some(at) = accessory.find(key) {
                    at.refused("write what of it is needed as keys of the service");
                }
            }
            if let Some(env) = accessory.find("env") {
                environment(&own, &env, draft);
            }
        }
    }
    if !draft.has("service", "web") {
        draft.section("service", "web").set("dockerfile", "Dockerfile").set("context", ".").set("port", 80);
    }
    for (key, at) in at.entries() {
        match key {
            "service" | "accessories" => {}
            "image" => at.changed("images are named by digest"),
            "servers" => servers(&at, draft),
            "proxy" | "healthcheck" => proxy(&at, draft),
            "registry" => at.changed("`slipway host add` and the engine's own sign-in; images that are built here are shipped without a store"),
            "env" => environment("web", &at, draft),
            "builder" => {
                at.changed("the engine at hand builds");
                if let Some(file) = at.find("dockerfile") {
                    draft.section("service", "web").set("dockerfile", file.text().unwrap_or_default());
                    file.kept_as("`dockerfile`");
                }
                if let Some(args) = at.find("args") {
                    args.refused("a Dockerfile is built with its defaults; write them into the Dockerfile");
                }
            }
            "ssh" => at.changed("the user's own ssh configuration; the user stands before the host in `hosts`"),
            "volumes" => at.changed("the folder that SLIPWAY_DATA names outlives releases"),
            "boot" => at.changed("`rollout = \"waves ...\"` of the environment"),
            "asset_path" | "retain_containers" | "minimum_version" | "readiness_delay" | "deploy_timeout" | "drain_timeout" | "stop_timeout"
            | "primary_role" | "allow_empty_roles" | "require_destination" | "run_directory" | "hooks_path" | "secrets_path" | "error_pages_path"
            | "aliases" | "labels" | "logging" | "sshkit" => at.changed("Slipway has its own way, which needs no setting"),
            _ => at.refused(UNKNOWN),
        }
    }
    Ok(entries(&file.name, &at, UNKNOWN))
}

fn environment(service: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let (clear, secret) = (at.find("clear"), at.find("secret"));
    if clear.is_none() && secret.is_none() {
        compose::environment::read(("service", service), at, draft);
    }
    if let Some(clear) = clear {
        compose::environment::read(("service", service), &clear, draft);
    }
    for at in secret.map(|secret| secret.items()).unwrap_or_default() {
        let Some(text) = at.text() else { continue };
        let name = text.split(':').next().unwrap_or_default();
        let reference = match name {
            "DATABASE_URL" => draft.names("database").first().map(|first| format!("database.{first}")),
            "REDIS_URL" => draft.names("cache").first().map(|first| format!("cache.{first}")),
            _ => None,
        };
        if let Some(reference) = reference {
            draft.section("service", service).add("needs", &reference);
            at.changed(&format!("`needs` {reference} gives it {name}"));
        } else {
            draft.variable(name, None, true);
            draft.section("service", service).put("env", name, format!("${{{name}}}"));
            at.kept_as("a secret of the contract");
        }
    }
    if let Some(tags) = at.find("tags") {
        tags.refused("all instances of a service have the same variables; make a service of its own");
    }
}

fn servers(at: &Cursor<'_>, draft: &mut Draft) {
    let mut hosts: Vec<String> = Vec::new();
    let mut add = |at: &Cursor<'_>| {
        if let Some(host) = at.text() {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
            at.kept_as("`hosts` of the environment");
        } else {
            at.refused("tags of a host; write the host's name alone");
        }
    };
    at.items().iter().for_each(&mut add);
    for (role, at) in at.entries() {
        let list = at.find("hosts").unwrap_or_else(|| at.clone());
        list.items().iter().for_each(&mut add);
        let name = label(role, "web");
        if role != "web" {
            draft.section("service", &name).set("dockerfile", "Dockerfile").set("context", ".");
        }
        for (key, at) in at.entries() {
            match key {
                "hosts" => {}
                "cmd" => {
                    draft.section("service", &name).set("run", at.text().unwrap_or_default());
                    at.kept_as("`run`");
                }
                "env" => environment(&name, &at, draft),
                "options" => at.refused("settings of the container engine; memory and CPU are `size`"),
                "proxy" => proxy(&at, draft),
                _ => at.refused(UNKNOWN),
            }
        }
    }
    if !hosts.is_empty() {
        let list: Vec<toml::Value> = hosts.into_iter().map(toml::Value::from).collect();
        draft
            .section("environment", "production")
            .set("target", "hosts")
            .set("hosts", toml::Value::Array(list))
            .set("data", "real");
        draft.section("environment", "dev").set("target", "local");
    }
}

fn proxy(at: &Cursor<'_>, draft: &mut Draft) {
    at.changed("Slipway's edge takes the place of the proxy");
    for (key, at) in at.entries() {
        match key {
            "host" | "hosts" => {
                for at in at.items() {
                    for host in at.text().unwrap_or_default().split(',').filter(|host| !host.is_empty()) {
                        draft.section("route", &host.trim().to_lowercase()).set("/", "service.web");
                    }
                    at.changed("a [route]");
                }
            }
            "app_port" | "port" => {
                if let Some(port) = at.text().and_then(|port| port.parse::<i64>().ok()) {
                    draft.section("service", "web").set("port", port);
                    at.kept_as("`port`");
                }
            }
            "healthcheck" => {
                for (key, at) in at.entries() {
                    let key = match key {
                        "path" => "path",
                        "interval" => "every",
                        "timeout" => "timeout",
                        _ => {
                            at.refused(UNKNOWN);
                            continue;
                        }
                    };
                    let text = at.text().unwrap_or_default();
                    let value = if key == "path" { Some(text) } else { text::duration(&text) };
                    if let Some(value) = value {
                        draft.section("service", "web").put("health", key, value);
                        at.kept_as("`health`");
                    }
                }
            }
            "path" if at.text().is_some_and(|path| path.starts_with('/')) => {
                draft.section("service", "web").put("health", "path", at.text().unwrap_or_default());
                at.kept_as("`health`");
            }
            _ => {}
        }
    }
}

/// Reads Fly's fly.toml. Source: <https://fly.io/docs/reference/configuration/>.
pub(crate) fn fly(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let tree = tree::toml(&file.text)?;
    let marks = Marks::default();
    let at = Cursor::root(&tree, &marks);
    if let Some(name) = at.take("app") {
        draft.app.get_or_insert(name);
    }
    let web = "web";
    if let Some(processes) = at.find("processes") {
        for (name, at) in processes.entries() {
            let run = at.text().unwrap_or_default();
            let service = if name == "app" { web.to_owned() } else { label(name, "service") };
            draft.section("service", &service).set("run", run);
            at.kept_as("`run` of a service");
        }
    }
    for (key, at) in at.entries() {
        match key {
            "app" | "processes" => {}
            "build" => {
                at.refused("a Dockerfile is built with its defaults");
                if let Some(image) = at.take("image") {
                    draft.section("service", web).set("image", image);
                }
                if let Some(file) = at.take("dockerfile") {
                    draft.section("service", web).set("dockerfile", file);
                }
                if let Some(builder) = at.find("builder") {
                    builder.refused("write `build`, or a Dockerfile");
                }
            }
            "env" => compose::environment::read(("service", web), &at, draft),
            "http_service" | "services" => {
                for at in if at.entries().is_empty() { at.items() } else { vec![at.clone()] } {
                    service(web, &at, draft);
                }
            }
            "deploy" => {
                at.changed("`rollout` of the environment");
                if let Some(release) = at.find("release_command") {
                    let database = draft.names("database").first().cloned().unwrap_or_else(|| "main".to_owned());
                    let section = draft.section("database", &database);
                    if section.get("engine").is_none() {
                        section.set_with("engine", "postgres:17", "the version you have");
                    }
                    let table = draft::migrate(&release.text().unwrap_or_default(), web);
                    section.set("migrate", toml::Value::Table(table));
                    draft.section("service", web).add("needs", &format!("database.{database}"));
                    release.changed("`migrate` of the database: once, before the switch");
                }
            }
            "mounts" | "mount" => at.changed("the folder that SLIPWAY_DATA names outlives releases"),
            "vm" => {
                for at in if at.entries().is_empty() { at.items() } else { vec![at.clone()] } {
                    at.refused(UNKNOWN);
                    if let Some(memory) = at.find("memory")
                        && let Some(size) = memory.text().and_then(|text| text::size(&text))
                    {
                        draft.section("service", web).put("size", "memory", size);
                        memory.kept_as("`size.memory`");
                    }
                    if let Some(cpus) = at.find("cpus")
                        && let Some(cpu) = cpus.text().and_then(|text| text::cpu(&text))
                    {
                        draft.section("service", web).put("size", "cpu", cpu);
                        cpus.kept_as("`size.cpu`");
                    }
                }
            }
            "kill_timeout" => match at.text().and_then(|text| text::duration(&text)) {
                Some(period) => {
                    draft.section("service", web).set("stop", period);
                    at.kept_as("`stop`");
                }
                None => at.refused("not a duration"),
            },
            "primary_region" | "kill_signal" | "swap_size_mb" | "console_command" | "restart" | "metrics"
            | "statics" | "files" | "experimental" | "host_dedication_id" => {
                at.refused(UNKNOWN);
            }
            "checks" => at.changed("`health` of the service"),
            _ => at.refused(UNKNOWN),
        }
    }
    let section = draft.section("service", web);
    if section.get("image").is_none() && section.get("dockerfile").is_none() && section.get("build").is_none() {
        section.set("dockerfile", "Dockerfile").set("context", ".");
    }
    Ok(entries(&file.name, &at, UNKNOWN))
}

fn service(web: &str, at: &Cursor<'_>, draft: &mut Draft) {
    at.changed("the edge listens, ends TLS and balances");
    if let Some(port) = at.find("internal_port")
        && let Some(number) = port.text().and_then(|port| port.parse::<i64>().ok())
    {
        draft.section("service", web).set("port", number);
        port.kept_as("`port`");
    }
    if let Some(count) = at.find("min_machines_running")
        && let Some(number) = count.text().and_then(|count| count.parse::<i64>().ok()).filter(|number| *number > 0)
    {
        draft.section("service", web).put("size", "replicas", number);
        count.kept_as("`size.replicas`");
    }
    for key in ["auto_stop_machines", "auto_start_machines"] {
        if let Some(at) = at.find(key) {
            at.refused("instances are not stopped for want of visitors");
        }
    }
    for check in ["checks", "http_checks"].iter().filter_map(|key| at.find(key)).flat_map(|checks| checks.items()) {
        let path = check.find("path").and_then(|path| path.text());
        check.changed("`health` of the service");
        if let Some(path) = path {
            draft.section("service", web).put("health", "path", path);
        }
        for (from, to) in [("interval", "every"), ("timeout", "timeout")] {
            if let Some(at) = check.find(from)
                && let Some(period) = at.text().and_then(|text| text::duration(&text))
                && check.find("path").is_some()
            {
                draft.section("service", web).put("health", to, period);
                at.kept_as("`health`");
            }
        }
    }
}
