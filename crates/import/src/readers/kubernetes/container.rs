//! One container of a pod.

use super::{WRITES, known::Known, probe, variable};
use crate::{cursor::Cursor, draft::Draft, report::Fate, text, trap::Trap};

/// Reads a container into a service or a job.
pub(crate) fn read(owner: (&str, &str), at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let (kind, name) = owner;
    let service = kind == "service";
    draft.section(kind, name);
    for (key, at) in at.entries() {
        match key {
            "name" | "imagePullPolicy" | "securityContext" | "terminationMessagePath" | "terminationMessagePolicy" => {
                at.changed(WRITES);
            }
            "image" => image(owner, &at, draft),
            "ports" if service => ports(name, &at, draft),
            "resources" => {
                for (group, at) in at.entries() {
                    if at.entries().is_empty() {
                        at.changed("no cap");
                    }
                    for (dimension, at) in at.entries() {
                        resource(owner, group, dimension, &at, draft);
                    }
                }
            }
            "livenessProbe" if service => probe::live(name, &at, draft),
            "readinessProbe" if service => probe::ready(name, &at, draft),
            "startupProbe" if service => probe::start(name, &at, draft),
            "env" => variable::read(owner, &at, known, draft),
            "envFrom" => variable::read_all(owner, &at, known, draft),
            "volumeMounts" => at.changed("the folder that SLIPWAY_DATA names outlives releases"),
            "lifecycle" => {
                at.changed("an instance that leaves gets no new visitors and finishes those it has, by itself");
            }
            _ => {}
        }
    }
    command(owner, at, draft);
    if service
        && at.find("livenessProbe").is_none()
        && at.find("readinessProbe").is_none()
        && at.find("ports").is_some()
    {
        at.trapped(
            Trap::LATE_MIGRATION,
            Fate::Changed,
            "it has no probes: give it a path that answers 2xx and write it as `health`",
        );
    }
}

fn image(owner: (&str, &str), at: &Cursor<'_>, draft: &mut Draft) {
    let image = at.text().unwrap_or_default();
    let section = draft.section(owner.0, owner.1);
    if section.get("dockerfile").is_some() {
        return at.changed("it is built here, and named by digest");
    }
    section.set("image", text::literal(&image));
    if text::is_latest(&image) {
        at.trapped(Trap::LATE_MIGRATION, Fate::Kept, "pin a version: what `latest` is changes under you");
    } else {
        at.kept();
    }
}

fn ports(name: &str, at: &Cursor<'_>, draft: &mut Draft) {
    for (index, port) in at.items().iter().enumerate() {
        port.changed("`port`");
        let number = port.find("containerPort").and_then(|at| at.text()).and_then(|text| text.parse::<i64>().ok());
        match (index, number) {
            (0, Some(number)) => drop(draft.section("service", name).set("port", number)),
            _ => port.refused("a service has one port; make the other a service of its own"),
        }
    }
}

/// Command and arguments together are the command line.
pub(crate) fn words(at: &Cursor<'_>) -> Vec<String> {
    let lists = ["command", "args"].iter().filter_map(|key| at.find(key));
    lists.flat_map(|list| list.items()).filter_map(|item| item.text()).map(|word| variable::shell(&word)).collect()
}

fn command(owner: (&str, &str), at: &Cursor<'_>, draft: &mut Draft) {
    for key in ["command", "args"] {
        if let Some(at) = at.find(key) {
            at.kept_as("`run`");
        }
    }
    let words = words(at);
    if !words.is_empty() {
        draft.section(owner.0, owner.1).set("run", text::command(&words).replace('\n', " "));
    }
}

/// Reads one amount of `requests` or `limits`.
pub(crate) fn resource(owner: (&str, &str), group: &str, dimension: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let text = at.text().unwrap_or_default();
    let value = match dimension {
        "cpu" => text::cpu(&text),
        "memory" => text::size(&text),
        _ => return at.refused("only CPU and memory are capped, by `size`"),
    };
    let Some(value) = value else { return at.refused("no amount; write it as `size`") };
    draft.section(owner.0, owner.1).range(dimension, &value, group == "requests");
    at.kept_as(&format!("`size.{dimension}`"));
}
