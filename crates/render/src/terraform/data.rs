//! Databases, caches, brokers, search and the vault of backups.

use serde_json::{Map, Value, json};
use stack::{Cache, Database, DatabaseEngine, Kind, ResourceName, ResourceRef};

use super::cloud::{Cloud, days, label, number, reference, text};
use crate::hcl;

/// Whether a database is Aurora Serverless v2.
pub(crate) fn serverless(database: &Database) -> bool {
    database.cloud.get("kind").and_then(Value::as_str) == Some("serverless")
}

fn said<'d>(database: &'d Database, key: &str) -> Option<&'d str> {
    database.cloud.get(key).and_then(Value::as_str)
}

/// The owner of databases and brokers.
pub(crate) fn user(cloud: &Cloud<'_>) -> String {
    cloud.stack.app.as_str().replace('-', "_")
}

/// Name of the database inside its server.
pub(crate) fn schema(cloud: &Cloud<'_>, name: &ResourceName) -> String {
    crate::compose::database_name(cloud.stack, &ResourceRef { kind: Kind::Database, name: name.clone() })
}

/// What of a database differs between environments.
pub(crate) fn database_values(database: &Database) -> Value {
    let gigabytes = |size: stack::ByteSize| (size.0 >> 30).max(20);
    let storage = database.storage.map_or(20, |span| gigabytes(span.min));
    let most = database.storage.map_or(storage * 2, |span| gigabytes(span.max));
    let zones = database.cloud.get("zones").and_then(Value::as_i64);
    let kept = database.backup.as_ref().and_then(|backup| backup.keep).map_or(7, |keep| u64::from(keep.days));
    json!({
        "class": said(database, "class").unwrap_or("db.t4g.medium"),
        "multi_az": zones.map_or(database.failover == stack::Failover::Automatic, |zones| zones > 1),
        "replicas": database.replicas,
        "storage": storage,
        // a disk that may not grow says so by not being larger
        "storage_max": if most > storage { most } else { 0 },
        "backup_days": days(said(database, "keep"), kept).min(35),
    })
}

fn major(engine: &DatabaseEngine) -> (String, String) {
    let version = match engine {
        DatabaseEngine::Postgres(version) => version.clone(),
        DatabaseEngine::Sqlite => String::new(),
    };
    let major = version.split('.').next().unwrap_or_default().to_owned();
    (version, major)
}

pub(crate) fn databases(cloud: &Cloud<'_>) -> Vec<String> {
    let mut blocks = Vec::new();
    if cloud.databases().next().is_none() {
        return blocks;
    }
    blocks.push(hcl::resource(
        "aws_db_subnet_group",
        "main",
        &json!({
            "name": "= local.name",
            "subnet_ids": "= aws_subnet.data[*].id",
        }),
    ));
    if cloud.databases().any(|(_, database)| flag_of(database, "monitoring") || !serverless(database)) {
        blocks.push(hcl::resource(
            "aws_iam_role",
            "rds_monitoring",
            &json!({
                "name": "${local.name}-rds-monitoring-role",
                "assume_role_policy": super::role::trust("monitoring.rds.amazonaws.com"),
            }),
        ));
        blocks.push(hcl::resource(
            "aws_iam_role_policy_attachment",
            "rds_monitoring",
            &json!({
                "role": "= aws_iam_role.rds_monitoring.name",
                "policy_arn": "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole",
            }),
        ));
    }
    for (name, database) in cloud.databases() {
        blocks.push(parameters(name, database));
        blocks.extend(if serverless(database) {
            aurora(cloud, name, database)
        } else {
            instance(cloud, name, database)
        });
    }
    blocks
}

