//! Configurations of nginx: what they pass on to services becomes routes.

mod directive;

use std::collections::BTreeMap;

use toml::Value;

use crate::{
    detect::File,
    draft::{Draft, label},
    path,
    readers::binding,
    report::{Entry, Fate},
    text,
};
use directive::Directive;

/// What is said of a directive that has no place in a stack.
const EDGE: &str = "Slipway's edge does this by itself, or its own way";

/// What the whole file says that its servers refer to.
#[derive(Default)]
struct Known<'d> {
    /// Host names of the first server of each upstream, and whether a visitor keeps coming to the same one.
    upstreams: BTreeMap<&'d str, (&'d str, bool)>,
    /// Limits by their zones, as the stack writes them.
    zones: BTreeMap<String, String>,
    /// Origins by the variable of a map.
    origins: BTreeMap<&'d str, String>,
}

/// Reads a configuration.
pub(crate) fn read(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let directives = directive::parse(&file.text)?;
    let mut report = Report { file: &file.name, entries: Vec::new() };
    let mut known = Known::default();
    for directive in flat(&directives) {
        gather(directive, &mut known);
    }
    for directive in flat(&directives) {
        if directive.name() == "server" && !directive.body.is_empty() {
            server(directive, &known, &mut report, draft);
        } else {
            report.whole(directive, Fate::Changed, EDGE);
        }
    }
    report.entries.sort_by_key(|entry| entry.line);
    Ok(report.entries)
}

/// The directives of the file and of its `http` block.
fn flat(directives: &[Directive]) -> impl Iterator<Item = &Directive> {
    directives.iter().flat_map(|directive| match directive.name() {
        "http" => directive.body.iter().collect::<Vec<_>>(),
        _ => vec![directive],
    })
}

struct Report<'f> {
    file: &'f str,
    entries: Vec<Entry>,
}

impl Report<'_> {
    fn say(&mut self, directive: &Directive, fate: Fate, reason: &str) {
        let key: String = text::shown(&directive.words.join(" ")).chars().take(60).collect();
        let (file, reason) = (self.file.to_owned(), reason.to_owned());
        self.entries.push(Entry { file, line: Some(directive.line), key, fate, reason, trap: None });
    }

    /// A directive and all inside it.
    fn whole(&mut self, directive: &Directive, fate: Fate, reason: &str) {
        self.say(directive, fate, reason);
        for inner in &directive.body {
            self.whole(inner, fate, reason);
        }
    }
}

fn gather<'d>(directive: &'d Directive, known: &mut Known<'d>) {
    match directive.words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["upstream", name] => {
            let sticky = directive.body.iter().any(|inner| inner.name() == "ip_hash");
            let first = directive.body.iter().find(|inner| inner.name() == "server");
            if let Some(address) = first.and_then(|server| server.words.get(1)) {
                known.upstreams.insert(name, (host_of(address), sticky));
            }
        }
        ["limit_req_zone", key, ref rest @ ..] => {
            let get = |start: &str| rest.iter().find_map(|word| word.strip_prefix(start));
            let per = if key.contains("remote_addr") { "ip" } else { "all" };
            let zone = get("zone=").and_then(|zone| zone.split(':').next());
            let rate = get("rate=").and_then(|rate| rate.split_once("r/"));
            if let (Some(zone), Some((count, unit @ ("s" | "m")))) = (zone, rate) {
                known.zones.insert(zone.to_owned(), format!("{count}/{unit} per {per}"));
            }
        }
        ["map", "$http_origin", variable] => {
            let origins = directive.body.iter().map(Directive::name).filter(|name| name.contains("://"));
            known.origins.insert(variable, origins.collect::<Vec<_>>().join(","));
        }
        _ => {}
    }
}

/// The host of `host:port`.
fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

