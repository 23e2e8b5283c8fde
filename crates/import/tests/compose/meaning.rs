//! Comparing what the Compose tool makes of a file with what it makes of the same file, imported and rendered.

use std::collections::BTreeMap;

use import::{Entry, Fate, Report};
use serde_json::Value;

use crate::origin::{self, Origin};

/// What was found out about one file.
pub(crate) struct Outcome {
    /// Values that were said to be kept, and were looked at.
    pub(crate) compared: usize,
    /// Keys of the file by their fate.
    pub(crate) keys: BTreeMap<Fate, usize>,
    /// Everything that differs and that no entry of the report excuses.
    pub(crate) differences: Vec<String>,
}

/// What every rendered service has, whatever the file said: nothing of it is a difference, and the guide names it.
const ADDED: [&str; 11] = [
    "restart",
    "init",
    "logging",
    "networks",
    "security_opt",
    "cap_drop",
    "stop_grace_period",
    "image",
    "environment",
    "healthcheck",
    "depends_on",
];

/// Compares key by key.
pub(crate) fn compare(text: &str, report: &Report, before: &Value, after: &Value) -> Outcome {
    let mut source: Value = serde_saphyr::from_str(text).expect("YAML");
    merged(&mut source);
    let entries: Vec<&Entry> = report.entries.iter().filter(|entry| entry.file == "compose.yaml").collect();
    let mut outcome = Outcome { compared: 0, keys: BTreeMap::new(), differences: Vec::new() };
    for entry in &entries {
        *outcome.keys.entry(entry.fate).or_insert(0) += 1;
    }
    let mut before_leaves = Vec::new();
    leaves(before, &mut Vec::new(), &mut before_leaves);
    // the tool writes some keys that nobody said, without a value
    for (path, value) in before_leaves.iter().filter(|(_, value)| !value.is_null()) {
        let Origin::Key(key) = origin::of(&source, path) else { continue };
        let Some(entry) = nearest(&entries, &key) else {
            outcome.differences.push(format!("{} = {value}: no entry of the report is about `{key}`", path.join(".")));
            continue;
        };
        // what was changed or refused is excused by this very key
        if entry.fate != Fate::Kept {
            continue;
        }
        outcome.compared += 1;
        if let Err(found) = same(path, value, before, after) {
            outcome.differences.push(format!(
                "{} = {value} was kept as `{}`, and is {found}",
                path.join("."),
                entry.key
            ));
        }
    }
    additions(&source, &entries, before, after, &mut outcome);
    outcome
}

/// What is there after and was not before: the renderer's own, or what the report says something became.
fn additions(source: &Value, entries: &[&Entry], before: &Value, after: &Value, outcome: &mut Outcome) {
    for (name, service) in after["services"].as_object().expect("services") {
        // the edge takes the place of ports and proxies, which the report says of each
        if name == "edge" || name == "s3" || name == "s3-buckets" {
            continue;
        }
        if source["services"].get(name).is_none() {
            outcome.differences.push(format!("service {name} was in no file"));
            continue;
        }
        let server = entries
            .iter()
            .any(|entry| entry.key == format!("services.{name}.image") && entry.reason.contains("`engine`"));
        for (key, _) in service.as_object().expect("a service").iter().filter(|(_, value)| !value.is_null()) {
            let there = before["services"][name.as_str()].get(key).is_some_and(|value| !value.is_null());
            let said = entries.iter().any(|entry| entry.key.starts_with(&format!("services.{name}.{key}")));
            // sizes come from keys of other names, and a port from whatever said it
            let from = match key.as_str() {
                "deploy" => ["cpus", "mem_limit", "mem_reservation", "scale"].as_slice(),
                "expose" => &["ports", "labels", "healthcheck"],
                "command" => &["entrypoint"],
                _ => &[],
            };
            let moved = from
                .iter()
                .any(|other| entries.iter().any(|entry| entry.key.starts_with(&format!("services.{name}.{other}"))));
            if !there && !said && !moved && !server && !ADDED.contains(&key.as_str()) {
                outcome.differences.push(format!("services.{name}.{key} was not there before: {}", service[key]));
            }
        }
    }
}

