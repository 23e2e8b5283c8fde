//! A service: account, Deployment with three probes, Service, autoscaler, disruption budget, policy, monitor.

use serde_json::{Value, json};
use stack::{ResourceName, Service, Size};

use super::{Scene, Sheet, labels, pod, policy};
use crate::program::Program;

pub(crate) fn sheet(scene: &Scene<'_>, name: &ResourceName, service: &Service) -> Sheet {
    let program = Program::service(name, service);
    let at = format!("services.{}", super::chart::key(name.as_str()));
    let text = name.as_str();
    let mut documents = vec![pod::account(scene, "service", text), deployment(scene, &program, service, &at)];
    if service.port.is_some() {
        documents.push(balanced(scene, "service", text, "http"));
    }
    documents.extend(scaler(scene, text, &service.size, &at));
    documents.extend(budget(scene, "service", text, &labels::select(scene, text), service.size.replicas.min));
    documents.push(policy::program(scene, &program));
    documents.extend(monitor(scene, name, service));
    (format!("service-{name}"), format!("The service {name}."), documents)
}

fn scales(size: &Size) -> bool {
    size.replicas.max > size.replicas.min
}

fn deployment(scene: &Scene<'_>, program: &Program<'_>, service: &Service, at: &str) -> Value {
    let name = program.name.as_str();
    let mut container = pod::container(scene, program, at);
    if scales(&service.size) {
        asked(&mut container, &service.size);
    }
    if let Some(port) = service.port {
        container["ports"] = json!([{ "name": "http", "containerPort": port }]);
        probes(&mut container, service);
        // endpoints learn of the end later than the pod: wait, then stop
        container["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": 5 } } });
    }
    let (_, source) = program.source();
    let mut spec = pod::spec(scene, name, source, container);
    spec["terminationGracePeriodSeconds"] = json!((service.drain.0 + service.stop.0).as_secs() + 5);
    let replicas =
        (!scales(&service.size)).then(|| scene.form.value(&format!("{at}.replicas"), service.size.replicas.min.into()));
    let mut deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": labels::meta(scene, "service", name, name),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 5,
            "# a release that is not ready in time has failed, and the old one still serves": null,
            "progressDeadlineSeconds": service.start.0.as_secs() + 240,
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": 0 } },
            "selector": { "matchLabels": labels::select(scene, name) },
            "template": { "metadata": pod::meta(scene, "service", name), "spec": null },
        },
    });
    deployment["spec"]["template"]["spec"] = spec;
    deployment
}

/// What the autoscaler measures by: percent of what is asked for, so something must be.
fn asked(container: &mut Value, size: &Size) {
    let scale = size.scale_at.as_ref();
    let by_memory = scale.and_then(|scale| scale.memory).is_some();
    let by_cpu = !by_memory || scale.and_then(|scale| scale.cpu).is_some();
    for (name, wanted, amount) in [("cpu", by_cpu, "100m"), ("memory", by_memory, "128Mi")] {
        let known = container["resources"]["requests"].get(name).is_some();
        if wanted && !known {
            container["resources"]["requests"][name] = amount.into();
        }
    }
}

fn probes(container: &mut Value, service: &Service) {
    let seconds = |period: stack::Period| period.0.as_secs().max(1);
    let ask = |path: Option<&str>| match path {
        Some(path) => json!({ "httpGet": { "path": path, "port": "http" } }),
        None => json!({ "tcpSocket": { "port": "http" } }),
    };
    let probe = |path: Option<&str>, every: u64, timeout: u64, up: u32, down: u64| {
        let mut probe = ask(path);
        probe["periodSeconds"] = every.into();
        probe["timeoutSeconds"] = timeout.into();
        if up > 1 {
            probe["successThreshold"] = up.into();
        }
        probe["failureThreshold"] = down.into();
        probe
    };
    let health = service.health.as_ref();
    let path = health.map(|health| health.path.as_str());
    let ready = service.ready.as_deref().or(path);
    let (every, timeout, up, down) =
        health.map_or((10, 2, 1, 3), |h| (seconds(h.every), seconds(h.timeout), h.up, u64::from(h.down)));
    container["startupProbe"] = probe(path, 2, timeout, 1, seconds(service.start).div_ceil(2));
    container["livenessProbe"] = probe(path, every, timeout, 1, down);
    container["readinessProbe"] = probe(ready, every.min(5), timeout.min(5), up, down);
}

/// A Service on port 80 in front of the pods' named port.
pub(crate) fn balanced(scene: &Scene<'_>, component: &str, name: &str, port: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": labels::meta(scene, component, name, name),
        "spec": {
            "type": "ClusterIP",
            "selector": labels::select(scene, name),
            // said although it is the default: an apply by the server knows a port by both
            "ports": [{ "name": "http", "protocol": "TCP", "port": 80, "targetPort": port }],
        },
    })
}

fn scaler(scene: &Scene<'_>, name: &str, size: &Size, at: &str) -> Option<Value> {
    let metric = |name: &str, percent: u8| {
        json!({
            "type": "Resource",
            "resource": { "name": name, "target": { "type": "Utilization", "averageUtilization": percent } },
        })
    };
    let at_cpu = size.scale_at.as_ref().and_then(|scale| scale.cpu);
    let at_memory = size.scale_at.as_ref().and_then(|scale| scale.memory);
    let mut metrics: Vec<Value> = Vec::new();
    metrics.extend(at_cpu.map(|percent| metric("cpu", percent)));
    metrics.extend(at_memory.map(|percent| metric("memory", percent)));
    if metrics.is_empty() {
        metrics.push(metric("cpu", 70));
    }
    scales(size).then(|| {
        json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": labels::meta(scene, "service", name, name),
            "spec": {
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
                "minReplicas": scene.form.value(&format!("{at}.minReplicas"), size.replicas.min.into()),
                "maxReplicas": scene.form.value(&format!("{at}.maxReplicas"), size.replicas.max.into()),
                "metrics": metrics,
                "behavior": { "scaleDown": { "stabilizationWindowSeconds": 300 } },
            },
        })
    })
}

/// At most one replica is taken away at a time, when there are several.
pub(crate) fn budget(scene: &Scene<'_>, component: &str, name: &str, pods: &Value, replicas: u32) -> Option<Value> {
    (replicas > 1).then(|| {
        json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": labels::meta(scene, component, name, name),
            "spec": {
                "maxUnavailable": 1,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": { "matchLabels": pods },
            },
        })
    })
}

/// What the Prometheus operator reads: services that a `[scrape]` names, by default all with a port.
fn monitor(scene: &Scene<'_>, name: &ResourceName, service: &Service) -> Option<Value> {
    service.port?;
    let rule = crate::scrape::of(&scene.input.resolved.stack, stack::Kind::Service, name);
    rule.wanted.then(|| {
        json!({
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": labels::meta(scene, "service", name.as_str(), name.as_str()),
            "spec": {
                "selector": { "matchLabels": labels::select(scene, name.as_str()) },
                "endpoints": [{ "port": "http", "path": rule.path, "interval": rule.every }],
            },
        })
    })
}
