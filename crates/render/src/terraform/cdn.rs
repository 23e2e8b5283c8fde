//! CloudFront in front of sites and public buckets, which stay closed to everybody else.

use serde_json::{Value, json};
use stack::{Extra, Kind, ResourceRef};

use super::cloud::{Cloud, flag, label, seconds, text, texts};
use crate::hcl::{self, Block};

/// One distribution: its own name, what it caches, what it answers for, its words.
pub(crate) struct Distribution<'c> {
    pub(crate) own: String,
    pub(crate) to: ResourceRef,
    pub(crate) names: Vec<&'c str>,
    redirects: Vec<&'c str>,
    main: Option<&'c str>,
    extra: Option<&'c Extra>,
}

/// Those of `[cdn]`, and one for every routed site or bucket that none of them caches.
pub(crate) fn all<'c>(cloud: &'c Cloud<'_>) -> Vec<Distribution<'c>> {
    let mut found: Vec<Distribution<'c>> = Vec::new();
    for route in &cloud.stack.routes {
        let Some(path) = route.paths.iter().find(|path| matches!(path.to.kind, Kind::Site | Kind::Bucket)) else {
            continue;
        };
        let whole = route.paths.iter().all(|path| matches!(path.to.kind, Kind::Site | Kind::Bucket));
        let reference = path.to.to_string();
        let section = cloud.extras(Kind::Cdn).find(|(_, extra)| texts(extra, "to").contains(&reference.as_str()));
        if !whole && section.is_none() && super::balancer::wanted(cloud) {
            // the balancer's own targets answer for everything of this name
            continue;
        }
        let mut names = vec![route.host.as_str()];
        names.extend(route.redirect_from.iter().map(String::as_str));
        if let Some(known) = found.iter_mut().find(|known| known.to == path.to) {
            known.names.extend(names);
            continue;
        }
        found.push(Distribution {
            own: section.map_or_else(|| label(&path.to.name), |(name, _)| label(name)),
            to: path.to.clone(),
            names,
            redirects: route.redirect_from.iter().map(String::as_str).collect(),
            main: Some(route.host.as_str()),
            extra: section.map(|(_, extra)| extra),
        });
    }
    found.retain(|one| one.names.iter().all(|name| *name != "*"));
    found
}

pub(crate) fn distributions(cloud: &Cloud<'_>) -> Vec<Block> {
    let all = all(cloud);
    let mut blocks = Vec::new();
    if all.is_empty() {
        return blocks;
    }
    blocks.push(hcl::resource(
        "aws_cloudfront_origin_access_control",
        "main",
        json!({
            "name": "= local.name",
            "origin_access_control_origin_type": "s3",
            "signing_behavior": "always",
            "signing_protocol": "sigv4",
        }),
    ));
    blocks.push(hcl::resource("aws_cloudfront_response_headers_policy", "main", json!({
        "name": "= local.name",
        "security_headers_config {}": {
            "strict_transport_security {}": { "access_control_max_age_sec": 31_536_000, "override": false },
            "content_type_options {}": { "override": true },
            "frame_options {}": { "frame_option": "SAMEORIGIN", "override": false },
            "referrer_policy {}": { "referrer_policy": "strict-origin-when-cross-origin", "override": false },
            "content_security_policy {}": {
                "content_security_policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' https:; object-src 'none'; base-uri 'self'; frame-ancestors 'self'",
                "override": false,
            },
        },
    })));
    for one in &all {
        blocks.extend(distribution(cloud, one));
    }
    blocks
}

fn bucket_of(to: &ResourceRef) -> String {
    if to.kind == Kind::Site { format!("site_{}", label(&to.name)) } else { label(&to.name) }
}

