//! `[service.x]`, `[site.x]` and the health check.

use super::{
    notes::Port,
    section::{Entry, Section},
    size, source,
};
use crate::{FolderSource, Health, Kind, Period, ResourceRef, Service, Site, Source};

/// Words from other tools and where they live here.
const MOVED: [(&str, &str); 16] = [
    ("command", "run"),
    ("cmd", "run"),
    ("start_command", "run"),
    ("entrypoint", "run"),
    ("environment", "env"),
    ("depends_on", "needs"),
    ("ports", "port"),
    ("healthcheck", "health"),
    ("path", "dir"),
    ("root", "dir"),
    ("output", "out"),
    ("grace", "stop"),
    ("deploy", "size"),
    ("resources", "size"),
    ("limits", "size"),
    ("volumes", "needs (a bucket)"),
];

/// Kinds that a program can use.
pub(crate) const NEEDED: [Kind; 11] = [
    Kind::Service,
    Kind::Function,
    Kind::Database,
    Kind::Cache,
    Kind::Queue,
    Kind::Bucket,
    Kind::Topic,
    Kind::Table,
    Kind::Search,
    Kind::Mail,
    Kind::Identity,
];

/// Reads `[service.x]`.
pub(crate) fn read(section: Section<'_>) -> Service {
    let source = source::find(&section).unwrap_or_else(|| Source::Folder(source::here()));
    let run = section.text("run");
    if matches!(source, Source::Folder(_)) && !section.has("run") {
        section
            .missing("run", "write the command that starts it, for example `run = \"node server.js\"`, or an `image`");
    }
    let port = section.whole("port", 1..=65535);
    let health = section.table("health").map(read_health);
    let ready = section.find("ready").and_then(|entry| url_path(&entry));
    for key in ["health", "ready"] {
        if let Some(entry) = section.find(key).filter(|_| !section.has("port")) {
            let message = format!("{} has `{key}` but no `port` to ask on", section.path.place());
            section.notes.add(entry.key_problem("health-without-port", message).with_mend("add `port`"));
        }
    }
    if let (Some(port), Some(entry)) = (port, section.find("port")) {
        let (service, span, key) = (section.path.last().to_owned(), entry.value.span(), entry.path.to_string());
        section.notes.ports.borrow_mut().push(Port { number: port, service, span, key });
    }
    let me = section.path.last().parse().ok().map(|name| ResourceRef { kind: Kind::Service, name });
    let service = Service {
        source,
        run,
        port,
        health,
        ready,
        size: size::get(&section),
        needs: needs(&section, me.as_ref()),
        env: env(&section),
        start: section.parse("start").unwrap_or(Period::from_secs(60)),
        drain: section.parse("drain").unwrap_or(Period::from_secs(30)),
        stop: section.parse("stop").unwrap_or(Period::from_secs(10)),
    };
    section.finish(&[&MOVED[..], &size::MOVED[..]].concat());
    service
}

/// `needs`: what a program uses. For a service, a needed service starts first.
pub(crate) fn needs(section: &Section<'_>, service: Option<&ResourceRef>) -> Vec<ResourceRef> {
    let mut needs = Vec::new();
    for entry in section.texts("needs") {
        let before = section.notes.references.borrow().len();
        let Some(to) = entry.reference(&NEEDED) else { continue };
        if let Some(noted) = section.notes.references.borrow_mut().get_mut(before) {
            noted.from = service.filter(|_| to.kind == Kind::Service).cloned();
        }
        if needs.contains(&to) {
            let message = format!("{} names `{to}` twice", entry.path.place());
            section.notes.add(entry.problem("repeated", message).with_mend("remove one of them"));
            continue;
        }
        needs.push(to);
    }
    needs
}

