//! A vault of copies that outlives the services.

use serde_json::{Map, Value, json};
use stack::Kind;

use super::{
    cloud::{Cloud, label},
    database::serverless,
};
use crate::hcl::{self, Block};

/// A vault with daily, weekly and monthly copies of databases and tables, as `backup.keep` says.
pub(crate) fn backups(cloud: &Cloud<'_>) -> Vec<Block> {
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
        hcl::resource("aws_backup_vault", "main", json!({ "name": "= local.name", "force_destroy": "= !var.protect" })),
        hcl::resource("aws_backup_plan", "main", json!({ "name": "= local.name", "rule {}": rules })),
        hcl::resource("aws_iam_role", "backup", trusted.into()),
    ];
    for (own, policy) in [("backup", "ForBackup"), ("restore", "ForRestores")] {
        blocks.push(hcl::resource(
            "aws_iam_role_policy_attachment",
            own,
            json!({
                "role": "= aws_iam_role.backup.name",
                "policy_arn": format!("arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicy{policy}"),
            }),
        ));
    }
    blocks.push(hcl::resource(
        "aws_backup_selection",
        "main",
        json!({
            "name": "= local.name",
            "plan_id": "= aws_backup_plan.main.id",
            "iam_role_arn": "= aws_iam_role.backup.arn",
            "resources": resources,
        }),
    ));
    blocks
}
