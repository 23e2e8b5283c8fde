//! Web filters, in front of what can have one: a REST API, a load balancer or CloudFront, never an HTTP API (T5).

use serde_json::{Value, json};
use stack::{Extra, Kind, Limit};

use super::{
    api, balancer, cdn,
    cloud::{Cloud, Shape, flag, label, text, texts},
};
use crate::hcl::{self, Block};

/// The filter of distributions, where there is nothing else to put it on.
pub(crate) fn of_cdn(cloud: &Cloud<'_>) -> Value {
    let (name, _) = match cloud.extras(Kind::Waf).next() {
        Some(first) if on_cdn(cloud) => first,
        _ => return Value::Null,
    };
    format!("= aws_wafv2_web_acl.{}.arn", label(name)).into()
}

fn on_cdn(cloud: &Cloud<'_>) -> bool {
    !api::rest(cloud) && !balancer::wanted(cloud)
}

fn seen(name: &str) -> Value {
    json!({ "cloudwatch_metrics_enabled": true, "metric_name": name, "sampled_requests_enabled": true })
}

fn managed(name: &str, priority: usize, count: bool) -> Value {
    json!({
        "name": name,
        "priority": priority,
        "override_action {}": if count { json!({ "count {}": {} }) } else { json!({ "none {}": {} }) },
        "statement {}": { "managed_rule_group_statement {}": { "vendor_name": "AWS", "name": name } },
        "visibility_config {}": seen(name),
    })
}

fn rules(extra: &Extra) -> Vec<Value> {
    let count = text(extra, "mode") == Some("count");
    let act = || if count { json!({ "count {}": {} }) } else { json!({ "block {}": {} }) };
    let mut rules: Vec<Value> = Vec::new();
    let own = |name: &str, rules: &[Value], statement: Value| json!({ "name": name, "priority": rules.len(), "action {}": act(), "statement {}": statement, "visibility_config {}": seen(name) });
    if let Some(limit) = text(extra, "limit").and_then(|text| text.parse::<Limit>().ok()) {
        let seconds = limit.period.0.as_secs();
        // it counts over one of these
        let window = [60, 120, 300, 600].into_iter().find(|window| *window >= seconds).unwrap_or(600);
        let requests = (u64::from(limit.requests) * window / seconds.max(1)).max(10);
        let statement = json!({ "rate_based_statement {}": { "limit": requests, "aggregate_key_type": "IP", "evaluation_window_sec": window } });
        rules.push(own("rate", &rules, statement));
    }
    for (key, name) in [("block_countries", "countries"), ("allow_countries", "only-countries")] {
        let countries = texts(extra, key);
        if countries.is_empty() {
            continue;
        }
        let matches = json!({ "geo_match_statement {}": { "country_codes": countries } });
        let statement =
            if key == "allow_countries" { json!({ "not_statement {}": { "statement {}": matches } }) } else { matches };
        rules.push(own(name, &rules, statement));
    }
    let mut groups: Vec<&str> = Vec::new();
    for (key, group) in [
        ("bad_ips", "AWSManagedRulesAmazonIpReputationList"),
        ("sql_injection", "AWSManagedRulesSQLiRuleSet"),
        // cross-site scripting is part of the core rules
        ("xss", "AWSManagedRulesCommonRuleSet"),
    ] {
        if flag(extra, key) {
            groups.push(group);
        }
    }
    // log4j and its like
    groups.push("AWSManagedRulesKnownBadInputsRuleSet");
    groups.extend(texts(extra, "managed"));
    for group in groups {
        rules.push(managed(group, rules.len(), count));
    }
    rules
}

pub(crate) fn filters(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    if cloud.shape == Shape::Cluster {
        return blocks;
    }
    for (name, extra) in cloud.extras(Kind::Waf) {
        let own = label(name);
        let global = on_cdn(cloud);
        if global && cdn::all(cloud).is_empty() {
            continue;
        }
        blocks.push(hcl::resource(
            "aws_wafv2_web_acl",
            &own,
            json!({
                "provider": global.then_some("= aws.global"),
                "name": format!("${{local.name}}-{name}"),
                "scope": if global { "CLOUDFRONT" } else { "REGIONAL" },
                "default_action {}": { "allow {}": {} },
                "rule {}": rules(extra),
                "visibility_config {}": seen(name.as_str()),
            }),
        ));
        let resource = if api::rest(cloud) { "aws_api_gateway_stage.main.arn" } else { "aws_lb.main.arn" };
        if !global {
            blocks.push(hcl::resource(
                "aws_wafv2_web_acl_association",
                &own,
                json!({
                    "resource_arn": format!("= {resource}"), "web_acl_arn": format!("= aws_wafv2_web_acl.{own}.arn"),
                }),
            ));
        }
    }
    blocks
}
