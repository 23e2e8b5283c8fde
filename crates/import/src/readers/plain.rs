//! Procfile, .env, Dockerfile, package.json, app.json.

use super::{
    data::{self, Role},
    script,
};
use crate::{
    beside,
    cursor::{Cursor, Marks, entries},
    detect::File,
    draft::{self, Draft, label},
    report::{Entry, Fate},
    text,
    trap::Trap,
    tree,
};

fn entry(file: &File, line: usize, key: &str, fate: Fate, reason: &str, trap: Option<Trap>) -> Entry {
    let (file, line, reason) = (file.name.clone(), Some(line), reason.to_owned());
    Entry { file, line, key: key.to_owned(), fate, reason, trap }
}

/// The folder a file is in, relative; `.` at the top.
fn folder(file: &File) -> String {
    file.name.rsplit_once('/').map_or_else(|| ".".to_owned(), |(folder, _)| folder.to_owned())
}

/// Where a program of a folder is described already, by `dir` or `context`.
fn described(draft: &mut Draft, folder: &str) -> Option<String> {
    let names = draft.names("service");
    names.into_iter().find(|name| {
        let section = draft.section("service", name);
        ["dir", "context"].iter().any(|key| section.get(key).and_then(toml::Value::as_str) == Some(folder))
    })
}

/// A Procfile: one line for each kind of process.
#[expect(clippy::unnecessary_wraps, reason = "all readers have one shape")]
pub(crate) fn procfile(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let mut found = Vec::new();
    let dir = folder(file);
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, run)) = line.split_once(':').map(|(name, run)| (name.trim(), run.trim())) else {
            found.push(entry(file, index + 1, line, Fate::Refused, "a line of a Procfile is `NAME: COMMAND`", None));
            continue;
        };
        if name == "release" {
            let command = text::template(run, draft);
            if draft.names("database").is_empty() {
                draft.section("database", "main").set_with("engine", "postgres:17", "the version you have");
            }
            let database = draft.names("database").remove(0);
            let table = draft::migrate(&command, "web");
            draft.section("database", &database).set("migrate", toml::Value::Table(table));
            found.push(entry(
                file,
                index + 1,
                name,
                Fate::Changed,
                "`migrate` of the database: once, before the switch",
                None,
            ));
            continue;
        }
        let section = draft.section("service", &label(name, "service"));
        if dir != "." {
            section.set("dir", dir.clone());
        }
        section.set("run", run);
        if name == "web" {
            section.set_with("port", 5000, "each instance is told its own in PORT");
        }
        found.push(entry(file, index + 1, name, Fate::Kept, "`run` of a service", None));
    }
    Ok(found)
}

/// A file of variables: names become the contract, values of secrets stay where they are.
#[expect(clippy::unnecessary_wraps, reason = "all readers have one shape")]
pub(crate) fn dotenv(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let text = line.trim();
        let text = text.strip_prefix("export ").unwrap_or(text);
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let Some((name, value)) = text.split_once('=') else {
            found.push(entry(file, index + 1, text, Fate::Refused, "a line of variables is `NAME=VALUE`", None));
            continue;
        };
        let name = name.trim();
        let value = value.trim().trim_matches(['"', '\'']);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            found.push(entry(file, index + 1, name, Fate::Refused, "not a name of a variable", None));
            continue;
        }
        if ["PORT", "HOST"].contains(&name) {
            found.push(entry(file, index + 1, name, Fate::Changed, "each instance is told where it listens", None));
            continue;
        }
        let reached = text::address(value).and_then(|address| {
            let kind = match address.scheme {
                "postgres" | "postgresql" => "database",
                "redis" | "rediss" => "cache",
                "amqp" | "amqps" => "queue",
                _ => return None,
            };
            draft.names(kind).first().map(|first| format!("{kind}.{first}"))
        });
        if let Some(reference) = reached {
            let reason = format!("whoever `needs` {reference} is given its address");
            found.push(entry(file, index + 1, name, Fate::Changed, &reason, None));
            continue;
        }
        if draft.passwords.contains(name) && !draft.declares(name) {
            let reason = "a password of a data service, which Slipway makes itself";
            found.push(entry(file, index + 1, name, Fate::Changed, reason, None));
            continue;
        }
        let credentials = text::is_secret(value) || (value.contains("://") && value.contains('@'));
        if text::is_secret_name(name) || credentials {
            draft.variable(name, None, true);
            found.push(entry(
                file,
                index + 1,
                name,
                Fate::Changed,
                "a secret of the contract; its value stays in the file of variables",
                None,
            ));
        } else {
            let default = (!value.contains('$')).then_some(value);
            draft.variable(name, default, false);
            found.push(entry(file, index + 1, name, Fate::Kept, "a variable of the contract", None));
        }
    }
    Ok(found)
}

