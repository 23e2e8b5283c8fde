//! The restricted standard of Pod Security, field by field.

use serde_json::{Value, json};

/// Everything in a pod's `spec` that the standard does not allow.
/// Source: Kubernetes documentation, "Pod Security Standards", restricted.
fn violations(spec: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[key] == true {
            found.push(key.to_owned());
        }
    }
    let pod = &spec["securityContext"];
    security(pod, &mut found);
    for sysctl in list(&pod["sysctls"]) {
        found.push(format!("sysctl {}", sysctl["name"]));
    }
    for volume in list(&spec["volumes"]) {
        let kinds = [
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        ];
        if !kinds.iter().any(|kind| volume.get(kind).is_some()) {
            found.push(format!("volume {}", volume["name"]));
        }
    }
    for container in ["initContainers", "containers", "ephemeralContainers"].iter().flat_map(|key| list(&spec[key])) {
        let own = &container["securityContext"];
        security(own, &mut found);
        let said = |key: &str| if own[key].is_null() { &pod[key] } else { &own[key] };
        let mut need = |right: bool, what: &str| {
            if !right {
                found.push(format!("{what} of {}", container["name"]));
            }
        };
        need(own["privileged"] != true, "privileged");
        need(own["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation");
        need(list(&own["capabilities"]["drop"]).contains(&json!("ALL")), "dropped capabilities");
        need(list(&own["capabilities"]["add"]).iter().all(|name| name == "NET_BIND_SERVICE"), "added capabilities");
        need(said("runAsNonRoot") == true, "runAsNonRoot");
        need(*said("runAsUser") != 0, "runAsUser");
        need(
            ["RuntimeDefault", "Localhost"].iter().any(|kind| said("seccompProfile")["type"] == *kind),
            "seccompProfile",
        );
        need(list(&container["ports"]).iter().all(|port| port["hostPort"].is_null()), "hostPort");
        need(own["procMount"].is_null() || own["procMount"] == "Default", "procMount");
    }
    found
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What neither a pod nor a container may say.
fn security(context: &Value, found: &mut Vec<String>) {
    let selinux = &context["seLinuxOptions"];
    let kinds = ["container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
    if !selinux["user"].is_null()
        || !selinux["role"].is_null()
        || selinux["type"].as_str().is_some_and(|kind| !kinds.contains(&kind))
    {
        found.push("seLinuxOptions".to_owned());
    }
    if context["windowsOptions"]["hostProcess"] == true {
        found.push("hostProcess".to_owned());
    }
    if context["appArmorProfile"]["type"] == "Unconfined" {
        found.push("appArmorProfile".to_owned());
    }
    if context["seccompProfile"]["type"] == "Unconfined" {
        found.push("seccompProfile".to_owned());
    }
}

// proves S2.21, S3.7
#[test]
fn every_pod_keeps_the_restricted_standard() {
    let mut count = 0;
    for (stack, input) in super::every() {
        for document in super::documents(&super::render(&input)) {
            let Some(pod) = super::pod(&document) else { continue };
            assert_eq!(violations(&pod["spec"]), Vec::<String>::new(), "{stack} {}", super::name(&document));
            count += 1;
        }
    }
    assert!(count > 50, "{count} pods");
}

/// The check above is worth what it finds.
#[test]
fn every_way_out_of_the_restricted_standard_is_found() {
    let right = json!({
        "securityContext": { "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": [{
            "name": "a",
            "ports": [{ "containerPort": 80 }],
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"], "add": ["NET_BIND_SERVICE"] } },
        }],
        "volumes": [{ "name": "tmp", "emptyDir": {} }],
    });
    assert_eq!(violations(&right), Vec::<String>::new());
    for (at, value, said) in [
        ("/hostNetwork", json!(true), "hostNetwork"),
        ("/hostPID", json!(true), "hostPID"),
        ("/hostIPC", json!(true), "hostIPC"),
        ("/volumes/0", json!({ "name": "tmp", "hostPath": { "path": "/" } }), "volume"),
        ("/securityContext/runAsNonRoot", json!(false), "runAsNonRoot"),
        ("/securityContext/runAsUser", json!(0), "runAsUser"),
        ("/securityContext/seccompProfile/type", json!("Unconfined"), "seccompProfile"),
        ("/securityContext/seccompProfile", Value::Null, "seccompProfile"),
        ("/securityContext/sysctls", json!([{ "name": "kernel.msgmax", "value": "1" }]), "sysctl"),
        ("/securityContext/seLinuxOptions", json!({ "type": "spc_t" }), "seLinuxOptions"),
        ("/securityContext/seLinuxOptions", json!({ "user": "system_u" }), "seLinuxOptions"),
        ("/securityContext/windowsOptions", json!({ "hostProcess": true }), "hostProcess"),
        ("/securityContext/appArmorProfile", json!({ "type": "Unconfined" }), "appArmorProfile"),
        ("/containers/0/securityContext/privileged", json!(true), "privileged"),
        ("/containers/0/securityContext/allowPrivilegeEscalation", Value::Null, "allowPrivilegeEscalation"),
        ("/containers/0/securityContext/capabilities/drop", json!(["NET_RAW"]), "dropped capabilities"),
        ("/containers/0/securityContext/capabilities/add", json!(["SYS_ADMIN"]), "added capabilities"),
        ("/containers/0/securityContext/runAsUser", json!(0), "runAsUser"),
        ("/containers/0/securityContext/procMount", json!("Unmasked"), "procMount"),
        ("/containers/0/ports/0/hostPort", json!(80), "hostPort"),
    ] {
        let mut wrong = right.clone();
        let (parent, key) = at.rsplit_once('/').expect("a path");
        let parent = wrong.pointer_mut(parent).expect("it is there");
        match parent {
            Value::Array(list) => list[0] = value,
            parent => parent[key] = value,
        }
        assert!(violations(&wrong).iter().any(|one| one.starts_with(said)), "{at}: {:?}", violations(&wrong));
    }
}
