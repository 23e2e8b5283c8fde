//! How many replicas there are under load.

use super::number;
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
    report::Fate,
    trap::Trap,
};

/// Reads a `HorizontalPodAutoscaler`.
pub(crate) fn read(at: &Cursor<'_>, draft: &mut Draft) {
    let target = at.find_below(&["spec", "scaleTargetRef", "name"]).and_then(|name| name.text()).unwrap_or_default();
    let name = label(&target, "");
    if !draft.has("service", &name) {
        return at.trapped(Trap::FAILOVER_JOB, Fate::Refused, &format!("`{target}` is no deployment of these files; for ECS it would do nothing. Write `size.replicas = \"2..10\"` and `scale_at` of the service"));
    }
    let (fewest, most) = (number(at, &["spec", "minReplicas"]).unwrap_or(1), number(at, &["spec", "maxReplicas"]));
    if let Some(most) = most {
        draft.section("service", &name).put("size", "replicas", format!("{fewest}..{most}"));
    }
    let mut scale = toml::Table::new();
    for metric in at.find_below(&["spec", "metrics"]).map(|metrics| metrics.items()).unwrap_or_default() {
        let dimension = metric.find_below(&["resource", "name"]).and_then(|name| name.text()).unwrap_or_default();
        let percent = number(&metric, &["resource", "target", "averageUtilization"]);
        match (dimension.as_str(), percent) {
            ("cpu" | "memory", Some(percent)) => {
                scale.insert(dimension, toml::Value::Integer(percent.clamp(1, 100)));
                metric.kept_as("`size.scale_at`");
            }
            _ => metric.refused("only the use of CPU and memory adds replicas"),
        }
    }
    if !scale.is_empty() {
        draft.section("service", &name).put("size", "scale_at", toml::Value::Table(scale));
    }
    if let Some(spec) = at.find("spec") {
        for key in ["minReplicas", "maxReplicas", "scaleTargetRef"] {
            if let Some(at) = spec.find(key) {
                at.kept_as("`size.replicas`");
            }
        }
        if let Some(behavior) = spec.find("behavior") {
            behavior.changed("replicas are added soon and removed slowly");
        }
    }
}
