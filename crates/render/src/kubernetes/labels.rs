//! Names and labels, by the recommendation of Kubernetes (`app.kubernetes.io/...`).

use serde_json::{Value, json};
use stack::{DatabaseEngine, ResourceName, Source};

use super::{Scene, chart};

/// The labels that select pods: they never change in the life of a workload.
pub(crate) fn select(scene: &Scene<'_>, name: &str) -> Value {
    json!({
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": scene.input.resolved.stack.app.as_str(),
    })
}

/// What runs: the release, where it is built with it; else the version of what is run, so that a release leaves it alone.
fn version(scene: &Scene<'_>, component: &str, name: &str) -> String {
    let stack = &scene.input.resolved.stack;
    let engine = |engine: &str| engine.split_once(':').map(|(_, version)| chart::label(version));
    let own = ResourceName::new(name).ok().and_then(|name| match component {
        "database" => stack.databases.get(&name).map(|database| match &database.engine {
            DatabaseEngine::Postgres(version) => chart::label(version),
            DatabaseEngine::Sqlite => "3".to_owned(),
        }),
        "cache" => stack.caches.get(&name).and_then(|cache| engine(&cache.engine)),
        "queue" => stack.queues.get(&name).and_then(|queue| engine(&queue.engine)),
        "service" => stack.services.get(&name).and_then(|service| match &service.source {
            Source::Image(image) => engine(image.rsplit('/').next().unwrap_or(image)),
            _ => None,
        }),
        _ => None,
    });
    own.unwrap_or_else(|| scene.form.tag())
}

/// All labels.
pub(crate) fn all(scene: &Scene<'_>, component: &str, name: &str) -> Value {
    json!({
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": scene.input.resolved.stack.app.as_str(),
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/version": version(scene, component, name),
        "app.kubernetes.io/managed-by": scene.form.manager(),
    })
}

/// Metadata of an object called `object` that belongs to the resource `name`.
pub(crate) fn meta(scene: &Scene<'_>, component: &str, name: &str, object: &str) -> Value {
    json!({ "name": object, "namespace": scene.form.namespace(), "labels": all(scene, component, name) })
}

/// Metadata with annotations.
pub(crate) fn annotated(scene: &Scene<'_>, component: &str, name: &str, object: &str, annotations: Value) -> Value {
    let mut meta = meta(scene, component, name, object);
    meta["annotations"] = annotations;
    meta
}
