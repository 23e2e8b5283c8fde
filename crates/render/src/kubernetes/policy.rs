//! Who may talk to whom: nothing by default, then exactly what `needs` and routes say (S2.21).

use serde_json::{Value, json};
use stack::{Kind, ResourceName, ResourceRef};

use super::{Scene, addresses, labels};
use crate::program::Program;

/// Where visitors come from: the namespace of the Gateway's own pods.
const GATEWAY: &str = "envoy-gateway-system";

/// Denies everything, then lets every pod ask for names.
pub(crate) fn default(scene: &Scene<'_>) -> Vec<Value> {
    let meta = |object: &str| labels::meta(scene, "network", "network", object);
    vec![
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
    ]
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
            database.url.is_none().then(|| (json!({ "cnpg.io/cluster": addresses::cluster(name) }), 5432))
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
            from.push(namespace(GATEWAY));
        }
        from.push(namespace("monitoring"));
        ingress.push(json!({ "from": from, "ports": tcp(&[port]) }));
    }
    let mut egress = Vec::new();
    let mut outside = false;
    for need in needs {
        match store(scene, need) {
            Some((selector, port)) => egress.push(json!({ "to": [pods(&selector)], "ports": tcp(&[port]) })),
            None => outside = true,
        }
    }
    if outside {
        egress.push(elsewhere());
    }
    policy(scene, program.kind.as_str(), name, name, &labels::select(scene, name), &ingress, &egress)
}

/// What lies outside the cluster is reached over TLS or the database's own port, and never by way of private ranges
/// that belong to machines (169.254.0.0/16 hands out credentials).
fn elsewhere() -> Value {
    json!({
        "to": [{ "ipBlock": { "cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"] } }],
        "ports": tcp(&[443, 5432, 5671, 6379]),
    })
}

/// A step that migrates a database reaches that database and nothing else.
pub(crate) fn migration(scene: &Scene<'_>, database: &ResourceName, name: &str) -> Value {
    let need = ResourceRef { kind: Kind::Database, name: database.clone() };
    let egress = match store(scene, &need) {
        Some((selector, port)) => json!({ "to": [pods(&selector)], "ports": tcp(&[port]) }),
        None => elsewhere(),
    };
    policy(scene, "migrate", name, name, &labels::select(scene, name), &[], &[egress])
}

/// A site takes visitors and goes nowhere.
pub(crate) fn site(scene: &Scene<'_>, name: &str) -> Value {
    let ingress = json!({ "from": [namespace(GATEWAY)], "ports": tcp(&[8080]) });
    policy(scene, "site", name, name, &labels::select(scene, name), &[ingress], &[])
}

/// A store takes those who need it, its own peers, its operator and the exporter's reader.
pub(crate) fn data(
    scene: &Scene<'_>,
    need: &ResourceRef,
    operator: Option<(&str, &[u16])>,
    peers: &[u16],
) -> Option<Value> {
    let (selector, port) = store(scene, need)?;
    let mut ingress = Vec::new();
    let users = users(scene, need);
    if !users.is_empty() {
        ingress.push(json!({ "from": users, "ports": tcp(&[port]) }));
    }
    ingress.push(json!({ "from": [pods(&selector)], "ports": tcp(peers) }));
    let mut egress = vec![json!({ "to": [pods(&selector)], "ports": tcp(peers) })];
    if let Some((space, ports)) = operator {
        ingress.push(json!({ "from": [namespace(space)], "ports": tcp(ports) }));
        // instances speak with the cluster's API and with the object store of backups
        egress.push(json!({ "ports": tcp(&[443, 6443]) }));
    }
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