fn flag_of(database: &Database, key: &str) -> bool {
    database.cloud.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// Settings, and no connection without TLS.
fn parameters(name: &ResourceName, database: &Database) -> String {
    let (_, major) = major(&database.engine);
    let mut list = vec![
        json!({ "name": "rds.force_ssl", "value": "1" }),
        json!({ "name": "log_min_duration_statement", "value": "500" }),
    ];
    list.extend(
        database
            .settings
            .iter()
            .map(|(key, value)| json!({ "name": key, "value": hcl::plain(value), "apply_method": "pending-reboot" })),
    );
    let (kind, family) = if serverless(database) {
        ("aws_rds_cluster_parameter_group", format!("aurora-postgresql{major}"))
    } else {
        ("aws_db_parameter_group", format!("postgres{major}"))
    };
    hcl::resource(
        kind,
        &label(name),
        &json!({
            "name_prefix": format!("${{local.name}}-{name}-"),
            "family": family,
            "parameter {}": list,
            "lifecycle {}": { "create_before_destroy": true },
        }),
    )
}

fn window(database: &Database) -> (String, String) {
    let at = database.backup.as_ref().and_then(|backup| backup.at.clone()).unwrap_or_else(|| "03:00".to_owned());
    let hour: u32 = at.split(':').next().and_then(|hour| hour.parse().ok()).unwrap_or(3);
    let window = said(database, "window")
        .map_or_else(|| format!("{:02}:00-{:02}:00", hour % 24, (hour + 1) % 24), str::to_owned);
    let maintenance = said(database, "maintenance").unwrap_or("sun:05:00-sun:06:00").to_ascii_lowercase();
    (window, maintenance)
}

/// Query statistics: 7 days are free, more are counted in months.
fn insights(database: &Database) -> u64 {
    let wanted = days(said(database, "insights"), 7);
    if wanted <= 7 { 7 } else { wanted.div_ceil(31).min(24) * 31 }
}

fn instance(cloud: &Cloud<'_>, name: &ResourceName, database: &Database) -> Vec<String> {
    let (version, _) = major(&database.engine);
    let own = label(name);
    let (window, maintenance) = window(database);
    let server = said(database, "server").map_or_else(|| format!("${{local.name}}-{name}"), str::to_owned);
    let settings = format!("var.databases[\"{name}\"]");
    let mut blocks = vec![hcl::resource(
        "aws_db_instance",
        &own,
        &json!({
            "identifier": server,
            "engine": "postgres",
            "engine_version": version,
            "instance_class": format!("= {settings}.class"),
            "allocated_storage": format!("= {settings}.storage"),
            "max_allocated_storage": format!("= {settings}.storage_max"),
            "storage_type": "gp3",
            "storage_encrypted": true,
            "kms_key_id": cloud.key(&reference(Kind::Database, name)),
            "db_name": schema(cloud, name),
            "username": user(cloud),
            "password": format!("= random_password.database_{own}.result"),
            "multi_az": format!("= {settings}.multi_az"),
            "publicly_accessible": false,
            "db_subnet_group_name": "= aws_db_subnet_group.main.name",
            "vpc_security_group_ids": [format!("= aws_security_group.database_{own}.id")],
            "parameter_group_name": format!("= aws_db_parameter_group.{own}.name"),
            "backup_retention_period": format!("= {settings}.backup_days"),
            "backup_window": window,
            "maintenance_window": maintenance,
            "copy_tags_to_snapshot": true,
            "auto_minor_version_upgrade": true,
            "iam_database_authentication_enabled": true,
            "performance_insights_enabled": true,
            "performance_insights_retention_period": insights(database),
            "monitoring_interval": 60,
            "monitoring_role_arn": "= aws_iam_role.rds_monitoring.arn",
            "enabled_cloudwatch_logs_exports": ["postgresql", "upgrade"],
            "deletion_protection": "= var.protect",
            "skip_final_snapshot": "= !var.protect",
            "final_snapshot_identifier": format!("${{local.name}}-{name}-last"),
        }),
    )];
    blocks.push(hcl::resource("aws_db_instance", &format!("{own}_replica"), &json!({
        "count": format!("= {settings}.replicas"),
        "identifier": format!("${{local.name}}-{name}-replica-${{count.index}}"),
        "replicate_source_db": format!("= aws_db_instance.{own}.identifier"),
        "instance_class": said(database, "replica_class").map_or_else(|| format!("= {settings}.class"), str::to_owned),
        "storage_encrypted": true,
        "publicly_accessible": false,
        "vpc_security_group_ids": [format!("= aws_security_group.database_{own}.id")],
        "parameter_group_name": format!("= aws_db_parameter_group.{own}.name"),
        "enabled_cloudwatch_logs_exports": ["postgresql", "upgrade"],
"performance_insights_enabled": true,
        "monitoring_interval": 60,
        "monitoring_role_arn": "= aws_iam_role.rds_monitoring.arn",
        "auto_minor_version_upgrade": true,
        "copy_tags_to_snapshot": true,
        "skip_final_snapshot": true,
    })));
    blocks
}

/// Aurora Serverless v2: the engine mode of v1 has ended (T1); pausing is a capacity of nothing.
fn aurora(cloud: &Cloud<'_>, name: &ResourceName, database: &Database) -> Vec<String> {
    let (version, _) = major(&database.engine);
    let own = label(name);
    let (window, maintenance) = window(database);
    let server = said(database, "server").map_or_else(|| format!("${{local.name}}-{name}"), str::to_owned);
    let (least, most) = said(database, "capacity").and_then(|text| text.split_once("..")).unwrap_or(("0.5", "8"));
    let unit = |text: &str| text.parse::<f64>().unwrap_or(1.0);
    let pause = said(database, "pause_after").map(|text| super::cloud::seconds(Some(text), 300).max(300));
    let settings = format!("var.databases[\"{name}\"]");
    vec![
        hcl::resource(
            "aws_rds_cluster",
            &own,
            &json!({
                "cluster_identifier": server,
                "engine": "aurora-postgresql",
                "# serverless v2 runs in the mode `provisioned`": null,
                "engine_mode": "provisioned",
                "engine_version": version,
                "database_name": schema(cloud, name),
                "master_username": user(cloud),
                "master_password": format!("= random_password.database_{own}.result"),
                "storage_encrypted": true,
                "kms_key_id": cloud.key(&reference(Kind::Database, name)),
                "db_subnet_group_name": "= aws_db_subnet_group.main.name",
                "vpc_security_group_ids": [format!("= aws_security_group.database_{own}.id")],
                "db_cluster_parameter_group_name": format!("= aws_rds_cluster_parameter_group.{own}.name"),
                "backup_retention_period": format!("= {settings}.backup_days"),
                "preferred_backup_window": window,
                "preferred_maintenance_window": maintenance,
                "iam_database_authentication_enabled": true,
                "enabled_cloudwatch_logs_exports": ["postgresql"],
                "copy_tags_to_snapshot": true,
                "deletion_protection": "= var.protect",
                "skip_final_snapshot": "= !var.protect",
                "final_snapshot_identifier": format!("${{local.name}}-{name}-last"),
                "serverlessv2_scaling_configuration {}": {
                    "# it pauses only from nothing": pause.map_or(Value::Null, |_| Value::Null),
                    "min_capacity": if pause.is_some() { json!(0) } else { json!(unit(least)) },
                    "max_capacity": unit(most),
                    "seconds_until_auto_pause": pause,
                },
            }),
        ),
        hcl::resource(
            "aws_rds_cluster_instance",
            &own,
            &json!({
                "count": format!("= 1 + {settings}.replicas"),
                "identifier": format!("${{local.name}}-{name}-${{count.index}}"),
                "cluster_identifier": format!("= aws_rds_cluster.{own}.id"),
                "engine": format!("= aws_rds_cluster.{own}.engine"),
                "engine_version": format!("= aws_rds_cluster.{own}.engine_version"),
                "instance_class": "db.serverless",
                "publicly_accessible": false,
                "performance_insights_enabled": true,
                "auto_minor_version_upgrade": true,
            }),
        ),
    ]
}

/// Whether a cache is spread over shards in the environment the files are shaped by.
pub(crate) fn clustered(cloud: &Cloud<'_>, name: &ResourceName) -> bool {
    cloud.stack.caches.get(name).is_some_and(|cache| cache.shards > 1)
}

fn cache_text<'c>(cache: &'c Cache, key: &str) -> Option<&'c str> {
    cache.cloud.get(key).and_then(Value::as_str)
}

