//! How a service's health is asked for.

use super::UNKNOWN;
use crate::{cursor::Cursor, draft::Draft, text};

/// Reads `healthcheck`.
pub(crate) fn read(name: &str, at: &Cursor<'_>, draft: &mut Draft) {
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
    let line = words.join(" ");
    let Some(path) = text::checked_path(&line) else {
        return at.refused(
            "a check that is no HTTP request; give the service a path that answers 2xx and write it as `health`",
        );
    };
    let port = text::checked_port(&line).filter(|_| draft.section("service", name).get("port").is_none());
    if port.is_some_and(|port| taken(port, name, draft)) {
        return at.refused("another service here listens on this port; give each a port of its own and write `health`");
    }
    if let Some(test) = at.find("test") {
        test.changed(&format!("asked for over HTTP: `health` {path}"));
    }
    let section = draft.section("service", name);
    section.put("health", "path", path);
    if let Some(port) = port {
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
                    at.kept_as("`start`: how long it may take until it is ready");
                }
                None => at.refused("not a duration"),
            },
            "start_interval" => at.changed("a new instance is asked several times a second"),
            "timeout" | "test" | "disable" => {}
            _ => at.refused(UNKNOWN),
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

/// Whether another service has a port.
fn taken(port: u16, name: &str, draft: &mut Draft) -> bool {
    let others = draft.names("service").into_iter().filter(|other| other != name).collect::<Vec<_>>();
    let port = toml::Value::Integer(i64::from(port));
    others.iter().any(|other| draft.section("service", other).get("port") == Some(&port))
}
