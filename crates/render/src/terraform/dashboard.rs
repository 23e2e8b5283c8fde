//! CloudWatch dashboards.

use serde_json::{Value, json};
use stack::Kind;

use super::{
    alarm,
    cloud::{Cloud, label, texts},
};
use crate::hcl::{self, Block};

pub(crate) fn dashboards(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (name, extra) in cloud.extras(Kind::Dashboard) {
        let mut widgets = Vec::new();
        for metric in texts(extra, "metrics") {
            widgets.extend(widget(cloud, metric, metric, None, widgets.len()));
        }
        for panel in extra.settings.get("panels").and_then(Value::as_array).into_iter().flatten() {
            let said = |key: &str| panel.get(key).and_then(Value::as_str);
            let title = said("title").unwrap_or_default();
            if let Some(metric) = said("metric") {
                widgets.extend(widget(cloud, title, metric, said("unit"), widgets.len()));
            } else if let Some((space, metric)) = said("query").and_then(|query| query.split_once(' ')) {
                let dimensions = if space == "AWS/Billing" { vec!["Currency", "USD"] } else { Vec::new() };
                let mut row = vec![space, metric];
                row.extend(dimensions);
                widgets.push(place(title, &[json!(row)], widgets.len(), "Maximum", 21_600));
            }
        }
        if widgets.is_empty() {
            continue;
        }
        blocks.push(hcl::resource(
            "aws_cloudwatch_dashboard",
            &label(name),
            json!({
                "dashboard_name": format!("${{local.name}}-{name}"),
                "dashboard_body": { "jsonencode()": { "start": "-PT6H", "widgets": widgets } },
            }),
        ));
    }
    blocks
}

fn widget(cloud: &Cloud<'_>, title: &str, metric: &str, _unit: Option<&str>, at: usize) -> Option<Value> {
    let series = alarm::of(cloud, metric);
    let statistic = series.first()?.statistic;
    let rows: Vec<Value> = series
        .iter()
        .map(|series| {
            let mut row = vec![json!(series.space), json!(series.metric)];
            for (key, value) in series.dimensions.as_object().into_iter().flatten() {
                row.push(json!(key));
                row.push(value.clone());
            }
            row.push(json!({ "label": series.of }));
            json!(row)
        })
        .collect();
    Some(place(title, &rows, at, statistic, 60))
}

/// Two beside each other.
fn place(title: &str, rows: &[Value], at: usize, statistic: &str, period: u32) -> Value {
    json!({
        "type": "metric", "x": at % 2 * 12, "y": at / 2 * 6, "width": 12, "height": 6,
        "properties": { "title": title, "region": if title.contains("charge") { "us-east-1" } else { "${var.region}" }, "stat": statistic, "period": period, "metrics": rows },
    })
}