pub(crate) fn caches(cloud: &Cloud<'_>) -> Vec<String> {
    let mut blocks = Vec::new();
    for (name, cache) in cloud.caches() {
        if blocks.is_empty() {
            let subnets = json!({ "name": "= local.name", "subnet_ids": "= aws_subnet.data[*].id" });
            blocks.push(hcl::resource("aws_elasticache_subnet_group", "main", &subnets));
        }
        let own = label(name);
        let (engine, version) = cache.engine.split_once(':').unwrap_or(("redis", "7"));
        let settings = format!("var.caches[\"{name}\"]");
        let many = clustered(cloud, name);
        let version = if version.contains('.') { version.to_owned() } else { format!("{version}.1") };
        let family = if engine == "valkey" { "valkey8" } else { "redis7" };
        blocks.push(hcl::resource("aws_elasticache_replication_group", &own, &json!({
            "replication_group_id": cache_text(cache, "name").map_or_else(|| format!("${{local.name}}-{name}"), str::to_owned),
            "description": format!("{name} of ${{local.name}}"),
            "engine": engine,
            "engine_version": version,
            "node_type": format!("= {settings}.class"),
            "port": 6379,
            "parameter_group_name": if many { format!("default.{family}.cluster.on") } else { format!("default.{family}") },
            "# a replica takes over by itself where there is one": null,
            "automatic_failover_enabled": if many { json!(true) } else { json!(format!("= {settings}.replicas > 0")) },
            "multi_az_enabled": format!("= {settings}.replicas > 0"),
            "num_node_groups": many.then(|| format!("= {settings}.shards")),
            "replicas_per_node_group": many.then(|| format!("= {settings}.replicas")),
            "num_cache_clusters": (!many).then(|| format!("= 1 + {settings}.replicas")),
            "subnet_group_name": "= aws_elasticache_subnet_group.main.name",
            "security_group_ids": [format!("= aws_security_group.cache_{own}.id")],
            "at_rest_encryption_enabled": true,
            "kms_key_id": cloud.key(&reference(Kind::Cache, name)),
            "transit_encryption_enabled": true,
            "auth_token": format!("= random_password.cache_{own}.result"),
            "snapshot_retention_limit": days(cache_text(cache, "keep"), 7).min(35),
            "snapshot_window": "03:00-04:00",
            "maintenance_window": "sun:04:30-sun:05:30",
            "auto_minor_version_upgrade": true,
        })));
    }
    blocks
}

