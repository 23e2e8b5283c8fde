//! Mail by SES: the domain, its signature, who hears of bounces, stored templates.

use serde_json::json;
use stack::Kind;

use super::cloud::{Cloud, label, text};
use crate::hcl::{self, Block};

pub(crate) fn domains(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for (name, extra) in cloud.extras(Kind::Mail).filter(|(_, extra)| !extra.settings.contains_key("url")) {
        let Some(domain) = text(extra, "domain") else { continue };
        let own = label(name);
        blocks.push(hcl::resource(
            "aws_sesv2_configuration_set",
            &own,
            json!({
                "configuration_set_name": format!("${{local.name}}-{name}"),
                "delivery_options {}": { "tls_policy": "REQUIRE" },
                "reputation_options {}": { "reputation_metrics_enabled": true },
                "suppression_options {}": { "suppressed_reasons": ["BOUNCE", "COMPLAINT"] },
            }),
        ));
        blocks.push(hcl::resource(
            "aws_sesv2_email_identity",
            &own,
            json!({
                "email_identity": domain,
                "configuration_set_name": format!("= aws_sesv2_configuration_set.{own}.configuration_set_name"),
                "dkim_signing_attributes {}": { "next_signing_key_length": "RSA_2048_BIT" },
            }),
        ));
        blocks.push(hcl::resource(
            "aws_sesv2_email_identity_mail_from_attributes",
            &own,
            json!({
                "email_identity": format!("= aws_sesv2_email_identity.{own}.email_identity"),
                "mail_from_domain": format!("bounce.{domain}"),
                "behavior_on_mx_failure": "REJECT_MESSAGE",
            }),
        ));
        for (key, kind) in [("bounces", "BOUNCE"), ("complaints", "COMPLAINT")] {
            let Some(topic) = text(extra, key).and_then(|text| text.strip_prefix("topic.")) else { continue };
            blocks.push(hcl::resource(
                "aws_sesv2_configuration_set_event_destination",
                &format!("{own}_{key}"),
                json!({
                    "configuration_set_name": format!("= aws_sesv2_configuration_set.{own}.configuration_set_name"),
                    "event_destination_name": key,
                    "event_destination {}": {
                        "enabled": true,
                        "matching_event_types": [kind],
                        "sns_destination {}": { "topic_arn": format!("= aws_sns_topic.{}.arn", label(topic)) },
                    },
                }),
            ));
        }
        if let Some(folder) = text(extra, "templates") {
            let folder = format!("${{path.root}}/../../{folder}");
            blocks.push(hcl::resource("aws_ses_template", &own, json!({
                "# NAME.html, with its subject in the title": null,
                "for_each": format!("= fileset(\"{folder}\", \"*.html\")"),
                "name": "${local.name}-${trimsuffix(each.value, \".html\")}",
                "subject": format!("= try(regex(\"<title>(.*)</title>\", file(\"{folder}/${{each.value}}\"))[0], each.value)"),
                "html": format!("= file(\"{folder}/${{each.value}}\")"),
            })));
        }
    }
    blocks
}
