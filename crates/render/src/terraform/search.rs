//! Search domains.

use serde_json::json;
use stack::Kind;

use super::cloud::{Cloud, label, number, text};
use crate::hcl::{self, Block};

pub(crate) fn searches(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (name, extra) in cloud.extras(Kind::Search).filter(|(_, extra)| !extra.settings.contains_key("url")) {
        let own = label(name);
        let version =
            text(extra, "engine").and_then(|engine| engine.split_once(':')).map_or("2", |(_, version)| version);
        let version = if version.contains('.') { version.to_owned() } else { format!("{version}.19") };
        let nodes = number(extra, "nodes").unwrap_or(1);
        let masters = number(extra, "masters").unwrap_or(0);
        let zones = number(extra, "zones").unwrap_or(1).min(nodes).min(2);
        let storage = text(extra, "storage").and_then(|text| text.parse::<stack::ByteSize>().ok());
        blocks.push(hcl::resource("aws_opensearch_domain", &own, json!({
            "domain_name": format!("${{local.name}}-{name}"),
            "engine_version": format!("OpenSearch_{version}"),
            "cluster_config {}": {
                "instance_type": text(extra, "class").unwrap_or("t3.small.search"),
                "instance_count": nodes,
                "dedicated_master_enabled": (masters > 0).then_some(true),
                "dedicated_master_type": (masters > 0).then(|| text(extra, "master_class").unwrap_or("t3.small.search")),
                "dedicated_master_count": (masters > 0).then_some(masters),
                "zone_awareness_enabled": (zones > 1).then_some(true),
                "zone_awareness_config {}": (zones > 1).then(|| json!({ "availability_zone_count": zones })),
            },
            "ebs_options {}": { "ebs_enabled": true, "volume_type": "gp3", "volume_size": storage.map_or(20, |size| size.0 >> 30) },
            "encrypt_at_rest {}": { "enabled": true },
            "node_to_node_encryption {}": { "enabled": true },
            "domain_endpoint_options {}": { "enforce_https": true, "tls_security_policy": "Policy-Min-TLS-1-2-PFS-2023-10" },
            "vpc_options {}": {
                "subnet_ids": format!("= slice(aws_subnet.data[*].id, 0, {})", zones.max(1)),
                "security_group_ids": [format!("= aws_security_group.search_{own}.id")],
            },
            "access_policies": super::role::policy(&[json!({
                "Effect": "Allow",
                "Principal": { "AWS": "arn:aws:iam::${data.aws_caller_identity.current.account_id}:root" },
                "Action": "es:ESHttp*",
                "Resource": format!("arn:aws:es:${{var.region}}:${{data.aws_caller_identity.current.account_id}}:domain/${{local.name}}-{name}/*"),
            })]),
        })));
        if let Some(bucket) = text(extra, "snapshots").and_then(|text| text.strip_prefix("bucket.")) {
            let role = json!({
                "name": format!("${{local.name}}-search-{name}"),
                "assume_role_policy": super::role::trust("es.amazonaws.com"),
            });
            blocks.push(
                hcl::resource("aws_iam_role", &format!("search_{own}"), role)
                    .about("registered once with PUT _snapshot, as this role"),
            );
            blocks.push(hcl::resource(
                "aws_iam_role_policy",
                &format!("search_{own}"),
                json!({
                    "name": "snapshots",
                    "role": format!("= aws_iam_role.search_{own}.id"),
                    "policy": super::role::policy(&[super::role::bucket(&label(bucket), true)]),
                }),
            ));
        }
    }
    blocks
}
