//! `[route."host"]`: which host name and path reach what.

use std::{collections::HashMap, ops::Range};

use super::section::{Entry, Section, shortened};
use crate::{Kind, PathRoute, Problem, Route, template::is_variable_name};

/// Kinds that can answer a visitor.
pub(crate) const ROUTED: &[Kind] = &[Kind::Service, Kind::Site, Kind::Function, Kind::Bucket];

/// Reads every route, in the file's order.
pub(crate) fn read_all(section: &Section<'_>) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut hosts: HashMap<String, Range<usize>> = HashMap::new();
    let mut redirects: Vec<(String, Range<usize>, String)> = Vec::new();
    for entry in section.each() {
        let written = entry.path.last();
        let host = written.to_ascii_lowercase();
        if hosts.insert(host.clone(), entry.key_span.clone()).is_some() {
            let message =
                format!("two routes for the host `{host}`: host names are equal in small and capital letters");
            section
                .notes
                .add(entry.key_problem("route-clash", message).with_mend("put all paths of a host into one table"));
        } else if let Some(mend) = host_mend(written) {
            let message = format!("`{}` is no host name", shortened(written).escape_debug());
            section.notes.add(entry.key_problem("bad-host", message).with_mend(mend));
        }
        if let Some(table) = entry.section() {
            routes.push(read(table, host, &mut redirects));
        }
    }
    check_redirects(section, &hosts, redirects);
    routes
}

fn read(section: Section<'_>, host: String, redirects: &mut Vec<(String, Range<usize>, String)>) -> Route {
    let mut paths: Vec<PathRoute> = Vec::new();
    for entry in section.each().filter(|entry| entry.path.last().starts_with('/')) {
        let Some(path) = prefix(&entry) else { continue };
        if paths.iter().any(|other| other.path == path) {
            let message = format!("two routes for `{path}` of `{host}`");
            section.notes.add(
                entry.key_problem("route-clash", message).with_mend("keep one; a `/` at the end makes no difference"),
            );
            continue;
        }
        paths.extend(entry.section().and_then(|table| read_path(table, path)));
    }
    let mut redirect_from = Vec::new();
    for entry in section.texts("redirect_from") {
        let Some(text) = entry.filled() else { continue };
        if let Some(mend) = host_mend(text) {
            let message = format!("{}: `{}` is no host name", entry.path.place(), shortened(text).escape_debug());
            section.notes.add(entry.problem("bad-host", message).with_mend(mend));
        }
        redirects.push((text.to_ascii_lowercase(), entry.value.span(), entry.path.to_string()));
        redirect_from.push(text.to_ascii_lowercase());
    }
    if paths.is_empty() && !section.table.keys().any(|key| key.get_ref().starts_with('/')) {
        section.missing("/", "write what answers, for example `\"/\" = \"service.api\"`");
    }
    paths.sort_by(|a, b| b.path.len().cmp(&a.path.len()).then_with(|| a.path.cmp(&b.path)));
    section.finish_but(
        |key| key.starts_with('/'),
        &[("redirect", "redirect_from"), ("aliases", "redirect_from"), ("to", "\"/\"")],
    );
    Route { host, paths, redirect_from }
}

fn read_path(section: Section<'_>, path: String) -> Option<PathRoute> {
    let to = section.find("to").and_then(|entry| entry.reference(ROUTED));
    if !section.has("to") {
        section.missing("to", "write what answers, for example `to = \"service.api\"`");
    }
    let cors = section.text("cors");
    if let (Some(name), Some(entry)) = (&cors, section.find("cors")) {
        if is_variable_name(name) {
            entry.check_template(&format!("${{{name}}}"));
        } else {
            let message = format!("{}: `{}` is no variable's name", entry.path.place(), shortened(name));
            let mend = "name a variable of [variable] that lists the origins, for example `cors = \"ALLOWED_ORIGINS\"`";
            section.notes.add(entry.problem("bad-variable-name", message).with_mend(mend));
        }
    }
    let (strip, limit) = (section.flag("strip", false), section.parse("limit"));
    let (sticky, websocket) = (section.flag("sticky", false), section.flag("websocket", true));
    let max_body = section.parse("max_body");
    section.finish(&[
        ("rate_limit", "limit"),
        ("service", "to"),
        ("target", "to"),
        ("websockets", "websocket"),
        ("body", "max_body"),
    ]);
    Some(PathRoute { path, to: to?, strip, limit, cors, sticky, websocket, max_body })
}

/// A path prefix in whole segments, without a `/` at its end.
fn prefix(entry: &Entry<'_>) -> Option<String> {
    let text = entry.path.last();
    let mend = if text.contains(['?', '#', '*']) || !text.bytes().all(|b| b.is_ascii_graphic()) || text.len() > 1000 {
        "write a plain prefix such as `/api`; everything below it matches too"
    } else if text.split('/').any(|part| part == "." || part == "..") || text.contains("//") {
        "remove `.`, `..` and `//`"
    } else {
        let path = text.trim_end_matches('/');
        return Some(if path.is_empty() { "/".to_owned() } else { path.to_owned() });
    };
    let message = format!("`{}` is no path prefix", shortened(text).escape_debug());
    entry.notes.add(entry.key_problem("bad-path", message).with_mend(mend));
    None
}

/// A name that is sent elsewhere cannot answer as well, nor be sent to two places.
fn check_redirects(
    section: &Section<'_>,
    hosts: &HashMap<String, Range<usize>>,
    redirects: Vec<(String, Range<usize>, String)>,
) {
    let mut seen = std::collections::HashSet::new();
    for (host, span, key) in redirects {
        let message = if hosts.contains_key(&host) {
            format!("`{host}` is redirected and is also a route")
        } else if !seen.insert(host.clone()) {
            format!("`{host}` is redirected twice")
        } else {
            continue;
        };
        let problem = Problem::error("route-clash", key, message).with_span(span);
        section.notes.add(problem.with_mend("keep one of the two"));
    }
}

/// What is wrong with a host name of a route, as the way to mend it.
fn host_mend(host: &str) -> Option<&'static str> {
    if host == "*" {
        return None;
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    if host.contains("://") || host.contains('/') {
        Some("write only the host name, without scheme and path")
    } else if host.contains(':') {
        Some("write the host name without a port; addresses belong to `listen` of an environment")
    } else if !host.is_ascii() {
        Some("write the name as DNS knows it, in its `xn--` form")
    } else if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Some("write it in small letters")
    } else if name.contains('*') {
        Some("a `*` may only stand alone or as the first label, as in `*.example.com`")
    } else if name.len() > 253 || !name.split('.').all(label) {
        Some("write a host name such as `api.example.com`, `*.example.com`, or `*` for any")
    } else {
        None
    }
}
