//! How many instances there are, and what each gets.

use super::{UNKNOWN, keys};
use crate::{cursor::Cursor, draft::Draft, report::Fate, text};

/// Reads a number of instances.
pub(crate) fn replicas(owner: (&str, &str), at: &Cursor<'_>, draft: &mut Draft) {
    match at.text().and_then(|count| count.parse::<i64>().ok()) {
        Some(count) => {
            draft.section(owner.0, owner.1).put("size", "replicas", count);
            at.kept_as("`size.replicas`");
        }
        None => at.refused("not a number; write it as `size.replicas`"),
    }
}

/// Reads `deploy` of a program.
pub(crate) fn deploy(owner: (&str, &str), at: &Cursor<'_>, draft: &mut Draft) {
    for (key, at) in at.entries() {
        match key {
            "replicas" => replicas(owner, &at, draft),
            "resources" => resources(owner, &at, draft),
            _ => others(key, &at),
        }
    }
}

/// What `deploy` says beside numbers and sizes.
pub(crate) fn others(key: &str, at: &Cursor<'_>) {
    match keys::deploy(key) {
        Some((Fate::Refused, reason)) => at.refused(reason),
        Some((_, reason)) => at.changed(reason),
        None => at.refused(UNKNOWN),
    }
}

/// Reads `deploy.resources`: caps and reservations.
pub(crate) fn resources(owner: (&str, &str), at: &Cursor<'_>, draft: &mut Draft) {
    for (group, at) in at.entries() {
        for (key, at) in at.entries() {
            match (group, key) {
                ("limits", "cpus") => limit(owner, "cpus", &at, draft),
                ("limits", "memory") => limit(owner, "mem_limit", &at, draft),
                ("reservations", "cpus") => limit(owner, "cpu_reservation", &at, draft),
                ("reservations", "memory") => limit(owner, "mem_reservation", &at, draft),
                (_, "pids") => at.refused("there is no limit on processes; memory and CPU are capped by `size`"),
                (_, "devices" | "generic_resources") => at.refused("instances get no devices"),
                _ => at.refused(UNKNOWN),
            }
        }
    }
}

/// A cap or a reservation becomes one end of a range.
pub(crate) fn limit(owner: (&str, &str), key: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let text = at.text().unwrap_or_default();
    let (dimension, value) = match key {
        "cpus" | "cpu_reservation" => ("cpu", text::cpu(&text)),
        _ => ("memory", text::size(&text)),
    };
    let Some(value) = value.filter(|_| text != "0") else {
        return at.refused("a variable, or no amount; write it as `size`");
    };
    draft.section(owner.0, owner.1).range(dimension, &value, key.ends_with("reservation"));
    at.kept_as(&format!("`size.{dimension}`"));
}
