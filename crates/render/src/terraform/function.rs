//! Functions and jobs on Lambda, long jobs as tasks, and what starts them.

use serde_json::{Value, json};
use stack::{Command, Kind, Schedule, Trigger};

use super::{
    cloud::{Cloud, Shape, label, text, texts},
    environment, network, role,
};
use crate::{
    hcl,
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

fn schedule<'c>(cloud: &'c Cloud<'_>, program: &Program<'_>) -> Option<&'c Schedule> {
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
pub(crate) fn lambda(cloud: &Cloud<'_>, program: &Program<'_>, timeout: u64, memory: u64) -> Vec<String> {
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
            &json!({
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
            &json!({
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

pub(crate) fn functions(cloud: &Cloud<'_>) -> Vec<String> {
    let mut blocks = Vec::new();
    for program in lambdas(cloud) {
        let Some(command) = program.command else { continue };
        let own = role::name(&program);
        blocks.extend(lambda(cloud, &program, command.timeout.0.as_secs(), memory(command)));
        blocks.push(hcl::resource(
            "aws_sqs_queue",
            &format!("{own}_failed"),
            &json!({
                "name": format!("${{local.name}}-{}-failed", program.name),
                "message_retention_seconds": 1_209_600,
                "sqs_managed_sse_enabled": true,
            }),
        ));
        blocks.push(hcl::resource("aws_lambda_function_event_invoke_config", &own, &json!({
            "function_name": format!("= aws_lambda_function.{own}.function_name"),
            "qualifier": format!("= aws_lambda_alias.{own}.name"),
            "# Lambda itself tries at most twice again": null,
            "maximum_retry_attempts": command.retries.min(2),
            "destination_config {}": { "on_failure {}": { "destination": format!("= aws_sqs_queue.{own}_failed.arn") } },
        })));
        blocks.push(hcl::resource("aws_iam_role_policy", &format!("{own}_failed"), &json!({
            "name": "failed",
            "role": format!("= aws_iam_role.{own}.id"),
            "policy": role::policy(&[json!({ "Effect": "Allow", "Action": "sqs:SendMessage", "Resource": format!("= aws_sqs_queue.{own}_failed.arn") })]),
        })));
    }
    blocks
}

/// Five fields of cron as the six of EventBridge.
pub(crate) fn cron(schedule: &Schedule) -> String {
    let text = match schedule.cron.as_str() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        other => other,
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else { return format!("cron({text})") };
    // its weeks begin with Sunday as 1, so names say it better
    let names = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
    let by_name: String = weekday
        .chars()
        .map(|c| {
            c.to_digit(10)
                .and_then(|digit| names.get(digit as usize))
                .map_or_else(|| c.to_string(), ToString::to_string)
        })
        .collect();
    let (day, weekday) = match (day, weekday) {
        (day, "*") => (day, "?".to_owned()),
        (_, _) => ("?", by_name),
    };
    format!("cron({minute} {hour} {day} {month} {weekday} *)")
}

pub(crate) fn events(cloud: &Cloud<'_>) -> Vec<String> {
    let mut blocks = topics(cloud);
    if matches!(cloud.shape, Shape::Machines | Shape::Cluster) {
        return blocks;
    }
    let mut buckets: Vec<&str> = cloud
        .stack
        .functions
        .values()
        .filter_map(|function| function.on.as_ref())
        .filter(|trigger| trigger.on.kind == Kind::Bucket)
        .map(|trigger| trigger.on.name.as_str())
        .collect();
    buckets.sort_unstable();
    buckets.dedup();
    for bucket in buckets {
        blocks.push(hcl::resource(
            "aws_s3_bucket_notification",
            &label(bucket),
            &json!({
                "bucket": format!("= aws_s3_bucket.{}.id", label(bucket)),
                "# the only way uploads are told: a second one would run the function twice (T7)": null,
                "eventbridge": true,
            }),
        ));
    }
    let scheduled: Vec<Program<'_>> = program::all(cloud.stack)
        .into_iter()
        .filter(|program| program.command.is_some() && schedule(cloud, program).is_some())
        .collect();
    if !scheduled.is_empty() {
        blocks.extend(scheduler(cloud, &scheduled));
    }
    for (name, function) in &cloud.stack.functions {
        if let Some(trigger) = &function.on {
            let own = format!("function_{}", label(name));
            blocks.extend(wired(cloud, &own, trigger, function.command.retries));
        }
    }
    blocks
}

fn allowed(own: &str, name: &str, principal: &str, source: &str) -> String {
    hcl::resource(
        "aws_lambda_permission",
        name,
        &json!({
            "function_name": format!("= aws_lambda_function.{own}.function_name"),
            "qualifier": format!("= aws_lambda_alias.{own}.name"),
            "action": "lambda:InvokeFunction",
            "principal": principal,
            "source_arn": format!("= {source}"),
        }),
    )
}

fn rule(own: &str, pattern: &Value, retries: u32) -> Vec<String> {
    vec![
        hcl::resource(
            "aws_cloudwatch_event_rule",
            own,
            &json!({
                "name": format!("${{local.name}}-{}", own.replace('_', "-")),
                "event_pattern": { "jsonencode()": pattern },
            }),
        ),
        hcl::resource(
            "aws_cloudwatch_event_target",
            own,
            &json!({
                "rule": format!("= aws_cloudwatch_event_rule.{own}.name"),
                "arn": format!("= aws_lambda_alias.{own}.arn"),
                "retry_policy {}": { "maximum_retry_attempts": retries, "maximum_event_age_in_seconds": 86_400 },
                "dead_letter_config {}": { "arn": format!("= aws_sqs_queue.{own}_failed.arn") },
            }),
        ),
        allowed(own, own, "events.amazonaws.com", &format!("aws_cloudwatch_event_rule.{own}.arn")),
        hcl::resource(
            "aws_sqs_queue_policy",
            own,
            &json!({
                "queue_url": format!("= aws_sqs_queue.{own}_failed.id"),
                "policy": role::policy(&[json!({
                    "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" }, "Action": "sqs:SendMessage",
                    "Resource": format!("= aws_sqs_queue.{own}_failed.arn"),
                    "Condition": { "ArnEquals": { "aws:SourceArn": format!("= aws_cloudwatch_event_rule.{own}.arn") } },
                })]),
            }),
        ),
    ]
}

fn wired(cloud: &Cloud<'_>, own: &str, trigger: &Trigger, retries: u32) -> Vec<String> {
    let name = label(&trigger.on.name);
    match trigger.on.kind {
        Kind::Bucket => {
            let mut detail = json!({ "bucket": { "name": [format!("= aws_s3_bucket.{name}.bucket")] } });
            if let Some(prefix) = &trigger.prefix {
                detail["object"] = json!({ "key": [{ "prefix": prefix }] });
            }
            rule(own, &json!({ "source": ["aws.s3"], "detail-type": ["Object Created"], "detail": detail }), retries)
        }
        Kind::Service => {
            let source = format!("{}.{}", cloud.stack.app, trigger.on.name);
            rule(
                own,
                &json!({ "source": [source], "detail-type": trigger.event.as_ref().map(|event| vec![event]) }),
                retries,
            )
        }
        Kind::Topic => {
            let topic = format!("aws_sns_topic.{name}.arn");
            vec![
                hcl::resource(
                    "aws_sns_topic_subscription",
                    own,
                    &json!({
                        "topic_arn": format!("= {topic}"),
                        "protocol": "lambda",
                        "endpoint": format!("= aws_lambda_alias.{own}.arn"),
                    }),
                ),
                allowed(own, own, "sns.amazonaws.com", &topic),
            ]
        }
        Kind::Table => vec![hcl::resource(
            "aws_lambda_event_source_mapping",
            own,
            &json!({
                "event_source_arn": format!("= aws_dynamodb_table.{name}.stream_arn"),
                "function_name": format!("= aws_lambda_alias.{own}.arn"),
                "starting_position": "LATEST",
                "maximum_retry_attempts": retries,
                "bisect_batch_on_function_error": true,
            }),
        )],
        Kind::Queue => vec![hcl::resource(
            "aws_lambda_event_source_mapping",
            own,
            &json!({
                "event_source_arn": format!("= aws_mq_broker.{name}.arn"),
                "function_name": format!("= aws_lambda_alias.{own}.arn"),
                "queues": [trigger.event.as_deref().unwrap_or(trigger.on.name.as_str())],
                "batch_size": 1,
                "source_access_configuration {}": [
                    { "type": "VIRTUAL_HOST", "uri": "/" },
                    { "type": "BASIC_AUTH", "uri": format!("= aws_secretsmanager_secret.queue_{name}.arn") },
                ],
            }),
        )],
        _ => Vec::new(),
    }
}

fn scheduler(cloud: &Cloud<'_>, scheduled: &[Program<'_>]) -> Vec<String> {
    let mut statements: Vec<Value> = Vec::new();
    let mut blocks = Vec::new();
    for program in scheduled {
        let own = role::name(program);
        let Some(schedule) = schedule(cloud, program) else { continue };
        let retries = program.command.map_or(0, |command| command.retries);
        let target = if is_task(cloud, program) {
            statements.push(json!({ "Effect": "Allow", "Action": "ecs:RunTask", "Resource": format!("${{aws_ecs_task_definition.{own}.arn_without_revision}}:*") }));
            statements.push(json!({ "Effect": "Allow", "Action": "iam:PassRole", "Resource": [format!("= aws_iam_role.{own}.arn"), "= aws_iam_role.task_execution.arn"] }));
            json!({
                "arn": "= aws_ecs_cluster.main.arn",
                "role_arn": "= aws_iam_role.scheduler.arn",
                "ecs_parameters {}": {
                    "# the latest revision: releases are slipway deploy's": null,
                    "task_definition_arn": format!("= aws_ecs_task_definition.{own}.arn_without_revision"),
                    "launch_type": "FARGATE",
                    "network_configuration {}": {
                        "subnets": "= aws_subnet.private[*].id",
                        "security_groups": [format!("= aws_security_group.{own}.id")],
                    },
                },
                "retry_policy {}": { "maximum_retry_attempts": retries },
            })
        } else {
            statements.push(json!({ "Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": format!("= aws_lambda_alias.{own}.arn") }));
            json!({
                "arn": format!("= aws_lambda_alias.{own}.arn"),
                "role_arn": "= aws_iam_role.scheduler.arn",
                "retry_policy {}": { "maximum_retry_attempts": retries },
            })
        };
        blocks.push(hcl::resource(
            "aws_scheduler_schedule",
            &own,
            &json!({
                "name": format!("${{local.name}}-{}", program.name),
                "schedule_expression": cron(schedule),
                "schedule_expression_timezone": schedule.time_zone,
                "flexible_time_window {}": { "mode": "OFF" },
                "target {}": target,
            }),
        ));
    }
    blocks.push(hcl::resource(
        "aws_iam_role",
        "scheduler",
        &json!({
            "name": "${local.name}-scheduler",
            "assume_role_policy": role::trust("scheduler.amazonaws.com"),
        }),
    ));
    blocks.push(hcl::resource(
        "aws_iam_role_policy",
        "scheduler",
        &json!({
            "name": "start", "role": "= aws_iam_role.scheduler.id", "policy": role::policy(&statements),
        }),
    ));
    blocks
}

fn topics(cloud: &Cloud<'_>) -> Vec<String> {
    let mut blocks = Vec::new();
    for (name, extra) in cloud.extras(Kind::Topic) {
        let fifo = super::cloud::flag(extra, "fifo");
        let called = text(extra, "name").map_or_else(|| format!("${{local.name}}-{name}"), str::to_owned);
        blocks.push(hcl::resource(
            "aws_sns_topic",
            &label(name),
            &json!({
                "name": if fifo { format!("{called}.fifo") } else { called },
                "display_name": text(extra, "about").map(hcl::plain),
                "fifo_topic": fifo.then_some(true),
                "content_based_deduplication": fifo.then_some(true),
                "kms_master_key_id": "alias/aws/sns",
            }),
        ));
        for address in texts(extra, "to").into_iter().filter(|to| to.contains('@')) {
            blocks.push(hcl::resource(
                "aws_sns_topic_subscription",
                &format!("{}_{}", label(name), label(address)),
                &json!({
                    "topic_arn": format!("= aws_sns_topic.{}.arn", label(name)),
                    "protocol": "email",
                    "endpoint": address,
                }),
            ));
        }
    }
    blocks
}
