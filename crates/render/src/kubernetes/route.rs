//! Ways in: a Gateway with an HTTPRoute per host name, or one Ingress on request.

use serde_json::{Value, json};
use stack::{Kind, LimitKey, PathRoute, Problem, Problems, Route};

use super::{Scene, Sheet, labels};
use crate::honours;

/// Who signs certificates: what the stack says, else Let's Encrypt by cert-manager.
fn issuer(scene: &Scene<'_>) -> Value {
    let mut clusters = scene.input.resolved.stack.extras.iter().filter(|(need, _)| need.kind == Kind::Cluster);
    clusters.find_map(|(_, extra)| extra.settings.get("issuer")).cloned().unwrap_or_else(|| "letsencrypt".into())
}

fn object(host: &str) -> String {
    host.replace('*', "any").replace('.', "-")
}

pub(crate) fn sheets(scene: &Scene<'_>, problems: &mut Problems) -> Vec<Sheet> {
    // names at which nothing of these files answers are refused elsewhere, or left out
    let routes = scene.input.resolved.stack.routes.iter().filter(|route| answered(route).next().is_some());
    let routes: Vec<&Route> = routes.collect();
    if routes.is_empty() {
        return Vec::new();
    }
    if scene.input.options.ingress {
        return vec![ingress(scene, &routes, problems)];
    }
    let mut sheets = vec![gateway(scene, &routes)];
    for route in routes {
        let mut documents = vec![http_route(scene, route)];
        if !route.redirect_from.is_empty() {
            documents.push(redirect(scene, route));
        }
        for path in answered(route) {
            documents.extend(cors(scene, route, path, problems));
            documents.extend(traffic(scene, route, path));
        }
        sheets.push((format!("route-{}", object(&route.host)), format!("What answers for {}.", route.host), documents));
    }
    sheets
}

/// The paths that a service or a site answers.
fn answered(route: &Route) -> impl Iterator<Item = &PathRoute> {
    route.paths.iter().filter(|path| matches!(path.to.kind, Kind::Service | Kind::Site))
}

fn names(route: &Route) -> impl Iterator<Item = &str> {
    std::iter::once(route.host.as_str()).chain(route.redirect_from.iter().map(String::as_str))
}

/// The Gateway: plain HTTP that only redirects, TLS for each name with a certificate of its own.
fn gateway(scene: &Scene<'_>, routes: &[&Route]) -> Sheet {
    let app = scene.input.resolved.stack.app.as_str();
    let mut listeners = vec![json!({
        "name": "http", "port": 80, "protocol": "HTTP",
        "allowedRoutes": { "namespaces": { "from": "Same" } },
    })];
    for host in routes.iter().copied().flat_map(names).filter(|host| *host != "*") {
        listeners.push(json!({
            "name": object(host), "hostname": host, "port": 443, "protocol": "HTTPS",
            "tls": { "mode": "Terminate", "certificateRefs": [{ "name": format!("{}-tls", object(host)) }] },
            "allowedRoutes": { "namespaces": { "from": "Same" } },
        }));
    }
    let mut documents = vec![
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": { "name": scene.form.class(), "labels": labels::all(scene, "gateway", "gateway") },
            "spec": { "controllerName": "gateway.envoyproxy.io/gatewayclass-controller" },
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": labels::annotated(scene, "gateway", "gateway", app, json!({ "cert-manager.io/cluster-issuer": issuer(scene) })),
            "spec": { "gatewayClassName": scene.form.class(), "listeners": listeners },
        }),
        json!({
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "ClientTrafficPolicy",
            "metadata": labels::meta(scene, "gateway", "gateway", app),
            "spec": {
                "targetRefs": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": app }],
                "tls": { "minVersion": "1.2" },
                "# the client's address is counted back over this many proxies and no further (S4.P10)": null,
                "clientIPDetection": { "xForwardedFor": { "numTrustedHops": hops(scene) } },
                "headers": { "lateResponseHeaders": {
                    "# of every answer, unless the application sets its own (S4.P9)": null,
                    "addIfAbsent": headers(),
                } },
            },
        }),
    ];
    documents.extend(to_https(scene, routes));
    (
        "gateway".to_owned(),
        "The way in, kept by Envoy Gateway, with certificates by cert-manager.".to_owned(),
        documents,
    )
}

