//! Zones, certificates and records: every name that is answered has one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use stack::Kind;

use super::{
    api, balancer, cdn,
    cloud::{Cloud, Shape, label, text, texts},
};
use crate::hcl::{self, Block};

/// What a distribution is to Terraform.
const DISTRIBUTION: &str = "aws_cloudfront_distribution";

/// The zone of a name: one of the stack's, else its last two labels.
fn zone(cloud: &Cloud<'_>, name: &str) -> String {
    let said = cloud.extras(Kind::Dns).filter_map(|(_, extra)| text(extra, "zone"));
    let mut fitting = said.filter(|zone| name == *zone || name.ends_with(&format!(".{zone}")));
    fitting.next().map_or_else(
        || {
            let labels: Vec<&str> = name.split('.').collect();
            labels[labels.len().saturating_sub(2)..].join(".")
        },
        str::to_owned,
    )
}

/// Host names that visitors use, in order.
fn hosts<'c>(cloud: &'c Cloud<'_>) -> Vec<&'c str> {
    let routes = cloud.stack.routes.iter().filter(|route| route.host != "*");
    routes
        .flat_map(|route| std::iter::once(route.host.as_str()).chain(route.redirect_from.iter().map(String::as_str)))
        .collect()
}

/// Names of the certificate: what the stack says and every host that it does not cover.
fn certified(cloud: &Cloud<'_>) -> Vec<String> {
    let mut names: Vec<String> =
        cloud.extras(Kind::Dns).flat_map(|(_, extra)| texts(extra, "certificate")).map(str::to_owned).collect();
    let covered = |names: &[String], host: &str| {
        let wild = host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        names.iter().any(|name| name == host || wild.as_ref() == Some(name))
    };
    let mut wanted: Vec<String> = hosts(cloud).into_iter().map(str::to_owned).collect();
    if api::rest(cloud) {
        wanted.extend(api::hosts(cloud).into_iter().map(balancer::origin));
    }
    for host in wanted {
        if !covered(&names, &host) {
            names.push(host);
        }
    }
    names
}

pub(crate) fn names(cloud: &Cloud<'_>) -> Vec<Block> {
    let names = certified(cloud);
    if names.is_empty() || cloud.shape == Shape::Cluster {
        return Vec::new();
    }
    let mail = cloud.extras(Kind::Mail).filter_map(|(_, extra)| text(extra, "domain"));
    let zones: BTreeSet<String> =
        names.iter().map(String::as_str).chain(mail).map(|name| zone(cloud, name.trim_start_matches("*."))).collect();
    let zone_of: Map<String, Value> =
        names.iter().map(|name| (name.clone(), zone(cloud, name.trim_start_matches("*.")).into())).collect();
    let mut blocks = vec![
        hcl::data("aws_route53_zone", "all", json!({ "for_each": { "toset()": zones }, "name": "= each.value" }))
            .about("the zones are there already: registering a domain makes one"),
        hcl::block(&["locals"], json!({ "zone_of": zone_of })),
    ];
    blocks.extend(certificates(cloud, &names));
    blocks
}

fn certificates(cloud: &Cloud<'_>, names: &[String]) -> Vec<Block> {
    let body = |provider: Option<&str>| {
        json!({
            "provider": provider.map(|provider| format!("= {provider}")),
            "domain_name": names[0],
            "subject_alternative_names": (names.len() > 1).then(|| names[1..].to_vec()),
            "validation_method": "DNS",
            "lifecycle {}": { "create_before_destroy": true },
        })
    };
    let validated = |own: &str, provider: Option<&str>| {
        hcl::resource(
            "aws_acm_certificate_validation",
            own,
            json!({
                "provider": provider.map(|provider| format!("= {provider}")),
                "certificate_arn": format!("= aws_acm_certificate.{own}.arn"),
                "validation_record_fqdns": "= [for record in aws_route53_record.proof : record.fqdn]",
            }),
        )
    };
    let mut blocks = vec![
        hcl::resource("aws_acm_certificate", "main", body(None)),
        hcl::resource(
            "aws_route53_record",
            "proof",
            json!({
                "for_each": "= { for option in aws_acm_certificate.main.domain_validation_options : option.domain_name => option }",
                "zone_id": "= data.aws_route53_zone.all[local.zone_of[each.key]].zone_id",
                "name": "= each.value.resource_record_name",
                "type": "= each.value.resource_record_type",
                "records": "= [each.value.resource_record_value]",
                "ttl": 300,
                "# a name and its wildcard have the same proof": null,
                "allow_overwrite": true,
            }),
        ),
        validated("main", None),
    ];
    if !cdn::all(cloud).is_empty() {
        blocks.push(
            hcl::resource("aws_acm_certificate", "global", body(Some("aws.global")))
                .about("the same proof serves the certificate in CloudFront's own region"),
        );
        blocks.push(validated("global", Some("aws.global")));
    }
    blocks
}

