//! A data service: Slipway runs it.

use super::{size, step};
use crate::{
    cursor::Cursor,
    draft::Draft,
    readers::data::{self, Role},
    report::Fate,
    text,
    trap::Trap,
};

/// Reads a service that is a data service by its image.
pub(crate) fn read(host: &str, at: &Cursor<'_>, role: Role, draft: &mut Draft) {
    at.changed(
        "Slipway runs this data service itself: its user, password, address, files and health are its own business",
    );
    let reference = draft.hosts.get(host).cloned().unwrap_or_default();
    let name = reference.split_once('.').map(|(_, name)| name.to_owned()).unwrap_or_default();
    if let Some(image) = at.find("image") {
        engine(&image, role);
    }
    for (key, at) in at.entries() {
        match key {
            "environment" | "env_file" => {
                for (_, value, _) in at.pairs() {
                    draft.passwords.extend(value.iter().flat_map(|value| text::names(value)));
                }
                at.changed("user, password and name are made by Slipway and given to whoever `needs` it");
            }
            "ports" | "expose" => at.changed("only the application's own programs reach it"),
            "healthcheck" => at.changed("its health is asked for in the engine's own way"),
            "deploy" => deploy(role, &name, &at, draft),
            "volumes" => {
                at.changed("data are kept below the environment's folder");
                for volume in at.items() {
                    scripts(&volume, role, &name, draft);
                }
            }
            _ => {}
        }
    }
    settings(at, role, &name, draft);
}

fn engine(at: &Cursor<'_>, role: Role) {
    let image = at.text().unwrap_or_default();
    let (name, _) = text::image(&image);
    if text::is_latest(&image) {
        at.trapped(Trap::LATE_MIGRATION, Fate::Changed, "a version of its own instead of `latest`");
    } else if role == Role::Bucket {
        at.changed("[bucket]: each target has its own S3");
    } else if ["postgres", "redis", "rabbitmq"].contains(&name) {
        at.kept_as("`engine`, of the same major version");
    } else {
        at.changed("`engine`, of the same major version; what this image adds to it is the target's to have");
    }
}

/// What the server is told on its command line.
fn settings(at: &Cursor<'_>, role: Role, name: &str, draft: &mut Draft) {
    let parts: Vec<Cursor<'_>> = ["entrypoint", "command"].into_iter().filter_map(|key| at.find(key)).collect();
    let words = step::words(at);
    let understood = match role {
        Role::Database => postgres(&words).is_some_and(|settings| {
            for (key, value) in settings {
                draft.section("database", name).put("settings", &key, value);
            }
            true
        }),
        Role::Cache => {
            let line = words.join(" ");
            let memory = data::cache_memory(&line);
            if let Some(memory) = &memory {
                draft.section("cache", name).set("memory", memory.clone());
            }
            memory.is_some() || line.contains("redis-server")
        }
        Role::Bucket => true,
        _ => false,
    };
    for part in parts {
        if understood {
            part.changed(match role {
                Role::Database => "`settings` of the database",
                Role::Cache => "`memory` of the cache; persistence and password are Slipway's own business",
                _ => "Slipway starts it",
            });
        } else {
            part.refused(
                "settings of the server go into `settings` of the database, or into an existing server named by `url`",
            );
        }
    }
}

/// Settings of a `postgres -c name=value` line; `None` when it says anything else.
fn postgres(words: &[String]) -> Option<Vec<(String, String)>> {
    let mut words = words.iter().map(String::as_str).peekable();
    words.next_if_eq(&"postgres");
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match word {
            "-c" => words.next()?,
            word => word.strip_prefix("-c").or_else(|| word.strip_prefix("--"))?,
        };
        let (name, value) = setting.split_once('=')?;
        settings.push((name.trim().replace('-', "_"), value.replace("$$", "$")));
    }
    Some(settings)
}

fn deploy(role: Role, name: &str, at: &Cursor<'_>, draft: &mut Draft) {
    for (key, at) in at.entries() {
        match key {
            "replicas" => match at.text().as_deref() {
                Some("1" | "0") => at.changed("one server"),
                _ => at.trapped(
                    Trap::THREE_PRIMARIES,
                    Fate::Refused,
                    "write `replicas` of the database or cache: replicas that follow one primary",
                ),
            },
            "resources" if role == Role::Database => {
                at.changed("`size` of the database says what it may use");
                for (from, to) in [("cpus", "cpus"), ("memory", "mem_limit")] {
                    if let Some(at) = at.find_below(&["limits", from]) {
                        size::limit(("database", name), to, &at, draft);
                    }
                }
            }
            "resources" => at.changed("`memory` of the cache says what it may use; the rest is the target's business"),
            _ => size::others(key, &at),
        }
    }
}

/// Scripts in the folder that a server runs when it starts for the first time.
fn scripts(volume: &Cursor<'_>, role: Role, name: &str, draft: &mut Draft) {
    let target = volume.text().or_else(|| volume.find("target")?.text()).unwrap_or_default();
    if !target.contains("/docker-entrypoint-initdb.d") {
        return;
    }
    let source = target.split(':').next().unwrap_or_default().trim_start_matches("./").to_owned();
    let folder = !source.is_empty()
        && source.split('/').all(|part| !part.is_empty() && part != "..")
        && !source.starts_with('/');
    if folder && role == Role::Database && !source.contains(".sql") {
        draft.section("database", name).set("migrations", source);
        volume.trapped(
            Trap::TWO_MIGRATIONS,
            Fate::Changed,
            "`migrations`: applied in order, once, before each release; take the other way of migrating away",
        );
    } else {
        volume.trapped(
            Trap::TWO_MIGRATIONS,
            Fate::Refused,
            "make it a migration: scripts of the start-up folder run only on an empty server",
        );
    }
}
