//! What every pod has: variables, limits, a closed security context, a spread over zones and machines.

use serde_json::{Map, Value, json};
use stack::{Size, Source};

use super::{Scene, addresses::Cluster, labels};
use crate::{
    binding::{self, Part},
    dockerfile,
    program::{Program, capitals},
};

/// The user of images that we build; images of others get 1000, which most of them expect.
fn user(source: &Source) -> u32 {
    if matches!(source, Source::Folder(_)) { 65532 } else { 1000 }
}

/// Image of a program.
pub(crate) fn image(scene: &Scene<'_>, program: &Program<'_>) -> String {
    match program.source() {
        (_, Source::Image(image)) => image.clone(),
        (name, _) => scene.form.image(name.as_str()),
    }
}

/// Variables: those of the contract come from the ConfigMap, the others one by one; secrets only by reference.
pub(crate) fn env(scene: &Scene<'_>, program: &Program<'_>) -> Vec<Value> {
    let stack = &scene.input.resolved.stack;
    let mut bound = binding::of(stack, program, &Cluster { stack });
    bound.retain(|(name, value)| {
        let default = stack.variables.get(name).and_then(|variable| variable.default.as_ref());
        default.is_none_or(|default| *value != binding::text(default.as_str()))
    });
    variables(&bound)
}

/// Variables with their values, or where the values are.
pub(crate) fn variables(bound: &[(String, binding::Value)]) -> Vec<Value> {
    let mut first = Vec::new();
    let mut then = Vec::new();
    for (name, value) in bound {
        match value.as_slice() {
            [Part::Outside(outside)] => first.push(reference(name, outside)),
            parts => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(part) => text.push_str(&part.replace("$(", "$$(")),
                        Part::Outside(outside) => {
                            let helper = capitals(&outside.replace(['/', '_'], "-"));
                            if !bound.iter().any(|(known, _)| *known == helper)
                                && !first.iter().any(|known: &Value| known["name"] == helper.as_str())
                            {
                                first.push(reference(&helper, outside));
                            }
                            text.push_str("$(");
                            text.push_str(&helper);
                            text.push(')');
                        }
                    }
                }
                then.push(json!({ "name": name, "value": text }));
            }
        }
    }
    // Kubernetes fills $(NAME) only from what stands above
    first.extend(then);
    first
}

fn reference(name: &str, outside: &str) -> Value {
    let (secret, key) = outside.split_once('/').unwrap_or(("app-secrets", outside));
    json!({ "name": name, "valueFrom": { "secretKeyRef": { "name": secret, "key": key } } })
}

/// Requests are the lower end of a size, limits the upper.
pub(crate) fn resources(scene: &Scene<'_>, at: &str, size: Option<&Size>) -> Value {
    let cpu = size.and_then(|size| size.cpu);
    let memory = size.and_then(|size| size.memory);
    if cpu.is_none() && memory.is_none() {
        return Value::Null;
    }
    let set = |part: &str, cpu: Option<String>, memory: Option<String>| {
        let mut map = Map::new();
        for (name, value) in [("cpu", cpu), ("memory", memory)] {
            if let Some(value) = value {
                map.insert(name.to_owned(), scene.form.value(&format!("{at}.resources.{part}.{name}"), value.into()));
            }
        }
        map
    };
    json!({
        "requests": set("requests", cpu.map(|cpu| cpu.min.to_string()), memory.map(|memory| memory.min.to_string())),
        "limits": set("limits", cpu.map(|cpu| cpu.max.to_string()), memory.map(|memory| memory.max.to_string())),
    })
}

/// The container of a program.
pub(crate) fn container(scene: &Scene<'_>, program: &Program<'_>, at: &str) -> Value {
    let (_, source) = program.source();
    let built = matches!(source, Source::Folder(_));
    let command = program.run().filter(|_| program.command.is_some() || !built).map(dockerfile::arguments);
    let env = env(scene, program);
    let mut container = json!({
        "name": program.name.as_str(),
        "image": image(scene, program),
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "envFrom": (!scene.input.resolved.stack.variables.is_empty()).then(|| json!([{ "configMapRef": { "name": "app-config" } }])),
        "env": null,
        "resources": resources(scene, at, program.size()),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": built,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }],
    });
    if !env.is_empty() {
        // moved in: `json!` copies what it is given, and this is most of a workload
        container["env"] = env.into();
    }
    container
}

/// Metadata of pods that read the values of the contract: other values, other pods.
pub(crate) fn meta(scene: &Scene<'_>, component: &str, name: &str) -> Value {
    let annotations = scene.contract.as_ref().map(|contract| json!({ "checksum/config": contract }));
    json!({ "labels": labels::all(scene, component, name), "annotations": annotations })
}

/// The rest of a pod around its container.
pub(crate) fn spec(scene: &Scene<'_>, name: &str, source: &Source, container: Value) -> Value {
    let mut spec = json!({
        "serviceAccountName": name,
        "automountServiceAccountToken": false,
        "# a Service called ai must not set AI_PORT": null,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": user(source),
            "runAsGroup": user(source),
            "fsGroup": user(source),
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "topologySpreadConstraints": spread(scene, name),
        "containers": [null],
        "volumes": [{ "name": "tmp", "emptyDir": { "sizeLimit": "256Mi" } }],
    });
    spec["containers"][0] = container;
    spec
}

/// Over zones and machines, as far as there are several.
pub(crate) fn spread(scene: &Scene<'_>, name: &str) -> Value {
    let over = |key: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": labels::select(scene, name) },
        })
    };
    json!([over("topology.kubernetes.io/zone"), over("kubernetes.io/hostname")])
}

/// An account of its own for each program, to which a cloud's role can be bound.
pub(crate) fn account(scene: &Scene<'_>, component: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": labels::meta(scene, component, name, name),
        "automountServiceAccountToken": false,
    })
}