/// A Dockerfile: it stays what builds the image; the port and the check are taken from it.
#[expect(clippy::unnecessary_wraps, reason = "all readers have one shape")]
pub(crate) fn dockerfile(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let dir = folder(file);
    let named = draft.names("service").into_iter().find(|name| {
        draft.section("service", name).get("dockerfile").and_then(toml::Value::as_str) == Some(file.name.as_str())
    });
    let stem = file.name.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(stem, _)| stem);
    // an image that another file names after it
    let named = named.or_else(|| draft.has("service", stem).then(|| stem.to_owned()));
    let based = beside::base(&file.text)
        .is_some_and(|image| !matches!(data::role(image), Role::Program | Role::Proxy | Role::Search));
    if named.is_none() && (based || draft.dockerfiles.contains_key(&file.name) || draft.steps.contains(stem)) {
        let reason = "it builds what Slipway's edge, a data service, a job or a migration takes the place of";
        let lines = file.text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let first = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
        return Ok(lines.map(|(at, line)| entry(file, at + 1, &first(line), Fate::Changed, reason, None)).collect());
    }
    let name = named.or_else(|| described(draft, &dir)).unwrap_or_else(|| {
        let last = dir.rsplit('/').next().unwrap_or_default();
        // `api.Dockerfile` says what it builds
        let file_name = file.name.rsplit('/').next().unwrap_or_default();
        let stem = file_name.rsplit_once('.').filter(|(_, ending)| ending.eq_ignore_ascii_case("dockerfile"));
        let name = label(stem.map_or(if dir == "." { "web" } else { last }, |(stem, _)| stem), "web");
        let section = draft.section("service", &name);
        section.set("dockerfile", file.name.clone()).set("context", dir.clone());
        name
    });
    let mut found = Vec::new();
    let mut lines = file.text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut whole = line.trim().to_owned();
        if whole.is_empty() || whole.starts_with('#') {
            continue;
        }
        while whole.ends_with('\\') {
            whole.pop();
            let Some((_, next)) = lines.next() else { break };
            if !next.trim_start().starts_with('#') {
                whole.push_str(next.trim());
            }
        }
        let (instruction, rest) = whole.split_once(char::is_whitespace).unwrap_or((&whole, ""));
        let instruction = instruction.to_ascii_uppercase();
        let rest = rest.trim();
        let section = draft.section("service", &name);
        let (fate, reason, trap) = match instruction.as_str() {
            "FROM" => {
                let image = rest.split_whitespace().find(|word| !word.starts_with("--")).unwrap_or_default();
                let (base, version) = text::image(image);
                if base == "node"
                    && version.as_deref().is_some_and(|version| {
                        version
                            .split('.')
                            .next()
                            .and_then(|major| major.parse::<u32>().ok())
                            .is_some_and(|major| major <= 18)
                    })
                {
                    (
                        Fate::Kept,
                        "Node 18 and older are out of support: use a version that is maintained",
                        Some(Trap::FORWARDED_FOR),
                    )
                } else if image != "scratch"
                    && text::is_latest(image)
                    && !image.contains('$')
                    && !file.text.to_lowercase().contains(&format!(" as {}", image.to_lowercase()))
                {
                    (Fate::Kept, "pin a version: what `latest` is changes under you", Some(Trap::LATE_MIGRATION))
                } else {
                    (Fate::Kept, "in the Dockerfile", None)
                }
            }
            "EXPOSE" => match rest.split(['/', ' ']).next().and_then(|port| port.parse::<u16>().ok()) {
                Some(port) if section.get("port").is_none() => {
                    section.set("port", i64::from(port));
                    (Fate::Kept, "`port`", None)
                }
                Some(_) => (Fate::Changed, "the port is known already", None),
                None => (Fate::Refused, "a variable or a range; write `port`", None),
            },
            "HEALTHCHECK" => match text::checked_path(rest) {
                Some(path) if section.get("health").is_none() => {
                    section.put("health", "path", path);
                    (Fate::Changed, "`health`, asked for over HTTP", None)
                }
                Some(_) => (Fate::Changed, "its health is known already", None),
                None if rest.eq_ignore_ascii_case("none") => {
                    (Fate::Changed, "without a check, accepting a connection counts", None)
                }
                None => (Fate::Refused, "a check that is no HTTP request; write `health`", None),
            },
            "VOLUME" => (Fate::Changed, "what must last goes into the folder that SLIPWAY_DATA names", None),
            "RUN" | "COPY" | "ADD" | "ENV" | "ARG" | "WORKDIR" | "USER" | "CMD" | "ENTRYPOINT" | "LABEL" | "SHELL"
            | "STOPSIGNAL" | "ONBUILD" | "MAINTAINER" => (Fate::Kept, "in the Dockerfile", None),
            _ => (Fate::Refused, "no instruction of a Dockerfile", None),
        };
        found.push(entry(file, index + 1, &instruction, fate, reason, trap));
    }
    Ok(found)
}