/// What comes by plain HTTP is sent to TLS, for names that have a certificate.
fn to_https(scene: &Scene<'_>, routes: &[&Route]) -> Option<Value> {
    let hosts: Vec<&str> = routes.iter().copied().flat_map(names).filter(|host| *host != "*").collect();
    let any = hosts.len() < routes.iter().copied().flat_map(names).count();
    (!hosts.is_empty()).then(|| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": labels::meta(scene, "gateway", "gateway", "to-https"),
            "spec": {
                "parentRefs": [{ "name": scene.input.resolved.stack.app.as_str(), "sectionName": "http" }],
                "hostnames": any.then_some(hosts),
                "rules": [{ "filters": [{
                    "type": "RequestRedirect", "requestRedirect": { "scheme": "https", "statusCode": 301 },
                }] }],
            },
        })
    })
}

fn hops(scene: &Scene<'_>) -> Value {
    let mut gateways = scene.input.resolved.stack.extras.iter().filter(|(need, _)| need.kind == Kind::Gateway);
    let said = gateways.find_map(|(_, extra)| extra.settings.get("trusted_hops").cloned());
    said.unwrap_or_else(|| usize::from(!scene.input.resolved.environment.trusted_proxies.is_empty()).into())
}

fn headers() -> Value {
    json!([
        { "name": "Strict-Transport-Security", "value": "max-age=31536000" },
        { "name": "X-Content-Type-Options", "value": "nosniff" },
        { "name": "X-Frame-Options", "value": "SAMEORIGIN" },
        { "name": "Referrer-Policy", "value": "strict-origin-when-cross-origin" },
    ])
}

fn http_route(scene: &Scene<'_>, route: &Route) -> Value {
    let app = scene.input.resolved.stack.app.as_str();
    let rules: Vec<Value> = answered(route)
        .flat_map(|path| {
            let rewrite = json!([{
                "type": "URLRewrite", "urlRewrite": { "path": { "type": "ReplacePrefixMatch", "replacePrefixMatch": "/" } },
            }]);
            let strips = path.strip && path.path != "/";
            rules(route, path).into_iter().map(move |(name, upgrade)| {
                json!({
                    "name": name,
                    "matches": [{
                        "path": { "type": "PathPrefix", "value": path.path },
                        "headers": upgrade.then(|| json!([{ "name": "Upgrade", "value": "websocket" }])),
                    }],
                    "filters": strips.then(|| rewrite.clone()),
                    "backendRefs": [{ "name": path.to.name.as_str(), "port": 80 }],
                    "# no limit of its own: downloads and streams take their time, and silence ends them after five minutes": null,
                    "timeouts": { "request": "0s" },
                })
            })
        })
        .collect();
    let any = route.host == "*";
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": labels::meta(scene, "route", "route", &object(&route.host)),
        "spec": {
            "parentRefs": [{ "name": app, "sectionName": if any { "http".to_owned() } else { object(&route.host) } }],
            "hostnames": (!any).then(|| vec![route.host.clone()]),
            "rules": rules,
        },
    })
}

/// Names of a path's rules, and which of them is for connections that become WebSockets. A body that is measured must be
/// whole before it goes on, which what is sent over a WebSocket never is: there they have a rule of their own.
fn rules(route: &Route, path: &PathRoute) -> Vec<(String, bool)> {
    let name = rule(route, path);
    let upgrade = (path.max_body.is_some() && path.websocket).then(|| (format!("{name}-upgrade"), true));
    upgrade.into_iter().chain([(name, false)]).collect()
}

