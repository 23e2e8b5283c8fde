//! Mail by SES: the domain, its signature, who hears of bounces, stored templates.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use stack::{Extra, Kind};

use super::cloud::{Cloud, label, text};
use crate::hcl::{self, Block};

/// Topics that hear of mails that came back: the key and the kind of event.
pub(crate) fn told(extra: &Extra) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
    let kinds = [("bounces", "BOUNCE"), ("complaints", "COMPLAINT")];
    let topics = kinds.into_iter().filter_map(|(key, kind)| Some((key, kind, text(extra, key)?)));
    topics.filter(|(_, _, topic)| topic.starts_with("topic."))
}

/// SES may publish to these topics, for the configuration sets of this stack only.
fn allowed(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut sets: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, extra) in cloud.extras(Kind::Mail).filter(|(_, extra)| !extra.settings.contains_key("url")) {
        for (_, _, topic) in told(extra) {
            sets.entry(topic).or_default().insert(format!("= aws_sesv2_configuration_set.{}.arn", label(name)));
        }
    }
    let policies = sets.into_iter().map(|(topic, sets)| {
        let own = label(topic.trim_start_matches("topic."));
        let arn = format!("= aws_sns_topic.{own}.arn");
        hcl::resource(
            "aws_sns_topic_policy",
            &own,
            json!({
                "arn": arn,
                "policy": super::role::policy(&[json!({
                    "Effect": "Allow", "Principal": { "Service": "ses.amazonaws.com" }, "Action": "sns:Publish", "Resource": arn,
                    "Condition": { "ArnEquals": { "aws:SourceArn": sets } },
                })]),
            }),
        )
    });
    policies.collect()
}

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
        for (key, kind, topic) in told(extra) {
            let topic = topic.trim_start_matches("topic.");
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
    blocks.extend(allowed(cloud));
    blocks
}
