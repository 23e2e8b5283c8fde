//! Caches of the provider.

use super::{keep, plain};
use crate::{cursor::Cursor, draft::Draft, report::Fate, trap::Trap};

pub(crate) fn read(kind: &str, own: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let version = plain(at, "engine_version")
        .and_then(|version| version.split('.').next().map(str::to_owned))
        .unwrap_or_else(|| "7".to_owned());
    let section = draft.section("cache", own);
    section.set("engine", format!("redis:{version}"));
    for (from, to) in [("cluster_id", "name"), ("replication_group_id", "name"), ("node_type", "class")] {
        if let Some(value) = plain(at, from) {
            section.put("cloud", to, value);
            keep(at, &[from], "`cloud` of the cache");
        }
    }
    keep(at, &["engine", "engine_version"], "`engine`");
    let number = |key: &str| plain(at, key).and_then(|text| text.parse::<i64>().ok());
    if let Some(nodes) = at.find("num_cache_nodes") {
        let count = number("num_cache_nodes").unwrap_or(1);
        if count > 1 && kind == "aws_elasticache_cluster" && plain(at, "engine").as_deref() != Some("memcached") {
            section.set("replicas", count - 1);
            section.put("cloud", "failover", true);
            nodes.trapped(
                Trap::REDIS_NODES,
                Fate::Changed,
                &format!("`replicas = {}`: a replication group", count - 1),
            );
        } else {
            nodes.kept_as("one server");
        }
    }
    // the primary is one of them
    for from in ["num_cache_clusters", "number_cache_clusters"] {
        if let Some(count) = number(from).filter(|count| *count > 0) {
            section.set("replicas", count - 1);
            keep(at, &[from], "`replicas`, and the primary");
        }
    }
    for (from, to) in [("num_node_groups", "shards"), ("replicas_per_node_group", "replicas")] {
        if let Some(count) = number(from) {
            section.set(to, count);
            keep(at, &[from], to);
        }
    }
    if plain(at, "automatic_failover_enabled").as_deref() == Some("true") {
        section.put("cloud", "failover", true);
        keep(at, &["automatic_failover_enabled"], "`cloud.failover`");
    }
    for key in ["port", "parameter_group_name", "security_group_ids", "subnet_group_name", "tags"] {
        if let Some(at) = at.find(key) {
            at.changed("`slipway render terraform` writes it");
        }
    }
}
