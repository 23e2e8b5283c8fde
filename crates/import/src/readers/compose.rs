//! Compose files: the whole specification.

mod build;
pub(crate) mod environment;
mod health;
mod keys;
mod label;
mod needs;
mod port;
pub(crate) mod route;
mod scene;
mod server;
mod service;
mod size;
mod step;
mod volume;

use std::collections::BTreeSet;

use crate::{
    cursor::{Cursor, Marks, entries},
    detect::File,
    draft::Draft,
    report::{Entry, Fate},
    trap::Trap,
    tree::{self, Node, Value},
};
use scene::Scene;

/// What is said of a key that the specification does not have.
const UNKNOWN: &str = "not a key of the Compose specification; nothing reads it";

/// Reads a compose file into the draft.
pub(crate) fn read(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let mut documents = tree::yaml(&file.text)?;
    let mut root = if documents.is_empty() { Node::new(Value::Map(Vec::new())) } else { documents.remove(0) };
    let bases = extend(&mut root)?;
    let marks = Marks::default();
    let at = Cursor::root(&root, &marks);
    for (key, at) in at.entries() {
        match key {
            "name" | "services" | "volumes" | "secrets" => {}
            "version" => at.trapped(Trap::TWO_MIGRATIONS, Fate::Changed, "left out: `version` is obsolete"),
            _ if key.starts_with("x-") => at.changed("an extension: what anchors took from it is read where they are"),
            _ => match keys::top(key) {
                Some((Fate::Refused, reason)) => at.refused(reason),
                Some((_, reason)) => at.changed(reason),
                None => at.refused(UNKNOWN),
            },
        }
    }
    let services = at.find("services").map(|services| services.entries()).unwrap_or_default();
    let scene = Scene::of(&file.name, &services, &bases, draft);
    name(&at, &scene, draft);
    // data services first: what leads to them is known by their names
    for (name, service) in &services {
        scene.declare(name, service, draft);
    }
    for (name, service) in &services {
        service::read(name, service, &scene, draft);
    }
    volumes(&at, draft);
    secrets(&at, draft);
    draft.open = true;
    Ok(entries(&file.name, &at, UNKNOWN))
}

/// The project's name is the application's; one that was rendered holds the environment's as well.
fn name(at: &Cursor<'_>, scene: &Scene, draft: &mut Draft) {
    let name = at.find("name").and_then(|name| name.text());
    if let Some(app) = &scene.app {
        draft.app = Some(app.clone());
        if let Some(environment) = name.as_deref().and_then(|name| name.strip_prefix(app.as_str())?.strip_prefix('-')) {
            draft.section("environment", environment).set("target", "local");
        }
    } else if let Some(name) = &name {
        draft.app.get_or_insert(name.clone());
    }
    if let Some(at) = at.find("name") {
        at.changed("`app`; each environment is a project of its own, as in APP-dev");
    }
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