pub(crate) fn queues(cloud: &Cloud<'_>) -> Vec<String> {
    let queues = cloud.queues().map(|(name, queue)| {
        let own = label(name);
        let version = queue.engine.split_once(':').map_or("3.13", |(_, version)| version);
        let cluster = queue.replicas > 1;
        hcl::resource("aws_mq_broker", &own, &json!({
            "broker_name": format!("${{local.name}}-{name}"),
            "engine_type": "RabbitMQ",
            "# the oldest that Amazon MQ still runs": version.starts_with("3.12").then_some(Value::Null),
            "engine_version": if version.starts_with("3.") { "3.13" } else { version },
            "auto_minor_version_upgrade": true,
            "host_instance_type": if cluster { "mq.m5.large" } else { "mq.t3.micro" },
            "deployment_mode": if cluster { "CLUSTER_MULTI_AZ" } else { "SINGLE_INSTANCE" },
            "publicly_accessible": false,
            "subnet_ids": if cluster { "= slice(aws_subnet.data[*].id, 0, 2)" } else { "= [aws_subnet.data[0].id]" },
            "security_groups": [format!("= aws_security_group.queue_{own}.id")],
            "user {}": { "username": user(cloud), "password": format!("= random_password.queue_{own}.result") },
            "logs {}": { "general": true },
        }))
    });
    queues.collect()
}

