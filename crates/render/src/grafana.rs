//! Dashboards for Grafana, and the files that make it find them.

use serde_json::{Value, json};
use stack::{Kind, Resolved};

use crate::{File, Input, measure, yaml};

pub(crate) fn render(input: &Input) -> Vec<File> {
    let resolved = &input.resolved;
    let mut files: Vec<File> = Vec::new();
    let sections = resolved.stack.extras.iter().filter(|(need, _)| need.kind == Kind::Dashboard);
    for (need, extra) in sections {
        let text = |key: &str| extra.settings.get(key).and_then(Value::as_str);
        let mut panels = Vec::new();
        for metric in
            extra.settings.get("metrics").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        {
            panels.push(panel(resolved, metric, metric, None, None, panels.len()));
        }
        for one in extra.settings.get("panels").and_then(Value::as_array).into_iter().flatten() {
            let said = |key: &str| one.get(key).and_then(Value::as_str);
            // an expression of its own says it best, unless it is one of a cloud
            let query = said("query").filter(|query| !query.starts_with("AWS/"));
            let Some(metric) = query.or_else(|| said("metric")) else { continue };
            panels.push(panel(
                resolved,
                said("title").unwrap_or(metric),
                metric,
                said("kind"),
                said("unit"),
                panels.len(),
            ));
        }
        let title = text("title").unwrap_or(need.name.as_str());
        files.push(dashboard(resolved, need.name.as_str(), title, &panels, text("range"), text("refresh")));
    }
    if files.is_empty() {
        let metrics =
            ["http.requests", "http.errors", "http.latency.p95", "cpu", "memory", "db.connections", "cache.hits"];
        let panels: Vec<Value> =
            metrics.iter().enumerate().map(|(at, metric)| panel(resolved, metric, metric, None, None, at)).collect();
        files.push(dashboard(resolved, "overview", resolved.stack.app.as_str(), &panels, None, None));
    }
    files.extend(provisioning(resolved));
    files
}

/// Unit of Grafana for a metric of ours, and whether it is a share.
fn unit(metric: &str, said: Option<&str>) -> (&'static str, bool) {
    match said {
        Some("s" | "seconds") => return ("s", false),
        Some("ms") => return ("ms", false),
        Some("bytes") => return ("bytes", false),
        Some("%" | "percent") => return ("percent", true),
        Some("USD" | "$") => return ("currencyUSD", false),
        _ => {}
    }
    match metric {
        "http.errors" | "cpu" | "memory" | "disk" | "db.connections" | "cache.hits" | "cache.memory" => {
            ("percent", true)
        }
        "http.requests" | "http.limited" | "logs.errors" => ("reqps", false),
        "bucket.size" | "db.size" => ("bytes", false),
        _ if metric.starts_with("http.latency")
            || ["age", "lag", "latency", "duration"].contains(&metric.rsplit('.').next().unwrap_or_default()) =>
        {
            ("s", false)
        }
        _ => ("short", false),
    }
}

/// An expression: a quantile where the panel asks for one, a sum where a bare rate would be a line per instance.
fn expression(resolved: &Resolved, metric: &str, kind: Option<&str>, percent: bool) -> String {
    let share = match kind {
        Some("p50") => "0.5",
        Some("p95") => "0.95",
        Some("p99") => "0.99",
        _ if metric.starts_with("rate(") && !metric.contains(' ') => return format!("sum({metric})"),
        _ => return measure::expression(resolved, metric, percent),
    };
    if metric.contains('(') { metric.to_owned() } else { measure::quantile(share, metric.trim_end_matches("_bucket")) }
}

fn panel(resolved: &Resolved, title: &str, metric: &str, kind: Option<&str>, said: Option<&str>, at: usize) -> Value {
    let (unit, percent) = unit(metric, said);
    json!({
        "id": at + 1,
        "type": "timeseries",
        "title": title,
        "datasource": { "type": "prometheus", "uid": "prometheus" },
        "gridPos": { "h": 8, "w": 12, "x": at % 2 * 12, "y": at / 2 * 8 },
        "fieldConfig": {
            "defaults": { "unit": unit, "min": 0, "custom": { "fillOpacity": 10, "lineWidth": 1, "showPoints": "never" } },
            "overrides": [],
        },
        "options": { "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "multi" } },
        "targets": [{
            "refId": "A",
            "datasource": { "type": "prometheus", "uid": "prometheus" },
            "expr": expression(resolved, metric, kind, percent),
            "legendFormat": "__auto",
        }],
    })
}

fn dashboard(
    resolved: &Resolved,
    name: &str,
    title: &str,
    panels: &[Value],
    range: Option<&str>,
    refresh: Option<&str>,
) -> File {
    let app = resolved.stack.app.as_str();
    let mut id = format!("{app}-{}-{name}", resolved.name);
    id.truncate(40);
    let whole = json!({
        "__comment": crate::file::MARK,
        "uid": id,
        "title": title,
        "tags": [app, resolved.name.as_str(), "slipway"],
        "timezone": "browser",
        "schemaVersion": 39,
        "version": 1,
        "editable": false,
        "refresh": refresh.unwrap_or("30s"),
        "time": { "from": format!("now-{}", range.unwrap_or("6h")), "to": "now" },
        "panels": panels,
        "templating": { "list": [] },
        "annotations": { "list": [] },
    });
    let text = serde_json::to_string_pretty(&whole).expect("plain data has a form in JSON") + "\n";
    File { path: format!("dashboards/{name}.json"), text }
}

fn provisioning(resolved: &Resolved) -> [File; 2] {
    let app = resolved.stack.app.as_str();
    let dashboards = json!({ "apiVersion": 1, "providers": [{
        "name": app, "folder": app, "type": "file", "disableDeletion": true, "allowUiUpdates": false,
        "options": { "path": "/etc/grafana/dashboards" },
    }] });
    let sources = json!({ "apiVersion": 1, "datasources": [{
        "name": "Prometheus", "uid": "prometheus", "type": "prometheus", "access": "proxy", "url": "http://prometheus:9090", "isDefault": true,
    }] });
    [
        File::new(
            "provisioning/dashboards/slipway.yaml",
            "Goes to /etc/grafana/provisioning; the dashboards to /etc/grafana/dashboards.",
            &yaml::document(&dashboards),
        ),
        File::new("provisioning/datasources/slipway.yaml", "Where the numbers come from.", &yaml::document(&sources)),
    ]
}
