//! Keys and secrets.

use std::fmt::Write as _;

use serde_json::json;
use stack::{Kind, ResourceRef};

use super::cloud::{Cloud, label};
use crate::hcl::{self, Block};

pub(crate) fn keys(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (name, _) in cloud.extras(Kind::Key) {
        let services = [
            "logs.${var.region}.amazonaws.com",
            "cloudwatch.amazonaws.com",
            "sns.amazonaws.com",
            "ses.amazonaws.com",
            "cloudfront.amazonaws.com",
        ];
        blocks.push(hcl::resource("aws_kms_key", &label(name), json!({
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
            json!({
                "name": format!("alias/${{local.name}}-{name}"),
                "target_key_id": format!("= aws_kms_key.{}.key_id", label(name)),
            }),
        ));
    }
    blocks
}

fn secret(cloud: &Cloud<'_>, own: &str, name: &str, about: &str) -> Block {
    hcl::resource(
        "aws_secretsmanager_secret",
        own,
        json!({
            "name": format!("${{local.name}}/{name}"),
            "description": about,
            "kms_key_id": cloud.key("variable"),
            "recovery_window_in_days": 7,
        }),
    )
}

/// A password made here, and the secret with a store's whole address, in which `PASSWORD` stands for it.
pub(crate) fn of_store(cloud: &Cloud<'_>, store: &ResourceRef, what: &str, address: &str) -> Vec<Block> {
    let own = format!("{}_{}", store.kind, label(&store.name));
    let about = format!("Address of the {what}, with its password");
    let password = format!("${{random_password.{own}.result}}");
    vec![
        hcl::resource("random_password", &own, json!({ "length": 40, "special": false })),
        secret(cloud, &own, &format!("{}/{}", store.kind, store.name), &about),
        hcl::resource(
            "aws_secretsmanager_secret_version",
            &own,
            json!({
                "secret_id": format!("= aws_secretsmanager_secret.{own}.id"),
                "secret_string": address.replace("PASSWORD", &password),
            }),
        ),
    ]
}

/// The secret that Lambda reads a broker by, as its own name in these files.
pub(crate) fn login(queue: &str) -> String {
    format!("queue_{queue}_login")
}

/// A broker's user and password, in the form in which Lambda reads it for the functions that messages start.
pub(crate) fn of_reader(cloud: &Cloud<'_>, queue: &ResourceRef, user: &str) -> Vec<Block> {
    let name = label(&queue.name);
    let own = login(&name);
    let password = format!("= random_password.queue_{name}.result");
    vec![
        secret(cloud, &own, &format!("queue/{}-login", queue.name), "User and password of the broker, for Lambda"),
        hcl::resource(
            "aws_secretsmanager_secret_version",
            &own,
            json!({
                "secret_id": format!("= aws_secretsmanager_secret.{own}.id"),
                "secret_string": { "jsonencode()": { "username": user, "password": password } },
            }),
        ),
    ]
}

/// The application's own secrets: the names, whose values are given by hand or by `slipway`.
pub(crate) fn secrets(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (name, variable) in &cloud.stack.variables {
        if variable.default.is_some() || variable.optional && !variable.secret {
            continue;
        }
        let mut about = variable.about.clone().unwrap_or_else(|| variable.form.expected());
        if let Some(period) = variable.rotate {
            let _ = write!(about, "; changes every {period}");
        }
        let set = format!("aws secretsmanager put-secret-value --secret-id ENVIRONMENT/{name} --secret-string ...");
        blocks.push(secret(cloud, &name.to_ascii_lowercase(), name, &hcl::plain(&about)).about(set));
    }
    blocks
}
