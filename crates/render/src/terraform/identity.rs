//! Pools of people who sign in.

use serde_json::{Value, json};
use stack::{Extra, Kind};

use super::cloud::{Cloud, days, flag, label, seconds, text, texts};
use crate::hcl::{self, Block};

pub(crate) fn pools(cloud: &Cloud<'_>) -> Vec<Block> {
    cloud.extras(Kind::Identity).flat_map(|(name, extra)| pool(cloud, name.as_str(), extra)).collect()
}

#[expect(clippy::too_many_lines, reason = "one resource after another, in the order of the file")]
fn pool(cloud: &Cloud<'_>, name: &str, extra: &Extra) -> Vec<Block> {
    let own = label(name);
    let rules = extra.settings.get("password");
    let least = rules.and_then(|rules| rules.get("min_length")).and_then(Value::as_u64).unwrap_or(12);
    let classes: Vec<&str> = rules
        .and_then(|rules| rules.get("classes"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let class = |name: &str| classes.is_empty() || classes.contains(&name);
    let mfa = match text(extra, "mfa") {
        Some("required") => "ON",
        Some("optional") => "OPTIONAL",
        _ => "OFF",
    };
    let by = texts(extra, "mfa_by");
    let sms = mfa != "OFF" && by.contains(&"sms");
    let mail = text(extra, "mail").and_then(|text| text.strip_prefix("mail."));
    let from = mail
        .and_then(|mail| cloud.extras(Kind::Mail).find(|(known, _)| known.as_str() == mail))
        .and_then(|(_, extra)| text(extra, "from"));
    let sign_in: Vec<&str> = texts(extra, "sign_in")
        .into_iter()
        .map(|by| if by == "phone" { "phone_number" } else { by })
        .filter(|by| *by != "name")
        .collect();
    let verify: Vec<&str> =
        texts(extra, "verify").into_iter().map(|by| if by == "phone" { "phone_number" } else { by }).collect();
    let mut blocks = Vec::new();
    if sms {
        blocks.push(hcl::resource("aws_iam_role", &format!("{own}_sms"), json!({
            "name": format!("${{local.name}}-{name}-sms"),
            "assume_role_policy": super::role::policy(&[json!({
                "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "Service": "cognito-idp.amazonaws.com" },
                "Condition": { "StringEquals": { "sts:ExternalId": "= local.name" } },
            })]),
        })));
        blocks.push(hcl::resource("aws_iam_role_policy", &format!("{own}_sms"), json!({
            "name": "send", "role": format!("= aws_iam_role.{own}_sms.id"),
            "# a phone number is no resource with a name": null,
            "policy": super::role::policy(&[json!({ "Effect": "Allow", "Action": "sns:Publish", "NotResource": "arn:aws:sns:*:*:*" })]),
        })));
    }
    blocks.push(hcl::resource("aws_cognito_user_pool", &own, json!({
        "name": format!("${{local.name}}-{name}"),
        "deletion_protection": "= var.protect ? \"ACTIVE\" : \"INACTIVE\"",
        "username_attributes": (!sign_in.is_empty()).then_some(sign_in),
        "auto_verified_attributes": (!verify.is_empty()).then_some(verify),
        "mfa_configuration": mfa,
        "password_policy {}": {
            "minimum_length": least.clamp(6, 99),
            "require_uppercase": class("upper"),
            "require_lowercase": class("lower"),
            "require_numbers": class("digit"),
            "require_symbols": class("symbol"),
            "temporary_password_validity_days": 7,
        },
        "software_token_mfa_configuration {}": (mfa != "OFF" && by.contains(&"totp")).then(|| json!({ "enabled": true })),
        "sms_configuration {}": sms.then(|| json!({ "external_id": "= local.name", "sns_caller_arn": format!("= aws_iam_role.{own}_sms.arn") })),
        "account_recovery_setting {}": { "recovery_mechanism {}": { "name": if flag(extra, "reset") { "verified_email" } else { "admin_only" }, "priority": 1 } },
        "admin_create_user_config {}": { "allow_admin_create_user_only": extra.settings.get("self_sign_up").and_then(Value::as_bool) == Some(false) },
        "email_configuration {}": mail.map(|mail| json!({
            "email_sending_account": "DEVELOPER",
            "from_email_address": from,
            "source_arn": format!("= aws_sesv2_email_identity.{}.arn", label(mail)),
        })),
        "user_attribute_update_settings {}": { "attributes_require_verification_before_update": ["email"] },
    })));
    let callbacks = texts(extra, "callbacks");
    let logouts = texts(extra, "logouts");
    let oauth = !callbacks.is_empty();
    blocks.push(hcl::resource(
        "aws_cognito_user_pool_client",
        &own,
        json!({
            "name": "application",
            "user_pool_id": format!("= aws_cognito_user_pool.{own}.id"),
            "explicit_auth_flows": ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
            "prevent_user_existence_errors": "ENABLED",
            "enable_token_revocation": true,
            "access_token_validity": (seconds(text(extra, "token"), 3600) / 60).clamp(5, 1440),
            "id_token_validity": (seconds(text(extra, "token"), 3600) / 60).clamp(5, 1440),
            "refresh_token_validity": days(text(extra, "refresh"), 30),
            "token_validity_units {}": { "access_token": "minutes", "id_token": "minutes", "refresh_token": "days" },
            "allowed_oauth_flows_user_pool_client": oauth.then_some(true),
            "allowed_oauth_flows": oauth.then(|| json!(["code"])),
            "allowed_oauth_scopes": oauth.then(|| json!(["openid", "email", "profile"])),
            "supported_identity_providers": oauth.then(|| json!(["COGNITO"])),
            "callback_urls": oauth.then_some(callbacks),
            "logout_urls": (!logouts.is_empty()).then_some(logouts),
        }),
    ));
    blocks.push(hcl::resource(
        "aws_cognito_user_pool_domain",
        &own,
        json!({
            "domain": format!("${{local.name}}-{name}"), "user_pool_id": format!("= aws_cognito_user_pool.{own}.id"),
        }),
    ));
    for group in texts(extra, "groups") {
        blocks.push(hcl::resource(
            "aws_cognito_user_group",
            &label(group),
            json!({ "name": group, "user_pool_id": format!("= aws_cognito_user_pool.{own}.id") }),
        ));
    }
    blocks
}
