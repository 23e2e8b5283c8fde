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
    of("alarms.tf", (r#""aws_sns_topic" "#, r#""aws_sns_topik" "#), "no resource `aws_sns_topik`"),
    of("versions.tf", (r#"data "aws_region""#, r#"data "aws_regoin""#), "no data `aws_regoin`"),
    of(
        "alarms.tf",
        ("alarm_description ", "alarm_descriptoin "),
        "aws_cloudwatch_metric_alarm.backups: no argument `alarm_descriptoin`",
    ),
    of(
        "alarms.tf",
        ("return_data ", "returns_data "),
        "aws_cloudwatch_metric_alarm.errors metric_query: no argument `returns_data`",
    ),
    of(
        "alarms.tf",
        ("metric_query {", "metric_qeury {"),
        "aws_cloudwatch_metric_alarm.errors: no argument `metric_qeury`",
    ),
    of("functions.tf", ("[image_uri]", "[image_url]"), "no argument `image_url` to ignore"),
    of(
        "backup.tf",
        ("lifecycle {", "lifecycle = {"),
        "aws_backup_plan.main rule: `lifecycle` is a block, not an argument",
    ),
    of(
        "alarms.tf",
        ("dimensions = {", "dimensions {"),
        "aws_cloudwatch_metric_alarm.backups: `dimensions` is an argument, not a block",
    ),
    of(
        "alarms.tf",
        ("  topic_arn = aws_sns_topic.alarms.arn\n", ""),
        "aws_sns_topic_subscription.alarms: `topic_arn` is missing",
    ),
    of(
        "backup.tf",
        ("    target_vault_name = aws_backup_vault.main.name\n", ""),
        "aws_backup_plan.main rule: `target_vault_name` is missing",
    ),
    of("alarms.tf", ("= aws_sns_topic.alarms.arn", "= aws_sns_topic.alarm.arn"), "aws_sns_topic.alarm is nowhere"),
    of("alarms.tf", ("= aws_sns_topic.alarms.arn", "= awz_sns_topic.alarms.arn"), "awz_sns_topic.alarms is nowhere"),
    of("dns.tf", ("data.aws_route53_zone.all", "data.aws_route53_zone.al"), "data.aws_route53_zone.al is nowhere"),
    of("secrets.tf", ("${random_password.", "${random_passwort."), "random_passwort.database_main is nowhere"),
    of("alarms.tf", ("= aws_sns_topic.alarms.arn", "= aws_sns_topic.alarms.urn"), "aws_sns_topic.alarms has no `urn`"),
    of("outputs.tf", ("private[*].id", "private[*].idd"), "aws_subnet.private has no `idd`"),
    of("dns.tf", ("].zone_id", "].zone"), "data.aws_route53_zone.all has no `zone`"),
    of("alarms.tf", ("var.alarm_email", "var.alarm_mail"), "var.alarm_mail is nowhere"),
    of("production.tfvars", ("single_nat ", "single_nut "), "var.single_nut is nowhere"),
    of("alarms.tf", ("${local.name}", "${local.nam}"), "local.nam is nowhere"),
    of("dns.tf", ("= aws.global", "= aws.globe"), "aws.globe is nowhere"),
    of("dns.tf", (": record.fqdn", ": recrod.fqdn"), "recrod.fqdn is nowhere"),
    of("alarms.tf", ("", "resource \"aws_sns_topic\" \"alarms\" {}\n"), "aws_sns_topic.alarms is there twice"),
    of("roles.tf", ("", "variable \"region\" {}\n"), "var.region is there twice"),
    of("roles.tf", ("", "locals {\n  name = 1\n}\n"), "local.name is there twice"),
    of("roles.tf", ("", "output \"site_web\" {}\n"), "output.site_web is there twice"),
    of(
        "backup.tf",
        ("lifecycle {", "lifecycle {}\n    lifecycle {"),
        "aws_backup_plan.main rule: `lifecycle` is there twice",
    ),
    of("backup.tf", ("  name ", "  name = 1\n  name "), "redefined attribute"),
    of("backup.tf", ("{", "("), "backup.tf: line 4: "),
];
