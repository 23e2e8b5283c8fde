//! An nginx configuration of the routes: what our own edge does, for those who keep nginx in front.

use std::fmt::Write as _;

use stack::{Kind, Limit, LimitKey, PathRoute, Problem, Problems, Resolved, ResourceName, Route, Stack};

use crate::honours;

/// Where nginx runs and what it finds there.
pub(crate) struct Place<'p> {
    /// Port of plain HTTP.
    pub(crate) port: u16,
    /// Serves TLS on 443 with certificates from this folder, and sends plain HTTP there.
    pub(crate) certificates: Option<&'p str>,
    /// Runs without root in a container: pid and temporary files below /tmp.
    pub(crate) unprivileged: bool,
    /// `host:port` of each instance of a service.
    pub(crate) instances: &'p dyn Fn(&ResourceName) -> Vec<String>,
    /// Folder of a site.
    pub(crate) root: &'p dyn Fn(&ResourceName) -> String,
}

/// Headers of every answer unless the application sets its own (S4.P9).
const HEADERS: [(&str, &str); 3] = [
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "SAMEORIGIN"),
];

const HEAD: &str = "\
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    server_tokens off;
    keepalive_timeout 65s;
    gzip on;
    gzip_vary on;
    gzip_proxied any;
    gzip_types text/plain text/css text/javascript application/javascript application/json application/wasm image/svg+xml;

    # no query string: it may carry a token (S4.P7)
    log_format plain '$remote_addr [$time_iso8601] \"$request_method $uri\" $status $body_bytes_sent $request_time';

    # Upgrade is passed on only when the visitor asks for it
    map $http_upgrade $connection_upgrade {
        default upgrade;
        '' '';
    }

";

/// The whole file, without the mark at its head.
pub(crate) fn nginx(resolved: &Resolved, place: &Place<'_>, problems: &mut Problems) -> String {
    let stack = &resolved.stack;
    let mut text = String::from("worker_processes auto;\n");
    text.push_str(if place.unprivileged { "pid /tmp/nginx.pid;\n" } else { "pid /run/nginx.pid;\n" });
    text.push_str("\nevents {\n    worker_connections 4096;\n}\n\nhttp {\n");
    text.push_str(HEAD);
    let log = if place.unprivileged { "/dev/stdout" } else { "/var/log/nginx/access.log" };
    let _ = writeln!(text, "    access_log {log} plain;\n");
    if !resolved.environment.trusted_proxies.is_empty() {
        text.push_str(
            "    # the client's address, counted back over proxies that are trusted and no further (S4.P10)\n",
        );
        for proxy in &resolved.environment.trusted_proxies {
            let _ = writeln!(text, "    set_real_ip_from {proxy};");
        }
        text.push_str("    real_ip_header X-Forwarded-For;\n    real_ip_recursive on;\n\n");
    }
    for (at, route) in stack.routes.iter().enumerate() {
        zones(&mut text, stack, route, at, problems);
    }
    upstreams(&mut text, stack, place);
    for (at, route) in stack.routes.iter().enumerate() {
        server(&mut text, stack, route, at, place);
    }
    if stack.routes.iter().all(|route| route.host != "*") {
        text.push_str("    # a host name nobody asked for\n    server {\n");
        let _ = writeln!(text, "        listen {} default_server;\n        return 421;\n    }}", place.port);
    }
    text.push_str("}\n");
    text
}

/// Name of a limit's zone or of a map of origins.
fn name(at: usize, path: &PathRoute) -> String {
    let words: String =
        path.path.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    format!("r{at}{}", words.trim_end_matches('_'))
}

/// nginx counts per second or per minute.
fn rate(limit: &Limit) -> String {
    let millis = u64::from(limit.period).max(1);
    let per_second = u64::from(limit.requests) * 1000 / millis;
    if per_second > 0 {
        format!("{per_second}r/s")
    } else {
        format!("{}r/m", (u64::from(limit.requests) * 60_000 / millis).max(1))
    }
}

fn zones(text: &mut String, stack: &Stack, route: &Route, at: usize, problems: &mut Problems) {
    for path in &route.paths {
        if let Some(limit) = &path.limit {
            let key = match limit.per {
                LimitKey::Ip => "$binary_remote_addr",
                LimitKey::All => "$server_name",
            };
            let _ = writeln!(text, "    # {limit} on {}{}", route.host, path.path);
            let _ = writeln!(text, "    limit_req_zone {key} zone={}:10m rate={};\n", name(at, path), rate(limit));
        }
        if let Some(variable) = &path.cors {
            let Some(default) = stack.variables.get(variable).and_then(|variable| variable.default.as_ref()) else {
                let key = format!("route.\"{}\".\"{}\".cors", route.host, path.path);
                let message = format!("`{key}`: the origins in `{variable}` are known only when it runs");
                problems.push(
                    Problem::error(honours::CODE, key, message)
                        .with_mend(format!("give the variable `{variable}` a default in this environment")),
                );
                continue;
            };
            // each origin is answered with itself: a list is no valid header (T4)
            let _ = writeln!(text, "    map $http_origin $cors_{} {{\n        default '';", name(at, path));
            for origin in default.split(',').map(str::trim).filter(|origin| !origin.is_empty()) {
                let _ = writeln!(text, "        '{origin}' $http_origin;");
            }
            text.push_str("    }\n\n");
        }
    }
}

