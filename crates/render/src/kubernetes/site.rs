//! A site: nginx with the files in its image, several replicas, the same closed pod as a service.

use serde_json::json;
use stack::{Kind, PathRoute, Problems, ResourceName, ResourceRef, Route, Site, Source};

use super::{Scene, Sheet, labels, pod, policy, service};
use crate::{
    File, Input, dockerfile,
    edge::{self, Place},
};

pub(crate) fn sheet(scene: &Scene<'_>, name: &ResourceName, _site: &Site) -> Sheet {
    let text = name.as_str();
    let ask = json!({ "httpGet": { "path": "/", "port": "http" }, "periodSeconds": 5, "timeoutSeconds": 2 });
    let container = json!({
        "name": "site",
        "image": scene.form.image(text),
        "imagePullPolicy": "IfNotPresent",
        "ports": [{ "name": "http", "containerPort": 8080 }],
        "startupProbe": { "httpGet": { "path": "/", "port": "http" }, "periodSeconds": 1, "failureThreshold": 30 },
        "livenessProbe": ask,
        "readinessProbe": ask,
        "resources": { "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "cpu": "500m", "memory": "128Mi" } },
        "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } },
        "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }],
    });
    let mut spec = pod::spec(scene, text, &Source::Image(String::new()), container);
    for who in ["runAsUser", "runAsGroup", "fsGroup"] {
        spec["securityContext"][who] = 101.into();
    }
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": labels::meta(scene, "site", text, text),
        "spec": {
            "replicas": scene.form.value(&format!("sites.{}.replicas", super::chart::key(text)), 2.into()),
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "selector": { "matchLabels": labels::select(scene, text) },
            "template": { "metadata": { "labels": labels::all(scene, "site", text) }, "spec": spec },
        },
    });
    let mut documents =
        vec![pod::account(scene, "site", text), deployment, service::balanced(scene, "site", text, "http")];
    documents.extend(service::budget(scene, "site", text, &labels::select(scene, text), 2));
    documents.push(policy::site(scene, text));
    (format!("site-{name}"), format!("The site {name}."), documents)
}

/// Its image: the Dockerfile and the configuration of its nginx.
pub(crate) fn image(
    input: &Input,
    name: &ResourceName,
    site: &Site,
    folder: &str,
    problems: &mut Problems,
) -> Vec<File> {
    let mut resolved = input.resolved.clone();
    resolved.environment.trusted_proxies = Vec::new();
    resolved.stack.services.clear();
    resolved.stack.routes = vec![Route {
        host: "*".to_owned(),
        paths: vec![PathRoute {
            path: "/".to_owned(),
            to: ResourceRef { kind: Kind::Site, name: name.clone() },
            strip: false,
            limit: None,
            cors: None,
            sticky: false,
            websocket: false,
            max_body: None,
        }],
        redirect_from: Vec::new(),
    }];
    let place = Place {
        port: 8080,
        certificates: None,
        unprivileged: true,
        instances: &|_| Vec::new(),
        root: &|site| format!("/srv/{site}"),
    };
    let body = edge::nginx(&resolved, &place, problems);
    let conf = format!("docker/{name}.nginx.conf");
    let mut dockerfile = dockerfile::edge(&[(name.as_str(), site)], folder);
    dockerfile.path = format!("docker/{name}.Dockerfile");
    dockerfile.text = dockerfile.text.replace(&format!("{folder}/edge/nginx.conf"), &format!("{folder}/{conf}"));
    vec![dockerfile, File::new(conf, "Serves one site. TLS and host names are the Gateway's.", &body)]
}
