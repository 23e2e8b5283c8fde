//! Rendered Terraform for the provider of 2021, the newest that every machine can have: what an emulator is tried with.
//!
//! What was written otherwise then is written so here; what that provider has never heard of is left out, and said.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::Value;

use crate::kept;

/// What that provider takes, as `terraform providers schema -json` tells it.
pub(crate) struct Older {
    resources: Value,
    /// Names of services whose address can be set.
    pub(crate) services: Vec<String>,
}

/// What the provider knows but the emulator cannot make.
const NOT_EMULATED: [&str; 2] = ["aws_apigatewayv2_domain_name", "aws_backup_selection"];

/// What came after that provider, or the emulator cannot make: by kind, or kind and argument.
const LATER: [&str; 34] = [
    "aws_apigatewayv2_domain_name",
    "aws_backup_selection",
    "aws_backup_vault force_destroy",
    "aws_cloudfront_distribution default_cache_behavior function_association",
    "aws_cloudfront_distribution default_cache_behavior response_headers_policy_id",
    "aws_cloudfront_distribution origin origin_access_control_id",
    "aws_cloudfront_function",
    "aws_cloudfront_origin_access_control",
    "aws_cloudfront_response_headers_policy",
    "aws_cognito_user_pool deletion_protection",
    "aws_cognito_user_pool user_attribute_update_settings",
    "aws_cognito_user_pool_client enable_token_revocation",
    "aws_dynamodb_table deletion_protection_enabled",
    "aws_ecr_repository force_delete",
    "aws_ecs_task_definition runtime_platform",
    "aws_eip domain",
    "aws_eks_cluster access_config",
    "aws_eks_cluster deletion_protection",
    "aws_eks_node_group update_config",
    "aws_inspector2_enabler",
    "aws_kinesis_firehose_delivery_stream extended_s3_configuration buffering_interval",
    "aws_lambda_function architectures",
    "aws_lambda_function logging_config",
    "aws_lb xff_header_processing_mode",
    "aws_opensearch_domain",
    "aws_rds_cluster serverlessv2_scaling_configuration",
    "aws_s3_bucket_notification eventbridge",
    "aws_scheduler_schedule",
    "aws_sesv2_configuration_set",
    "aws_sesv2_configuration_set_event_destination",
    "aws_sesv2_email_identity",
    "aws_sesv2_email_identity_mail_from_attributes",
    "aws_sqs_queue sqs_managed_sse_enabled",
    "aws_wafv2_web_acl rule statement rate_based_statement evaluation_window_sec",
];

/// Words that provider had others for.
const OTHERWISE: [(&str, &str); 3] =
    [("\"http2and3\"", "\"http2\""), (".insecure_value", ".value"), (".arn_without_revision", ".arn")];

/// The JSON of what Terraform said; the old one puts a mark before it.
pub(crate) fn json(said: &str) -> &str {
    &said[said.find('{').unwrap_or_default()..]
}

/// A line and what it opens: `head` up to the bracket, what is inside, `tail` from the closing one.
#[derive(Clone)]
struct Item {
    key: String,
    head: String,
    inside: Vec<Item>,
    tail: Option<String>,
}

/// Lines at one indentation, each with the deeper ones behind it. Comments are for people.
fn items(lines: &mut std::iter::Peekable<std::str::Lines<'_>>, indent: usize) -> Vec<Item> {
    let mut all: Vec<Item> = Vec::new();
    while let Some(line) = lines.peek() {
        let text = line.trim_start();
        let own = line.len() - text.len();
        if text.is_empty() || text.starts_with('#') {
            lines.next();
        } else if own > indent {
            let inside = items(lines, own);
            all.last_mut().expect("something is open").inside = inside;
        } else if own < indent {
            break;
        } else if text.starts_with(['}', ']', ')']) {
            all.last_mut().expect("something is open").tail = Some(text.to_owned());
            lines.next();
        } else {
            let key = text.split([' ', '=']).next().unwrap_or_default().trim_matches('"').to_owned();
            all.push(Item { key, head: text.to_owned(), inside: Vec::new(), tail: None });
            lines.next();
        }
    }
    all
}

impl Item {
    fn write(&self, to: &mut String) {
        to.push_str(&self.head);
        to.push('\n');
        self.inside.iter().for_each(|item| item.write(to));
        if let Some(tail) = &self.tail {
            to.push_str(tail);
            to.push('\n');
        }
    }

    /// Words in quotes: kind and name of a resource.
    fn labels(&self) -> Vec<&str> {
        self.head.split('"').skip(1).step_by(2).collect()
    }

    /// As expressions call it.
    fn address(&self) -> Option<String> {
        (self.key == "resource").then(|| self.labels().join("."))
    }

    fn find(&self, key: &str) -> Option<&Item> {
        self.inside.iter().find(|item| item.key == key)
    }

    /// What stands behind the sign of an attribute.
    fn value(&self, key: &str) -> Option<&str> {
        self.find(key)?.head.split_once('=').map(|(_, value)| value.trim())
    }

