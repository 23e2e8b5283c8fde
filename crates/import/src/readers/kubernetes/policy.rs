//! Policies of Envoy Gateway that are keys of a route's paths.

use super::{known::Known, number, route::set};
use crate::{cursor::Cursor, draft::Draft, readers::binding, text};

/// Hosts and paths that a policy is about.
fn places(at: &Cursor<'_>, known: &Known) -> Vec<(String, String)> {
    let targets = at.find_below(&["spec", "targetRefs"]).map(|targets| targets.items()).unwrap_or_default();
    targets
        .iter()
        .filter_map(|target| {
            let get = |key: &str| target.find(key).and_then(|at| at.text());
            known.rules.get(&(get("name")?, get("sectionName")?))
        })
        .flatten()
        .cloned()
        .collect()
}

/// Reads a `SecurityPolicy`: the origins that may call.
pub(crate) fn origins(at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let places = places(at, known);
    let origins: Vec<String> = at
        .find_below(&["spec", "cors", "allowOrigins"])
        .map(|list| list.items())
        .unwrap_or_default()
        .iter()
        .filter_map(Cursor::text)
        .collect();
    if places.is_empty() || origins.is_empty() {
        return;
    }
    let variable = binding::origins(&origins.join(","), draft);
    for (host, path) in places {
        set(draft.section("route", &host), &path, "cors", variable.clone());
    }
    at.changed("`cors` of the path; the edge answers each origin by itself");
}

/// Reads a `BackendTrafficPolicy`: limits, bodies and stickiness.
pub(crate) fn traffic(at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let places = places(at, known);
    if places.is_empty() {
        return;
    }
    at.changed("`limit`, `sticky` and `max_body` of the path");
    let rules = at.find_below(&["spec", "rateLimit", "global", "rules"]).map(|rules| rules.items()).unwrap_or_default();
    let limit = rules.first().and_then(|rule| {
        let count = number(rule, &["limit", "requests"])?;
        let unit = match rule.find_below(&["limit", "unit"])?.text()?.as_str() {
            "Second" => "s",
            "Minute" => "m",
            "Hour" => "h",
            _ => return None,
        };
        let per = if rule.find("clientSelectors").is_some() { "ip" } else { "all" };
        Some(format!("{count}/{unit} per {per}"))
    });
    let sticky = at.find_below(&["spec", "loadBalancer", "consistentHash"]).is_some();
    let body = at.find_below(&["spec", "requestBuffer", "limit"]).and_then(|at| text::size(&at.text()?));
    for (host, path) in places {
        let route = draft.section("route", &host);
        if let Some(body) = &body {
            set(route, &path, "max_body", body.clone());
        }
        if let Some(limit) = &limit {
            set(route, &path, "limit", limit.clone());
        }
        if sticky {
            set(route, &path, "sticky", true);
        }
    }
}
