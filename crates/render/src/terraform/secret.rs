//! Keys and secrets.

use std::fmt::Write as _;

use serde_json::json;
use stack::Kind;

use super::cloud::{Cloud, label};
use crate::hcl;

pub(crate) fn keys(cloud: &Cloud<'_>) -> Vec<String> {
    let mut blocks = Vec::new();
    for (name, _) in cloud.extras(Kind::Key) {
        let services = [
            "logs.${var.region}.amazonaws.com",
            "cloudwatch.amazonaws.com",
            "sns.amazonaws.com",
            "ses.amazonaws.com",
            "cloudfront.amazonaws.com",
        ];
        blocks.push(hcl::resource("aws_kms_key", &label(name), &json!({
            "description": format!("{name} of ${{local.name}}"),
            "enable_key_rotation": true,
            "deletion_window_in_days": 30,
            "policy": super::role::policy(&[
                json!({
                    "Sid": "Account", "Effect": "Allow",
                    "Principal": { "AWS": "arn:aws:iam::${data.aws_caller_identity.current.account_id}:root" },
                    "Action": "kms:*", "Resource": "*",
                }),
                json!({
                    "Sid": "Services", "Effect": "Allow", "Principal": { "Service": services },
                    "Action": ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey"], "Resource": "*",
                }),
            ]),
        })));
        blocks.push(hcl::resource(
            "aws_kms_alias",
            &label(name),
            &json!({
                "name": format!("alias/${{local.name}}-{name}"),
                "target_key_id": format!("= aws_kms_key.{}.key_id", label(name)),
            }),
        ));
    }
    blocks
}

fn secret(cloud: &Cloud<'_>, own: &str, name: &str, about: &str) -> String {
    hcl::resource(
        "aws_secretsmanager_secret",
        own,
        &json!({
            "name": format!("${{local.name}}/{name}"),
            "description": about,
            "kms_key_id": cloud.key("variable"),
            "recovery_window_in_days": 7,
        }),
    )
}

fn password(name: &str) -> String {
    hcl::resource("random_password", name, &json!({ "length": 40, "special": false }))
}

fn version(name: &str, text: &str) -> String {
    hcl::resource(
        "aws_secretsmanager_secret_version",
        name,
        &json!({
            "secret_id": format!("= aws_secretsmanager_secret.{name}.id"),
            "secret_string": text,
        }),
    )
}

pub(crate) fn secrets(cloud: &Cloud<'_>) -> Vec<String> {
    let mut blocks = Vec::new();
    for (name, variable) in &cloud.stack.variables {
        if variable.default.is_some() || variable.optional && !variable.secret {
            continue;
        }
        let mut about = variable.about.clone().unwrap_or_else(|| variable.form.expected());
        if let Some(period) = variable.rotate {
            let _ = write!(about, "; changes every {period}");
        }
        blocks.push(format!(
            "# aws secretsmanager put-secret-value --secret-id ENVIRONMENT/{name} --secret-string ...\n{}",
            secret(cloud, &name.to_ascii_lowercase(), name, &hcl::plain(&about))
        ));
    }
    for (name, database) in cloud.databases() {
        let own = format!("database_{}", label(name));
        blocks.push(password(&own));
        blocks.push(secret(cloud, &own, &format!("database/{name}"), "Address of the database, with its password"));
        let host = if super::data::serverless(database) {
            format!("aws_rds_cluster.{}.endpoint", label(name))
        } else {
            format!("aws_db_instance.{}.address", label(name))
        };
        let user = super::data::user(cloud);
        let schema = super::data::schema(cloud, name);
        blocks.push(version(
            &own,
            &format!("postgres://{user}:${{random_password.{own}.result}}@${{{host}}}:5432/{schema}?sslmode=require"),
        ));
    }
    for (name, _) in cloud.caches() {
        let own = format!("cache_{}", label(name));
        let end = if super::data::clustered(cloud, name) {
            "configuration_endpoint_address"
        } else {
            "primary_endpoint_address"
        };
        blocks.push(password(&own));
        blocks.push(secret(cloud, &own, &format!("cache/{name}"), "Address of the cache, with its password"));
        blocks.push(version(
            &own,
            &format!(
                "rediss://:${{random_password.{own}.result}}@${{aws_elasticache_replication_group.{}.{end}}}:6379/0",
                label(name)
            ),
        ));
    }
    for (name, _) in cloud.queues() {
        let own = format!("queue_{}", label(name));
        let user = super::data::user(cloud);
        blocks.push(password(&own));
        blocks.push(secret(cloud, &own, &format!("queue/{name}"), "Address of the broker, with its password"));
        let host = format!("trimprefix(aws_mq_broker.{}.instances[0].endpoints[0], \"amqps://\")", label(name));
        blocks.push(version(&own, &format!("amqps://{user}:${{random_password.{own}.result}}@${{{host}}}/")));
    }
    blocks
}