/// Name of a path's rule, one of its own: `/api/v1` and `/api-v1` have the same words.
fn rule(route: &Route, path: &PathRoute) -> String {
    let words = |path: &PathRoute| {
        let words = path.path.trim_matches('/').replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_ascii_lowercase();
        let words = words.trim_matches('-');
        if words.is_empty() { "all".to_owned() } else { words.to_owned() }
    };
    let name = words(path);
    let before = route.paths.iter().take_while(|other| other.path != path.path);
    match before.filter(|other| words(other) == name).count() {
        0 => name,
        others => format!("{name}-{}", others + 1),
    }
}

fn redirect(scene: &Scene<'_>, route: &Route) -> Value {
    let app = scene.input.resolved.stack.app.as_str();
    let parents: Vec<Value> =
        route.redirect_from.iter().map(|host| json!({ "name": app, "sectionName": object(host) })).collect();
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": labels::meta(scene, "route", "route", &format!("{}-redirect", object(&route.host))),
        "spec": {
            "parentRefs": parents,
            "hostnames": route.redirect_from,
            "rules": [{ "filters": [{
                "type": "RequestRedirect", "requestRedirect": { "hostname": route.host, "statusCode": 301 },
            }] }],
        },
    })
}

fn targets(route: &Route, rules: impl IntoIterator<Item = (String, bool)>) -> Value {
    let target = |(rule, _)| json!({ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": object(&route.host), "sectionName": rule });
    rules.into_iter().map(target).collect()
}

/// Origins are answered one at a time, with credentials (T4).
fn cors(scene: &Scene<'_>, route: &Route, path: &PathRoute, problems: &mut Problems) -> Option<Value> {
    let variable = path.cors.as_ref()?;
    let stack = &scene.input.resolved.stack;
    let Some(default) = stack.variables.get(variable).and_then(|variable| variable.default.as_ref()) else {
        let key = format!("route.\"{}\".\"{}\".cors", route.host, path.path);
        let message = format!("`{key}`: the origins in `{variable}` are known only when it runs");
        let mend = format!("give the variable `{variable}` a default in this environment");
        problems.push(Problem::error(honours::CODE, key, message).with_mend(mend));
        return None;
    };
    let origins: Vec<&str> = default.split(',').map(str::trim).filter(|origin| !origin.is_empty()).collect();
    Some(json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "SecurityPolicy",
        "metadata": labels::meta(scene, "route", "route", &format!("{}-{}", object(&route.host), rule(route, path))),
        "spec": {
            "targetRefs": targets(route, rules(route, path)),
            "cors": {
                "allowOrigins": origins,
                "allowCredentials": true,
                "allowMethods": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
                "allowHeaders": ["Authorization", "Content-Type", "X-Request-Id"],
                "maxAge": "10m",
            },
        },
    }))
}

/// Limits and stickiness.
fn traffic(scene: &Scene<'_>, route: &Route, path: &PathRoute) -> Vec<Value> {
    let limit = path.limit.as_ref().map(|limit| {
        let seconds = u64::from(limit.period) / 1000;
        let (requests, unit) = match seconds {
            0..=1 => (u64::from(limit.requests), "Second"),
            2..=60 => (u64::from(limit.requests) * 60 / seconds, "Minute"),
            _ => (u64::from(limit.requests) * 3600 / seconds, "Hour"),
        };
        let mut rule = json!({ "limit": { "requests": requests.max(1), "unit": unit } });
        if limit.per == LimitKey::Ip {
            rule["clientSelectors"] = json!([{ "sourceCIDR": { "value": "0.0.0.0/0", "type": "Distinct" } }]);
        }
        json!({ "# counted for all gateways together, in the Redis of Envoy Gateway": null, "type": "Global", "global": { "rules": [rule] } })
    });
    let sticky = path.sticky.then(|| {
        json!({ "type": "ConsistentHash", "consistentHash": { "type": "Cookie", "cookie": { "name": "slipway", "ttl": "24h" } } })
    });
    let buffer = path.max_body.map(|size| json!({ "limit": size.to_string() }));
    let name = format!("{}-{}", object(&route.host), rule(route, path));
    let policy = |(rule, upgrade): (String, bool)| {
        let buffer = buffer.as_ref().filter(|_| !upgrade);
        let name = if upgrade { format!("{name}-upgrade") } else { name.clone() };
        (limit.is_some() || sticky.is_some() || buffer.is_some()).then(|| {
            json!({
                "apiVersion": "gateway.envoyproxy.io/v1alpha1",
                "kind": "BackendTrafficPolicy",
                "metadata": labels::meta(scene, "route", "route", &name),
                "spec": {
                    "targetRefs": targets(route, [(rule, upgrade)]),
                    "rateLimit": limit,
                    "loadBalancer": sticky,
                    "requestBuffer": buffer,
                },
            })
        })
    };
    rules(route, path).into_iter().filter_map(policy).collect()
}

