//! Who may talk to whom: nothing by default, then exactly what `needs` and routes say (S2.21).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stack::{DatabaseEngine, Kind, ResourceName, ResourceRef};

use super::{Scene, addresses, labels};
use crate::program::Program;

/// Where visitors come from: the namespace of the Gateway's own pods, or of the Ingress controller's.
fn visitors(scene: &Scene<'_>) -> Value {
    namespace(if scene.input.options.ingress { "haproxy-controller" } else { "envoy-gateway-system" })
}

/// Who reads measurements.
const MONITORING: &str = "monitoring";

/// Denies everything, then lets every pod ask for names, and those who sign certificates see the proof of a name.
pub(crate) fn default(scene: &Scene<'_>) -> Vec<Value> {
    let meta = |object: &str| labels::meta(scene, "network", "network", object);
    let proof = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta("allow-certificates"),
        "spec": {
            "# pods that cert-manager starts for a moment": null,
            "podSelector": { "matchLabels": { "acme.cert-manager.io/http01-solver": "true" } },
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": [visitors(scene)], "ports": tcp(&[8089]) }],
        },
    });
    let mut policies = vec![
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": meta("deny-all"),
            "spec": { "podSelector": {}, "policyTypes": ["Ingress", "Egress"] },
        }),
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": meta("allow-names"),
            "spec": {
                "podSelector": {},
                "policyTypes": ["Egress"],
                "egress": [{
                    "to": [{
                        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } },
                        "podSelector": { "matchLabels": { "k8s-app": "kube-dns" } },
                    }],
                    "ports": [{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }],
                }],
            },
        }),
    ];
    policies.extend((!scene.input.resolved.stack.routes.is_empty()).then_some(proof));
    policies
}

fn pods(selector: &Value) -> Value {
    json!({ "podSelector": { "matchLabels": selector } })
}

fn namespace(name: &str) -> Value {
    json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } } })
}

fn tcp(ports: &[u16]) -> Value {
    ports.iter().map(|port| json!({ "protocol": "TCP", "port": port })).collect()
}

/// Labels of the pods of a store, and its port.
fn store(scene: &Scene<'_>, need: &ResourceRef) -> Option<(Value, u16)> {
    let stack = &scene.input.resolved.stack;
    let name = need.name.as_str();
    match need.kind {
        Kind::Database => {
            let database = stack.databases.get(&need.name)?;
            let ours = database.url.is_none() && matches!(database.engine, DatabaseEngine::Postgres(_));
            ours.then(|| (json!({ "cnpg.io/cluster": addresses::cluster(name) }), 5432))
        }
        Kind::Cache => {
            let cache = stack.caches.get(&need.name)?;
            cache.url.is_none().then(|| (labels::select(scene, name), 6379))
        }
        Kind::Queue => {
            let queue = stack.queues.get(&need.name)?;
            queue.url.is_none().then(|| (json!({ "app.kubernetes.io/name": name }), 5672))
        }
        Kind::Service => Some((labels::select(scene, name), stack.services.get(&need.name)?.port?)),
        _ => None,
    }
}

/// Pods of the programs that need a resource, sorted.
fn users(scene: &Scene<'_>, need: &ResourceRef) -> Vec<Value> {
    let stack = &scene.input.resolved.stack;
    let names = scene.users(need).iter();
    let mut from: Vec<Value> = names.map(|name| pods(&labels::select(scene, name.as_str()))).collect();
    let migrates = need.kind == Kind::Database
        && stack.databases.get(&need.name).is_some_and(|database| database.migrations.is_some());
    if migrates {
        from.push(pods(&labels::select(scene, &format!("migrate-{}", need.name))));
    }
    from
}

fn routed(scene: &Scene<'_>, kind: Kind, name: &ResourceName) -> bool {
    let routes = &scene.input.resolved.stack.routes;
    routes.iter().flat_map(|route| &route.paths).any(|path| path.to.kind == kind && path.to.name == *name)
}

/// What a program may take and where it may go.
pub(crate) fn program(scene: &Scene<'_>, program: &Program<'_>) -> Value {
    let name = program.name.as_str();
    let needs = program.needs();
    let mut ingress = Vec::new();
    if let Some(port) = program.host.filter(|_| program.kind == Kind::Service).and_then(|(_, service)| service.port) {
        let mut from = users(scene, &program.reference());
        if routed(scene, Kind::Service, program.name) {
            from.push(visitors(scene));
        }
        if crate::scrape::of(&scene.input.resolved.stack, Kind::Service, program.name).wanted {
            from.push(namespace(MONITORING));
        }
        // an empty list would be everybody
        ingress.extend((!from.is_empty()).then(|| json!({ "from": from, "ports": tcp(&[port]) })));
    }
    let mut egress = Vec::new();
    let mut outside = BTreeSet::new();
    for need in needs {
        match store(scene, need) {
            Some((selector, port)) => egress.push(json!({ "to": [pods(&selector)], "ports": tcp(&[port]) })),
            None => outside.extend(ports(scene, need)),
        }
    }
    egress.extend(elsewhere(outside));
    policy(scene, program.kind.as_str(), name, name, &labels::select(scene, name), &ingress, &egress)
}