    fn rename(&mut self, from: &str, to: &str) {
        for item in self.inside.iter_mut().filter(|item| item.key == from) {
            item.head = item.head.replacen(from, to, 1);
            to.clone_into(&mut item.key);
        }
    }
}

impl Older {
    /// As it was asked for once.
    pub(crate) fn get() -> Self {
        let schema = std::fs::read_to_string(kept::old_provider().join("schema.json")).expect("the schema");
        let mut schema: Value = serde_json::from_str(json(&schema)).expect("a schema");
        let aws = &mut schema["provider_schemas"]["registry.terraform.io/hashicorp/aws"];
        let services = aws["provider"]["block"]["block_types"]["endpoints"]["block"]["attributes"].take();
        let services = services.as_object().expect("services").keys().cloned().collect();
        Self { resources: aws["resource_schemas"].take(), services }
    }

    /// Rewrites a root module and its modules in place, with the state beside them.
    pub(crate) fn rewrite(&self, folder: &Path) {
        std::fs::remove_file(folder.join("backend.tf")).expect("there");
        let mut left_out = self.module(folder);
        for entry in std::fs::read_dir(folder.join("modules")).expect("modules") {
            left_out.append(&mut self.module(&entry.expect("an entry").path()));
        }
        let surprise: Vec<&String> = left_out.iter().filter(|what| !LATER.contains(&what.as_str())).collect();
        assert!(
            surprise.is_empty(),
            "the provider of 2021 has no words for these, or they are misspelt: {surprise:#?}"
        );
    }

    /// Rewrites the files of one module; gives what was left out: `KIND`, or `KIND ARGUMENT`.
    fn module(&self, folder: &Path) -> BTreeSet<String> {
        let mut all = Vec::new();
        let mut texts = BTreeMap::new();
        for path in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.extension().is_some_and(|ending| ending == "tf") {
                texts.insert(path.clone(), std::fs::read_to_string(&path).expect("a text"));
                std::fs::remove_file(path).expect("removed");
            }
        }
        for text in texts.values() {
            all.extend(items(&mut text.lines().peekable(), 0));
        }
        let (mut dropped, mut kept) = (BTreeSet::new(), Vec::new());
        let (apart, mut whole): (Vec<Item>, Vec<Item>) = all.into_iter().partition(|item| part_of(item).is_some());
        for part in &apart {
            let owner = part.value("bucket").and_then(|value| value.strip_prefix("aws_s3_bucket.")).unwrap_or_default();
            let owner = owner.trim_end_matches(".id");
            let bucket = whole.iter_mut().find(|item| item.labels() == ["aws_s3_bucket", owner]);
            bucket.expect("a bucket of this module").inside.extend(part_of(part).expect("it was one"));
        }
        let known: BTreeSet<String> =
            whole.iter().filter(|item| !is_password(item)).filter_map(Item::address).collect();
        for mut item in whole {
            if let ["aws_vpc_security_group_ingress_rule" | "aws_vpc_security_group_egress_rule", _] = item.labels()[..]
            {
                rule(&mut item);
            }
            if is_password(&item) {
                continue;
            }
            match item.labels()[..] {
                [kind, _] if item.key == "resource" => {
                    let kind = kind.to_owned();
                    let known = self.resources.get(&kind).filter(|_| !NOT_EMULATED.contains(&kind.as_str()));
                    let Some(known) = known else {
                        dropped.insert(kind);
                        continue;
                    };
                    item.rename("db_name", "name");
                    match kind.as_str() {
                        "aws_eip" => item.inside.push(line("vpc", "true")),
                        "aws_elasticache_replication_group" => members(&mut item),
                        "aws_budgets_budget" => item.inside.push(line("time_period_start", "\"2021-01-01_00:00\"")),
                        _ => {}
                    }
                    fit(&mut item, &known["block"], &kind, &mut dropped);
                }
                _ if item.key == "terraform" => requirements(&mut item),
                _ => {}
            }
            kept.push(item);
        }
        // what names something that is left out goes with it, and outputs say so
        let gone = loop {
            let there: BTreeSet<String> = kept.iter().filter_map(Item::address).collect();
            let gone = known.difference(&there).map(|address| format!("{address}.")).collect::<Vec<_>>();
            let before = kept.len();
            kept.retain(|item| {
                let mut text = String::new();
                item.write(&mut text);
                item.key != "resource" || !gone.iter().any(|address| text.contains(address))
            });
            if kept.len() == before {
                break gone;
            }
        };
        let mut text = String::new();
        for item in &kept {
            item.write(&mut text);
        }
        for address in gone {
            text = without(&text, &address);
        }
        for (now, then) in OTHERWISE {
            text = text.replace(now, then);
        }
        std::fs::write(folder.join("main.tf"), without_random(&text)).expect("written");
        dropped
    }
}

fn is_password(item: &Item) -> bool {
    item.labels().first() == Some(&"random_password")
}