fn distribution(cloud: &Cloud<'_>, one: &Distribution<'_>) -> Vec<Block> {
    let own = &one.own;
    let bucket = bucket_of(&one.to);
    let site = cloud.stack.sites.get(&one.to.name).filter(|_| one.to.kind == Kind::Site);
    let spa = site.is_some_and(|site| site.spa) || one.extra.is_some_and(|extra| flag(extra, "spa"));
    let price = match one.extra.and_then(|extra| text(extra, "price_class")) {
        Some("us-europe") => "PriceClass_100",
        Some("most") => "PriceClass_200",
        _ => "PriceClass_All",
    };
    let countries = one.extra.map(|extra| texts(extra, "countries")).unwrap_or_default();
    let longest = seconds(one.extra.and_then(|extra| text(extra, "cache")), 31_536_000);
    let mut blocks = Vec::new();
    let function = !one.redirects.is_empty();
    if function {
        let names: Vec<String> = one.redirects.iter().map(|name| format!("'{name}'")).collect();
        blocks.push(hcl::resource("aws_cloudfront_function", own, json!({
            "name": format!("${{local.name}}-{}-redirect", own.replace('_', "-")),
            "runtime": "cloudfront-js-2.0",
            "publish": true,
            "code": format!(
                "function handler(event) {{\n  var request = event.request;\n  var host = request.headers.host.value;\n  if ([{}].indexOf(host) < 0) return request;\n  return {{ statusCode: 308, statusDescription: 'Permanent Redirect', headers: {{ location: {{ value: 'https://{}' + request.uri }} }} }};\n}}\n",
                names.join(", "), one.main.unwrap_or_default(),
            ),
        })));
    }
    blocks.push(hcl::resource(
        "aws_cloudfront_cache_policy",
        own,
        json!({
            "name": format!("${{local.name}}-{}", own.replace('_', "-")),
            "# Cache-Control of each file decides; this is where it ends": null,
            "min_ttl": 0,
            "default_ttl": 86_400.min(longest),
            "max_ttl": longest,
            "parameters_in_cache_key_and_forwarded_to_origin {}": {
                "enable_accept_encoding_brotli": true,
                "enable_accept_encoding_gzip": true,
                "cookies_config {}": { "cookie_behavior": "none" },
                "headers_config {}": { "header_behavior": "none" },
                "query_strings_config {}": { "query_string_behavior": "none" },
            },
        }),
    ));
    let errors: Vec<Value> = [403, 404]
        .into_iter()
        .filter(|_| spa)
        .map(|code| json!({ "error_code": code, "response_code": 200, "response_page_path": "/index.html", "error_caching_min_ttl": 10 }))
        .collect();
    blocks.push(hcl::resource("aws_cloudfront_distribution", own, json!({
        "enabled": true,
        "comment": format!("{} of ${{local.name}}", one.to),
        "aliases": one.names,
        "default_root_object": site.map(|_| "index.html"),
        "http_version": "http2and3",
        "is_ipv6_enabled": true,
        "price_class": price,
        "web_acl_id": super::waf::of_cdn(cloud),
        "origin {}": {
            "origin_id": "bucket",
            "domain_name": format!("= aws_s3_bucket.{bucket}.bucket_regional_domain_name"),
            "origin_access_control_id": "= aws_cloudfront_origin_access_control.main.id",
        },
        "default_cache_behavior {}": {
            "target_origin_id": "bucket",
            "viewer_protocol_policy": "redirect-to-https",
            "allowed_methods": ["GET", "HEAD", "OPTIONS"],
            "cached_methods": ["GET", "HEAD"],
            "compress": true,
            "cache_policy_id": format!("= aws_cloudfront_cache_policy.{own}.id"),
            "response_headers_policy_id": "= aws_cloudfront_response_headers_policy.main.id",
            "function_association {}": function.then(|| json!({ "event_type": "viewer-request", "function_arn": format!("= aws_cloudfront_function.{own}.arn") })),
        },
        "custom_error_response {}": errors,
        "restrictions {}": { "geo_restriction {}": {
            "restriction_type": if countries.is_empty() { "none" } else { "whitelist" },
            "locations": (!countries.is_empty()).then_some(countries),
        } },
        "viewer_certificate {}": {
            "acm_certificate_arn": "= aws_acm_certificate_validation.global.certificate_arn",
            "ssl_support_method": "sni-only",
            "minimum_protocol_version": "TLSv1.2_2021",
        },
    })));
    blocks.push(hcl::resource("aws_s3_bucket_policy", &bucket, json!({
        "bucket": format!("= aws_s3_bucket.{bucket}.id"),
        "policy": super::role::policy(&[
            json!({
                "Effect": "Allow", "Principal": { "Service": "cloudfront.amazonaws.com" }, "Action": "s3:GetObject",
                "Resource": format!("${{aws_s3_bucket.{bucket}.arn}}/*"),
                "Condition": { "StringEquals": { "AWS:SourceArn": format!("= aws_cloudfront_distribution.{own}.arn") } },
            }),
            json!({
                "Effect": "Deny", "Principal": "*", "Action": "s3:*",
                "Resource": [format!("= aws_s3_bucket.{bucket}.arn"), format!("${{aws_s3_bucket.{bucket}.arn}}/*")],
                "Condition": { "Bool": { "aws:SecureTransport": "false" } },
            }),
        ]),
    })));
    blocks
}
