//! Log groups and where they are archived.

use serde_json::json;
use stack::Kind;

use super::cloud::{Cloud, Shape, days, label, text, texts};
use crate::{
    hcl::{self, Block},
    program,
};

/// The `[log]` of a resource.
fn section<'c>(cloud: &'c Cloud<'_>, reference: &str) -> Option<&'c stack::Extra> {
    let kind = reference.split('.').next().unwrap_or_default();
    let mut all = cloud.extras(Kind::Log);
    all.find(|(_, extra)| texts(extra, "of").iter().any(|of| *of == reference || *of == format!("{kind}.*")))
        .map(|(_, extra)| extra)
}

/// Days that CloudWatch offers, at least those wanted.
fn kept(wanted: u64) -> u64 {
    const OFFERED: [u64; 14] = [1, 3, 5, 7, 14, 30, 60, 90, 120, 180, 365, 731, 1827, 3653];
    OFFERED.into_iter().find(|days| *days >= wanted).unwrap_or(3653)
}

fn group(cloud: &Cloud<'_>, own: &str, reference: &str, otherwise: &str) -> Block {
    let section = section(cloud, reference);
    hcl::resource(
        "aws_cloudwatch_log_group",
        own,
        json!({
            "name": section.and_then(|extra| text(extra, "group")).unwrap_or(otherwise),
            "retention_in_days": kept(days(section.and_then(|extra| text(extra, "keep")), 30)),
        }),
    )
}

pub(crate) fn logs(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut archived: Vec<(String, String)> = Vec::new();
    for program in program::all(cloud.stack) {
        if cloud.shape == Shape::Cluster {
            break;
        }
        let own = super::role::name(&program);
        let task = super::function::is_task(cloud, &program);
        let place = match (cloud.shape, task) {
            (Shape::Machines, _) => "ec2",
            (_, true) => "ecs",
            (_, false) => "lambda",
        };
        let reference = program.reference().to_string();
        // a function's group has the function's name, or Lambda makes another
        let name = format!("/aws/{place}/${{local.name}}-{}", program.name);
        blocks.push(match section(cloud, &reference) {
            Some(extra) if place == "lambda" => hcl::resource(
                "aws_cloudwatch_log_group",
                &own,
                json!({
                    "name": text(extra, "group").unwrap_or(&name),
                    "retention_in_days": kept(days(text(extra, "keep"), 30)),
                }),
            ),
            _ => group(cloud, &own, &reference, &name),
        });
        if let Some(bucket) = section(cloud, &reference).and_then(|extra| text(extra, "archive_to")) {
            archived.push((own, bucket.trim_start_matches("bucket.").to_owned()));
        }
    }
    if super::api::any(cloud) {
        let reference =
            cloud.extras(Kind::Gateway).next().map(|(name, _)| format!("gateway.{name}")).unwrap_or_default();
        blocks.push(group(cloud, "api", &reference, "/aws/apigateway/${local.name}"));
    }
    if let Some((_, bucket)) = archived.first() {
        blocks.extend(archive(&archived, &label(bucket)));
    }
    blocks
}

/// Logs go to a bucket by way of Firehose before they end.
fn archive(archived: &[(String, String)], bucket: &str) -> Vec<Block> {
    let mut blocks = vec![
        hcl::resource(
            "aws_iam_role",
            "archive",
            json!({
                "name": "${local.name}-log-archive",
                "assume_role_policy": super::role::policy(&[json!({
                    "Effect": "Allow", "Action": "sts:AssumeRole",
                    "Principal": { "Service": ["firehose.amazonaws.com", "logs.amazonaws.com"] },
                })]),
            }),
        ),
        hcl::resource(
            "aws_kinesis_firehose_delivery_stream",
            "archive",
            json!({
                "name": "${local.name}-log-archive",
                "destination": "extended_s3",
                "server_side_encryption {}": { "enabled": true },
                "extended_s3_configuration {}": {
                    "role_arn": "= aws_iam_role.archive.arn",
                    "bucket_arn": format!("= aws_s3_bucket.{bucket}.arn"),
                    "prefix": "logs/",
                    "error_output_prefix": "logs-failed/",
                    "buffering_interval": 900,
                    "compression_format": "GZIP",
                },
            }),
        ),
        hcl::resource(
            "aws_iam_role_policy",
            "archive",
            json!({
                "name": "write",
                "role": "= aws_iam_role.archive.id",
                "policy": super::role::policy(&[
                    super::role::bucket(bucket, true),
                    json!({ "Effect": "Allow", "Action": ["firehose:PutRecord", "firehose:PutRecordBatch"], "Resource": "= aws_kinesis_firehose_delivery_stream.archive.arn" }),
                ]),
            }),
        ),
    ];
    for (own, _) in archived {
        blocks.push(hcl::resource(
            "aws_cloudwatch_log_subscription_filter",
            own,
            json!({
                "name": "archive",
                "log_group_name": format!("= aws_cloudwatch_log_group.{own}.name"),
                "filter_pattern": "",
                "destination_arn": "= aws_kinesis_firehose_delivery_stream.archive.arn",
                "role_arn": "= aws_iam_role.archive.arn",
            }),
        ));
    }
    blocks
}
