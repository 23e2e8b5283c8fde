//! From host and path to the rule that answers.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use http::{HeaderName, HeaderValue};

use crate::{balance::Pool, cors::Cors, limit::Limiter, report::Report, site::Site};

/// What answers below one path prefix, ready to use.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) action: Action,
    pub(crate) limit: Option<Arc<Limiter>>,
    pub(crate) cors: Option<Cors>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) passing: Passing,
}

/// How a rule passes a request on.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    /// Without a trailing slash; empty for `/`.
    pub(crate) prefix: Box<str>,
    pub(crate) strip: bool,
    pub(crate) sticky: bool,
    pub(crate) websocket: bool,
    pub(crate) max_body: Option<u64>,
}

/// What a rule does.
#[derive(Debug)]
pub(crate) enum Action {
    Pool(Arc<Pool>),
    Site(Arc<Site>),
    /// Scheme if fixed, and host.
    Redirect(Option<Box<str>>, Box<str>),
    Report(Report),
}

/// The rules of one listener.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    pub(crate) exact: HashMap<Box<str>, Rules>,
    /// By the part after `*.`.
    pub(crate) wildcard: HashMap<Box<str>, Rules>,
    pub(crate) fallback: Option<Rules>,
}

/// Longest prefix first.
pub(crate) type Rules = Vec<Rule>;

impl Hosts {
    /// The rule for a lowercase host name without port and a path in normal form.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Rule> {
        let rules = self.rules(host)?;
        rules.iter().find(|rule| below(&rule.passing.prefix, path))
    }

    fn rules(&self, host: &str) -> Option<&Rules> {
        if let Some(rules) = self.exact.get(host) {
            return Some(rules);
        }
        if !self.wildcard.is_empty() {
            let mut rest = host;
            while let Some((_, parent)) = rest.split_once('.') {
                if let Some(rules) = self.wildcard.get(parent) {
                    return Some(rules);
                }
                rest = parent;
            }
        }
        self.fallback.as_ref()
    }
}

/// Whether `path` is `prefix` or lies below it by whole segments.
fn below(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The host of a `Host` value or authority: lowercase, without port and trailing dot. `None` when it is not one.
pub(crate) fn host_name(value: &str) -> Option<Cow<'_, str>> {
    if value.contains('@') || value.contains('/') || value.contains(' ') || value.contains(',') {
        return None;
    }
    let name = if value.starts_with('[') {
        let (name, port) = value.split_at(value.find(']')? + 1);
        if !(port.is_empty() || port.starts_with(':')) {
            return None;
        }
        name
    } else if let Some((name, port)) = value.rsplit_once(':') {
        if name.contains(':') || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        name
    } else {
        value
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    Some(if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

/// The path as rules are matched against it: unreserved characters decoded, `//` merged, `.` and `..` resolved
/// (RFC 3986 section 6.2.2), so that a stricter rule for `/login` cannot be passed by asking for `/x/../log%69n`.
/// The path is passed on as it came.
pub(crate) fn normal_path(path: &str) -> Cow<'_, str> {
    let bytes = path.as_bytes();
    let plain =
        !bytes.contains(&b'%') && !bytes.windows(2).any(|pair| pair[0] == b'/' && matches!(pair[1], b'/' | b'.'));
    if plain && path.starts_with('/') {
        return Cow::Borrowed(path);
    }
    let decoded = decode_unreserved(path);
    let mut segments: Vec<&str> = Vec::new();
    let mut folder = true;
    for segment in decoded.split('/') {
        folder = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    let mut normal = String::with_capacity(decoded.len() + 1);
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if folder || normal.is_empty() {
        normal.push('/');
    }
    Cow::Owned(normal)
}

fn decode_unreserved(path: &str) -> String {
    let mut rest = path;
    let mut decoded = String::with_capacity(path.len());
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.map(char::from) {
            Some(plain) if plain.is_ascii_alphanumeric() || "-._~".contains(plain) => {
                decoded.push(plain);
                rest = &rest[at + 3..];
            }
            _ => {
                decoded.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_match_whole_segments() {
        for (prefix, path, matches) in [
            ("", "/", true),
            ("", "/a/b", true),
            ("/api", "/api", true),
            ("/api", "/api/", true),
            ("/api", "/api/v1", true),
            ("/api", "/apiary", false),
            ("/api", "/", false),
        ] {
            assert_eq!(below(prefix, path), matches, "{path} below {prefix:?}");
        }
    }

    #[test]
    fn paths_cannot_walk_around_a_rule() {
        for (raw, normal) in [
            ("/login", "/login"),
            ("/", "/"),
            ("/a/", "/a/"),
            ("//login", "/login"),
            ("/x/../login", "/login"),
            ("/./login", "/login"),
            ("/%6cogin", "/login"),
            ("/x/%2e%2e/login", "/login"),
            ("/../..", "/"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%", "/a%"),
            ("/a%zz", "/a%zz"),
            ("/caf%C3%A9", "/caf%C3%A9"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a..b/c", "/a..b/c"),
            ("*", "/*"),
        ] {
            assert_eq!(normal_path(raw), normal, "{raw}");
        }
    }

    #[test]
    fn hosts_lose_port_case_and_dot() {
        for (raw, name) in [
            ("Example.COM", Some("example.com")),
            ("example.com:8080", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("", Some("")),
            ("a@b", None),
            ("a/b", None),
            ("a,b", None),
            ("::1", None),
            ("a:b", None),
            ("[::1", None),
            ("[::1]x", None),
        ] {
            assert_eq!(host_name(raw).as_deref(), name, "{raw}");
        }
    }

    #[test]
    fn wildcards_match_one_or_more_labels() {
        let mut hosts = Hosts::default();
        let rules = |name: &str| {
            vec![Rule {
                action: Action::Redirect(None, name.into()),
                limit: None,
                cors: None,
                headers: Vec::new(),
                passing: Passing::default(),
            }]
        };
        hosts.exact.insert("a.test".into(), rules("exact"));
        hosts.wildcard.insert("a.test".into(), rules("wild"));
        let name = |hosts: &Hosts, host: &str| match hosts.find(host, "/").map(|rule| &rule.action) {
            Some(Action::Redirect(_, name)) => name.to_string(),
            _ => "none".to_owned(),
        };
        assert_eq!(name(&hosts, "a.test"), "exact");
        assert_eq!(name(&hosts, "x.a.test"), "wild");
        assert_eq!(name(&hosts, "y.x.a.test"), "wild");
        assert_eq!(name(&hosts, "b.test"), "none");
        hosts.fallback = Some(rules("fallback"));
        assert_eq!(name(&hosts, "b.test"), "fallback");
    }
}