/// One Ingress for all names. It carries no limits, origins, sizes or stickiness: those are each controller's own words.
fn ingress(scene: &Scene<'_>, routes: &[&Route], problems: &mut Problems) -> Sheet {
    let app = scene.input.resolved.stack.app.as_str();
    let mut lose = |key: String| {
        let message = format!("`{key}`: an Ingress cannot honour it");
        let mend = "render without --ingress, or take it out of this environment; or leave it out with --leave-out";
        problems.push(Problem::error(honours::CODE, key, message).with_mend(mend));
    };
    for route in routes {
        if !route.redirect_from.is_empty() {
            lose(format!("route.\"{}\".redirect_from", route.host));
        }
        for path in &route.paths {
            let keys = [
                ("limit", path.limit.is_some()),
                ("cors", path.cors.is_some()),
                ("sticky", path.sticky),
                ("strip", path.strip),
                ("max_body", path.max_body.is_some()),
            ];
            for (key, _) in keys.into_iter().filter(|(_, said)| *said) {
                lose(format!("route.\"{}\".\"{}\".{key}", route.host, path.path));
            }
        }
    }
    let rules: Vec<Value> = routes
        .iter()
        .map(|route| {
            let paths: Vec<Value> = answered(route)
                .map(|path| {
                    let backend = json!({ "service": { "name": path.to.name.as_str(), "port": { "number": 80 } } });
                    json!({ "path": path.path, "pathType": "Prefix", "backend": backend })
                })
                .collect();
            json!({ "host": (route.host != "*").then(|| route.host.clone()), "http": { "paths": paths } })
        })
        .collect();
    let hosts: Vec<&str> = routes.iter().map(|route| route.host.as_str()).filter(|host| *host != "*").collect();
    let document = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": labels::annotated(scene, "route", "route", app, json!({ "cert-manager.io/cluster-issuer": issuer(scene) })),
        "spec": {
            "# a field since 1.18; the annotation of old is gone (T16)": null,
            "ingressClassName": "haproxy",
            "tls": (!hosts.is_empty()).then(|| json!([{ "hosts": hosts, "secretName": format!("{app}-tls") }])),
            "rules": rules,
        },
    });
    ("ingress".to_owned(), "The way in, for clusters without a Gateway controller.".to_owned(), vec![document])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_the_same_words_have_rules_of_their_own() {
        let text = "app = \"x\"\n[service.api]\nimage = \"a:1\"\nport = 3000\n[route.\"a.example\"]\n\
                    \"/\" = { to = \"service.api\" }\n\"/api/v1\" = { to = \"service.api\", max_body = \"1Mi\" }\n\
                    \"/api-v1\" = { to = \"service.api\" }\n\"/~x/\" = { to = \"service.api\" }\n";
        let dev = stack::EnvironmentName::new("dev").expect("a name");
        let resolved = stack::resolve("slipway.toml", text, &dev).unwrap_or_else(|problems| panic!("{problems}"));
        let route = &resolved.stack.routes[0];
        let mut names: Vec<String> =
            answered(route).flat_map(|path| rules(route, path)).map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, ["all", "api-v1", "api-v1-2", "api-v1-2-upgrade", "x"]);
    }
}