/// The entry of a key, or of the nearest one above it.
fn nearest<'e>(entries: &[&'e Entry], key: &str) -> Option<&'e Entry> {
    let above = |entry: &&&Entry| {
        key.strip_prefix(entry.key.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let direct = entries.iter().filter(above).max_by_key(|entry| entry.key.len());
    // a key that the tool writes as one value may be several in the report, as a list of words
    direct
        .or_else(|| {
            entries
                .iter()
                .find(|entry| entry.key.starts_with(&format!("{key}[")) || entry.key.starts_with(&format!("{key}.")))
        })
        .copied()
}

/// Every value that is no map or list; commands and lists of words count as one.
fn leaves(value: &Value, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, Value)>) {
    let whole = path.len() == 3 && ["command", "entrypoint", "expose"].contains(&path[2].as_str());
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                path.push(key.clone());
                leaves(value, path, found);
                path.pop();
            }
        }
        Value::Array(items) if !items.is_empty() && !whole => {
            for (at, value) in items.iter().enumerate() {
                path.push(at.to_string());
                leaves(value, path, found);
                path.pop();
            }
        }
        _ => found.push((path.clone(), value.clone())),
    }
}

/// Whether a kept value is there after; otherwise what is there.
fn same(path: &[String], value: &Value, before: &Value, after: &Value) -> Result<(), String> {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let ["services", service, rest @ ..] = &words[..] else {
        return Err("no service".to_owned());
    };
    let own = &after["services"][*service];
    let limits = &own["deploy"]["resources"];
    let (found, equal) = match rest {
        ["image"] => (&own["image"], engine(value, &own["image"])),
        ["scale"] | ["deploy", "replicas"] => {
            let count = own["deploy"]["replicas"].as_u64().unwrap_or(1);
            (&own["deploy"]["replicas"], value.as_u64() == Some(count))
        }
        ["cpus"] => (&limits["limits"]["cpus"], number(value) == number(&limits["limits"]["cpus"])),
        ["mem_limit"] => (&limits["limits"]["memory"], number(value) == number(&limits["limits"]["memory"])),
        ["mem_reservation"] => {
            (&limits["reservations"]["memory"], number(value) == number(&limits["reservations"]["memory"]))
        }
        ["expose"] => (&own["expose"], texts(value).iter().all(|port| texts(&own["expose"]).contains(port))),
        ["depends_on", other, ..] => {
            let found = &own["depends_on"][*other];
            let whole = &before["services"][*service]["depends_on"][*other];
            (found, found["condition"] == whole["condition"])
        }
        _ => {
            let found = rest.iter().fold(own, |at, key| match at {
                Value::Array(items) => key.parse::<usize>().ok().and_then(|at| items.get(at)).unwrap_or(&Value::Null),
                _ => &at[*key],
            });
            (found, found == value || (number(found).is_some() && number(found) == number(value)))
        }
    };
    if equal { Ok(()) } else { Err(found.to_string()) }
}

/// The same image, or the same data service of the same major version.
fn engine(before: &Value, after: &Value) -> bool {
    let (Some(before), Some(after)) = (before.as_str(), after.as_str()) else { return false };
    let parts = |image: &str| {
        let (name, tag) = image.split_once(':').unwrap_or((image, ""));
        (name.to_owned(), tag.split(['.', '-']).next().unwrap_or_default().to_owned())
    };
    before == after
        || (["postgres", "redis", "rabbitmq"].contains(&parts(before).0.as_str()) && parts(before) == parts(after))
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
}

/// Lays what anchors bring in under each map.
fn merged(value: &mut Value) {
    if let Value::Object(map) = value {
        if let Some(Value::Object(base)) = map.remove("<<") {
            for (key, value) in base {
                map.entry(key).or_insert(value);
            }
        }
        map.values_mut().for_each(merged);
    }
}