/// Takes out what a kind of resource had no word for.
fn fit(item: &mut Item, known: &Value, place: &str, dropped: &mut BTreeSet<String>) {
    const ANYWHERE: [&str; 5] = ["count", "for_each", "provider", "depends_on", "lifecycle"];
    let top = !place.contains(' ');
    item.inside.retain_mut(|inner| {
        if top && ANYWHERE.contains(&inner.key.as_str()) {
            return true;
        }
        if let Some(block) = known["block_types"].get(&inner.key) {
            fit(inner, &block["block"], &format!("{place} {}", inner.key), dropped);
            return true;
        }
        let there =
            known["attributes"].get(&inner.key).is_some_and(|one| one["optional"] == true || one["required"] == true);
        if !there {
            dropped.insert(format!("{place} {}", inner.key));
        }
        there
    });
}

/// One of the resources that were blocks of the bucket then: those blocks.
fn part_of(item: &Item) -> Option<Vec<Item>> {
    let [kind, _] = item.labels()[..] else { return None };
    let rules = || item.inside.iter().filter(|inner| inner.key == "rule").cloned();
    Some(match kind {
        "aws_s3_bucket_versioning" => vec![block("versioning", vec![line("enabled", "true")])],
        "aws_s3_bucket_server_side_encryption_configuration" => {
            vec![block("server_side_encryption_configuration", rules().collect())]
        }
        "aws_s3_bucket_lifecycle_configuration" => rules().map(|rule| life(&rule)).collect(),
        "aws_s3_bucket_cors_configuration" => item.find("cors_rule").cloned().into_iter().collect(),
        _ => return None,
    })
}

fn life(rule: &Item) -> Item {
    let said = |inner: &str, key: &str| rule.find(inner).and_then(|inner| inner.value(key));
    let mut inside = vec![line("id", rule.value("id").expect("a name")), line("enabled", "true")];
    if let Some(days) = said("abort_incomplete_multipart_upload", "days_after_initiation") {
        inside.push(line("abort_incomplete_multipart_upload_days", days));
    }
    if let Some(days) = said("noncurrent_version_expiration", "noncurrent_days") {
        inside.push(block("noncurrent_version_expiration", vec![line("days", days)]));
    }
    inside.extend(["transition", "expiration"].into_iter().filter_map(|inner| rule.find(inner).cloned()));
    block("lifecycle_rule", inside)
}

fn line(key: &str, value: &str) -> Item {
    Item { key: key.to_owned(), head: format!("{key} = {value}"), inside: Vec::new(), tail: None }
}

fn block(key: &str, inside: Vec<Item>) -> Item {
    Item { key: key.to_owned(), head: format!("{key} {{"), inside, tail: Some("}".to_owned()) }
}

/// A rule of a security group, as it was one resource for both directions.
fn rule(item: &mut Item) {
    let labels = item.labels();
    let way = if labels[0].contains("ingress") { "ingress" } else { "egress" };
    let head = format!("resource \"aws_security_group_rule\" \"{way}_{}\" {{", labels[1]);
    item.head = head;
    item.rename("referenced_security_group_id", "source_security_group_id");
    item.rename("ip_protocol", "protocol");
    let anywhere = item.value("cidr_ipv4").map(|address| format!("[{address}]"));
    item.inside.retain(|inner| inner.key != "cidr_ipv4");
    item.inside.extend(anywhere.map(|addresses| line("cidr_blocks", &addresses)));
    item.inside.push(line("type", &format!("\"{way}\"")));
}

/// A replication group's shards were a block, and Redis was at 6.
fn members(item: &mut Item) {
    item.rename("description", "replication_group_description");
    item.rename("num_cache_clusters", "number_cache_clusters");
    item.inside.retain(|inner| inner.key != "engine_version");
    item.inside.push(line("engine_version", "\"6.x\""));
    let (shards, others) = std::mem::take(&mut item.inside)
        .into_iter()
        .partition::<Vec<_>, _>(|inner| matches!(inner.key.as_str(), "num_node_groups" | "replicas_per_node_group"));
    item.inside = others;
    if !shards.is_empty() {
        item.inside.push(block("cluster_mode", shards));
    }
}

/// Any version of Terraform, and no provider of passwords.
fn requirements(item: &mut Item) {
    item.inside.retain(|inner| inner.key != "required_version" && !inner.key.starts_with("backend"));
    for providers in item.inside.iter_mut().filter(|inner| inner.key == "required_providers") {
        providers.inside.retain(|inner| inner.key != "random");
        for aws in &mut providers.inside {
            aws.inside.retain(|inner| inner.key != "version");
        }
    }
}

/// A word in place of what is read of a resource that is left out.
fn without(text: &str, address: &str) -> String {
    let mut parts = text.split(address);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(part.len());
        whole = whole + "\"left-out\"" + &part[end..];
    }
    whole
}

/// Passwords that are the same every time.
fn without_random(text: &str) -> String {
    let mut parts = text.split("random_password.");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(".result").expect("its result");
        whole = whole + "sha256(\"" + name + "\")" + rest;
    }
    whole
}
