//! nginx and HAProxy for those who keep theirs in front of the instances.

use std::fmt::Write as _;

use stack::{Kind, LimitKey, Problems, Route};

use crate::{
    File, Input,
    edge::{self, Place},
    honours, prometheus,
};

/// `nginx.conf`, for a host that ends TLS itself with certificates of certbot.
pub(crate) fn nginx(input: &Input, problems: &mut Problems) -> Vec<File> {
    let stack = &input.resolved.stack;
    let app = stack.app.as_str();
    let place = Place {
        port: 80,
        certificates: Some("/etc/letsencrypt/live"),
        unprivileged: false,
        instances: &|name| {
            let Some(service) = stack.services.get(name) else { return Vec::new() };
            local(
                prometheus::instances(
                    &input.resolved,
                    name.as_str(),
                    service.port.unwrap_or(80),
                    service.size.replicas.min,
                ),
                name.as_str(),
            )
        },
        root: &|site| format!("/var/www/{app}/{site}"),
    };
    let body = edge::nginx(&input.resolved, &place, problems);
    let about = "Goes to /etc/nginx/nginx.conf. Check: nginx -t\nCertificates: certbot certonly --webroot --webroot-path /var/lib/acme";
    vec![File::new("nginx.conf", about, &body)]
}

/// Without hosts, the instances are on this machine.
fn local(instances: Vec<String>, name: &str) -> Vec<String> {
    instances.into_iter().map(|instance| instance.replace(&format!("{name}:"), "127.0.0.1:")).collect()
}

/// `haproxy.cfg`.
pub(crate) fn haproxy(input: &Input, problems: &mut Problems) -> Vec<File> {
    let mut text = String::from(
        "global
    log stdout format raw local0
    maxconn 20000
    ssl-default-bind-options ssl-min-ver TLSv1.2
    # instances are taken in and out of use here without a restart
    stats socket /run/haproxy/admin.sock mode 600 level admin

defaults
    mode http
    log global
    # no query string: it may carry a token (S4.P7)
    log-format \"%ci [%tr] %ft %b/%s %HM %HPO %ST %B %Tt\"
    option http-keep-alive
    option redispatch
    retries 2
    retry-on conn-failure empty-response
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout http-request 10s
    timeout queue 10s
    timeout tunnel 1h

",
    );
    tables(&mut text, input);
    frontend(&mut text, input, problems);
    backends(&mut text, input);
    let about = "Goes to /etc/haproxy/haproxy.cfg. Check: haproxy -c -f haproxy.cfg\nCertificates with their keys, one file per name: /etc/haproxy/certificates";
    vec![File::new("haproxy.cfg", about, &text)]
}

fn rule_name(at: usize, path: usize) -> String {
    format!("r{at}p{path}")
}

/// Counters of requests, one table per limit.
fn tables(text: &mut String, input: &Input) {
    for (at, route) in input.resolved.stack.routes.iter().enumerate() {
        for (number, path) in route.paths.iter().enumerate() {
            let Some(limit) = &path.limit else { continue };
            let seconds = limit.period.0.as_secs().max(1);
            let kind = if limit.per == LimitKey::Ip { "ipv6 size 100k" } else { "string len 64 size 1k" };
            let _ = writeln!(
                text,
                "# {limit} on {}{}\nbackend limit_{}\n    stick-table type {kind} expire {}s store http_req_rate({seconds}s)\n",
                route.host,
                path.path,
                rule_name(at, number),
                seconds * 2
            );
        }
    }
}

fn host_test(route: &Route) -> String {
    match route.host.as_str() {
        "*" => String::new(),
        host => match host.strip_prefix("*.") {
            Some(rest) => format!("{{ hdr_end(host),field(1,:) -i .{rest} }} "),
            None => format!("{{ hdr(host),field(1,:) -i {host} }} "),
        },
    }
}

fn path_test(path: &str) -> String {
    if path == "/" { String::new() } else { format!("{{ path {path} }} or {{ path_beg {path}/ }}") }
}