fn upstreams(text: &mut String, stack: &Stack, place: &Place<'_>) {
    for service in stack.services.keys() {
        let targets = stack.routes.iter().flat_map(|route| &route.paths);
        let mine: Vec<&PathRoute> =
            targets.filter(|path| path.to.kind == Kind::Service && path.to.name == *service).collect();
        if mine.is_empty() {
            continue;
        }
        let _ = writeln!(text, "    upstream {service} {{");
        if mine.iter().any(|path| path.sticky) {
            text.push_str("        # a visitor keeps coming to the same instance\n        ip_hash;\n");
        }
        for instance in (place.instances)(service) {
            let _ = writeln!(text, "        server {instance} max_fails=3 fail_timeout=10s;");
        }
        text.push_str("        keepalive 32;\n    }\n\n");
    }
}

fn server(text: &mut String, stack: &Stack, route: &Route, at: usize, place: &Place<'_>) {
    let host = if route.host == "*" { "_" } else { route.host.as_str() };
    let default = if route.host == "*" { " default_server" } else { "" };
    let _ = writeln!(text, "    server {{");
    if let Some(folder) = place.certificates {
        let _ = writeln!(text, "        listen 443 ssl http2{default};\n        server_name {host};");
        let _ = writeln!(text, "        ssl_certificate {folder}/{}/fullchain.pem;", certificate(route));
        let _ = writeln!(text, "        ssl_certificate_key {folder}/{}/privkey.pem;", certificate(route));
        text.push_str("        ssl_protocols TLSv1.2 TLSv1.3;\n        ssl_session_cache shared:tls:10m;\n");
    } else {
        let _ = writeln!(text, "        listen {}{default};\n        server_name {host};", place.port);
    }
    for path in route.paths.iter().filter(|path| matches!(path.to.kind, Kind::Service | Kind::Site)) {
        text.push('\n');
        location(text, stack, path, at, place);
    }
    if !route.paths.iter().any(|path| path.path == "/") {
        text.push_str("\n        location / {\n            return 404;\n        }\n");
    }
    text.push_str("    }\n\n");
    redirects(text, route, place);
}

fn certificate(route: &Route) -> &str {
    route.host.trim_start_matches("*.")
}

fn redirects(text: &mut String, route: &Route, place: &Place<'_>) {
    let scheme = if place.certificates.is_some() { "https" } else { "$scheme" };
    if place.certificates.is_some() && route.host != "*" {
        let _ = writeln!(text, "    server {{\n        listen {};\n        server_name {};", place.port, route.host);
        let _ = writeln!(
            text,
            "        location /.well-known/acme-challenge/ {{\n            root /var/lib/acme;\n        }}"
        );
        let _ = writeln!(
            text,
            "        location / {{\n            return 308 https://$host$request_uri;\n        }}\n    }}\n"
        );
    }
    if !route.redirect_from.is_empty() {
        let _ = writeln!(text, "    server {{\n        listen {};", place.port);
        if let Some(folder) = place.certificates {
            let _ = writeln!(text, "        listen 443 ssl http2;");
            let _ = writeln!(text, "        ssl_certificate {folder}/{}/fullchain.pem;", certificate(route));
            let _ = writeln!(text, "        ssl_certificate_key {folder}/{}/privkey.pem;", certificate(route));
        }
        let _ = writeln!(text, "        server_name {};", route.redirect_from.join(" "));
        let _ = writeln!(text, "        return 308 {scheme}://{}$request_uri;\n    }}\n", route.host);
    }
}

fn headers(text: &mut String, place: &Place<'_>, extra: &[(&str, &str)]) {
    let known = |name: &str| extra.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let secure = place.certificates.map(|_| ("Strict-Transport-Security", "max-age=31536000"));
    let ours = HEADERS.into_iter().chain(secure).filter(|(name, _)| !known(name));
    for (name, value) in ours.chain(extra.iter().copied()) {
        let _ = writeln!(text, "            add_header {name} \"{}\" always;", value.replace('"', "'"));
    }
}

fn location(text: &mut String, stack: &Stack, path: &PathRoute, at: usize, place: &Place<'_>) {
    if path.path == "/" {
        return matched(text, stack, path, at, place, "/");
    }
    // whole segments: `/api` must not answer `/apis`
    let below = format!("{}/", path.path.trim_end_matches('/'));
    if path.to.kind == Kind::Site {
        let _ = writeln!(text, "        location = {} {{\n            return 308 {below};\n        }}\n", path.path);
    } else {
        matched(text, stack, path, at, place, &format!("= {}", path.path));
        text.push('\n');
    }
    matched(text, stack, path, at, place, &below);
}

