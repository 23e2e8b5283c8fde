//! Alarms: each condition of the stack as CloudWatch counts it.

use serde_json::{Value, json};
use stack::{AlarmRule, Comparison, MetricUnit};

use super::cloud::{Cloud, Shape, label};
use crate::hcl::{self, Block};

/// A series of CloudWatch: namespace, metric, statistic, dimensions.
pub(crate) struct Series {
    pub(crate) space: &'static str,
    pub(crate) metric: &'static str,
    pub(crate) statistic: &'static str,
    pub(crate) dimensions: Value,
    /// Which resource it is of, as part of the alarm's name.
    pub(crate) of: String,
}

fn series(space: &'static str, metric: &'static str, statistic: &'static str, of: &str, dimensions: Value) -> Series {
    Series { space, metric, statistic, dimensions, of: of.to_owned() }
}

/// Where CloudWatch has a metric of ours; empty where it has none.
#[expect(clippy::too_many_lines, reason = "one resource after another, in the order of the file")]
pub(crate) fn of(cloud: &Cloud<'_>, metric: &str) -> Vec<Series> {
    let mut found = Vec::new();
    let balancer = super::balancer::wanted(cloud);
    let lb = json!({ "LoadBalancer": "= aws_lb.main.arn_suffix" });
    let rest = super::api::rest(cloud);
    let http = super::api::any(cloud) && !rest && cloud.shape == Shape::Lambda;
    let api = if rest {
        json!({ "ApiName": "= aws_api_gateway_rest_api.main.name" })
    } else {
        json!({ "ApiId": "= aws_apigatewayv2_api.main.id" })
    };
    let gateway = rest || http;
    let front = |found: &mut Vec<Series>, of_api: &'static str, of_lb: &'static str, statistic: &'static str| {
        if gateway {
            found.push(series("AWS/ApiGateway", of_api, statistic, "api", api.clone()));
        } else if balancer {
            found.push(series("AWS/ApplicationELB", of_lb, statistic, "balancer", lb.clone()));
        }
    };
    match metric {
        "http.requests" => front(&mut found, "Count", "RequestCount", "Sum"),
        "http.errors" => front(&mut found, if rest { "5XXError" } else { "5xx" }, "HTTPCode_Target_5XX_Count", "Sum"),
        "http.latency" | "http.latency.p95" => front(&mut found, "Latency", "TargetResponseTime", "p95"),
        "http.latency.p50" => front(&mut found, "Latency", "TargetResponseTime", "p50"),
        "http.latency.p99" => front(&mut found, "Latency", "TargetResponseTime", "p99"),
        "cpu" | "memory" if cloud.shape == Shape::Fargate => {
            let name = if metric == "cpu" { "CPUUtilization" } else { "MemoryUtilization" };
            for service in cloud.stack.services.keys() {
                let dimensions =
                    json!({ "ClusterName": "= aws_ecs_cluster.main.name", "ServiceName": service.as_str() });
                found.push(series("AWS/ECS", name, "Average", service.as_str(), dimensions));
            }
        }
        "cpu" if cloud.shape == Shape::Machines => {
            found.push(series(
                "AWS/EC2",
                "CPUUtilization",
                "Average",
                "machines",
                json!({ "InstanceId": "= aws_instance.host[0].id" }),
            ));
        }
        "unhealthy" if balancer => {
            let groups: Vec<String> = if cloud.shape == Shape::Machines {
                vec!["machines".to_owned()]
            } else {
                cloud
                    .ported()
                    .filter(|(name, ..)| super::balancer::routed(cloud, name))
                    .map(|(name, ..)| label(name))
                    .collect()
            };
            for group in groups {
                let dimensions = json!({ "LoadBalancer": "= aws_lb.main.arn_suffix", "TargetGroup": format!("= aws_lb_target_group.{group}.arn_suffix") });
                found.push(series("AWS/ApplicationELB", "UnHealthyHostCount", "Maximum", &group, dimensions));
            }
        }
        "db.connections" | "db.latency" | "db.lag" | "db.size" => {
            for (name, database) in cloud.databases() {
                let serverless = super::database::serverless(database);
                let metric = match metric {
                    "db.connections" => "DatabaseConnections",
                    "db.latency" => "ReadLatency",
                    "db.lag" if serverless => "AuroraReplicaLag",
                    "db.lag" => "ReplicaLag",
                    _ if serverless => "VolumeBytesUsed",
                    _ => "FreeStorageSpace",
                };
                let dimensions = if serverless {
                    json!({ "DBClusterIdentifier": format!("= aws_rds_cluster.{}.cluster_identifier", label(name)) })
                } else {
                    json!({ "DBInstanceIdentifier": format!("= aws_db_instance.{}.identifier", label(name)) })
                };
                found.push(series("AWS/RDS", metric, "Average", name.as_str(), dimensions));
            }
        }
        "cache.hits" | "cache.memory" => {
            let metric = if metric == "cache.hits" { "CacheHitRate" } else { "DatabaseMemoryUsagePercentage" };
            for (name, _) in cloud.caches() {
                let dimensions =
                    json!({ "ReplicationGroupId": format!("= aws_elasticache_replication_group.{}.id", label(name)) });
                found.push(series("AWS/ElastiCache", metric, "Average", name.as_str(), dimensions));
            }
        }
        "queue.depth" => {
            for (name, _) in cloud.queues() {
                let dimensions = json!({ "Broker": format!("= aws_mq_broker.{}.broker_name", label(name)) });
                found.push(series("AWS/AmazonMQ", "MessageReadyCount", "Maximum", name.as_str(), dimensions));
            }
        }
        "bucket.size" => {
            for name in cloud.stack.buckets.keys() {
                let dimensions = json!({ "BucketName": format!("= aws_s3_bucket.{}.bucket", label(name)), "StorageType": "StandardStorage" });
                found.push(series("AWS/S3", "BucketSizeBytes", "Average", name.as_str(), dimensions));
            }
        }
        "function.errors" | "job.failures" => {
            for program in super::function::lambdas(cloud).into_iter().filter(|program| program.command.is_some()) {
                let dimensions = json!({ "FunctionName": format!("= aws_lambda_function.{}.function_name", super::role::name(&program)) });
                found.push(series("AWS/Lambda", "Errors", "Sum", program.name.as_str(), dimensions));
            }
        }
        "function.concurrency" if !super::function::lambdas(cloud).is_empty() => {
            found.push(series("AWS/Lambda", "ConcurrentExecutions", "Maximum", "account", json!({})));
        }
        "backup.age" if cloud.databases().any(|(_, database)| database.backup.is_some()) => {
            found.push(series(
                "AWS/Backup",
                "NumberOfBackupJobsCompleted",
                "Sum",
                "vault",
                json!({ "BackupVaultName": "= aws_backup_vault.main.name" }),
            ));
        }
        "certificate.expires" => {
            found.push(series(
                "AWS/CertificateManager",
                "DaysToExpiry",
                "Minimum",
                "certificate",
                json!({ "CertificateArn": "= aws_acm_certificate_validation.main.certificate_arn" }),
            ));
        }
        _ => {}
    }
    found
}

