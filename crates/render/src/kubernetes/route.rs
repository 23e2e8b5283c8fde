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
    let routes = &scene.input.resolved.stack.routes;
    if routes.is_empty() {
        return Vec::new();
    }
    if scene.input.options.ingress {
        return vec![ingress(scene, routes, problems)];
    }
    let mut sheets = vec![gateway(scene, routes)];
    let answered = |route: &&Route| route.paths.iter().any(|path| matches!(path.to.kind, Kind::Service | Kind::Site));
    for route in routes.iter().filter(answered) {
        let mut documents = vec![http_route(scene, route)];
        if !route.redirect_from.is_empty() {
            documents.push(redirect(scene, route));
        }
        for path in &route.paths {
            documents.extend(cors(scene, route, path, problems));
            documents.extend(traffic(scene, route, path));
        }
        sheets.push((format!("route-{}", object(&route.host)), format!("What answers for {}.", route.host), documents));
    }
    sheets
}

fn names(route: &Route) -> impl Iterator<Item = &str> {
    std::iter::once(route.host.as_str()).chain(route.redirect_from.iter().map(String::as_str))
}

/// The Gateway: plain HTTP that only redirects, TLS for each name with a certificate of its own.
fn gateway(scene: &Scene<'_>, routes: &[Route]) -> Sheet {
    let app = scene.input.resolved.stack.app.as_str();
    let mut listeners = vec![json!({
        "name": "http", "port": 80, "protocol": "HTTP",
        "allowedRoutes": { "namespaces": { "from": "Same" } },
    })];
    for host in routes.iter().flat_map(names).filter(|host| *host != "*") {
        listeners.push(json!({
            "name": object(host), "hostname": host, "port": 443, "protocol": "HTTPS",
            "tls": { "mode": "Terminate", "certificateRefs": [{ "name": format!("{}-tls", object(host)) }] },
            "allowedRoutes": { "namespaces": { "from": "Same" } },
        }));
    }
    let documents = vec![
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
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": labels::meta(scene, "gateway", "gateway", "to-https"),
            "spec": {
                "parentRefs": [{ "name": app, "sectionName": "http" }],
                "rules": [{ "filters": [{
                    "type": "RequestRedirect", "requestRedirect": { "scheme": "https", "statusCode": 301 },
                }] }],
            },
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
            },
        }),
    ];
    (
        "gateway".to_owned(),
        "The way in, kept by Envoy Gateway, with certificates by cert-manager.".to_owned(),
        documents,
    )
}

fn hops(scene: &Scene<'_>) -> Value {
    let mut gateways = scene.input.resolved.stack.extras.iter().filter(|(need, _)| need.kind == Kind::Gateway);
    let said = gateways.find_map(|(_, extra)| extra.settings.get("trusted_hops").cloned());
    said.unwrap_or_else(|| usize::from(!scene.input.resolved.environment.trusted_proxies.is_empty()).into())
}

/// Headers of every answer unless the application sets its own (S4.P9).
fn headers() -> Value {
    json!({
        "type": "ResponseHeaderModifier",
        "responseHeaderModifier": { "set": [
            { "name": "Strict-Transport-Security", "value": "max-age=31536000" },
            { "name": "X-Content-Type-Options", "value": "nosniff" },
            { "name": "X-Frame-Options", "value": "SAMEORIGIN" },
            { "name": "Referrer-Policy", "value": "strict-origin-when-cross-origin" },
        ] },
    })
}

fn http_route(scene: &Scene<'_>, route: &Route) -> Value {
    let app = scene.input.resolved.stack.app.as_str();
    let rules: Vec<Value> = route
        .paths
        .iter()
        .filter(|path| matches!(path.to.kind, Kind::Service | Kind::Site))
        .map(|path| {
            let mut filters = vec![headers()];
            if path.strip && path.path != "/" {
                filters.push(json!({
                    "type": "URLRewrite", "urlRewrite": { "path": { "type": "ReplacePrefixMatch", "replacePrefixMatch": "/" } },
                }));
            }
            json!({
                "name": rule(path),
                "matches": [{ "path": { "type": "PathPrefix", "value": path.path } }],
                "filters": filters,
                "backendRefs": [{ "name": path.to.name.as_str(), "port": 80 }],
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

/// Name of a path's rule.
fn rule(path: &PathRoute) -> String {
    let words = path.path.trim_matches('/').replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_ascii_lowercase();
    if words.is_empty() { "all".to_owned() } else { words }
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

fn target(route: &Route, path: &PathRoute) -> Value {
    json!([{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": object(&route.host), "sectionName": rule(path) }])
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
        "metadata": labels::meta(scene, "route", "route", &format!("{}-{}", object(&route.host), rule(path))),
        "spec": {
            "targetRefs": target(route, path),
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
fn traffic(scene: &Scene<'_>, route: &Route, path: &PathRoute) -> Option<Value> {
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
    (limit.is_some() || sticky.is_some()).then(|| {
        json!({
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "BackendTrafficPolicy",
            "metadata": labels::meta(scene, "route", "route", &format!("{}-{}", object(&route.host), rule(path))),
            "spec": { "targetRefs": target(route, path), "rateLimit": limit, "loadBalancer": sticky },
        })
    })
}

/// One Ingress for all names. It carries no limits, origins or stickiness: those are each controller's own words.
fn ingress(scene: &Scene<'_>, routes: &[Route], problems: &mut Problems) -> Sheet {
    let app = scene.input.resolved.stack.app.as_str();
    for route in routes {
        for path in &route.paths {
            let lost = [
                ("limit", path.limit.is_some()),
                ("cors", path.cors.is_some()),
                ("sticky", path.sticky),
                ("strip", path.strip),
            ];
            for (key, _) in lost.into_iter().filter(|(_, lost)| *lost) {
                let key = format!("route.\"{}\".\"{}\".{key}", route.host, path.path);
                let message = format!("`{key}`: an Ingress cannot honour it");
                let mend =
                    "render without --ingress, or take it out of this environment; or leave it out with --leave-out";
                problems.push(Problem::error(honours::CODE, key, message).with_mend(mend));
            }
        }
    }
    let rules: Vec<Value> = routes
        .iter()
        .map(|route| {
            let paths: Vec<Value> = route
                .paths
                .iter()
                .filter(|path| matches!(path.to.kind, Kind::Service | Kind::Site))
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
