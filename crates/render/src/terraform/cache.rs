//! Redis, as replication groups: a cluster resource has a single member (T13).

use serde_json::{Value, json};
use stack::{Cache, Kind, ResourceName, ResourceRef};

use super::{
    cloud::{Cloud, days, label, reference},
    secret,
};
use crate::hcl::{self, Block};

/// Whether a cache is spread over shards in the environment the files are shaped by.
pub(crate) fn clustered(cloud: &Cloud<'_>, name: &ResourceName) -> bool {
    cloud.stack.caches.get(name).is_some_and(|cache| cache.shards > 1)
}

fn cache_text<'c>(cache: &'c Cache, key: &str) -> Option<&'c str> {
    cache.cloud.get(key).and_then(Value::as_str)
}

pub(crate) fn caches(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (name, cache) in cloud.caches() {
        if blocks.is_empty() {
            let subnets = json!({ "name": "= local.name", "subnet_ids": "= aws_subnet.data[*].id" });
            blocks.push(hcl::resource("aws_elasticache_subnet_group", "main", subnets));
        }
        let own = label(name);
        let (engine, version) = cache.engine.split_once(':').unwrap_or(("redis", "7"));
        let settings = format!("var.caches[\"{name}\"]");
        let many = clustered(cloud, name);
        let version = if version.contains('.') { version.to_owned() } else { format!("{version}.1") };
        let family = if engine == "valkey" { "valkey8" } else { "redis7" };
        blocks.push(hcl::resource("aws_elasticache_replication_group", &own, json!({
            "replication_group_id": cache_text(cache, "name").map_or_else(|| format!("${{local.name}}-{name}"), str::to_owned),
            "description": format!("{name} of ${{local.name}}"),
            "engine": engine,
            "engine_version": version,
            "node_type": format!("= {settings}.class"),
            "port": 6379,
            "parameter_group_name": if many { format!("default.{family}.cluster.on") } else { format!("default.{family}") },
            "# a replica takes over by itself where there is one": null,
            "automatic_failover_enabled": if many { json!(true) } else { json!(format!("= {settings}.replicas > 0")) },
            "multi_az_enabled": format!("= {settings}.replicas > 0"),
            "num_node_groups": many.then(|| format!("= {settings}.shards")),
            "replicas_per_node_group": many.then(|| format!("= {settings}.replicas")),
            "num_cache_clusters": (!many).then(|| format!("= 1 + {settings}.replicas")),
            "subnet_group_name": "= aws_elasticache_subnet_group.main.name",
            "security_group_ids": [format!("= aws_security_group.cache_{own}.id")],
            "at_rest_encryption_enabled": true,
            "kms_key_id": cloud.key(&reference(Kind::Cache, name)),
            "transit_encryption_enabled": true,
            "auth_token": format!("= random_password.cache_{own}.result"),
            "snapshot_retention_limit": days(cache_text(cache, "keep"), 7).min(35),
            "snapshot_window": "03:00-04:00",
            "maintenance_window": "sun:04:30-sun:05:30",
            "auto_minor_version_upgrade": true,
        })));
        let end = if many { "configuration_endpoint_address" } else { "primary_endpoint_address" };
        let store = ResourceRef { kind: Kind::Cache, name: name.clone() };
        let address = format!("rediss://:PASSWORD@${{aws_elasticache_replication_group.{own}.{end}}}:6379/0");
        blocks.extend(secret::of_store(cloud, &store, "cache", &address));
    }
    blocks
}