pub(crate) fn alarms(cloud: &Cloud<'_>) -> Vec<Block> {
    if cloud.stack.alarms.is_empty() {
        return Vec::new();
    }
    let mut blocks = vec![
        hcl::resource("aws_sns_topic", "alarms", json!({ "name": "${local.name}-alarms" })),
        hcl::resource(
            "aws_sns_topic_policy",
            "alarms",
            json!({
                "arn": "= aws_sns_topic.alarms.arn",
                "policy": super::role::policy(&[json!({
                    "Effect": "Allow", "Principal": { "Service": "cloudwatch.amazonaws.com" }, "Action": "sns:Publish", "Resource": "= aws_sns_topic.alarms.arn",
                })]),
            }),
        ),
        hcl::resource(
            "aws_sns_topic_subscription",
            "alarms",
            json!({
                "count": "= var.alarm_email == \"\" ? 0 : 1",
                "topic_arn": "= aws_sns_topic.alarms.arn", "protocol": "email", "endpoint": "= var.alarm_email",
            }),
        ),
    ];
    for (name, text) in &cloud.stack.alarms {
        let Ok(rule) = text.parse::<AlarmRule>() else { continue };
        let series = of(cloud, rule.metric);
        if series.is_empty() {
            blocks.push(Block::comment(&[
                &format!("{name}: {text}"),
                "CloudWatch does not count it; slipway and Prometheus do (render prometheus)",
            ]));
        }
        let several = series.len() > 1;
        for one in series {
            let own = if several { format!("{}_{}", label(name), label(&one.of)) } else { label(name) };
            blocks.push(alarm(cloud, &own, name.as_str(), &rule, &one).about(format!("{name}: {text}")));
        }
    }
    blocks
}

