//! Ways in: Ingresses and routes of the Gateway API.

use super::{WRITES, known::Known, name_of};
use crate::{
    cursor::Cursor,
    draft::{Draft, Section},
    report::Fate,
    trap::Trap,
};

/// Sets a key of a path, which is a table from then on.
pub(crate) fn set(route: &mut Section, path: &str, key: &str, value: impl Into<toml::Value>) {
    if let Some(to) = route.get(path).and_then(toml::Value::as_str).map(str::to_owned) {
        route.set(path, toml::Value::Table([("to".to_owned(), to.into())].into_iter().collect()));
    }
    if route.get(path).is_some() {
        route.put(path, key, value);
    }
}

/// Reads an `Ingress`.
pub(crate) fn ingress(at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let limit = annotations(at);
    if let Some(class) = at.find_below(&["spec", "ingressClassName"]) {
        if class.text().as_deref() == Some("nginx") {
            class.trapped(Trap::INGRESS_NGINX, Fate::Changed, "`slipway render kubernetes` writes Gateway API routes");
        } else {
            class.changed("`slipway render kubernetes` writes Gateway API routes");
        }
    }
    if let Some(tls) = at.find_below(&["spec", "tls"]) {
        tls.changed("each host of a route has a certificate");
    }
    for rule in at.find_below(&["spec", "rules"]).map(|rules| rules.items()).unwrap_or_default() {
        let host = rule.find("host").and_then(|host| host.text()).unwrap_or_else(|| "*".to_owned());
        if let Some(host) = rule.find("host") {
            host.kept_as("a [route]");
        }
        for path in rule.find_below(&["http", "paths"]).map(|paths| paths.items()).unwrap_or_default() {
            let prefix = path.find("path").and_then(|path| path.text()).unwrap_or_else(|| "/".to_owned());
            let service = path
                .find_below(&["backend", "service", "name"])
                .or_else(|| path.find_below(&["backend", "serviceName"]))
                .and_then(|name| name.text())
                .unwrap_or_default();
            match known.behind(&service, draft) {
                Some(name) if prefix.starts_with('/') && !prefix.contains(['(', '*', '?']) => {
                    let route = draft.section("route", &host.to_lowercase());
                    route.set(&prefix, format!("service.{name}"));
                    if let Some(limit) = limit {
                        set(route, &prefix, "limit", format!("{limit}/s per ip"));
                    }
                    path.kept_as("a path of the route");
                }
                _ => path.refused(
                    "it leads to no service of these files, or is no plain prefix; write it as a path of the route",
                ),
            }
        }
    }
}

/// Reads the annotations of an Ingress; gives the requests a second that one of them allows.
fn annotations(at: &Cursor<'_>) -> Option<u32> {
    let mut limit = None;
    for (name, annotation) in at.find_below(&["metadata", "annotations"]).map(|all| all.entries()).unwrap_or_default() {
        let text = annotation.text().unwrap_or_default();
        match name {
            "kubernetes.io/ingress.class" => annotation.trapped(
                Trap::INGRESS_NGINX,
                Fate::Changed,
                "`slipway render kubernetes` writes Gateway API routes",
            ),
            "nginx.ingress.kubernetes.io/rate-limit" => {
                limit = text.parse::<u32>().ok();
                annotation.trapped(Trap::INGRESS_NGINX, Fate::Changed, "`limit` of the route, which is kept");
            }
            "nginx.ingress.kubernetes.io/limit-rps" => {
                limit = text.parse::<u32>().ok();
                annotation.changed("`limit` of the route");
            }
            "nginx.ingress.kubernetes.io/ssl-redirect" | "nginx.ingress.kubernetes.io/force-ssl-redirect" => {
                annotation.changed("HTTP is sent to HTTPS");
            }
            _ if name.starts_with("cert-manager.io/") => annotation.changed("certificates are asked for by the target"),
            "nginx.ingress.kubernetes.io/proxy-body-size" => annotation.changed("`max_body` of the route"),
            _ => annotation.refused("an annotation of one controller; write what it does as a key of the route"),
        }
    }
    limit
}

/// Reads an `HTTPRoute`.
pub(crate) fn http(at: &Cursor<'_>, known: &mut Known, draft: &mut Draft) {
    let named = at.find_below(&["spec", "hostnames"]);
    let mut hosts: Vec<String> = named
        .as_ref()
        .map(Cursor::items)
        .unwrap_or_default()
        .iter()
        .filter_map(|host| Some(host.text()?.to_lowercase()))
        .collect();
    if hosts.is_empty() {
        hosts.push("*".to_owned());
    }
    if let Some(hosts) = named {
        hosts.kept_as("a [route]");
    }
    if let Some(parents) = at.find_below(&["spec", "parentRefs"]) {
        parents.changed(WRITES);
    }
    for rule in at.find_below(&["spec", "rules"]).map(|rules| rules.items()).unwrap_or_default() {
        let filters = rule.find("filters").map(|filters| filters.items()).unwrap_or_default();
        let redirect = filters.iter().find_map(|filter| filter.find("requestRedirect"));
        let backend = rule
            .find("backendRefs")
            .and_then(|refs| refs.items().into_iter().next())
            .and_then(|backend| backend.find("name")?.text());
        let Some(backend) = backend else {
            redirected(&rule, redirect.as_ref(), &hosts, draft);
            continue;
        };
        let Some(service) = known.behind(&backend, draft) else { continue };
        let strip = filters.iter().any(|filter| filter.find("urlRewrite").is_some());
        let mut places = Vec::new();
        for prefix in prefixes(&rule) {
            for host in &hosts {
                let route = draft.section("route", host);
                route.set(&prefix, format!("service.{service}"));
                if strip && prefix != "/" {
                    set(route, &prefix, "strip", true);
                }
                places.push((host.clone(), prefix.clone()));
            }
        }
        if let Some(name) = rule.find("name").and_then(|name| name.text()) {
            known.rules.insert((name_of(at), name), places);
        }
        rule.kept_as("paths of the route");
        if let Some(filters) = rule.find("filters") {
            filters.changed("headers of every answer are the edge's; a prefix is removed by `strip`");
        }
    }
}

fn prefixes(rule: &Cursor<'_>) -> Vec<String> {
    let matches = rule.find("matches").map(|matches| matches.items()).unwrap_or_default();
    let found: Vec<String> =
        matches.iter().filter_map(|matched| matched.find_below(&["path", "value"])?.text()).collect();
    if found.is_empty() { vec!["/".to_owned()] } else { found }
}

/// A rule that only sends visitors elsewhere.
fn redirected(rule: &Cursor<'_>, redirect: Option<&Cursor<'_>>, hosts: &[String], draft: &mut Draft) {
    let Some(redirect) = redirect else {
        return rule.refused("it leads to nothing of these files; write it as a path of the route");
    };
    if let Some(to) = redirect.find("hostname").and_then(|host| host.text()) {
        for host in hosts.iter().filter(|host| *host != "*") {
            draft.section("route", &to.to_lowercase()).add("redirect_from", host);
        }
        rule.changed("`redirect_from` of the route");
    } else {
        rule.changed("HTTP is sent to HTTPS");
    }
}