/// `env`: extra variables, each a text in which `${NAME}` takes one of the contract.
pub(crate) fn env(section: &Section<'_>) -> std::collections::BTreeMap<String, String> {
    let Some(table) = section.table("env") else { return std::collections::BTreeMap::new() };
    let mut env = std::collections::BTreeMap::new();
    for entry in table.each() {
        let name = entry.path.last();
        if !is_env_name(name) {
            let message =
                format!("`{}` cannot be the name of an environment variable", super::section::shortened(name));
            section.notes.add(
                entry
                    .key_problem("bad-variable-name", message)
                    .with_mend("use letters, digits and `_`, not starting with a digit"),
            );
            continue;
        }
        let Some(value) = entry.scalar() else { continue };
        entry.check_template(&value);
        super::secret::check_named(&entry, name, &value);
        env.insert(name.to_owned(), value.into_owned());
    }
    env
}

fn is_env_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn read_health(section: Section<'_>) -> Health {
    let path = section.find("path").and_then(|entry| url_path(&entry));
    if !section.has("path") {
        section.missing("path", "write the path that answers, for example `path = \"/health\"`");
    }
    let health = Health {
        path: path.unwrap_or_else(|| "/".to_owned()),
        every: section.parse("every").unwrap_or(Period::from_secs(10)),
        timeout: section.parse("timeout").unwrap_or(Period::from_secs(2)),
        up: section.whole("up", 1..=1000).unwrap_or(2),
        down: section.whole("down", 1..=1000).unwrap_or(3),
    };
    for (key, period) in [("every", health.every), ("timeout", health.timeout)] {
        if let Some(entry) = section.find(key).filter(|_| period == Period::from(0)) {
            let message = format!("{} is no time at all", entry.path.place());
            section.notes.add(entry.problem("out-of-range", message).with_mend("write a time longer than zero"));
        }
    }
    if health.timeout > health.every {
        let message = format!(
            "{}: the timeout of {} is longer than the time between checks, {}",
            section.path.place(),
            health.timeout,
            health.every
        );
        let entry = section.find("timeout").or_else(|| section.find("every"));
        let problem = section.problem("bad-range", message).with_mend("make `timeout` at most `every`");
        section
            .notes
            .add(entry.map(|entry| entry.value.span()).map_or(problem.clone(), |span| problem.with_span(span)));
    }
    section.finish(&[
        ("interval", "every"),
        ("period", "every"),
        ("healthy", "up"),
        ("unhealthy", "down"),
        ("url", "path"),
    ]);
    health
}

/// A path of a URL: begins with `/`, no spaces, query allowed.
pub(crate) fn url_path(entry: &Entry<'_>) -> Option<String> {
    let text = entry.filled()?;
    if text.starts_with('/') && text.len() <= 1000 && text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains('#')
    {
        return Some(text.to_owned());
    }
    let message =
        format!("{}: `{}` is no path of a URL", entry.path.place(), super::section::shortened(text).escape_debug());
    entry.notes.add(entry.problem("bad-path", message).with_mend("start it with `/` and use no spaces"));
    None
}

/// Reads `[site.x]`.
pub(crate) fn read_site(section: Section<'_>) -> Site {
    let out = section.path("out");
    if !section.has("out") {
        section.missing("out", "write the folder that holds the finished pages, for example `out = \"dist\"`");
    }
    let source = FolderSource {
        dir: section.path("dir").unwrap_or_else(|| ".".to_owned()),
        build: section.text("build"),
        out: out.into_iter().collect(),
    };
    let headers = section.map("headers");
    if let Some(table) = section.table("headers") {
        for entry in table.each() {
            let (name, value) = (entry.path.last(), entry.value.get_ref().as_str().unwrap_or_default());
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || !name.bytes().all(token) || value.chars().any(char::is_control) {
                let message = format!("`{}` is no header", super::section::shortened(name).escape_debug());
                section.notes.add(
                    entry
                        .key_problem("bad-header", message)
                        .with_mend("use letters, digits and `-` in the name, and one line as value"),
                );
            }
        }
    }
    let site = Site { source, spa: section.flag("spa", false), hashed: section.flag("hashed", false), headers };
    section.finish(&[("output", "out"), ("path", "dir"), ("root", "dir"), ("publish", "out")]);
    site
}
