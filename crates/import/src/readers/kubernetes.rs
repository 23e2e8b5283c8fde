//! Kubernetes manifests: every document of every file.

mod container;
mod job;
mod known;
mod policy;
mod probe;
mod route;
mod scale;
mod store;
mod variable;
mod workload;

use super::data::{self, Role};
use crate::{
    cursor::{Cursor, Marks, entries},
    detect::File,
    draft::{Draft, label},
    report::Entry,
    tree,
};
use known::Known;

/// What is said of a key that no stack has.
const UNKNOWN: &str = "`slipway render kubernetes` writes what the cluster needs; the stack has no key for this";

/// What is said of what the renderer writes by itself.
const WRITES: &str = "`slipway render kubernetes` writes it";

/// Documents of one file in the files' order, each under its kind and name.
struct Sheet<'f> {
    file: &'f File,
    trees: Vec<tree::Node>,
    marks: Marks,
}

/// Reads all files of manifests together: what one declares another refers to.
pub(crate) fn read(files: &[&File], draft: &mut Draft) -> Result<Vec<Entry>, (String, String)> {
    let mut sheets = Vec::new();
    for file in files {
        let trees = tree::yaml(&file.text).map_err(|reason| (file.name.clone(), reason))?;
        sheets.push(Sheet { file, trees, marks: Marks::default() });
    }
    let cursors: Vec<(&File, Cursor<'_>)> =
        sheets.iter().flat_map(|sheet| sheet.documents().into_iter().map(|at| (sheet.file, at))).collect();
    let mut known = Known::default();
    let kind_of = |at: &Cursor<'_>| at.find("kind").and_then(|kind| kind.text()).unwrap_or_default();
    // programs lead to each other by their names
    for (_, at) in cursors.iter().filter(|(_, at)| rank(&kind_of(at)) == 2 && kind_of(at) != "CronJob") {
        if matches!(data::role(&workload::image(&kind_of(at), at)), Role::Program | Role::Proxy | Role::Search) {
            draft.section("service", &label(&name_of(at), "service"));
        }
    }
    for order in 0..=4 {
        for (_, at) in &cursors {
            let kind = kind_of(at);
            if rank(&kind) == order {
                document(&kind, at, &mut known, draft);
            }
        }
    }
    Ok(cursors.iter().flat_map(|(file, at)| entries(&file.name, at, UNKNOWN)).collect())
}

impl Sheet<'_> {
    fn documents(&self) -> Vec<Cursor<'_>> {
        let mut documents = Vec::new();
        for tree in &self.trees {
            // a list holds documents of its own
            match (tree.find("kind").and_then(tree::Node::scalar).as_deref(), tree.find("items").map(|at| &at.value)) {
                (Some("List"), Some(tree::Value::List(items))) => documents.extend(items.iter()),
                _ => documents.push(tree),
            }
        }
        let named = documents.into_iter().map(|tree| {
            let kind = tree.find("kind").and_then(tree::Node::scalar).unwrap_or_else(|| "document".to_owned());
            let name = tree.find("metadata").and_then(|metadata| metadata.find("name")).and_then(tree::Node::scalar);
            Cursor::document(tree, &self.marks, format!("{kind}/{}", name.unwrap_or_else(|| "unnamed".to_owned())))
        });
        named.collect()
    }
}

/// What others refer to comes first.
fn rank(kind: &str) -> usize {
    match kind {
        "ConfigMap" | "Secret" | "Namespace" | "Service" => 0,
        "StatefulSet" | "Cluster" | "RabbitmqCluster" | "RedisCluster" => 1,
        "Deployment" | "DaemonSet" | "ReplicaSet" | "Pod" | "CronJob" => 2,
        "SecurityPolicy" | "BackendTrafficPolicy" | "HorizontalPodAutoscaler" => 4,
        _ => 3,
    }
}

fn name_of(at: &Cursor<'_>) -> String {
    at.find_below(&["metadata", "name"]).and_then(|name| name.text()).unwrap_or_default()
}

/// A whole number below several keys.
fn number(at: &Cursor<'_>, keys: &[&str]) -> Option<i64> {
    at.find_below(keys).and_then(|at| at.text()).and_then(|text| text.parse().ok())
}

fn document(kind: &str, at: &Cursor<'_>, known: &mut Known, draft: &mut Draft) {
    at.refused(UNKNOWN);
    for key in ["apiVersion", "kind"] {
        if let Some(at) = at.find(key) {
            at.changed(WRITES);
        }
    }
    if let Some(metadata) = at.find("metadata") {
        metadata.changed("names and labels are made by `slipway render kubernetes`");
    }
    let name = label(&name_of(at), "service");
    match kind {
        "Namespace" => namespace(at, draft),
        "ConfigMap" => known.config(at),
        "Secret" => known.secret(at),
        "Service" => known.service(at),
        "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet" | "Pod" => {
            workload::read(kind, &name, at, known, draft);
        }
        "Cluster" => store::cluster(at, known, draft),
        "RabbitmqCluster" => store::broker(&name, at, known, draft),
        "RedisCluster" => store::shards(&name, at, known, draft),
        "ObjectStore" => store::backups(at, known, draft),
        "ScheduledBackup" => store::schedule(at, known, draft),
        "CronJob" => job::scheduled(&name, at, known, draft),
        "Job" => job::once(at, known, draft),
        "Ingress" => route::ingress(at, known, draft),
        "HTTPRoute" => route::http(at, known, draft),
        "SecurityPolicy" => policy::origins(at, known, draft),
        "BackendTrafficPolicy" => policy::traffic(at, known, draft),
        "HorizontalPodAutoscaler" => scale::read(at, draft),
        "Gateway"
        | "GatewayClass"
        | "ClientTrafficPolicy"
        | "Certificate"
        | "ClusterIssuer"
        | "Issuer"
        | "PodDisruptionBudget"
        | "PersistentVolumeClaim"
        | "StorageClass"
        | "NetworkPolicy"
        | "ServiceMonitor"
        | "PodMonitor"
        | "ServiceAccount" => at.changed(WRITES),
        "Kustomization" => at.changed("overlays are [environment.NAME] tables"),
        _ => {}
    }
}

/// A namespace is the application's name; one that was rendered holds the environment's as well.
fn namespace(at: &Cursor<'_>, draft: &mut Draft) {
    at.changed("the application's name");
    let name = name_of(at);
    let app = at.find_below(&["metadata", "labels", "app.kubernetes.io/part-of"]).and_then(|app| app.text());
    if let Some(app) = app {
        if let Some(environment) = name.strip_prefix(app.as_str()).and_then(|rest| rest.strip_prefix('-')) {
            draft.section("environment", environment).set("target", "kubernetes");
        }
        draft.app = Some(app);
    } else {
        draft.app.get_or_insert(name);
    }
}
