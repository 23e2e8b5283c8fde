//! Mistakes to plant in rendered Terraform, one of each kind that must be found.

/// One of them.
pub(crate) struct Mistake {
    /// The file it is made in.
    pub(crate) file: &'static str,
    /// What stands there, and what is written in its place: for nothing, at the end.
    pub(crate) edit: (&'static str, &'static str),
    /// What must be said of it.
    pub(crate) said: &'static str,
}

const fn of(file: &'static str, edit: (&'static str, &'static str), said: &'static str) -> Mistake {
    Mistake { file, edit, said }
}

/// Made in `jamdung`, each by itself.
pub(crate) const MISTAKES: &[Mistake] = &[
    of("modules/alarms/main.tf", (r#""aws_sns_topic" "#, r#""aws_sns_topik" "#), "no resource `aws_sns_topik`"),
    of(
        "modules/dns/main.tf",
        (r#"data "aws_route53_zone""#, r#"data "aws_route53_zoon""#),
        "no data `aws_route53_zoon`",
    ),
    of(
        "modules/alarms/main.tf",
        ("alarm_description ", "alarm_descriptoin "),
        "aws_cloudwatch_metric_alarm.backups: no argument `alarm_descriptoin`",
    ),
    of(
        "modules/alarms/main.tf",
        ("return_data ", "returns_data "),
        "aws_cloudwatch_metric_alarm.errors metric_query: no argument `returns_data`",
    ),
    of(
        "modules/alarms/main.tf",
        ("metric_query {", "metric_qeury {"),
        "aws_cloudwatch_metric_alarm.errors: no argument `metric_qeury`",
    ),
    of("modules/compute/functions.tf", ("[image_uri]", "[image_url]"), "no argument `image_url` to ignore"),
    of(
        "modules/backup/main.tf",
        ("lifecycle {", "lifecycle = {"),
        "aws_backup_plan.main rule: `lifecycle` is a block, not an argument",
    ),
    of(
        "modules/alarms/main.tf",
        ("dimensions = {", "dimensions {"),
        "aws_cloudwatch_metric_alarm.backups: `dimensions` is an argument, not a block",
    ),
    of(
        "modules/alarms/main.tf",
        ("  topic_arn = aws_sns_topic.alarms.arn\n", ""),
        "aws_sns_topic_subscription.alarms: `topic_arn` is missing",
    ),
    of(
        "modules/backup/main.tf",
        ("    target_vault_name = aws_backup_vault.main.name\n", ""),
        "aws_backup_plan.main rule: `target_vault_name` is missing",
    ),
    of(
        "modules/alarms/main.tf",
        ("= aws_sns_topic.alarms.arn", "= aws_sns_topic.alarm.arn"),
        "aws_sns_topic.alarm is nowhere",
    ),
    of(
        "modules/alarms/main.tf",
        ("= aws_sns_topic.alarms.arn", "= awz_sns_topic.alarms.arn"),
        "awz_sns_topic.alarms is nowhere",
    ),
    of(
        "modules/dns/main.tf",
        ("data.aws_route53_zone.all", "data.aws_route53_zone.al"),
        "data.aws_route53_zone.al is nowhere",
    ),
    of(
        "modules/database/main.tf",
        ("${random_password.", "${random_passwort."),
        "random_passwort.database_main is nowhere",
    ),
    of(
        "modules/alarms/main.tf",
        ("= aws_sns_topic.alarms.arn", "= aws_sns_topic.alarms.urn"),
        "aws_sns_topic.alarms has no `urn`",
    ),
    of("modules/network/outputs.tf", ("private[*].id", "private[*].idd"), "aws_subnet.private has no `idd`"),
    of("modules/dns/main.tf", ("].zone_id", "].zone"), "data.aws_route53_zone.all has no `zone`"),
    of("modules/alarms/main.tf", ("var.alarm_email", "var.alarm_mail"), "var.alarm_mail is nowhere"),
    of("environments/production.tfvars", ("single_nat ", "single_nut "), "var.single_nut is nowhere"),
    of("main.tf", ("= local.name", "= local.nam"), "local.nam is nowhere"),
    of("modules/dns/main.tf", ("= aws.global", "= aws.globe"), "aws.globe is nowhere"),
    of("modules/dns/main.tf", (": record.fqdn", ": recrod.fqdn"), "recrod.fqdn is nowhere"),
    of(
        "modules/alarms/main.tf",
        ("", "resource \"aws_sns_topic\" \"alarms\" {}\n"),
        "aws_sns_topic.alarms is there twice",
    ),
    of("modules/roles/main.tf", ("", "variable \"region\" {}\n"), "var.region is there twice"),
    of("main.tf", ("", "locals {\n  name = 1\n}\n"), "local.name is there twice"),
    of("outputs.tf", ("", "output \"site_web\" {}\n"), "output.site_web is there twice"),
    of(
        "modules/backup/main.tf",
        ("lifecycle {", "lifecycle {}\n    lifecycle {"),
        "aws_backup_plan.main rule: `lifecycle` is there twice",
    ),
    of("modules/backup/main.tf", ("  name ", "  name = 1\n  name "), "redefined attribute"),
    of("modules/backup/main.tf", ("{", "("), "modules/backup/main.tf: line 4: "),
    of("main.tf", ("  vault_name ", "  vault_nam "), "module.alarms has no variable `vault_nam`"),
    of("main.tf", ("  single_nat = var.single_nat\n", ""), "module.network: `single_nat` is missing"),
    of("main.tf", ("module.backup.vault_name", "module.backup.vault_nam"), "module.backup has no output `vault_nam`"),
    of(
        "main.tf",
        ("= module.network.data_subnet_ids", "= module.alarms.data_subnet_ids"),
        "module.database names module.alarms, which is not before it",
    ),
    of("main.tf", (r#"module "budget""#, r#"module "budgets""#), "module.budgets has no files"),
    of("main.tf", (r#"module "budget""#, r#"module "budgets""#), "module.budget is not called"),
    of("modules/network/variables.tf", ("", "variable \"idle\" {}\n"), "var.idle is used nowhere"),
    of("modules/network/variables.tf", ("  type        = string\n", ""), "variable `name` has no type"),
    of("modules/network/outputs.tf", ("", "output \"idle\" {}\n"), "module.network: nobody reads `idle`"),
];
