//! Key-value tables.

use serde_json::{Value, json};
use stack::Kind;

use super::cloud::{Cloud, flag, label, number, reference, text};
use crate::hcl::{self, Block};

pub(crate) fn tables(cloud: &Cloud<'_>) -> Vec<Block> {
    cloud
        .extras(Kind::Table)
        .map(|(name, extra)| {
            let key = text(extra, "key").unwrap_or("id");
            let sort = text(extra, "sort");
            let mut attributes = vec![key];
            attributes.extend(sort);
            let reserved = !flag(extra, "on_demand") && (extra.settings.contains_key("read") || extra.settings.contains_key("write"));
            let mut indexes = Vec::new();
            for index in extra.settings.get("indexes").and_then(Value::as_array).into_iter().flatten() {
                let said = |part: &str| index.get(part).and_then(Value::as_str);
                let key = said("key").or_else(|| index.as_str()).unwrap_or_default();
                for attribute in std::iter::once(key).chain(said("sort")) {
                    if !attributes.contains(&attribute) {
                        attributes.push(attribute);
                    }
                }
                let title = said("name").map_or_else(|| format!("by-{key}"), str::to_owned);
                indexes.push(json!({ "name": title, "hash_key": key, "range_key": said("sort"), "projection_type": "ALL" }));
            }
            let attributes: Vec<Value> = attributes.iter().map(|name| json!({ "name": name, "type": "S" })).collect();
            hcl::resource("aws_dynamodb_table", &label(name), json!({
                "name": text(extra, "name").map_or_else(|| format!("${{local.name}}-{name}"), str::to_owned),
                "billing_mode": if reserved { "PROVISIONED" } else { "PAY_PER_REQUEST" },
                "read_capacity": reserved.then(|| number(extra, "read").unwrap_or(1)),
                "write_capacity": reserved.then(|| number(extra, "write").unwrap_or(1)),
                "hash_key": key,
                "range_key": sort,
                "deletion_protection_enabled": "= var.protect",
                "stream_enabled": flag(extra, "stream").then_some(true),
                "stream_view_type": flag(extra, "stream").then_some("NEW_AND_OLD_IMAGES"),
                "attribute {}": attributes,
                "global_secondary_index {}": indexes,
                "ttl {}": text(extra, "ttl").map(|attribute| json!({ "attribute_name": attribute, "enabled": true })),
                "# any moment of the last 35 days can be restored": flag(extra, "pitr"),
                "point_in_time_recovery {}": { "enabled": flag(extra, "pitr") },
                "server_side_encryption {}": { "enabled": true, "kms_key_arn": cloud.key(&reference(Kind::Table, name)) },
            }))
        })
        .collect()
}