/// Ports of what lies outside the cluster: the one its address names, else those its kind is known by.
fn ports(scene: &Scene<'_>, need: &ResourceRef) -> Vec<u16> {
    let stack = &scene.input.resolved.stack;
    let url = match need.kind {
        Kind::Database => stack.databases.get(&need.name).and_then(|database| database.url.as_deref()),
        Kind::Cache => stack.caches.get(&need.name).and_then(|cache| cache.url.as_deref()),
        Kind::Queue => stack.queues.get(&need.name).and_then(|queue| queue.url.as_deref()),
        _ => stack.extras.get(need).and_then(|extra| extra.settings.get("url")?.as_str()),
    };
    let authority = url.and_then(|url| url.split_once("://")).map(|(_, rest)| rest.split(['/', '?']).next());
    let named = authority.flatten().and_then(|authority| authority.rsplit_once(':')?.1.parse().ok());
    match (named, need.kind) {
        (Some(port), _) => vec![port],
        (None, Kind::Database) if url.is_none() => Vec::new(),
        (None, Kind::Database) => vec![5432],
        (None, Kind::Cache) => vec![6379],
        (None, Kind::Queue) => vec![5671, 5672],
        (None, Kind::Mail) => vec![443, 465, 587],
        (None, _) => vec![443],
    }
}

/// What lies outside the cluster, and never by way of the addresses that belong to machines (169.254.0.0/16 hands out
/// credentials).
fn elsewhere(ports: impl IntoIterator<Item = u16>) -> Option<Value> {
    let ports: Vec<u16> = ports.into_iter().collect();
    (!ports.is_empty()).then(|| {
        json!({
            "to": [
                { "ipBlock": { "cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"] } },
                { "ipBlock": { "cidr": "::/0", "except": ["fe80::/10"] } },
            ],
            "ports": tcp(&ports),
        })
    })
}

/// A step that migrates a database reaches that database and nothing else.
pub(crate) fn migration(scene: &Scene<'_>, database: &ResourceName, name: &str) -> Value {
    let need = ResourceRef { kind: Kind::Database, name: database.clone() };
    let egress = match store(scene, &need) {
        Some((selector, port)) => Some(json!({ "to": [pods(&selector)], "ports": tcp(&[port]) })),
        None => elsewhere(ports(scene, &need)),
    };
    policy(scene, "migrate", name, name, &labels::select(scene, name), &[], egress.as_slice())
}

/// A site takes visitors and goes nowhere.
pub(crate) fn site(scene: &Scene<'_>, name: &str) -> Value {
    let ingress = json!({ "from": [visitors(scene)], "ports": tcp(&[8080]) });
    policy(scene, "site", name, name, &labels::select(scene, name), &[ingress], &[])
}

/// Who else than its users speaks with a store, and by which ports.
#[derive(Default)]
pub(crate) struct Around<'a> {
    /// The namespace of its operator.
    pub(crate) operator: Option<(&'a str, &'a [u16])>,
    /// Its own members.
    pub(crate) peers: &'a [u16],
    /// Whether its members speak with the cluster's API and with an object store.
    pub(crate) asks_outside: bool,
    /// Where it tells what is measured.
    pub(crate) measured: Option<u16>,
}

/// A store takes those who need it, its own peers, its operator and who reads measurements.
pub(crate) fn data(scene: &Scene<'_>, need: &ResourceRef, around: &Around<'_>) -> Option<Value> {
    let (selector, port) = store(scene, need)?;
    let mut ingress = Vec::new();
    let users = users(scene, need);
    if !users.is_empty() {
        ingress.push(json!({ "from": users, "ports": tcp(&[port]) }));
    }
    ingress.push(json!({ "from": [pods(&selector)], "ports": tcp(around.peers) }));
    let mut egress = vec![json!({ "to": [pods(&selector)], "ports": tcp(around.peers) })];
    if let Some((space, ports)) = around.operator {
        ingress.push(json!({ "from": [namespace(space)], "ports": tcp(ports) }));
    }
    if around.asks_outside {
        egress.push(json!({ "ports": tcp(&[443, 6443]) }));
    }
    ingress.extend(around.measured.map(|port| json!({ "from": [namespace(MONITORING)], "ports": tcp(&[port]) })));
    let object = format!("{}-{}", need.kind, need.name);
    Some(policy(scene, need.kind.as_str(), need.name.as_str(), &object, &selector, &ingress, &egress))
}

fn policy(
    scene: &Scene<'_>,
    component: &str,
    name: &str,
    object: &str,
    selector: &Value,
    ingress: &[Value],
    egress: &[Value],
) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": labels::meta(scene, component, name, object),
        "spec": {
            "podSelector": { "matchLabels": selector },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    })
}
