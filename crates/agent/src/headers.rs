//! Response headers that protect visitors unless the application sets its own (S4.P9).
//!
//! A service gets only what cannot break it; a site, whose files are known, gets a policy for its content too.

use std::net::SocketAddr;

use stack::{Resolved, ResourceName, TargetKind};

/// A year: what browsers ask for to remember that a host speaks TLS only.
const HSTS: &str = "max-age=31536000";

/// Headers of a service's answers.
pub(crate) fn of_service(local: bool) -> Vec<(String, String)> {
    with_common(local, "frame-ancestors 'self'".to_owned())
}

/// Headers of a site's answers: its own `headers` take the place of ours.
pub(crate) fn of_site(resolved: &Resolved, name: &ResourceName, address: SocketAddr) -> Vec<(String, String)> {
    let local = resolved.environment.target == TargetKind::Local;
    let origins = origins(resolved, address);
    let policy = format!(
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
         font-src 'self' data:; connect-src 'self'{origins}; form-action 'self'{origins}; object-src 'none'; \
         base-uri 'self'; frame-ancestors 'self'"
    );
    let mut headers = with_common(local, policy);
    if let Some(site) = resolved.stack.sites.get(name) {
        for (name, value) in &site.headers {
            headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            headers.push((name.to_ascii_lowercase(), value.clone()));
        }
    }
    headers
}

fn with_common(local: bool, policy: String) -> Vec<(String, String)> {
    let mut headers = vec![
        ("content-security-policy".to_owned(), policy),
        ("referrer-policy".to_owned(), "strict-origin-when-cross-origin".to_owned()),
        ("x-content-type-options".to_owned(), "nosniff".to_owned()),
        ("x-frame-options".to_owned(), "SAMEORIGIN".to_owned()),
    ];
    if !local {
        headers.push(("strict-transport-security".to_owned(), HSTS.to_owned()));
    }
    headers
}

/// The application's own hosts, which its pages may call, each with a space before it.
fn origins(resolved: &Resolved, address: SocketAddr) -> String {
    let mut origins = String::new();
    let mut add = |origin: &str| {
        origins.push(' ');
        origins.push_str(origin);
    };
    for route in resolved.stack.routes.iter().filter(|route| route.host != "*") {
        let host = &route.host;
        if resolved.environment.target == TargetKind::Local {
            let port = address.port();
            let alias = crate::traffic::local_alias(host);
            for host in [host.clone()].into_iter().chain(alias) {
                add(&format!("http://{host}:{port}"));
                add(&format!("ws://{host}:{port}"));
            }
        } else {
            add(&format!("https://{host}"));
            add(&format!("wss://{host}"));
        }
    }
    origins
}
