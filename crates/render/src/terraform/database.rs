//! PostgreSQL: a server on RDS, or Aurora Serverless v2 (T1), and the secret that says where it is.

use serde_json::{Value, json};
use stack::{Database, DatabaseEngine, Kind, ResourceName, ResourceRef};

use super::{
    cloud::{Cloud, days, label, reference},
    secret,
};
use crate::hcl::{self, Block};

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

pub(crate) fn databases(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    if cloud.databases().next().is_none() {
        return blocks;
    }
    blocks.push(hcl::resource(
        "aws_db_subnet_group",
        "main",
        json!({
            "name": "= local.name",
            "subnet_ids": "= aws_subnet.data[*].id",
        }),
    ));
    if cloud.databases().any(|(_, database)| flag_of(database, "monitoring") || !serverless(database)) {
        blocks.push(hcl::resource(
            "aws_iam_role",
            "rds_monitoring",
            json!({
                "name": "${local.name}-rds-monitoring-role",
                "assume_role_policy": super::role::trust("monitoring.rds.amazonaws.com"),
            }),
        ));
        blocks.push(hcl::resource(
            "aws_iam_role_policy_attachment",
            "rds_monitoring",
            json!({
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
        blocks.extend(address(cloud, name, database));
    }
    blocks
}

/// Where it is, for those who need it.
fn address(cloud: &Cloud<'_>, name: &ResourceName, database: &Database) -> Vec<Block> {
    let host = if serverless(database) {
        format!("aws_rds_cluster.{}.endpoint", label(name))
    } else {
        format!("aws_db_instance.{}.address", label(name))
    };
    let (user, schema) = (user(cloud), schema(cloud, name));
    let store = ResourceRef { kind: Kind::Database, name: name.clone() };
    let address = format!("postgres://{user}:PASSWORD@${{{host}}}:5432/{schema}?sslmode=require");
    secret::of_store(cloud, &store, "database", &address)
}

fn flag_of(database: &Database, key: &str) -> bool {
    database.cloud.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// Settings, and no connection without TLS.
fn parameters(name: &ResourceName, database: &Database) -> Block {
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
        json!({
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

fn instance(cloud: &Cloud<'_>, name: &ResourceName, database: &Database) -> Vec<Block> {
    let (version, _) = major(&database.engine);
    let own = label(name);
    let (window, maintenance) = window(database);
    let server = said(database, "server").map_or_else(|| format!("${{local.name}}-{name}"), str::to_owned);
    let settings = format!("var.databases[\"{name}\"]");
    let mut blocks = vec![hcl::resource(
        "aws_db_instance",
        &own,
        json!({
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
    blocks.push(hcl::resource("aws_db_instance", &format!("{own}_replica"), json!({
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
fn aurora(cloud: &Cloud<'_>, name: &ResourceName, database: &Database) -> Vec<Block> {
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
            json!({
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
                    "# it pauses only from nothing": pause.is_some(),
                    "min_capacity": if pause.is_some() { json!(0) } else { json!(unit(least)) },
                    "max_capacity": unit(most),
                    "seconds_until_auto_pause": pause,
                },
            }),
        ),
        hcl::resource(
            "aws_rds_cluster_instance",
            &own,
            json!({
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