pub(crate) fn searches(cloud: &Cloud<'_>) -> Vec<String> {
    let mut blocks = Vec::new();
    for (name, extra) in cloud.extras(Kind::Search).filter(|(_, extra)| !extra.settings.contains_key("url")) {
        let own = label(name);
        let version =
            text(extra, "engine").and_then(|engine| engine.split_once(':')).map_or("2", |(_, version)| version);
        let version = if version.contains('.') { version.to_owned() } else { format!("{version}.19") };
        let nodes = number(extra, "nodes").unwrap_or(1);
        let masters = number(extra, "masters").unwrap_or(0);
        let zones = number(extra, "zones").unwrap_or(1).min(nodes).min(2);
        let storage = text(extra, "storage").and_then(|text| text.parse::<stack::ByteSize>().ok());
        blocks.push(hcl::resource("aws_opensearch_domain", &own, &json!({
            "domain_name": format!("${{local.name}}-{name}"),
            "engine_version": format!("OpenSearch_{version}"),
            "cluster_config {}": {
                "instance_type": text(extra, "class").unwrap_or("t3.small.search"),
                "instance_count": nodes,
                "dedicated_master_enabled": (masters > 0).then_some(true),
                "dedicated_master_type": (masters > 0).then(|| text(extra, "master_class").unwrap_or("t3.small.search")),
                "dedicated_master_count": (masters > 0).then_some(masters),
                "zone_awareness_enabled": (zones > 1).then_some(true),
                "zone_awareness_config {}": (zones > 1).then(|| json!({ "availability_zone_count": zones })),
            },
            "ebs_options {}": { "ebs_enabled": true, "volume_type": "gp3", "volume_size": storage.map_or(20, |size| size.0 >> 30) },
            "encrypt_at_rest {}": { "enabled": true },
            "node_to_node_encryption {}": { "enabled": true },
            "domain_endpoint_options {}": { "enforce_https": true, "tls_security_policy": "Policy-Min-TLS-1-2-PFS-2023-10" },
            "vpc_options {}": {
                "subnet_ids": format!("= slice(aws_subnet.data[*].id, 0, {})", zones.max(1)),
                "security_group_ids": [format!("= aws_security_group.search_{own}.id")],
            },
            "access_policies": super::role::policy(&[json!({
                "Effect": "Allow",
                "Principal": { "AWS": "arn:aws:iam::${data.aws_caller_identity.current.account_id}:root" },
                "Action": "es:ESHttp*",
                "Resource": format!("arn:aws:es:${{var.region}}:${{data.aws_caller_identity.current.account_id}}:domain/${{local.name}}-{name}/*"),
            })]),
        })));
        if let Some(bucket) = text(extra, "snapshots").and_then(|text| text.strip_prefix("bucket.")) {
            blocks.push(format!(
                "# registered once with PUT _snapshot, as this role\n{}",
                hcl::resource(
                    "aws_iam_role",
                    &format!("search_{own}"),
                    &json!({
                        "name": format!("${{local.name}}-search-{name}"),
                        "assume_role_policy": super::role::trust("es.amazonaws.com"),
                    })
                )
            ));
            blocks.push(hcl::resource(
                "aws_iam_role_policy",
                &format!("search_{own}"),
                &json!({
                    "name": "snapshots",
                    "role": format!("= aws_iam_role.search_{own}.id"),
                    "policy": super::role::policy(&[super::role::bucket(&label(bucket), true)]),
                }),
            ));
        }
    }
    blocks
}

/// A vault with daily, weekly and monthly copies of databases and tables, as `backup.keep` says.
pub(crate) fn backups(cloud: &Cloud<'_>) -> Vec<String> {
    let kept = cloud.databases().find_map(|(_, database)| database.backup.as_ref()?.keep);
    let Some(keep) = kept else { return Vec::new() };
    let mut resources: Vec<Value> = cloud
        .databases()
        .map(|(name, database)| {
            if serverless(database) {
                format!("= aws_rds_cluster.{}.arn", label(name))
            } else {
                format!("= aws_db_instance.{}.arn", label(name))
            }
            .into()
        })
        .collect();
    resources.extend(
        cloud.extras(Kind::Table).map(|(name, _)| Value::from(format!("= aws_dynamodb_table.{}.arn", label(name)))),
    );
    let rule = |name: &str, schedule: &str, days: u32| {
        (days > 0).then(|| {
            json!({
                "rule_name": name,
                "target_vault_name": "= aws_backup_vault.main.name",
                "schedule": schedule,
                "lifecycle {}": { "delete_after": days },
            })
        })
    };
    let rules = [
        rule("daily", "cron(0 3 * * ? *)", keep.days),
        rule("weekly", "cron(0 4 ? * SUN *)", keep.weeks * 7),
        rule("monthly", "cron(0 5 1 * ? *)", keep.months * 31),
    ];
    let mut trusted = Map::new();
    trusted.insert("name".to_owned(), "${local.name}-backup".into());
    trusted.insert("assume_role_policy".to_owned(), super::role::trust("backup.amazonaws.com"));
    let mut blocks = vec![
        hcl::resource(
            "aws_backup_vault",
            "main",
            &json!({ "name": "= local.name", "force_destroy": "= !var.protect" }),
        ),
        hcl::resource("aws_backup_plan", "main", &json!({ "name": "= local.name", "rule {}": rules })),
        hcl::resource("aws_iam_role", "backup", &trusted.into()),
    ];
    for (own, policy) in [("backup", "ForBackup"), ("restore", "ForRestores")] {
        blocks.push(hcl::resource(
            "aws_iam_role_policy_attachment",
            own,
            &json!({
                "role": "= aws_iam_role.backup.name",
                "policy_arn": format!("arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicy{policy}"),
            }),
        ));
    }
    blocks.push(hcl::resource(
        "aws_backup_selection",
        "main",
        &json!({
            "name": "= local.name",
            "plan_id": "= aws_backup_plan.main.id",
            "iam_role_arn": "= aws_iam_role.backup.arn",
            "resources": resources,
        }),
    ));
    blocks
}
