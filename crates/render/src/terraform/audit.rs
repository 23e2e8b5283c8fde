//! The account's own guards: who did what, what looks strange, what is vulnerable.

use serde_json::json;
use stack::Kind;

use super::cloud::{Cloud, texts};
use crate::hcl::{self, Block};

/// Those that an `[audit]` asks for.
pub(crate) fn guards(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    let rules: Vec<String> =
        cloud.extras(Kind::Audit).flat_map(|(_, extra)| texts(extra, "rules")).map(str::to_ascii_lowercase).collect();
    let asked = |word: &str| rules.iter().any(|rule| rule.contains(word));
    if asked("guardduty") {
        blocks.push(hcl::resource(
            "aws_guardduty_detector",
            "main",
            json!({ "enable": true, "finding_publishing_frequency": "FIFTEEN_MINUTES" }),
        ));
    }
    if asked("scan") {
        blocks.push(hcl::resource("aws_inspector2_enabler", "main", json!({
            "account_ids": ["= data.aws_caller_identity.current.account_id"], "resource_types": ["ECR", "LAMBDA", "EC2"],
        })));
    }
    if asked("cloudtrail") {
        blocks.extend(trail());
    }
    blocks
}

fn trail() -> Vec<Block> {
    let arn = "arn:aws:cloudtrail:${var.region}:${data.aws_caller_identity.current.account_id}:trail/${local.name}";
    let condition = json!({ "StringEquals": { "AWS:SourceArn": arn } });
    vec![
        hcl::resource(
            "aws_s3_bucket",
            "trail",
            json!({ "bucket": "${local.name}-trail-${data.aws_caller_identity.current.account_id}", "force_destroy": "= !var.protect" }),
        ),
        hcl::resource(
            "aws_s3_bucket_public_access_block",
            "trail",
            json!({
                "bucket": "= aws_s3_bucket.trail.id", "block_public_acls": true, "block_public_policy": true, "ignore_public_acls": true, "restrict_public_buckets": true,
            }),
        ),
        hcl::resource(
            "aws_s3_bucket_versioning",
            "trail",
            json!({ "bucket": "= aws_s3_bucket.trail.id", "versioning_configuration {}": { "status": "Enabled" } }),
        ),
        hcl::resource(
            "aws_s3_bucket_policy",
            "trail",
            json!({
                "bucket": "= aws_s3_bucket.trail.id",
                "policy": super::role::policy(&[
                    json!({ "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" }, "Action": "s3:GetBucketAcl", "Resource": "= aws_s3_bucket.trail.arn", "Condition": condition }),
                    json!({
                        "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" }, "Action": "s3:PutObject",
                        "Resource": "${aws_s3_bucket.trail.arn}/AWSLogs/${data.aws_caller_identity.current.account_id}/*", "Condition": condition,
                    }),
                ]),
            }),
        ),
        hcl::resource(
            "aws_cloudtrail",
            "main",
            json!({
                "name": "= local.name", "s3_bucket_name": "= aws_s3_bucket.trail.id", "is_multi_region_trail": true,
                "enable_log_file_validation": true, "include_global_service_events": true, "depends_on": ["= aws_s3_bucket_policy.trail"],
            }),
        ),
    ]
}