fn server(server: &Directive, known: &Known<'_>, report: &mut Report<'_>, draft: &mut Draft) {
    let names: Vec<String> = server
        .body
        .iter()
        .filter(|inner| inner.name() == "server_name")
        .flat_map(|inner| inner.words[1..].iter())
        .map(|name| if name == "_" { "*".to_owned() } else { name.to_lowercase() })
        .collect();
    // plain HTTP that sends to HTTPS stands beside the server it sends to
    let sent = server
        .body
        .iter()
        .find(|inner| inner.name() == "return")
        .and_then(|inner| Some(redirected(inner.words.last()?)));
    let hosts: Vec<&String> = names.iter().filter(|name| !name.starts_with('~')).collect();
    report.say(server, Fate::Changed, "[route.\"HOST\"]");
    for inner in &server.body {
        match (inner.name(), &sent) {
            ("server_name", Some(Some(host))) if !hosts.contains(&host) => {
                for name in &hosts {
                    draft.section("route", host).add("redirect_from", name);
                }
                report.say(inner, Fate::Kept, "`redirect_from` of the route");
            }
            ("server_name", Some(_)) => report.say(inner, Fate::Changed, EDGE),
            ("server_name", None) => report.say(inner, Fate::Kept, "[route.\"HOST\"]"),
            ("location", None) if !inner.body.is_empty() => location(inner, &hosts, known, report, draft),
            _ => report.whole(inner, Fate::Changed, EDGE),
        }
    }
}

/// The plain host that a server sends its visitors to; `None` inside when it is the same, or known only then.
fn redirected(target: &str) -> Option<String> {
    let (_, rest) = target.split_once("://")?;
    let host = rest.split(['/', '$']).next().filter(|host| !host.is_empty())?;
    Some(host.to_lowercase())
}

fn location(at: &Directive, hosts: &[&String], known: &Known<'_>, report: &mut Report<'_>, draft: &mut Draft) {
    let words: Vec<&str> = at.words[1..].iter().map(String::as_str).collect();
    let prefix = match words[..] {
        [path] | ["=" | "^~", path] if path.starts_with('/') => path,
        _ => {
            return report.whole(
                at,
                Fate::Refused,
                "only prefixes of whole segments lead anywhere; write the path as one",
            );
        }
    };
    let whole = if prefix == "/" { "/" } else { prefix.trim_end_matches('/') };
    let pass = at.body.iter().find(|inner| inner.name() == "proxy_pass");
    let Some(target) = pass.and_then(|pass| pass.words.get(1)) else {
        return match site(at, draft) {
            Some(site) => {
                report.whole(at, Fate::Changed, "a [site], and a path of the route that leads to it");
                for host in hosts {
                    draft.section("route", host).set(whole, site.clone());
                }
            }
            None if at.body.iter().any(|inner| inner.name() == "return") => report.whole(at, Fate::Changed, EDGE),
            None => report.whole(
                at,
                Fate::Refused,
                "it serves files: write a [site] and lead the path to it, as in `\"/\" = \"site.web\"`",
            ),
        };
    };
    let rest = target.split_once("://").map_or(target.as_str(), |(_, rest)| rest);
    let (address, below) = rest.split_once('/').map_or((rest, None), |(address, below)| (address, Some(below)));
    let (host, sticky) = known.upstreams.get(address).copied().unwrap_or((host_of(address), false));
    let service = [address, host].map(|name| label(name, "")).into_iter().find(|name| draft.has("service", name));
    let Some(service) = service else {
        return report.whole(
            at,
            Fate::Refused,
            "it leads to no service of these files; write it as a path of the route",
        );
    };
    let mut to = toml::Table::new();
    to.insert("to".to_owned(), format!("service.{service}").into());
    if sticky {
        to.insert("sticky".to_owned(), true.into());
    }
    if below == Some("") && whole != "/" {
        to.insert("strip".to_owned(), true.into());
    }
    report.say(at, Fate::Kept, "a path of the route");
    for inner in &at.body {
        let (fate, reason) = inside(inner, whole, known, &mut to, draft);
        report.whole(inner, fate, reason);
    }
    let value = if to.len() == 1 { Value::String(format!("service.{service}")) } else { Value::Table(to) };
    for host in hosts {
        draft.section("route", host).set(whole, value.clone());
    }
}