fn alarm(cloud: &Cloud<'_>, own: &str, name: &str, rule: &AlarmRule, series: &Series) -> Block {
    let sign = match rule.comparison {
        Comparison::Above => "GreaterThanThreshold",
        Comparison::AtLeast => "GreaterThanOrEqualToThreshold",
        Comparison::Below => "LessThanThreshold",
        Comparison::AtMost => "LessThanOrEqualToThreshold",
    };
    let period: u64 = match rule.metric {
        // told once a day
        "bucket.size" | "backup.age" | "certificate.expires" => 86_400,
        _ => 60,
    };
    let periods = (rule.hold.0.as_secs() / period).clamp(1, 60);
    let action = json!(["= aws_sns_topic.alarms.arn"]);
    let title = format!("${{local.name}}-{}", own.replace('_', "-"));
    let common = |sign: &str, threshold: Value, missing: &str| {
        json!({
            "alarm_name": title,
            "alarm_description": hcl::plain(&format!("{name}: {rule}")),
            "comparison_operator": sign,
            "threshold": threshold,
            "evaluation_periods": periods,
            "treat_missing_data": missing,
            "alarm_actions": action,
            "ok_actions": action,
        })
    };
    let mut body = match (rule.metric, rule.unit) {
        // a share of all requests is two series and a division
        ("http.errors", MetricUnit::Percent) => {
            let all = of(cloud, "http.requests");
            let mut body = common(sign, json!(rule.limit), "notBreaching");
            let query = |id: &str, series: &Series| {
                json!({ "id": id, "metric {}": {
                    "namespace": series.space, "metric_name": series.metric, "stat": "Sum", "period": period, "dimensions": series.dimensions,
                } })
            };
            let mut queries = vec![
                json!({ "id": "share", "expression": "100 * errors / MAX([requests, 1])", "label": "errors, percent", "return_data": true }),
            ];
            queries.push(query("errors", series));
            queries.extend(all.first().map(|all| query("requests", all)));
            body["metric_query {}"] = queries.into();
            return hcl::resource("aws_cloudwatch_metric_alarm", own, body);
        }
        ("backup.age", _) => common("LessThanThreshold", json!(1), "breaching"),
        ("http.latency" | "http.latency.p50" | "http.latency.p95" | "http.latency.p99", _)
            if series.space == "AWS/ApiGateway" =>
        {
            common(sign, json!(rule.limit), "notBreaching")
        }
        ("db.connections", MetricUnit::Percent) => {
            common(sign, json!(connections(cloud, series, rule.limit)), "notBreaching")
        }
        ("certificate.expires", _) => common(sign, json!(rule.limit / 86_400_000.0), "notBreaching"),
        // ours are milliseconds, CloudWatch's seconds
        (_, MetricUnit::Duration) => common(sign, json!(rule.limit / 1000.0), "notBreaching"),
        // a rate per second is a sum per period
        (_, MetricUnit::Rate) => common(sign, json!(rule.limit * 60.0), "notBreaching"),
        _ => common(sign, json!(rule.limit), "notBreaching"),
    };
    body["namespace"] = series.space.into();
    body["metric_name"] = series.metric.into();
    let key = if series.statistic.starts_with('p') { "extended_statistic" } else { "statistic" };
    body[key] = series.statistic.into();
    body["period"] = period.into();
    if series.dimensions.as_object().is_some_and(|map| !map.is_empty()) {
        body["dimensions"] = series.dimensions.clone();
    }
    hcl::resource("aws_cloudwatch_metric_alarm", own, body)
}

/// A share of the most connections: what the stack sets, else what RDS gives this class of machine.
fn connections(cloud: &Cloud<'_>, series: &Series, percent: f64) -> f64 {
    let database = cloud.databases().find(|(name, _)| name.as_str() == series.of).map(|(_, database)| database);
    let set = database.and_then(|database| database.settings.get("max_connections")?.parse::<f64>().ok());
    let class = database.and_then(|database| database.cloud.get("class")?.as_str()).unwrap_or("db.t4g.medium");
    // memory in bytes divided by 9,531,392, at most 5,000. Source: Amazon RDS, quotas and constraints
    let gigabytes = match class.rsplit('.').next().unwrap_or_default() {
        "micro" => 1.0,
        "small" => 2.0,
        "large" => 8.0,
        "xlarge" => 16.0,
        "2xlarge" => 32.0,
        _ => 4.0,
    };
    let memory_optimised = class.starts_with("db.r");
    let bytes: f64 = gigabytes * if memory_optimised { 2.0 } else { 1.0 } * 1_073_741_824.0;
    (set.unwrap_or((bytes / 9_531_392.0).min(5000.0)) * percent / 100.0).floor()
}
