//! Buckets: closed to the public, encrypted, versioned, with a life for what is in them.

use serde_json::json;
use stack::{Bucket, Kind, Period};

use super::cloud::{Cloud, label, reference};
use crate::{
    binding,
    hcl::{self, Block},
};

pub(crate) fn buckets(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (name, bucket) in &cloud.stack.buckets {
        let called = bucket.name.clone().unwrap_or_else(|| format!("{}-{name}-${{var.environment}}", cloud.stack.app));
        blocks.extend(closed(&label(name), &called, true, cloud.key(&reference(Kind::Bucket, name)).as_deref()));
        blocks.extend(life(&label(name), bucket));
        blocks.extend(cors(cloud, &label(name), bucket));
    }
    for name in cloud.stack.sites.keys() {
        let own = format!("site_{}", label(name));
        blocks.extend(closed(&own, &format!("${{local.name}}-{name}-web"), true, None));
    }
    blocks
}

fn closed(own: &str, called: &str, versions: bool, key: Option<&str>) -> Vec<Block> {
    let bucket = format!("= aws_s3_bucket.{own}.id");
    let algorithm = if key.is_some() { "aws:kms" } else { "AES256" };
    vec![
        hcl::resource("aws_s3_bucket", own, json!({ "bucket": called, "force_destroy": "= !var.protect" })),
        hcl::resource(
            "aws_s3_bucket_public_access_block",
            own,
            json!({
                "bucket": bucket,
                "block_public_acls": true,
                "block_public_policy": true,
                "ignore_public_acls": true,
                "restrict_public_buckets": true,
            }),
        ),
        hcl::resource(
            "aws_s3_bucket_versioning",
            own,
            json!({
                "bucket": bucket,
                "versioning_configuration {}": { "status": if versions { "Enabled" } else { "Suspended" } },
            }),
        ),
        hcl::resource(
            "aws_s3_bucket_server_side_encryption_configuration",
            own,
            json!({
                "bucket": bucket,
                "rule {}": {
                    "bucket_key_enabled": key.is_some().then_some(true),
                    "apply_server_side_encryption_by_default {}": { "sse_algorithm": algorithm, "kms_master_key_id": key },
                },
            }),
        ),
    ]
}

fn life(own: &str, bucket: &Bucket) -> Vec<Block> {
    let days = |period: Period| (period.0.as_secs() / 86_400).max(1);
    let mut rules = vec![json!({
        "id": "unfinished", "status": "Enabled", "filter {}": {},
        "abort_incomplete_multipart_upload {}": { "days_after_initiation": 7 },
        "noncurrent_version_expiration {}": { "noncurrent_days": bucket.delete_after.map_or(90, days) },
    })];
    if let Some(period) = bucket.archive_after {
        rules.push(json!({
            "id": "archive", "status": "Enabled", "filter {}": {},
            "transition {}": { "days": days(period), "storage_class": "GLACIER" },
        }));
    }
    if let Some(period) = bucket.delete_after {
        rules.push(
            json!({ "id": "delete", "status": "Enabled", "filter {}": {}, "expiration {}": { "days": days(period) } }),
        );
    }
    vec![hcl::resource(
        "aws_s3_bucket_lifecycle_configuration",
        own,
        json!({ "bucket": format!("= aws_s3_bucket.{own}.id"), "rule {}": rules }),
    )]
}

/// Pages that may upload, by addresses signed for a short while.
fn cors(cloud: &Cloud<'_>, own: &str, bucket: &Bucket) -> Option<Block> {
    let mut origins: Vec<String> = Vec::new();
    for text in &bucket.cors {
        let value = binding::expand(cloud.stack, text);
        for part in value {
            if let binding::Part::Text(text) = part {
                origins.extend(
                    text.split(',').map(|origin| hcl::plain(origin.trim())).filter(|origin| !origin.is_empty()),
                );
            }
        }
    }
    (!origins.is_empty()).then(|| {
        hcl::resource(
            "aws_s3_bucket_cors_configuration",
            own,
            json!({
                "bucket": format!("= aws_s3_bucket.{own}.id"),
                "cors_rule {}": {
                    "allowed_methods": ["GET", "PUT", "POST"],
                    "allowed_origins": origins,
                    "allowed_headers": ["*"],
                    "expose_headers": ["ETag"],
                    "max_age_seconds": 600,
                },
            }),
        )
    })
}
