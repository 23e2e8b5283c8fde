//! Ports: the one a service listens on. What the host publishes is the edge's business.

use toml::Value;

use crate::{cursor::Cursor, draft::Draft};

/// Reads `ports` or `expose`.
pub(crate) fn read(name: &str, key: &str, at: &Cursor<'_>, draft: &mut Draft) {
    for item in at.items() {
        let text = item.text();
        let (container, published) = if let Some(text) = &text {
            let text = text.split('/').next().unwrap_or_default();
            let mut parts = text.rsplit(':');
            let container = parts.next().unwrap_or_default().to_owned();
            (container, parts.next().map(str::to_owned))
        } else {
            let get = |key: &str| item.find(key).and_then(|at| at.text());
            for (known, at) in item.entries() {
                match known {
                    "target" => at.changed("`port`, which the edge alone reaches"),
                    "published" => {
                        at.changed("visitors come to `listen` of the environment and are led by [route]");
                    }
                    _ => at.changed("the edge listens, and speaks HTTP"),
                }
            }
            (get("target").unwrap_or_default(), get("published"))
        };
        let Ok(port) = container.parse::<u16>().map(i64::from) else {
            item.refused("a range of ports, or a variable; write the one port that the service listens on as `port`");
            continue;
        };
        if text.as_deref().is_some_and(|text| text.ends_with("/udp")) {
            item.refused("only TCP ports are reached through the edge");
            continue;
        }
        let section = draft.section("service", name);
        if section.get("port").is_some_and(|known| *known != Value::Integer(port)) {
            item.refused("a service has one port; make the other a service of its own");
            continue;
        }
        section.set("port", port);
        if text.is_some() {
            if key == "expose" {
                item.kept_as("`port`");
            } else if published.is_none() {
                item.changed("`port`, which the edge alone reaches");
            } else {
                item.changed("`port`; visitors come to `listen` of the environment and are led by [route]");
            }
        }
    }
}
