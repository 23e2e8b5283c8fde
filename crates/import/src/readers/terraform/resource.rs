//! What becomes of each kind of resource.

use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

use super::{UNKNOWN, cache, database, days, flat, front, function, keep, many, plain, referred, service, store};
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
    report::Fate,
    trap::Trap,
};

/// One resource with its place.
pub(crate) struct Resource<'a> {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) at: Cursor<'a>,
}

/// What one resource has to know of the others.
pub(crate) struct All {
    /// Names of DNS records.
    pub(crate) records: BTreeSet<String>,
    /// Functions that a bucket's notification starts.
    pub(crate) notified: BTreeSet<String>,
    /// Text of every resource, for what refers to what.
    pub(crate) texts: BTreeMap<String, String>,
    pub(crate) dns: bool,
    /// Services of ECS by the task definitions that they run.
    pub(crate) tasks: BTreeMap<String, String>,
    /// What services of ECS are called, by their resources.
    pub(crate) services: BTreeMap<String, String>,
}

impl All {
    pub(crate) fn of(resources: &[Resource<'_>]) -> Self {
        let of = |kind: &str| resources.iter().filter(move |resource| resource.kind == kind).collect::<Vec<_>>();
        let mut notified = BTreeSet::new();
        for resource in of("aws_s3_bucket_notification") {
            for at in many(&resource.at, "lambda_function") {
                notified.extend(
                    at.find("lambda_function_arn")
                        .and_then(|arn| arn.text())
                        .and_then(|text| referred(&text, "aws_lambda_function")),
                );
            }
        }
        let records = of("aws_route53_record").iter().filter_map(|record| record.at.find("name")?.text()).collect();
        let texts = resources
            .iter()
            .map(|resource| (format!("{}.{}", resource.kind, resource.name), flat(resource.at.node)))
            .collect();
        let tasks = of("aws_ecs_service")
            .iter()
            .filter_map(|service| {
                let task = service
                    .at
                    .find("task_definition")
                    .and_then(|task| referred(&task.text()?, "aws_ecs_task_definition"));
                Some((task?, service::name(&service.name, &service.at)))
            })
            .collect();
        let services =
            of("aws_ecs_service").iter().map(|one| (one.name.clone(), service::name(&one.name, &one.at))).collect();
        Self { records, notified, texts, tasks, services, dns: !of("aws_route53_record").is_empty() }
    }
}

#[expect(clippy::too_many_lines, reason = "a table of what becomes of each")]
pub(crate) fn one(resource: &Resource<'_>, all: &All, draft: &mut Draft) {
    let Resource { kind, name, at } = resource;
    let own = label(name, "main");
    match kind.as_str() {
        "aws_db_instance" => database::db_instance(&own, at, draft),
        "aws_rds_cluster" => database::cluster(&own, at, draft),
        "aws_elasticache_cluster" | "aws_elasticache_replication_group" | "aws_elasticache_serverless_cache" => {
            cache::read(kind, &own, at, draft);
        }
        "aws_s3_bucket" => {
            let bucket = plain(at, "bucket");
            let section = draft.section("bucket", &own);
            if let Some(bucket) = bucket {
                section.set("name", bucket);
            }
            keep(at, &["bucket"], "`name` of the bucket");
        }
        "aws_s3_bucket_versioning" => {
            if let Some(bucket) = at.find("bucket").and_then(|at| referred(&at.text()?, "aws_s3_bucket")) {
                draft.section("bucket", &label(&bucket, "main")).set("versions", true);
                at.kept_as("`versions` of the bucket");
            }
        }
        "aws_s3_bucket_lifecycle_configuration" => store::lifecycle(at, draft),
        "aws_s3_bucket_public_access_block"
        | "aws_s3_bucket_server_side_encryption_configuration"
        | "aws_s3_bucket_policy"
        | "aws_s3_bucket_ownership_controls"
        | "aws_s3_bucket_acl"
        | "aws_s3_bucket_cors_configuration"
        | "aws_s3_bucket_website_configuration" => {
            at.changed("`slipway render terraform` writes it: private, encrypted, with the origins of `cors`");
        }
        "aws_s3_bucket_notification" => {
            for at in many(at, "lambda_function") {
                at.changed("`on = { bucket = ... }` of the function");
            }
        }
        "aws_sns_topic" => {
            draft.section("topic", &own);
            at.kept_as("[topic]");
        }
        "aws_dynamodb_table" => store::table(&own, at, all, draft),
        "aws_lambda_function" => function::read(&own, at, draft),
        "aws_cloudwatch_event_target" => {
            let target = at.find("arn").and_then(|arn| referred(&arn.text()?, "aws_lambda_function"));
            let rule = at.find("rule").and_then(|rule| referred(&rule.text()?, "aws_cloudwatch_event_rule"));
            let of_bucket = rule
                .as_ref()
                .and_then(|rule| all.texts.get(&format!("aws_cloudwatch_event_rule.{rule}")))
                .is_some_and(|text| text.contains("aws.s3"));
            match target {
                Some(function) if of_bucket && all.notified.contains(&function) => {
                    at.trapped(
                        Trap::TWO_TRIGGERS,
                        Fate::Refused,
                        &format!("`{function}` is started by the bucket's notification already; one `on` is enough"),
                    );
                }
                _ => at.changed("`on` or `schedule` of the function"),
            }
        }
        "aws_cloudwatch_event_rule" => {
            if let Some(schedule) = plain(at, "schedule_expression") {
                at.changed(&format!("`schedule` of the function that it starts: {schedule}"));
            } else {
                at.changed("`on` of the function that it starts");
            }
        }
        "aws_ecs_service" => service::kept(&service::name(name, at), at, draft),
        "aws_ecs_task_definition" => service::task(name, at, all, draft),
        "aws_appautoscaling_target" => service::scaled(at, all, draft),
        "aws_appautoscaling_policy" => at.changed("`size.scale_at` of the service"),
        "aws_cloudfront_distribution" => front::distribution(&own, at, all, draft),
        "aws_acm_certificate" => {
            let mut names: Vec<Value> = plain(at, "domain_name").into_iter().map(Value::from).collect();
            names.extend(
                at.find("subject_alternative_names")
                    .map(|at| at.items())
                    .unwrap_or_default()
                    .iter()
                    .filter_map(Cursor::text)
                    .map(Value::from),
            );
            draft.section("dns", "main").set("certificate", Value::Array(names)).set("validate", "dns");
            at.kept_as("`certificate` of [dns.main]");
        }
        "aws_route53_zone" => {
            if let Some(zone) = plain(at, "name") {
                draft.section("dns", "main").set("zone", zone);
            }
            at.kept_as("`zone` of [dns.main]");
        }
        "aws_route53_record" => at.changed("`records` of [dns.main]; names of routes have theirs by themselves"),
        "aws_vpc" => {
            if let Some(cidr) = plain(at, "cidr_block") {
                draft.section("network", "main").set("cidr", cidr).set("dns", true);
            }
            keep(at, &["cidr_block", "enable_dns_hostnames", "enable_dns_support"], "[network.main]");
        }
        "aws_subnet"
        | "aws_nat_gateway"
        | "aws_internet_gateway"
        | "aws_route_table"
        | "aws_route_table_association"
        | "aws_eip"
        | "aws_security_group"
        | "aws_security_group_rule"
        | "aws_vpc_security_group_ingress_rule"
        | "aws_vpc_security_group_egress_rule"
        | "aws_db_subnet_group"
        | "aws_elasticache_subnet_group" => {
            at.changed("`slipway render terraform` writes it from [network] and from what each part `needs`");
        }
        "aws_iam_role"
        | "aws_iam_role_policy"
        | "aws_iam_policy"
        | "aws_iam_role_policy_attachment"
        | "aws_iam_policy_attachment"
        | "aws_lambda_permission" => {
            at.changed("roles are derived from what each part `needs`: the least that suffices");
        }
        "aws_wafv2_web_acl" => {
            draft.section("waf", &own).set("sql_injection", true).set("xss", true).set("bad_ips", true);
            at.changed("[waf]: its rules as keys");
        }
        "aws_wafv2_web_acl_association" => {
            let target = at.find("resource_arn").and_then(|at| at.text()).unwrap_or_default();
            if target.contains("aws_apigatewayv2") {
                at.trapped(
                    Trap::WAF_HTTP_API,
                    Fate::Changed,
                    "`kind = \"rest\"` of the gateway, or a WAF in front of the CDN",
                );
            } else {
                at.changed("`routes` of [waf]");
            }
        }
        "aws_cloudwatch_log_group" => {
            let section = draft.section("log", &own);
            section.set("group", plain(at, "name").unwrap_or_default());
            if let Some(keep) = plain(at, "retention_in_days").and_then(|text| days(&text)) {
                section.set("keep", keep);
            }
            at.kept_as("[log]");
        }
        "aws_db_parameter_group" | "aws_rds_cluster_parameter_group" => {
            for at in many(at, "parameter") {
                let (setting, value) =
                    (plain(&at, "name").unwrap_or_default(), plain(&at, "value").unwrap_or_default());
                if setting.starts_with("query_cache") {
                    at.trapped(
                        Trap::QUERY_CACHE,
                        Fate::Refused,
                        "a pool of connections, replicas and a cache help; this setting is MySQL's",
                    );
                } else if let Some(first) = draft.names("database").first() {
                    draft.section("database", first).put("settings", &setting, value);
                    at.kept_as("`settings` of the database");
                }
            }
        }
        "aws_secretsmanager_secret"
        | "aws_secretsmanager_secret_version"
        | "aws_ssm_parameter"
        | "aws_kms_key"
        | "aws_kms_alias" => {
            at.changed("secrets are variables of the contract; the target keeps them and their keys");
        }
        "aws_cognito_user_pool" => {
            draft.section("identity", &own).set("sign_in", "email");
            at.changed("[identity]: its rules as keys");
        }
        "aws_opensearch_domain" | "aws_elasticsearch_domain" => {
            let section = draft.section("search", &own);
            section.set("engine", "opensearch:2");
            if let Some(cluster) = many(at, "cluster_config").first() {
                for (from, to) in [("instance_count", "nodes"), ("dedicated_master_count", "masters")] {
                    if let Some(count) = plain(cluster, from).and_then(|text| text.parse::<i64>().ok()) {
                        section.set(to, count);
                    }
                }
                for (from, to) in [("instance_type", "class"), ("dedicated_master_type", "master_class")] {
                    if let Some(class) = plain(cluster, from) {
                        section.set(to, class);
                    }
                }
                cluster.kept_as("[search]");
            }
            at.changed("[search]: its size as keys");
        }
        "aws_apigatewayv2_api" | "aws_api_gateway_rest_api" => {
            draft.section("gateway", &own).set("kind", if kind == "aws_apigatewayv2_api" { "http" } else { "rest" });
            at.changed("[gateway], and [route] tables for what it leads to");
        }
        _ => at.refused(UNKNOWN),
    }
}
