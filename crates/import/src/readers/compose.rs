//! Compose files: the whole specification.

use std::collections::BTreeSet;

use super::{compose_keys, compose_service, data};
use crate::{
    cursor::{Cursor, Marks, entries},
    detect::File,
    draft::{Draft, label},
    report::{Entry, Fate},
    text,
    trap::Trap,
    tree::{self, Node, Value},
};

/// What is said of a key that the specification does not have.
const UNKNOWN: &str = "not a key of the Compose specification; nothing reads it";

/// Reads a compose file into the draft.
pub(crate) fn read(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let mut documents = tree::yaml(&file.text)?;
    let mut root = if documents.is_empty() { Node::new(Value::Map(Vec::new())) } else { documents.remove(0) };
    let bases = extend(&mut root)?;
    let marks = Marks::default();
    let at = Cursor::root(&root, &marks);
    if let Some(name) = at.take("name") {
        draft.app.get_or_insert(name);
    }
    for (key, at) in at.entries() {
        match key {
            "name" | "services" | "volumes" | "secrets" => {}
            "version" => at.trapped(Trap::TWO_MIGRATIONS, Fate::Changed, "left out: `version` is obsolete"),
            _ if key.starts_with("x-") => at.changed("an extension: what anchors took from it is read where they are"),
            _ => match compose_keys::top(key) {
                Some((Fate::Refused, reason)) => at.refused(reason),
                Some((_, reason)) => at.changed(reason),
                None => at.refused(UNKNOWN),
            },
        }
    }
    let services = at.find("services").map(|services| services.entries()).unwrap_or_default();
    // data services first: what leads to them is known by their names
    let mut names = BTreeSet::new();
    for (name, service) in &services {
        names.insert((*name).to_owned());
        if let Some(image) = service.find("image").and_then(|image| image.text()) {
            data::declare(&image, &label(name, "data"), draft);
        }
    }
    let proxies: BTreeSet<String> = services
        .iter()
        .filter(|(_, service)| compose_service::role(service) == data::Role::Proxy)
        .map(|(name, _)| (*name).to_owned())
        .collect();
    for (name, service) in &services {
        if bases.contains(*name) && service.find("image").is_none() && service.find("build").is_none() {
            service.changed("only a base that others extend; what it says is in them");
            continue;
        }
        compose_service::read(name, service, &names, &proxies, draft);
    }
    volumes(&at, draft);
    secrets(&at, draft);
    routes(draft);
    Ok(entries(&file.name, &at, UNKNOWN))
}

/// Lays each service over the one it extends. Returns the names of those that were extended.
fn extend(root: &mut Node) -> Result<BTreeSet<String>, String> {
    let mut bases = BTreeSet::new();
    let Some(services) = root.find("services").cloned() else { return Ok(bases) };
    let Value::Map(entries) = &services.value else { return Ok(bases) };
    let mut merged = Vec::new();
    for (name, service) in entries {
        let mut chain = vec![service.clone()];
        let mut seen = BTreeSet::from([name.clone()]);
        while let Some(base) = chain.last().and_then(base_of) {
            if !seen.insert(base.clone()) {
                return Err(format!("service `{name}` extends itself through `{base}`; take one `extends` away"));
            }
            let Some(found) = services.find(&base) else { break };
            bases.insert(base);
            chain.push(found.clone());
        }
        let mut whole = chain.pop().unwrap_or_else(|| service.clone());
        while let Some(over) = chain.pop() {
            whole.merge(&over);
        }
        merged.push((name.clone(), whole));
    }
    if let Value::Map(entries) = &mut root.value
        && let Some((_, node)) = entries.iter_mut().find(|(key, _)| key == "services")
    {
        node.value = Value::Map(merged);
    }
    Ok(bases)
}

/// The service of the same file that this one extends.
fn base_of(service: &Node) -> Option<String> {
    let extends = service.find("extends")?;
    match &extends.value {
        Value::Text(name) => Some(name.clone()),
        Value::Map(_) if extends.find("file").is_none() => extends.find("service")?.scalar(),
        _ => None,
    }
}

fn volumes(at: &Cursor<'_>, draft: &Draft) {
    let Some(volumes) = at.find("volumes") else { return };
    let data =
        !draft.names("database").is_empty() || !draft.names("cache").is_empty() || !draft.names("queue").is_empty();
    volumes.changed(if data {
        "data services keep their data below the environment's folder; other programs have the folder that SLIPWAY_DATA names"
    } else {
        "programs keep what must last in the folder that SLIPWAY_DATA names"
    });
}