/// What a name leads to: the address and the zone of an alias.
fn targets(cloud: &Cloud<'_>) -> BTreeMap<String, (String, String)> {
    let mut targets = BTreeMap::new();
    for one in cdn::all(cloud) {
        let own = format!("{DISTRIBUTION}.{}", one.own);
        for name in one.names {
            targets.insert(name.to_owned(), (format!("{own}.domain_name"), format!("{own}.hosted_zone_id")));
        }
    }
    let gateway = api::hosts(cloud);
    for host in &gateway {
        let kind = if api::rest(cloud) { "aws_api_gateway_domain_name" } else { "aws_apigatewayv2_domain_name" };
        let own = format!("{kind}.{}", label(host));
        let pair = if api::rest(cloud) {
            (format!("{own}.regional_domain_name"), format!("{own}.regional_zone_id"))
        } else {
            (
                format!("{own}.domain_name_configuration[0].target_domain_name"),
                format!("{own}.domain_name_configuration[0].hosted_zone_id"),
            )
        };
        targets.insert((*host).to_owned(), pair);
        if api::rest(cloud) {
            targets
                .insert(balancer::origin(host), ("aws_lb.main.dns_name".to_owned(), "aws_lb.main.zone_id".to_owned()));
        }
    }
    if balancer::wanted(cloud) {
        for host in hosts(cloud) {
            targets
                .entry(host.to_owned())
                .or_insert_with(|| ("aws_lb.main.dns_name".to_owned(), "aws_lb.main.zone_id".to_owned()));
        }
    }
    targets
}

/// Names of distributions.
pub(crate) fn of_distributions(cloud: &Cloud<'_>) -> Vec<Block> {
    records(cloud, |address| address.starts_with(DISTRIBUTION))
}

/// Names of the load balancer and of the API gateway.
pub(crate) fn of_programs(cloud: &Cloud<'_>) -> Vec<Block> {
    records(cloud, |address| !address.starts_with(DISTRIBUTION))
}

fn records(cloud: &Cloud<'_>, wanted: impl Fn(&str) -> bool) -> Vec<Block> {
    let mut blocks = Vec::new();
    if cloud.shape == Shape::Cluster {
        return blocks;
    }
    for (name, (address, zone_id)) in targets(cloud).into_iter().filter(|(_, (address, _))| wanted(address)) {
        for kind in ["A", "AAAA"] {
            // a balancer in these subnets and a gateway have no address of IP version 6
            if kind == "AAAA" && !address.starts_with(DISTRIBUTION) {
                continue;
            }
            blocks.push(hcl::resource("aws_route53_record", &format!("{}_{}", label(&name), kind.to_ascii_lowercase()), json!({
                "zone_id": format!("= data.aws_route53_zone.all[\"{}\"].zone_id", zone(cloud, &name)),
                "name": name,
                "type": kind,
                "alias {}": { "name": format!("= {address}"), "zone_id": format!("= {zone_id}"), "evaluate_target_health": false },
            })));
        }
    }
    blocks
}

/// Names that mail goes by.
pub(crate) fn of_mail(cloud: &Cloud<'_>) -> Vec<Block> {
    if certified(cloud).is_empty() || cloud.shape == Shape::Cluster {
        return Vec::new();
    }
    cloud.extras(Kind::Mail).flat_map(|(name, extra)| mail(cloud, &label(name), extra)).collect()
}

/// Signatures, who may send, and what becomes of the forged.
fn mail(cloud: &Cloud<'_>, own: &str, extra: &stack::Extra) -> Vec<Block> {
    let Some(domain) = text(extra, "domain").filter(|_| !extra.settings.contains_key("url")) else { return Vec::new() };
    let zone_id = format!("= data.aws_route53_zone.all[\"{}\"].zone_id", zone(cloud, domain));
    let record = |name: &str, at: &str, kind: &str, values: Value| {
        hcl::resource(
            "aws_route53_record",
            &format!("{own}_{name}"),
            json!({
                "zone_id": zone_id, "name": at, "type": kind, "ttl": 300, "records": values,
            }),
        )
    };
    let policy = text(extra, "dmarc").unwrap_or("none");
    vec![
        hcl::resource(
            "aws_route53_record",
            &format!("{own}_dkim"),
            json!({
                "count": 3,
                "zone_id": zone_id,
                "name": format!("${{aws_sesv2_email_identity.{own}.dkim_signing_attributes[0].tokens[count.index]}}._domainkey.{domain}"),
                "type": "CNAME",
                "ttl": 300,
                "records": [format!("${{aws_sesv2_email_identity.{own}.dkim_signing_attributes[0].tokens[count.index]}}.dkim.amazonses.com")],
            }),
        ),
        record("spf", &format!("bounce.{domain}"), "TXT", json!(["v=spf1 include:amazonses.com -all"])),
        record("bounce", &format!("bounce.{domain}"), "MX", json!(["10 feedback-smtp.${var.region}.amazonses.com"])),
        record("domain_spf", domain, "TXT", json!(["v=spf1 include:amazonses.com ~all"])),
        record("dmarc", &format!("_dmarc.{domain}"), "TXT", json!([format!("v=DMARC1; p={policy}")])),
    ]
}
