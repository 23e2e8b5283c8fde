//! Facts about what is rented. A renderer fills in what the stack leaves open, so only what the first stack says is asked for.

use serde_json::Value;
use stack::{DatabaseEngine, Kind, ResourceName, Stack};

use super::fact::{Fact, Said};

/// Keys of `cloud` that a provider's files say plainly.
const DATABASE: [&str; 11] = [
    "kind",
    "capacity",
    "server",
    "name",
    "class",
    "replica_class",
    "keep",
    "window",
    "maintenance",
    "storage_class",
    "insights",
];
const CACHE: [&str; 2] = ["name", "class"];
const SEARCH: [&str; 4] = ["nodes", "masters", "class", "master_class"];

/// What a fact says of a stack, where `first` says something.
pub(crate) fn says(fact: Fact, first: &Stack, stack: &Stack, back: &Stack) -> Said {
    match fact {
        Fact::CloudDatabases => databases(first, stack),
        Fact::CloudCaches => caches(first, stack),
        Fact::CloudBuckets => buckets(first, stack),
        Fact::CloudServices => stack
            .services
            .iter()
            // a service may be a function there
            .filter(|(name, _)| back.services.contains_key(*name))
            .map(|(name, service)| {
                let range = service.size.replicas;
                (name.to_string(), format!("{}..{}", range.min, range.max))
            })
            .collect(),
        Fact::CloudTables => extras(first, stack, Kind::Table, &["key", "sort"]),
        Fact::CloudTopics => extras(first, stack, Kind::Topic, &[]),
        Fact::CloudSearch => extras(first, stack, Kind::Search, &SEARCH),
        _ => extras(first, stack, Kind::Network, &["cidr"]),
    }
}

/// The value of a key that the first stack has.
fn asked(first: &serde_json::Map<String, Value>, second: &serde_json::Map<String, Value>, key: &str) -> Option<String> {
    first.contains_key(key).then(|| second.get(key).unwrap_or(&Value::Null).to_string())
}

fn databases(first: &Stack, stack: &Stack) -> Said {
    let mut said = Said::new();
    for (name, database) in &stack.databases {
        let Some(known) = first.databases.get(name) else {
            said.insert(name.to_string(), "of nothing".to_owned());
            continue;
        };
        let DatabaseEngine::Postgres(version) = &database.engine else { continue };
        said.insert(format!("{name} engine"), version.split('.').next().unwrap_or(version).to_owned());
        let serverless = known.cloud.contains_key("capacity");
        if !serverless {
            said.insert(format!("{name} replicas"), database.replicas.to_string());
        }
        if known.storage.is_some() && !serverless {
            said.insert(format!("{name} storage"), format!("{:?}", database.storage));
        }
        // the windows of statistics of a serverless one are those of its instances
        for key in DATABASE.iter().copied().filter(|key| !serverless || *key != "insights") {
            let value = asked(&known.cloud, &database.cloud, key);
            // one that pauses begins at nothing: where it may grow to is what is asked for
            let value = value.map(|value| match key {
                "capacity" => value.rsplit("..").next().unwrap_or_default().to_owned(),
                _ => value,
            });
            said.extend(value.map(|value| (format!("{name} {key}"), value)));
        }
    }
    said
}

fn caches(first: &Stack, stack: &Stack) -> Said {
    let mut said = Said::new();
    for (name, cache) in &stack.caches {
        let Some(known) = first.caches.get(name) else { continue };
        let (engine, version) = cache.engine.split_once(':').unwrap_or((&cache.engine, ""));
        said.insert(
            name.to_string(),
            format!("{engine}:{} {} {}", version.split('.').next().unwrap_or(""), cache.shards, cache.replicas),
        );
        for key in CACHE {
            said.extend(asked(&known.cloud, &cache.cloud, key).map(|value| (format!("{name} {key}"), value)));
        }
    }
    said
}

fn buckets(first: &Stack, stack: &Stack) -> Said {
    let mut said = Said::new();
    for (name, bucket) in &stack.buckets {
        let Some(known) = first.buckets.get(name) else { continue };
        said.insert(name.to_string(), format!("{:?} {:?}", bucket.archive_after, bucket.delete_after));
        // every rented bucket keeps old versions
        if known.versions {
            said.insert(format!("{name} versions"), bucket.versions.to_string());
        }
        if known.name.is_some() {
            said.insert(format!("{name} name"), format!("{:?}", bucket.name));
        }
    }
    said
}

fn extras(first: &Stack, stack: &Stack, kind: Kind, keys: &[&str]) -> Said {
    let mut said = Said::new();
    for (reference, extra) in stack.extras.iter().filter(|(reference, _)| reference.kind == kind) {
        let Some(known) = first.extras.get(reference) else { continue };
        let name: &ResourceName = &reference.name;
        said.insert(name.to_string(), String::new());
        for key in keys {
            said.extend(asked(&known.settings, &extra.settings, key).map(|value| (format!("{name} {key}"), value)));
        }
    }
    said
}
