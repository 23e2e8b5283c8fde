//! Names and labels, by the recommendation of Kubernetes (`app.kubernetes.io/...`).

use serde_json::{Value, json};

use super::Scene;

/// The labels that select pods: they never change in the life of a workload.
pub(crate) fn select(scene: &Scene<'_>, name: &str) -> Value {
    json!({
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": scene.input.resolved.stack.app.as_str(),
    })
}

/// All labels.
pub(crate) fn all(scene: &Scene<'_>, component: &str, name: &str) -> Value {
    json!({
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": scene.input.resolved.stack.app.as_str(),
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/version": scene.form.tag(),
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