/// The site of pages that a Dockerfile beside the configuration builds.
fn site(at: &Directive, draft: &mut Draft) -> Option<String> {
    let folder = at.body.iter().find(|inner| ["root", "alias"].contains(&inner.name()))?.words.get(1)?;
    let folder = folder.trim_end_matches('/');
    let pages = draft.beside.pages.get(folder)?.clone();
    let context = draft.dockerfiles.get(&pages.file).map_or(".", String::as_str);
    let dir = path::inside(context, &pages.dir)?;
    let name = label(folder.rsplit('/').next()?, "web");
    let fallback = at.body.iter().find(|inner| inner.name() == "try_files")?.words.last()?;
    let section = draft.section("site", &name);
    section.set("dir", dir);
    if let Some(build) = pages.build {
        section.set("build", build);
    }
    section.set("out", pages.out).set("spa", fallback.ends_with("/index.html"));
    if at.body.iter().any(|inner| inner.name() == "location") {
        section.set("hashed", true);
    }
    Some(format!("site.{name}"))
}

/// What one directive of a location says of the path.
fn inside(
    inner: &Directive,
    path: &str,
    known: &Known<'_>,
    to: &mut toml::Table,
    draft: &mut Draft,
) -> (Fate, &'static str) {
    let mut set = |key: &str, value: Value| drop(to.insert(key.to_owned(), value));
    match inner.words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["proxy_pass", ..] => (Fate::Kept, "a path of the route"),
        ["limit_req", ref words @ ..] => {
            let zone = words.iter().find_map(|word| word.strip_prefix("zone="));
            match zone.and_then(|zone| known.zones.get(zone)) {
                Some(limit) => {
                    set("limit", limit.clone().into());
                    (Fate::Kept, "`limit` of the path")
                }
                None => (Fate::Refused, "its zone is not in this file; write `limit` of the path"),
            }
        }
        ["client_max_body_size", "0"] => (Fate::Kept, "no limit"),
        ["client_max_body_size", size] => match text::size(size) {
            Some(size) => {
                set("max_body", size.into());
                (Fate::Kept, "`max_body` of the path")
            }
            None => (Fate::Refused, "not a size; write `max_body` of the path"),
        },
        ["rewrite", pattern, "/$1", "break"] if pattern.starts_with(&format!("^{path}")) => {
            set("strip", true.into());
            (Fate::Kept, "`strip` of the path")
        }
        ["rewrite", ..] => (Fate::Refused, "only the prefix is removed, by `strip` of the path"),
        ["proxy_set_header", "Connection", ""] => {
            set("websocket", false.into());
            (Fate::Kept, "`websocket` of the path")
        }
        ["add_header", "Access-Control-Allow-Origin", origin, ..] => match known.origins.get(origin) {
            Some(origins) => {
                set("cors", binding::origins(origins, draft).into());
                (Fate::Kept, "`cors` of the path")
            }
            None => (Fate::Refused, "write the origins as a variable, and `cors` of the path names it"),
        },
        _ => (Fate::Changed, EDGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_on_becomes_routes() {
        let mut draft = Draft::default();
        draft.section("service", "api").set("port", 4000);
        draft.section("service", "web").set("port", 3000);
        let text = "upstream api { ip_hash; server api:4000; }\nlimit_req_zone $binary_remote_addr zone=a:10m rate=10r/m;\n\
            server { listen 80; server_name Shop.example www.shop.example; location / { proxy_pass http://web:3000; }\n\
            location /api/ { limit_req zone=a burst=5; client_max_body_size 10m; proxy_pass http://api/; } location ~ \\.php$ { proxy_pass http://web; } }\n\
            server { server_name old.example; return 301 https://shop.example$request_uri; }";
        let file = File { name: "nginx.conf".to_owned(), text: text.to_owned() };
        let entries = read(&file, &mut draft).unwrap();
        assert!(entries.iter().any(|entry| entry.fate == Fate::Refused && entry.key.contains("php")), "{entries:?}");
        let written = draft.write(&[]);
        let route = "[route.\"shop.example\"]\n\"/\"           = \"service.web\"\n\"/api\"        = { to = \"service.api\", sticky = true, strip = true, limit = \"10/m per ip\", max_body = \"10Mi\" }\nredirect_from = [\"old.example\"]";
        assert!(written.contains(route), "{written}");
        for bad in ["server {", "a } b;", "location / { proxy_pass http://x", "\"open"] {
            assert!(directive::parse(bad).is_err(), "{bad}");
        }
    }
}
