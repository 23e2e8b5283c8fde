//! Functions and jobs on Lambda.

use serde_json::{Value, json};
use stack::{Command, Kind, Schedule};

use super::{
    cloud::{Cloud, Shape},
    environment, network, role,
};
use crate::{
    hcl::{self, Block},
    program::{self, Program},
};

/// Longest run of a Lambda function.
const LAMBDA: u64 = 900;

/// Whether a program is an ECS task: services on Fargate, and scheduled runs too long for Lambda.
pub(crate) fn is_task(cloud: &Cloud<'_>, program: &Program<'_>) -> bool {
    match (cloud.shape, program.kind, program.command) {
        (Shape::Machines | Shape::Cluster, ..) => false,
        (shape, Kind::Service, _) => shape == Shape::Fargate,
        (_, _, Some(command)) => command.timeout.0.as_secs() > LAMBDA && schedule(cloud, program).is_some(),
        _ => false,
    }
}

pub(crate) fn schedule<'c>(cloud: &'c Cloud<'_>, program: &Program<'_>) -> Option<&'c Schedule> {
    match program.kind {
        Kind::Job => cloud.stack.jobs.get(program.name).map(|job| &job.schedule),
        _ => cloud.stack.functions.get(program.name)?.schedule.as_ref(),
    }
}

/// Programs that are Lambda functions.
pub(crate) fn lambdas<'c>(cloud: &'c Cloud<'_>) -> Vec<Program<'c>> {
    let lambda = matches!(cloud.shape, Shape::Fargate | Shape::Lambda);
    program::all(cloud.stack).into_iter().filter(|program| lambda && !is_task(cloud, program)).collect()
}

/// The function itself and the alias that visitors and events reach.
pub(crate) fn lambda(cloud: &Cloud<'_>, program: &Program<'_>, timeout: u64, memory: u64) -> Vec<Block> {
    let own = role::name(program);
    let bound = environment::of(cloud, program);
    let mut variables = bound.plain;
    if !bound.secrets.is_empty() {
        let arns: serde_json::Map<String, Value> =
            bound.secrets.iter().map(|(name, arn)| (name.clone(), format!("= {arn}").into())).collect();
        variables.insert(
            "# the adapter reads these at start and sets the variables: values, never names (T3)".to_owned(),
            Value::Null,
        );
        variables.insert("SLIPWAY_SECRETS".to_owned(), json!({ "jsonencode()": arns }));
    }
    variables.remove("AWS_REGION");
    let networked = cloud.networked().then(|| {
        json!({
            "subnet_ids": "= aws_subnet.private[*].id",
            "security_group_ids": [format!("= aws_security_group.{}.id", network::group_of(cloud, program.kind, program.name))],
        })
    });
    let command =
        program.command.map(|_| json!({ "command": crate::dockerfile::arguments(program.run().unwrap_or_default()) }));
    vec![
        hcl::resource(
            "aws_lambda_function",
            &own,
            json!({
                "function_name": format!("${{local.name}}-{}", program.name),
                "role": format!("= aws_iam_role.{own}.arn"),
                "package_type": "Image",
                "image_uri": super::fargate::image(program),
                "publish": true,
                "timeout": timeout.clamp(1, LAMBDA),
                "memory_size": memory.clamp(128, 10_240),
                "architectures": ["x86_64"],
                "image_config {}": command,
                "environment {}": (!variables.is_empty()).then(|| json!({ "variables": variables })),
                "vpc_config {}": networked,
                "tracing_config {}": { "mode": if role::traced(cloud) { "Active" } else { "PassThrough" } },
                "logging_config {}": { "log_format": "JSON", "log_group": format!("= aws_cloudwatch_log_group.{own}.name") },
                "lifecycle {}": { "# releases are slipway deploy's": null, "ignore_changes": ["= image_uri"] },
            }),
        ),
        hcl::resource(
            "aws_lambda_alias",
            &own,
            json!({
                "name": "live",
                "function_name": format!("= aws_lambda_function.{own}.function_name"),
                "function_version": format!("= aws_lambda_function.{own}.version"),
                "lifecycle {}": { "ignore_changes": ["= function_version", "= routing_config"] },
            }),
        ),
    ]
}

fn memory(command: &Command) -> u64 {
    command.size.memory.map_or(256, |memory| memory.max.0 >> 20)
}

pub(crate) fn functions(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for program in lambdas(cloud) {
        let Some(command) = program.command else { continue };
        let own = role::name(&program);
        blocks.extend(lambda(cloud, &program, command.timeout.0.as_secs(), memory(command)));
        blocks.push(hcl::resource(
            "aws_sqs_queue",
            &format!("{own}_failed"),
            json!({
                "name": format!("${{local.name}}-{}-failed", program.name),
                "message_retention_seconds": 1_209_600,
                "sqs_managed_sse_enabled": true,
            }),
        ));
        blocks.push(hcl::resource("aws_lambda_function_event_invoke_config", &own, json!({
            "function_name": format!("= aws_lambda_function.{own}.function_name"),
            "qualifier": format!("= aws_lambda_alias.{own}.name"),
            "# Lambda itself tries at most twice again": null,
            "maximum_retry_attempts": command.retries.min(2),
            "destination_config {}": { "on_failure {}": { "destination": format!("= aws_sqs_queue.{own}_failed.arn") } },
        })));
        blocks.push(hcl::resource("aws_iam_role_policy", &format!("{own}_failed"), json!({
            "name": "failed",
            "role": format!("= aws_iam_role.{own}.id"),
            "policy": role::policy(&[json!({ "Effect": "Allow", "Action": "sqs:SendMessage", "Resource": format!("= aws_sqs_queue.{own}_failed.arn") })]),
        })));
    }
    blocks
}
