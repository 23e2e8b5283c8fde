//! Probes: how a program's health is asked for.

use super::number;
use crate::{cursor::Cursor, draft::Draft};

/// The path that a probe asks for; says what becomes of a probe that asks for none.
fn path(at: &Cursor<'_>) -> Option<String> {
    let path = at.find_below(&["httpGet", "path"]).and_then(|path| path.text());
    if path.is_none() && at.find("tcpSocket").is_some() {
        at.changed("without a path, accepting a connection counts");
    } else if path.is_none() {
        at.refused("a probe that is no HTTP request; give it a path that answers 2xx and write it as `health`");
    }
    path
}

/// Reads a liveness probe.
pub(crate) fn live(name: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let Some(path) = path(at) else { return };
    let section = draft.section("service", name);
    section.put("health", "path", path);
    if let Some(get) = at.find("httpGet") {
        get.kept_as("`health.path`");
    }
    // what it counts to is Kubernetes' own default where it is silent
    let every = number(at, &["periodSeconds"]).filter(|seconds| *seconds > 0).unwrap_or(10);
    for (from, to) in [("periodSeconds", "every"), ("timeoutSeconds", "timeout"), ("failureThreshold", "down")] {
        let Some(value) = at.find(from) else { continue };
        let Some(number) = number(at, &[from]).filter(|number| *number > 0) else { continue };
        match to {
            "timeout" if number > every => {
                section.put("health", to, format!("{every}s"));
                value.changed("at most as long as the time between checks");
                continue;
            }
            "down" => drop(section.put("health", to, number)),
            _ => drop(section.put("health", to, format!("{number}s"))),
        }
        value.kept_as(&format!("`health.{to}`"));
    }
    if let Some(value) = at.find("successThreshold") {
        value.changed("`health.up` counts for a new instance as well");
    }
    if let Some(delay) = at.find("initialDelaySeconds") {
        delay.changed("`start` says how long it may take until it is ready");
    }
}

/// Reads a readiness probe.
pub(crate) fn ready(name: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let Some(path) = path(at) else { return };
    let up = number(at, &["successThreshold"]).unwrap_or(1);
    let section = draft.section("service", name);
    section.set("ready", path.clone());
    let known = section.get("health").and_then(|health| health.get("path")).is_some();
    if !known {
        section.put("health", "path", path);
    }
    section.put("health", "up", up.clamp(1, 1000));
    at.changed("`ready` and `health.up`; a new instance is asked several times a second");
}

/// Reads a startup probe.
pub(crate) fn start(name: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let (tries, every) = (number(at, &["failureThreshold"]), number(at, &["periodSeconds"]));
    let seconds = tries.unwrap_or(3).saturating_mul(every.unwrap_or(10));
    draft.section("service", name).set("start", format!("{}s", seconds.clamp(1, 3600)));
    at.changed("`start`: how long it may take until it is ready");
}
