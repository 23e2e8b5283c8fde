//! Terraform files of one folder, read together: a resource may be in one and what belongs to it in another.

use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

use crate::{
    cursor::{Cursor, Marks, entries},
    detect::File,
    draft::{Draft, label},
    hcl,
    report::{Entry, Fate},
    text,
    trap::Trap,
    tree::Node,
};

/// What is said of a key that the stack does not carry.
const UNKNOWN: &str = "`slipway render terraform` writes what the provider needs; the stack has no key for this";

/// One resource with its place.
struct Resource<'a> {
    kind: String,
    name: String,
    at: Cursor<'a>,
}

/// Reads all files.
pub(crate) fn read(files: &[&File], draft: &mut Draft) -> Result<Vec<Entry>, (String, String)> {
    let mut trees: Vec<(&File, Node)> = Vec::new();
    for file in files {
        trees.push((*file, hcl::read(&file.text).map_err(|reason| (file.name.clone(), reason))?));
    }
    let marks: Vec<Marks> = trees.iter().map(|_| Marks::default()).collect();
    let mut resources = Vec::new();
    let mut roots = Vec::new();
    for ((file, tree), marks) in trees.iter().zip(&marks) {
        let root = Cursor::root(tree, marks);
        root.refused(UNKNOWN);
        for key in [
            "terraform",
            "provider",
            "variable",
            "locals",
            "output",
            "data",
            "module",
            "moved",
            "import",
            "removed",
            "check",
        ] {
            if let Some(at) = root.find(key) {
                match key {
                    "module" => {
                        at.refused("modules of others are not followed; say what it makes as a resource of the stack");
                    }
                    "variable" | "locals" | "output" | "data" => at.changed("`slipway render terraform` has its own"),
                    _ => at.changed("`slipway render terraform` writes it, with versions pinned"),
                }
            }
        }
        for (kind, at) in root.find("resource").map(|all| all.entries()).unwrap_or_default() {
            for (name, at) in at.entries() {
                resources.push(Resource { kind: kind.to_owned(), name: name.to_owned(), at });
            }
        }
        roots.push((*file, root));
    }
    let all = All::of(&resources);
    for resource in &resources {
        one(resource, &all, draft);
    }
    Ok(roots.iter().flat_map(|(file, root)| entries(&file.name, root, UNKNOWN)).collect())
}

/// What one resource has to know of the others.
struct All {
    /// Names of DNS records.
    records: BTreeSet<String>,
    /// Functions that a bucket's notification starts.
    notified: BTreeSet<String>,
    /// Text of every resource, for what refers to what.
    texts: BTreeMap<String, String>,
    dns: bool,
}

impl All {
    fn of(resources: &[Resource<'_>]) -> Self {
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
        Self { records, notified, texts, dns: !of("aws_route53_record").is_empty() }
    }
}

/// A block that may stand once or more often.
fn many<'a>(at: &Cursor<'a>, key: &str) -> Vec<Cursor<'a>> {
    match at.find(key) {
        Some(at) if at.entries().is_empty() => at.items(),
        Some(at) => vec![at],
        None => Vec::new(),
    }
}

fn flat(node: &Node) -> String {
    match &node.value {
        crate::tree::Value::Map(map) => {
            map.iter().fold(String::new(), |text, (key, node)| text + key + "=" + &flat(node) + ";")
        }
        crate::tree::Value::List(items) => items.iter().fold(String::new(), |text, item| text + &flat(item) + ","),
        _ => node.scalar().unwrap_or_default(),
    }
}

/// The name of the resource of a kind that an expression refers to.
fn referred(text: &str, kind: &str) -> Option<String> {
    let rest = text.split(&format!("{kind}.")).nth(1)?;
    let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '-').collect();
    (!name.is_empty()).then_some(name)
}

/// The text of a key when it is plain; expressions are not.
fn plain(at: &Cursor<'_>, key: &str) -> Option<String> {
    at.find(key).and_then(|at| at.text()).filter(|text| !text.contains("${"))
}

