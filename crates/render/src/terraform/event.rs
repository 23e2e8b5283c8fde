//! What starts functions and jobs: schedules, and events that are wired once (T7).

use serde_json::{Value, json};
use stack::{Kind, Schedule, Trigger};

use super::{
    cloud::{Cloud, Shape, label},
    function::{is_task, schedule},
    role, secret,
};
use crate::{
    hcl::{self, Block},
    program::{self, Program},
};

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

pub(crate) fn events(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
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
            json!({
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

fn allowed(own: &str, name: &str, principal: &str, source: &str) -> Block {
    hcl::resource(
        "aws_lambda_permission",
        name,
        json!({
            "function_name": format!("= aws_lambda_function.{own}.function_name"),
            "qualifier": format!("= aws_lambda_alias.{own}.name"),
            "action": "lambda:InvokeFunction",
            "principal": principal,
            "source_arn": format!("= {source}"),
        }),
    )
}

fn rule(own: &str, pattern: &Value, retries: u32) -> Vec<Block> {
    vec![
        hcl::resource(
            "aws_cloudwatch_event_rule",
            own,
            json!({
                "name": format!("${{local.name}}-{}", own.replace('_', "-")),
                "event_pattern": { "jsonencode()": pattern },
            }),
        ),
        hcl::resource(
            "aws_cloudwatch_event_target",
            own,
            json!({
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
            json!({
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

fn wired(cloud: &Cloud<'_>, own: &str, trigger: &Trigger, retries: u32) -> Vec<Block> {
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
                    json!({
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
            json!({
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
            json!({
                "event_source_arn": format!("= aws_mq_broker.{name}.arn"),
                "function_name": format!("= aws_lambda_alias.{own}.arn"),
                "queues": [trigger.event.as_deref().unwrap_or(trigger.on.name.as_str())],
                "batch_size": 1,
                "source_access_configuration {}": [
                    { "type": "VIRTUAL_HOST", "uri": "/" },
                    { "type": "BASIC_AUTH", "uri": format!("= aws_secretsmanager_secret.{}.arn", secret::login(&name)) },
                ],
            }),
        )],
        _ => Vec::new(),
    }
}

fn scheduler(cloud: &Cloud<'_>, scheduled: &[Program<'_>]) -> Vec<Block> {
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
            json!({
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
        json!({
            "name": "${local.name}-scheduler",
            "assume_role_policy": role::trust("scheduler.amazonaws.com"),
        }),
    ));
    blocks.push(hcl::resource(
        "aws_iam_role_policy",
        "scheduler",
        json!({
            "name": "start", "role": "= aws_iam_role.scheduler.id", "policy": role::policy(&statements),
        }),
    ));
    blocks
}
