//! Labels of proxies that say a host's name.

use crate::{cursor::Cursor, draft::Draft};

/// Reads `labels` of a program.
pub(crate) fn read(name: &str, at: &Cursor<'_>, draft: &mut Draft) {
    at.refused("labels are read by programs beside the application; there are none here");
    let pairs = at.pairs();
    // the port is often said here alone, before or after the names
    for (label, value, at) in &pairs {
        let Some(value) = value else { continue };
        if label.starts_with("traefik.http.services.") && label.ends_with(".server.port") {
            let section = draft.section("service", name);
            if let (None, Ok(port)) = (section.get("port"), value.parse::<u16>()) {
                section.set("port", i64::from(port));
            }
            at.changed("`port`");
        }
    }
    let open = draft.section("service", name).get("port").is_some();
    for (label, value, at) in pairs {
        let Some(value) = value else { continue };
        if label.starts_with("traefik.http.routers.") && label.contains(".rule") {
            let hosts: Vec<&str> =
                value.split("Host(").skip(1).filter_map(|rest| rest.split(['`', '"', '\'']).nth(1)).collect();
            let prefix =
                value.split("PathPrefix(").nth(1).and_then(|rest| rest.split(['`', '"', '\'']).nth(1)).unwrap_or("/");
            let good: Vec<&&str> = hosts.iter().filter(|host| !host.contains('$') && !host.is_empty()).collect();
            if !open {
                at.refused("nobody can be led to a service without a port: write its `port`, and a [route]");
                continue;
            }
            for host in &good {
                draft.section("route", &host.to_lowercase()).set(prefix, format!("service.{name}"));
            }
            if !good.is_empty() {
                at.changed("a [route]");
            }
        } else if (label.starts_with("traefik.") || label.starts_with("caddy")) && !label.ends_with(".server.port") {
            at.changed("Slipway's edge takes the place of the proxy");
        }
    }
}
