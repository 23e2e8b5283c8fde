//! What a Prometheus reads, and the rules that wake somebody.

use serde_json::{Map, Value, json};
use stack::{AlarmRule, Comparison, Kind, MetricUnit, Problems, Resolved, TargetKind};

use crate::{File, Input, measure, scrape, yaml};

pub(crate) fn render(input: &Input, _problems: &mut Problems) -> Vec<File> {
    let resolved = &input.resolved;
    let whole = json!({
        "global": {
            "scrape_interval": "15s",
            "scrape_timeout": "10s",
            "evaluation_interval": "15s",
            "external_labels": { "application": resolved.stack.app.as_str(), "environment": resolved.name.as_str() },
        },
        "rule_files": ["rules.yml"],
        "alerting": { "alertmanagers": [{ "static_configs": [{ "targets": ["alertmanager:9093"] }] }] },
        "scrape_configs": jobs(resolved),
    });
    vec![
        File::new("prometheus.yml", "Check: promtool check config prometheus.yml", &yaml::document(&whole)),
        File::new("rules.yml", "The alarms of the stack. Check: promtool check rules rules.yml", &rules(resolved)),
    ]
}

fn jobs(resolved: &Resolved) -> Vec<Value> {
    let stack = &resolved.stack;
    let mut jobs = vec![json!({ "job_name": "prometheus", "static_configs": [{ "targets": ["localhost:9090"] }] })];
    if resolved.environment.target == TargetKind::Kubernetes {
        jobs.push(pods(resolved));
    } else {
        for (name, service) in &stack.services {
            let rule = scrape::of(stack, Kind::Service, name);
            let Some(port) = service.port.filter(|_| rule.wanted) else { continue };
            jobs.push(json!({
                "job_name": name.as_str(),
                "metrics_path": rule.path,
                "scrape_interval": rule.every,
                "static_configs": [{ "targets": instances(resolved, name.as_str(), port, service.size.replicas.min) }],
            }));
        }
        if resolved.environment.target == TargetKind::Hosts {
            let targets: Vec<String> =
                resolved.environment.hosts.iter().map(|host| format!("{}:9100", bare(host))).collect();
            jobs.push(json!({ "job_name": "hosts", "static_configs": [{ "targets": targets }] }));
        }
    }
    let exporters = [
        ("postgres", 9187, stack.databases.len(), "postgres-exporter", Kind::Database),
        ("redis", 9121, stack.caches.len(), "redis-exporter", Kind::Cache),
        ("rabbitmq", 15_692, stack.queues.len(), "rabbitmq", Kind::Queue),
    ];
    for (job, port, count, host, kind) in exporters {
        if count == 0 {
            continue;
        }
        let names = exported(resolved, kind, host);
        let targets: Vec<String> = names.iter().map(|name| format!("{name}:{port}")).collect();
        jobs.push(json!({ "job_name": job, "static_configs": [{ "targets": targets }] }));
    }
    jobs
}

/// One exporter per server, and one per replica of a database.
fn exported(resolved: &Resolved, kind: Kind, otherwise: &str) -> Vec<String> {
    let stack = &resolved.stack;
    match kind {
        Kind::Database => stack
            .databases
            .iter()
            .flat_map(|(name, database)| {
                let replicas = (1..=database.replicas).map(move |at| format!("postgres-{name}-replica{at}"));
                std::iter::once(format!("postgres-{name}")).chain(replicas)
            })
            .collect(),
        Kind::Cache => stack.caches.keys().map(|name| format!("redis-{name}")).collect(),
        _ => vec![otherwise.to_owned()],
    }
}

/// Host without the user.
pub(crate) fn bare(host: &str) -> &str {
    host.rsplit('@').next().unwrap_or(host)
}

/// Addresses of a service's instances: `port`, `port + 1` and so on, on each host.
pub(crate) fn instances(resolved: &Resolved, service: &str, port: u16, replicas: u32) -> Vec<String> {
    let hosts: Vec<&str> = resolved.environment.hosts.iter().map(|host| bare(host)).collect();
    if hosts.is_empty() {
        return vec![format!("{service}:{port}")];
    }
    let each = replicas.div_ceil(u32::try_from(hosts.len()).unwrap_or(1)).max(1);
    let ports = (0..each).map(|at| port.saturating_add(u16::try_from(at).unwrap_or(0)));
    hosts.iter().flat_map(|host| ports.clone().map(move |port| format!("{host}:{port}"))).collect()
}

/// Pods of the application that say they want to be read.
fn pods(resolved: &Resolved) -> Value {
    let space = format!("{}-{}", resolved.stack.app, resolved.name);
    json!({
        "job_name": "pods",
        "kubernetes_sd_configs": [{
            "role": "pod",
            "namespaces": { "names": [space] },
            "selectors": [{ "role": "pod", "label": format!("app.kubernetes.io/part-of={}", resolved.stack.app) }],
        }],
        "relabel_configs": [
            { "source_labels": ["__meta_kubernetes_pod_annotation_prometheus_io_scrape"], "action": "drop", "regex": "false" },
            { "source_labels": ["__meta_kubernetes_pod_container_port_name"], "action": "keep", "regex": "http" },
            { "source_labels": ["__meta_kubernetes_pod_label_app_kubernetes_io_name"], "target_label": "service" },
            { "source_labels": ["__meta_kubernetes_pod_label_app_kubernetes_io_version"], "target_label": "version" },
            { "source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod" },
        ],
    })
}

fn rules(resolved: &Resolved) -> String {
    let mut rules = Vec::new();
    for (name, text) in &resolved.stack.alarms {
        let Ok(rule) = text.parse::<AlarmRule>() else { continue };
        rules.push(alert(resolved, name.as_str(), &rule));
    }
    rules.push(json!({
        "alert": "TargetDown", "expr": "up == 0", "for": "5m",
        "labels": { "severity": "warning" },
        "annotations": { "summary": "{{ $labels.job }} on {{ $labels.instance }} cannot be read" },
    }));
    let whole = json!({ "groups": [{ "name": resolved.stack.app.as_str(), "rules": rules }] });
    yaml::document(&whole)
}

fn alert(resolved: &Resolved, name: &str, rule: &AlarmRule) -> Value {
    let sign = match rule.comparison {
        Comparison::Above => ">",
        Comparison::AtLeast => ">=",
        Comparison::Below => "<",
        Comparison::AtMost => "<=",
    };
    // ours are milliseconds
    let limit = if rule.unit == MetricUnit::Duration { rule.limit / 1000.0 } else { rule.limit };
    let expression = measure::expression(resolved, rule.metric, rule.unit == MetricUnit::Percent);
    let mut labels = Map::new();
    labels.insert("severity".to_owned(), "critical".into());
    let title: String = name
        .split('-')
        .map(|word| {
            let (head, tail) = word.split_at(word.len().min(1));
            head.to_ascii_uppercase() + tail
        })
        .collect();
    json!({
        "alert": title,
        "expr": format!("{expression} {sign} {limit}"),
        "for": (rule.hold.0.as_secs() > 0).then(|| rule.hold.to_string()),
        "labels": labels,
        "annotations": { "summary": format!("{} in {}: {rule}", resolved.stack.app, resolved.name), "value": "{{ $value | humanize }}" },
    })
}