fn secrets(at: &Cursor<'_>, draft: &mut Draft) {
    let Some(secrets) = at.find("secrets") else { return };
    for (name, secret) in secrets.entries() {
        let variable = name.to_ascii_uppercase().replace(['-', '.'], "_");
        draft.variable(&variable, None, true);
        secret.changed(&format!(
            "variable {variable} of the contract: its value is given by the environment, never by the stack file"
        ));
    }
}

/// A stack with services that visitors may come to, and no route yet, gets one.
fn routes(draft: &mut Draft) {
    if !draft.names("route").is_empty() {
        return;
    }
    let open: Vec<String> = draft
        .names("service")
        .into_iter()
        .filter(|name| draft.section("service", name).get("port").is_some())
        .collect();
    let [first, others @ ..] = &open[..] else { return };
    let front = open
        .iter()
        .find(|name| ["web", "frontend", "front", "app", "www", "site", "ui"].contains(&name.as_str()))
        .unwrap_or(first);
    let route = draft.section("route", "*");
    route.about("any host name; write your own, as in [route.\"example.com\"]");
    route.set("/", format!("service.{front}"));
    for other in others.iter().chain([first]).filter(|name| *name != front) {
        let prefix = if ["api", "backend", "server", "api-gateway"].contains(&other.as_str()) {
            "/api".to_owned()
        } else {
            format!("/{other}")
        };
        if route.get(&prefix).is_none() {
            route.set(&prefix, format!("service.{other}"));
        }
    }
}

/// Marks every variable of an environment and puts what remains into `env`.
pub(crate) fn environment(owner: (&str, &str), at: &Cursor<'_>, draft: &mut Draft) {
    let (kind, name) = owner;
    for (variable, value, at) in at.pairs() {
        if variable.is_empty() || !variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            at.refused("not a name of a variable");
            continue;
        }
        let Some(value) = value else {
            draft.variable(&variable, None, text::is_secret_name(&variable));
            draft.section(kind, name).put("env", &variable, format!("${{{variable}}}"));
            at.kept_as(&format!("{variable} is a variable of the contract"));
            continue;
        };
        if ["PORT", "HOST"].contains(&variable.as_str()) {
            at.changed("each instance is told where it listens in PORT and HOST");
            continue;
        }
        let reached = text::address(&value)
            .and_then(|address| Some((address.scheme.to_owned(), data::find(address.host, draft)?)));
        if let Some((_, reference)) = reached {
            draft.section(kind, name).add("needs", &reference);
            if variable == data::variable(&reference) {
                at.changed(&format!("`needs` {reference} gives it {variable}"));
            } else {
                at.changed(&format!(
                    "`needs` {reference} gives it {}: let the program read that instead of {variable}",
                    data::variable(&reference)
                ));
            }
            continue;
        }
        if let Some(reference) = data::find(&value, draft) {
            draft.section(kind, name).add("needs", &reference);
            at.changed(&format!(
                "`needs` {reference} gives it {}: let the program read those",
                data::injected(&reference)
            ));
            continue;
        }
        let secret = text::is_secret_name(&variable) || text::is_secret(&value);
        if secret && !value.contains('$') {
            draft.variable(&variable, None, true);
            draft.section(kind, name).put("env", &variable, format!("${{{variable}}}"));
            at.changed(
                "a secret of the contract; its value stays out of the stack file: put it into .env.<environment>",
            );
            continue;
        }
        if let Some(bad) =
            value.split(',').find(|part| part.contains("accounts.google.com") || part.contains("oauth.google.com"))
            && variable.contains("ORIGIN")
        {
            at.trapped(Trap::CORS_OAUTH, Fate::Changed, &format!("without {}: it only redirects", bad.trim()));
            let kept: Vec<&str> = value
                .split(',')
                .filter(|part| !part.contains("oauth.google.com") && !part.contains("accounts.google.com"))
                .collect();
            let kept = text::template(&kept.join(","), draft);
            draft.section(kind, name).put("env", &variable, kept);
            continue;
        }
        let value = text::template(&value, draft);
        draft.section(kind, name).put("env", &variable, value);
        at.kept();
    }
}