fn frontend(text: &mut String, input: &Input, problems: &mut Problems) {
    let resolved = &input.resolved;
    text.push_str(
        "frontend visitors\n    bind :80\n    bind :443 ssl crt /etc/haproxy/certificates alpn h2,http/1.1\n",
    );
    text.push_str("    http-request redirect scheme https code 308 unless { ssl_fc }\n");
    if resolved.environment.trusted_proxies.is_empty() {
        text.push_str("    # what a visitor says of its own address is not believed (S4.P10)\n    http-request del-header X-Forwarded-For\n");
    } else {
        text.push_str("    # the client's address comes from proxies that are trusted and from nobody else (S4.P10)\n");
        let _ = writeln!(text, "    acl trusted src {}", resolved.environment.trusted_proxies.join(" "));
        text.push_str("    http-request del-header X-Forwarded-For unless trusted\n    http-request set-src hdr_ip(x-forwarded-for,-1) if trusted\n");
    }
    text.push_str("    option forwardfor\n    http-request set-header X-Forwarded-Proto https\n");
    for (name, value) in [
        ("Strict-Transport-Security", "max-age=31536000"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "SAMEORIGIN"),
        ("Referrer-Policy", "strict-origin-when-cross-origin"),
        ("Content-Security-Policy", "\"frame-ancestors 'self'\""),
    ] {
        let _ = writeln!(text, "    http-response set-header {name} {value} unless {{ res.hdr({name}) -m found }}");
    }
    for route in &resolved.stack.routes {
        for host in &route.redirect_from {
            let _ = writeln!(
                text,
                "    http-request redirect prefix https://{} code 308 if {{ hdr(host),field(1,:) -i {host} }}",
                route.host
            );
        }
    }
    let mut chosen = String::new();
    for (at, route) in resolved.stack.routes.iter().enumerate() {
        for (number, path) in route.paths.iter().enumerate() {
            let rule = rule_name(at, number);
            if path.to.kind != Kind::Service {
                let key = format!("route.\"{}\".\"{}\"", route.host, path.path);
                problems.push(honours::refusal(
                    crate::Target::Haproxy,
                    &key,
                    &format!("a {}", path.to.kind),
                    &["nginx", "compose", "kubernetes", "terraform"],
                ));
                continue;
            }
            if path.cors.is_some() {
                let key = format!("route.\"{}\".\"{}\".cors", route.host, path.path);
                problems.push(honours::refusal(
                    crate::Target::Haproxy,
                    &key,
                    "origins",
                    &["nginx", "compose", "kubernetes", "terraform"],
                ));
            }
            let tests: Vec<String> = match path.path.as_str() {
                "/" => vec![host_test(route)],
                prefix => vec![
                    format!("{}{{ path {prefix} }}", host_test(route)),
                    format!("{}{{ path_beg {prefix}/ }}", host_test(route)),
                ],
            };
            let condition = tests.iter().map(|test| test.trim()).collect::<Vec<_>>().join(" or ");
            let condition = if condition.is_empty() { String::new() } else { format!(" if {condition}") };
            let _ = writeln!(
                chosen,
                "    use_backend {}{condition}",
                backend_name(&rule, path.to.name.as_str(), path.strip || path.limit.is_some())
            );
        }
    }
    let _ = path_test;
    text.push_str(&chosen);
    text.push_str("    default_backend nowhere\n\nbackend nowhere\n    http-request return status 404 content-type text/plain string \"not found\"\n\n");
}

/// Paths with a limit or a prefix to remove have a backend of their own.
fn backend_name(rule: &str, service: &str, own: bool) -> String {
    if own { format!("{service}_{rule}") } else { service.to_owned() }
}

fn backends(text: &mut String, input: &Input) {
    let resolved = &input.resolved;
    let mut written = Vec::new();
    for (at, route) in resolved.stack.routes.iter().enumerate() {
        for (number, path) in route.paths.iter().enumerate().filter(|(_, path)| path.to.kind == Kind::Service) {
            let rule = rule_name(at, number);
            let name = backend_name(&rule, path.to.name.as_str(), path.strip || path.limit.is_some());
            let Some(service) = resolved.stack.services.get(&path.to.name).filter(|_| !written.contains(&name)) else {
                continue;
            };
            let _ = writeln!(text, "backend {name}\n    balance leastconn");
            if let Some(limit) = &path.limit {
                let key = if limit.per == LimitKey::Ip { "src" } else { "fe_name" };
                let _ = writeln!(text, "    http-request track-sc0 {key} table limit_{rule}");
                let _ = writeln!(
                    text,
                    "    http-request deny deny_status 429 if {{ sc_http_req_rate(0,limit_{rule}) gt {} }}",
                    limit.requests
                );
            }
            if let Some(size) = path.max_body {
                let _ = writeln!(text, "    http-request deny deny_status 413 if {{ req.body_size gt {} }}", size.0);
            }
            if path.strip && path.path != "/" {
                let _ = writeln!(text, "    http-request replace-path {}(/)?(.*) /\\2", path.path);
            }
            if path.sticky {
                text.push_str("    cookie slipway insert indirect nocache httponly secure\n");
            }
            let mut options = String::new();
            if let Some(health) = &service.health {
                let _ = writeln!(text, "    option httpchk GET {}\n    http-check expect status 200-299", health.path);
                let _ = writeln!(text, "    timeout check {}", health.timeout);
                options = format!(" check inter {} rise {} fall {}", health.every, health.up, health.down);
            }
            let port = service.port.unwrap_or(80);
            let list = local(
                prometheus::instances(resolved, path.to.name.as_str(), port, service.size.replicas.min),
                path.to.name.as_str(),
            );
            for (at, instance) in list.iter().enumerate() {
                let cookie = if path.sticky { format!(" cookie i{}", at + 1) } else { String::new() };
                let at_start =
                    if instance.starts_with(|c: char| c.is_ascii_digit()) { "" } else { " init-addr last,libc,none" };
                let _ = writeln!(text, "    server i{} {instance}{options}{cookie}{at_start}", at + 1);
            }
            text.push('\n');
            written.push(name);
        }
    }
}
