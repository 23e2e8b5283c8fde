//! The route of a stack that no file gave one.

use crate::draft::Draft;

/// A stack with services that visitors may come to, and no route yet, gets one.
pub(crate) fn standard(draft: &mut Draft) {
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
