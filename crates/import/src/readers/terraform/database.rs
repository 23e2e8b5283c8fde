//! Databases of the provider.

use toml::Value;

use super::{days, keep, many, plain, referred};
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
    report::Fate,
    text,
    trap::Trap,
};

pub(crate) fn db_instance(own: &str, at: &Cursor<'_>, draft: &mut Draft) {
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

pub(crate) fn cluster(own: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let section = draft.section("database", own);
    let major = plain(at, "engine_version")
        .and_then(|version| version.split('.').next().map(str::to_owned))
        .unwrap_or_else(|| "15".to_owned());
    section.set("engine", format!("postgres:{major}"));
    section.put("cloud", "kind", "serverless");
    let names = [
        ("cluster_identifier", "server"),
        ("database_name", "name"),
        ("preferred_backup_window", "window"),
        ("preferred_maintenance_window", "maintenance"),
    ];
    for (from, to) in names {
        if let Some(value) = plain(at, from) {
            section.put("cloud", to, value);
            keep(at, &[from], "`cloud` of the database");
        }
    }
    for (from, to) in [("backup_retention_period", "keep"), ("performance_insights_retention_period", "insights")] {
        if let Some(days) = plain(at, from).and_then(|text| days(&text)) {
            section.put("cloud", to, days);
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