/// A package.json: its scripts are how a service is built and run, unless something else says so already.
pub(crate) fn package(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let tree = tree::json(&file.text)?;
    let marks = Marks::default();
    let at = Cursor::root(&tree, &marks);
    let dir = folder(file);
    at.changed("read by npm, not by Slipway");
    let script = |name: &str| at.find("scripts").and_then(|scripts| scripts.find(name));
    let known = described(draft, &dir);
    if let (None, Some(start)) = (&known, script("start")) {
        let last = dir.rsplit('/').next().unwrap_or_default();
        let name = label(if dir == "." { "web" } else { last }, "web");
        // a Procfile or a unit may have named it
        let name = if draft.has("service", &name) && draft.section("service", &name).get("run").is_some() {
            None
        } else {
            Some(name)
        };
        if let Some(name) = name {
            let section = draft.section("service", &name);
            if dir != "." {
                section.set("dir", dir.clone());
            }
            section.set("build", if script("build").is_some() { "npm ci && npm run build" } else { "npm ci" });
            section.set("run", "npm start").set_with("port", 3000, "each instance is told its own in PORT");
            start.kept_as("`run`");
            if let Some(build) = script("build") {
                build.kept_as("`build`");
            }
        }
    }
    if let Some(scripts) = at.find("scripts") {
        for (_, at) in scripts.entries() {
            let line = at.text().unwrap_or_default();
            if line.contains("prisma migrate") {
                at.trapped(
                    Trap::PRISMA_DOWN,
                    Fate::Changed,
                    "name it in `migrate` of the database; keep a down script beside each migration",
                );
            } else if let Some((trap, right)) = script::mistake(&line) {
                at.trapped(trap, Fate::Refused, right);
            }
        }
    }
    if let Some(engine) = at.find("engines").and_then(|engines| engines.find("node"))
        && let Some(major) = engine.text().and_then(|text| {
            text.trim_start_matches(|c: char| !c.is_ascii_digit())
                .split('.')
                .next()
                .and_then(|major| major.parse::<u32>().ok())
        })
        && major <= 18
    {
        engine.trapped(
            Trap::FORWARDED_FOR,
            Fate::Refused,
            "Node 18 and older are out of support: use a version that is maintained",
        );
    }
    for group in ["dependencies", "devDependencies"] {
        if let Some(prisma) = at.find(group).and_then(|group| group.find("prisma")) {
            prisma.trapped(
                Trap::PRISMA_DOWN,
                Fate::Changed,
                "keep a down script beside each migration, or a copy from before it",
            );
        }
    }
    Ok(entries(&file.name, &at, ""))
}

/// Heroku's app.json.
pub(crate) fn heroku(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let tree = tree::json(&file.text)?;
    let marks = Marks::default();
    let at = Cursor::root(&tree, &marks);
    if let Some(name) = at.take("name") {
        draft.app.get_or_insert(name);
    }
    for (key, at) in at.entries() {
        match key {
            "name" => {}
            "env" => {
                for (name, at) in at.entries() {
                    let value = at.text().or_else(|| at.find("value")?.text());
                    draft.variable(
                        name,
                        value.as_deref(),
                        text::is_secret_name(name) || at.find("generator").is_some(),
                    );
                    at.kept_as("a variable of the contract");
                }
            }
            "formation" => {
                for (name, at) in at.entries() {
                    if let Some(count) =
                        at.find("quantity").and_then(|at| at.text()).and_then(|text| text.parse::<i64>().ok())
                    {
                        draft.section("service", &label(name, "service")).put("size", "replicas", count.max(1));
                    }
                    at.changed("`size.replicas`; CPU and memory are `size` too");
                }
            }
            "addons" => {
                for at in at.items() {
                    let plan = at.text().or_else(|| at.find("plan")?.text()).unwrap_or_default();
                    let (kind, engine) = match plan.split(':').next().unwrap_or_default() {
                        "heroku-postgresql" => ("database", "postgres:17"),
                        "heroku-redis" | "rediscloud" => ("cache", "redis:7"),
                        "cloudamqp" => ("queue", "rabbitmq:4"),
                        _ => {
                            at.refused("a service of others; give its address in a variable");
                            continue;
                        }
                    };
                    draft.section(kind, "main").set("engine", engine);
                    for service in draft.names("service") {
                        draft.section("service", &service).add("needs", &format!("{kind}.main"));
                    }
                    at.changed(&format!("[{kind}.main]"));
                }
            }
            "buildpacks" | "stack" | "image" => at.changed("`build` says how it is built"),
            "scripts" => {
                at.refused("name the command that migrates in `migrate`, and what fills a fresh database in `seed`");
            }
            "healthchecks" => at.refused("write the path as `health`"),
            _ => at.changed("about its page at the provider, not about how it runs"),
        }
    }
    Ok(entries(&file.name, &at, ""))
}