fn matched(text: &mut String, stack: &Stack, path: &PathRoute, at: usize, place: &Place<'_>, matches: &str) {
    let _ = writeln!(text, "        location {matches} {{");
    let name = name(at, path);
    if path.limit.is_some() {
        let burst = path.limit.as_ref().map_or(1, |limit| limit.requests.clamp(1, 1000));
        let _ = writeln!(
            text,
            "            limit_req zone={name} burst={burst} nodelay;\n            limit_req_status 429;"
        );
    }
    match path.max_body {
        Some(size) => {
            let _ = writeln!(text, "            client_max_body_size {};", size.0);
        }
        None => text.push_str("            client_max_body_size 0;\n"),
    }
    match path.to.kind {
        Kind::Site => site(text, stack, path, place),
        _ => service(text, path, &name, place),
    }
    text.push_str("        }\n");
}

fn service(text: &mut String, path: &PathRoute, name: &str, place: &Place<'_>) {
    headers(text, place, &[("Content-Security-Policy", "frame-ancestors 'self'")]);
    if path.cors.is_some() {
        for (header, value) in [
            ("Access-Control-Allow-Origin", format!("$cors_{name}")),
            ("Access-Control-Allow-Credentials", "true".to_owned()),
            ("Vary", "Origin".to_owned()),
        ] {
            let _ = writeln!(text, "            add_header {header} {value} always;");
        }
        let _ = writeln!(text, "            if ($request_method = OPTIONS) {{");
        for (header, value) in [
            ("Access-Control-Allow-Origin", format!("$cors_{name}")),
            ("Access-Control-Allow-Credentials", "true".to_owned()),
            ("Access-Control-Allow-Methods", "'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'".to_owned()),
            ("Access-Control-Allow-Headers", "$http_access_control_request_headers".to_owned()),
            ("Access-Control-Max-Age", "600".to_owned()),
            ("Vary", "Origin".to_owned()),
        ] {
            let _ = writeln!(text, "                add_header {header} {value} always;");
        }
        text.push_str("                return 204;\n            }\n");
    }
    if path.strip && path.path != "/" {
        let _ = writeln!(text, "            rewrite ^{}/?(.*)$ /$1 break;", path.path.trim_end_matches('/'));
    }
    let _ = writeln!(text, "            proxy_pass http://{};\n            proxy_http_version 1.1;", path.to.name);
    text.push_str(
        "            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Request-Id $request_id;
",
    );
    if path.websocket {
        text.push_str(
            "            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 1h;
",
        );
    } else {
        text.push_str("            proxy_set_header Connection '';\n");
    }
    text.push_str(
        "            # only what was never sent is tried again elsewhere
            proxy_next_upstream error timeout non_idempotent;
            proxy_next_upstream_tries 2;
            proxy_connect_timeout 2s;
"
        .replace(" non_idempotent", "")
        .as_str(),
    );
}

fn site(text: &mut String, stack: &Stack, path: &PathRoute, place: &Place<'_>) {
    let Some(site) = stack.sites.get(&path.to.name) else { return };
    let root = (place.root)(&path.to.name);
    if path.path == "/" {
        let _ = writeln!(text, "            root {root};");
    } else {
        let _ = writeln!(text, "            alias {root}/;");
    }
    let policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; \
                  connect-src 'self' https:; object-src 'none'; base-uri 'self'; frame-ancestors 'self'";
    let own = site.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut extra: Vec<(&str, &str)> = own.collect();
    if !extra.iter().any(|(name, _)| name.eq_ignore_ascii_case("Content-Security-Policy")) {
        extra.insert(0, ("Content-Security-Policy", policy));
    }
    let index = format!("{}/index.html", path.path.trim_end_matches('/'));
    let fall = if site.spa { index.as_str() } else { "=404" };
    let mut page = extra.clone();
    page.push(("Cache-Control", "no-cache"));
    headers(text, place, &page);
    let _ = writeln!(text, "            try_files $uri $uri/index.html {fall};");
    if site.hashed && path.path == "/" {
        // a name with a hash never changes its content (S4.P8)
        text.push_str(
            "\n            location ~ \"[.-][A-Za-z0-9_-]{8,}[.](js|css|woff2?|png|jpe?g|svg|webp|avif|wasm)$\" {\n",
        );
        let mut asset = extra;
        asset.push(("Cache-Control", "public, max-age=31536000, immutable"));
        let mut inner = String::new();
        headers(&mut inner, place, &asset);
        for line in inner.lines() {
            let _ = writeln!(text, "    {line}");
        }
        text.push_str("                try_files $uri =404;\n            }\n");
    }
}