fn keep(at: &Cursor<'_>, keys: &[&str], place: &str) {
    for key in keys {
        if let Some(at) = at.find(key) {
            at.kept_as(place);
        }
    }
}

fn days(text: &str) -> Option<Value> {
    text.parse::<u32>().ok().filter(|days| *days > 0).map(|days| Value::from(format!("{days}d")))
}

#[expect(clippy::too_many_lines, reason = "a table of what becomes of each")]
fn one(resource: &Resource<'_>, all: &All, draft: &mut Draft) {
    let Resource { kind, name, at } = resource;
    let own = label(name, "main");
    match kind.as_str() {
        "aws_db_instance" => db_instance(&own, at, draft),
        "aws_rds_cluster" => cluster(&own, at, draft),
        "aws_elasticache_cluster" | "aws_elasticache_replication_group" | "aws_elasticache_serverless_cache" => {
            cache(kind, &own, at, draft);
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
        "aws_s3_bucket_lifecycle_configuration" => lifecycle(at, draft),
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
        "aws_dynamodb_table" => table(&own, at, all, draft),
        "aws_lambda_function" => function(&own, at, draft),
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
        "aws_ecs_service" | "aws_ecs_task_definition" => ecs(kind, &own, at, draft),
        "aws_cloudfront_distribution" => distribution(&own, at, all, draft),
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

fn db_instance(own: &str, at: &Cursor<'_>, draft: &mut Draft) {
    if at.find("replicate_source_db").is_some() {
        let source = at
            .find("replicate_source_db")
            .and_then(|source| referred(&source.text()?, "aws_db_instance"))
            .map(|name| label(&name, "main"));
        let count = plain(at, "count").and_then(|text| text.parse::<i64>().ok()).unwrap_or(1);
        let name =
            source.unwrap_or_else(|| draft.names("database").first().cloned().unwrap_or_else(|| "main".to_owned()));
        let section = draft.section("database", &name);
        let before = section.get("replicas").and_then(Value::as_integer).unwrap_or(0);
        section.set("replicas", before + count);
        if section.get("engine").is_none() {
            section.set("engine", "postgres:15");
        }
        if let Some(class) = plain(at, "instance_class") {
            section.put("cloud", "replica_class", class);
        }
        return at.kept_as("`replicas` of the database");
    }
    let engine = plain(at, "engine").unwrap_or_default();
    if !engine.contains("postgres") {
        return at.refused("databases are PostgreSQL or SQLite; give the address of this one in a variable");
    }
    let major = plain(at, "engine_version")
        .and_then(|version| version.split('.').next().map(str::to_owned))
        .unwrap_or_else(|| "15".to_owned());
    let section = draft.section("database", own);
    section.set("engine", format!("postgres:{major}"));
    let from_to = [
        ("identifier", "server"),
        ("db_name", "name"),
        ("instance_class", "class"),
        ("backup_window", "window"),
        ("maintenance_window", "maintenance"),
        ("storage_type", "storage_class"),
    ];
    for (from, to) in from_to {
        if let Some(value) = plain(at, from) {
            section.put("cloud", to, value.to_lowercase());
            keep(at, &[from], "`cloud` of the database");
        }
    }
    if let Some(days) = plain(at, "backup_retention_period").and_then(|text| days(&text)) {
        section.put("cloud", "keep", days);
    }
    if let Some(days) = plain(at, "performance_insights_retention_period").and_then(|text| days(&text)) {
        section.put("cloud", "insights", days);
    }
    if plain(at, "multi_az").as_deref() == Some("true") {
        section.put("cloud", "zones", 2);
    }
    if plain(at, "storage_encrypted").as_deref() == Some("true") {
        section.put("cloud", "encrypted", true);
    }
    if let Some(storage) = plain(at, "allocated_storage") {
        let most = plain(at, "max_allocated_storage").map(|most| format!("..{most}Gi")).unwrap_or_default();
        section.set("storage", format!("{storage}Gi{most}"));
    }
    keep(at, &["engine", "engine_version"], "`engine`");
    keep(at, &["allocated_storage", "max_allocated_storage"], "`storage`");
    keep(
        at,
        &[
            "backup_retention_period",
            "multi_az",
            "storage_encrypted",
            "performance_insights_enabled",
            "performance_insights_retention_period",
        ],
        "`cloud` of the database",
    );
    for key in ["username", "password", "manage_master_user_password"] {
        if let Some(at) = at.find(key) {
            at.changed("user and password are made by the target");
        }
    }
    for key in [
        "vpc_security_group_ids",
        "db_subnet_group_name",
        "parameter_group_name",
        "publicly_accessible",
        "skip_final_snapshot",
        "final_snapshot_identifier",
        "tags",
        "deletion_protection",
    ] {
        if let Some(at) = at.find(key) {
            at.changed("`slipway render terraform` writes it");
        }
    }
}

fn cluster(own: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let section = draft.section("database", own);
    let major = plain(at, "engine_version")
        .and_then(|version| version.split('.').next().map(str::to_owned))
        .unwrap_or_else(|| "15".to_owned());
    section.set("engine", format!("postgres:{major}"));
    section.put("cloud", "kind", "serverless");
    for (from, to) in [("cluster_identifier", "server"), ("database_name", "name")] {
        if let Some(value) = plain(at, from) {
            section.put("cloud", to, value);
            keep(at, &[from], "`cloud` of the database");
        }
    }
    keep(at, &["engine", "engine_version"], "`engine`");
    if let Some(mode) = at.find("engine_mode") {
        if mode.text().as_deref() == Some("serverless") {
            mode.trapped(Trap::AURORA_V1, Fate::Changed, "`cloud.kind = \"serverless\"`, its successor");
        } else {
            mode.changed("`cloud.kind`");
        }
    }
    for block in ["scaling_configuration", "serverlessv2_scaling_configuration"] {
        for at in many(at, block) {
            let number = |key: &str| plain(&at, key);
            if let (Some(least), Some(most)) = (number("min_capacity"), number("max_capacity")) {
                section.put("cloud", "capacity", format!("{least}..{most}"));
            }
            if let Some(seconds) = number("seconds_until_auto_pause").and_then(|text| text::duration(&text)) {
                section.put("cloud", "pause_after", seconds);
            }
            at.kept_as("`cloud.capacity` and `cloud.pause_after`");
        }
    }
    for key in ["master_username", "master_password"] {
        if let Some(at) = at.find(key) {
            at.changed("user and password are made by the target");
        }
    }
}

fn cache(kind: &str, own: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let version = plain(at, "engine_version")
        .and_then(|version| version.split('.').next().map(str::to_owned))
        .unwrap_or_else(|| "7".to_owned());
    let section = draft.section("cache", own);
    section.set("engine", format!("redis:{version}"));
    for (from, to) in [("cluster_id", "name"), ("replication_group_id", "name"), ("node_type", "class")] {
        if let Some(value) = plain(at, from) {
            section.put("cloud", to, value);
            keep(at, &[from], "`cloud` of the cache");
        }
    }
    keep(at, &["engine", "engine_version"], "`engine`");
    let number = |key: &str| plain(at, key).and_then(|text| text.parse::<i64>().ok());
    if let Some(nodes) = at.find("num_cache_nodes") {
        let count = number("num_cache_nodes").unwrap_or(1);
        if count > 1 && kind == "aws_elasticache_cluster" && plain(at, "engine").as_deref() != Some("memcached") {
            section.set("replicas", count - 1);
            section.put("cloud", "failover", true);
            nodes.trapped(
                Trap::REDIS_NODES,
                Fate::Changed,
                &format!("`replicas = {}`: a replication group", count - 1),
            );
        } else {
            nodes.kept_as("one server");
        }
    }
    for (from, to) in [("num_node_groups", "shards"), ("replicas_per_node_group", "replicas")] {
        if let Some(count) = number(from) {
            section.set(to, count);
            keep(at, &[from], to);
        }
    }
    if plain(at, "automatic_failover_enabled").as_deref() == Some("true") {
        section.put("cloud", "failover", true);
        keep(at, &["automatic_failover_enabled"], "`cloud.failover`");
    }
    for key in ["port", "parameter_group_name", "security_group_ids", "subnet_group_name", "tags"] {
        if let Some(at) = at.find(key) {
            at.changed("`slipway render terraform` writes it");
        }
    }
}

fn lifecycle(at: &Cursor<'_>, draft: &mut Draft) {
    let Some(bucket) = at.find("bucket").and_then(|at| referred(&at.text()?, "aws_s3_bucket")) else { return };
    let bucket = label(&bucket, "main");
    at.changed("`archive_after` and `delete_after` of the bucket");
    for rule in many(at, "rule") {
        for (block, key) in [("transition", "archive_after"), ("expiration", "delete_after")] {
            for block in many(&rule, block) {
                if let Some(days) = plain(&block, "days").and_then(|text| days(&text)) {
                    draft.section("bucket", &bucket).set(key, days);
                    block.kept_as(key);
                }
            }
        }
    }
}

fn table(own: &str, at: &Cursor<'_>, all: &All, draft: &mut Draft) {
    // a table that nothing else names is left over
    let name = at.path.rsplit('.').next().unwrap_or_default();
    let address = format!("aws_dynamodb_table.{name}");
    let used = all.texts.iter().any(|(other, text)| *other != address && text.contains(&address));
    if !used {
        return at.refused(
            "nothing in these files uses this table; remove it and its permissions, or write [table] if a program does",
        );
    }
    let section = draft.section("table", own);
    for (from, to) in [("name", "name"), ("hash_key", "key"), ("range_key", "sort")] {
        if let Some(value) = plain(at, from) {
            section.set(to, value);
            keep(at, &[from], to);
        }
    }
    if section.get("key").is_none() {
        section.set("key", "id");
    }
    section.set("on_demand", plain(at, "billing_mode").as_deref() == Some("PAY_PER_REQUEST"));
    at.kept_as("[table]");
}

fn function(own: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let section = draft.section("function", own);
    section.about("say which program it runs, and on which event or schedule");
    section.set("run", "./function").set("dir", ".").set("schedule", "@daily");
    if let Some(memory) = plain(at, "memory_size") {
        section.put("size", "memory", format!("{memory}Mi"));
        keep(at, &["memory_size"], "`size.memory`");
    }
    if let Some(timeout) = plain(at, "timeout").and_then(|text| text::duration(&text)) {
        section.set("timeout", timeout);
        keep(at, &["timeout"], "`timeout`");
    }
    for environment in many(at, "environment") {
        for (variable, at) in environment.find("variables").map(|all| all.entries()).unwrap_or_default() {
            let value = at.text().unwrap_or_default();
            if value.contains("aws_secretsmanager_secret")
                && (value.contains(".name}") || value.split('.').next_back() == Some("name"))
            {
                draft.variable(variable, None, true);
                draft.section("function", own).put("env", variable, format!("${{{variable}}}"));
                at.trapped(
                    Trap::SECRET_NAME,
                    Fate::Changed,
                    "a secret of the contract: the program is given the value",
                );
            } else if value.contains("aws_db_instance") || value.contains("aws_rds_cluster") {
                if let Some(first) = draft.names("database").first().cloned() {
                    draft.section("function", own).add("needs", &format!("database.{first}"));
                }
                at.changed("`needs` of the database");
            } else if let Some(bucket) = referred(&value, "aws_s3_bucket") {
                draft.section("function", own).add("needs", &format!("bucket.{}", label(&bucket, "main")));
                draft.section("bucket", &label(&bucket, "main"));
                at.changed("`needs` of the bucket");
            } else if value.contains("${") || text::is_secret_name(variable) {
                draft.variable(variable, None, text::is_secret_name(variable));
                draft.section("function", own).put("env", variable, format!("${{{variable}}}"));
                at.changed("a variable of the contract");
            } else {
                draft.section("function", own).put("env", variable, value);
                at.kept_as("`env`");
            }
        }
    }
    for key in [
        "function_name",
        "role",
        "handler",
        "runtime",
        "filename",
        "source_code_hash",
        "s3_bucket",
        "s3_key",
        "publish",
        "architectures",
        "layers",
        "package_type",
        "image_uri",
        "tags",
        "vpc_config",
    ] {
        if let Some(at) = at.find(key) {
            at.changed("`slipway render terraform` writes it; `run` says what it does");
        }
    }
}

fn ecs(kind: &str, own: &str, at: &Cursor<'_>, draft: &mut Draft) {
    if kind == "aws_ecs_service" {
        let section = draft.section("service", own);
        if let Some(count) = plain(at, "desired_count").and_then(|text| text.parse::<i64>().ok()) {
            section.put("size", "replicas", count);
        }
        at.changed("[service]");
        return keep(at, &["desired_count"], "`size.replicas`");
    }
    let section = draft.section("service", own);
    if let Some(cpu) = plain(at, "cpu").and_then(|text| text.parse::<u32>().ok()) {
        // 1024 units are one CPU
        section.put("size", "cpu", format!("{}m", u64::from(cpu) * 1000 / 1024));
    }
    if let Some(memory) = plain(at, "memory") {
        section.put("size", "memory", format!("{memory}Mi"));
    }
    let image = at.find("container_definitions").and_then(|at| at.text()).and_then(|text| image_of(&text));
    if let Some(image) = image {
        section.set("image", image);
    } else {
        section.about("say which image or folder it is made of: its task definition does not say it plainly");
    }
    at.changed("[service]: what its containers are given as `env` and `needs`");
    keep(at, &["cpu", "memory"], "`size`");
}

/// The first image that the text of a container definition names plainly.
fn image_of(text: &str) -> Option<String> {
    let rest = text[text.find("image")? + "image".len()..].trim_start_matches(['"', ' ', '=', ':']);
    let image = rest.split(['"', ',', '\n', '}']).next()?.trim();
    (!image.is_empty() && !image.contains(['$', '.', ' ']) || image.contains('/') && !image.contains('$'))
        .then(|| image.to_owned())
}

fn distribution(own: &str, at: &Cursor<'_>, all: &All, draft: &mut Draft) {
    let names: Vec<String> =
        at.find("aliases").map(|at| at.items()).unwrap_or_default().iter().filter_map(Cursor::text).collect();
    let section = draft.section("cdn", own);
    section.set("names", Value::Array(names.iter().cloned().map(Value::from).collect())).set("https_only", true);
    if let Some(class) = plain(at, "price_class") {
        let class = match class.as_str() {
            "PriceClass_100" => "us-europe",
            "PriceClass_200" => "most",
            _ => "all",
        };
        section.set("price_class", class);
        keep(at, &["price_class"], "`price_class`");
    }
    at.changed("[cdn]: what it caches as `to`");
    if let Some(aliases) = at.find("aliases") {
        let known = |name: &String| all.records.iter().any(|record| record == name || record.contains("${"));
        let missing: Vec<&String> = names.iter().filter(|name| !known(name)).collect();
        if all.dns && !missing.is_empty() {
            let list = missing.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            aliases.trapped(
                Trap::MISSING_NAME,
                Fate::Kept,
                &format!("no record leads to {list}; add them to `records` of [dns.main]"),
            );
        } else {
            aliases.kept_as("`names`");
        }
    }
}
