//! API gateways: an HTTP API in front of functions, or a REST API in front of the load balancer.

use serde_json::{Map, Value, json};
use stack::{Extra, Kind, Limit, Problem, Problems, ResourceName, Route};

use super::{
    balancer,
    cloud::{Cloud, Shape, flag, label, number, text, texts},
};
use crate::{
    hcl::{self, Block},
    honours,
};

fn gateway<'c>(cloud: &'c Cloud<'_>, kind: &str) -> Option<(&'c ResourceName, &'c Extra)> {
    let fits = matches!(cloud.shape, Shape::Fargate | Shape::Lambda);
    cloud.extras(Kind::Gateway).find(|(_, extra)| fits && text(extra, "kind") == Some(kind))
}

/// Whether there is a REST API.
pub(crate) fn rest(cloud: &Cloud<'_>) -> bool {
    gateway(cloud, "rest").is_some()
}

/// Whether there is an API gateway of either kind.
pub(crate) fn any(cloud: &Cloud<'_>) -> bool {
    rest(cloud) || gateway(cloud, "http").is_some()
}

/// Routes that a gateway answers.
fn routes<'c>(cloud: &'c Cloud<'_>, extra: &Extra) -> Vec<&'c Route> {
    let named = texts(extra, "routes");
    let serves = |route: &&Route| route.paths.iter().any(|path| path.to.kind == Kind::Service);
    cloud
        .stack
        .routes
        .iter()
        .filter(|route| named.is_empty() || named.contains(&route.host.as_str()))
        .filter(serves)
        .collect()
}

/// Host names that a gateway answers.
pub(crate) fn hosts<'c>(cloud: &'c Cloud<'_>) -> Vec<&'c str> {
    let found = gateway(cloud, "rest").or_else(|| gateway(cloud, "http"));
    found.map(|(_, extra)| routes(cloud, extra).iter().map(|route| route.host.as_str()).collect()).unwrap_or_default()
}

/// Requests per second and burst: a limit per minute becomes one per second (T8).
fn throttle(extra: &Extra) -> Option<(f64, i64)> {
    let limit = text(extra, "limit")?.parse::<Limit>().ok()?;
    let seconds = limit.period.0.as_secs_f64().max(0.001);
    let rate = (f64::from(limit.requests) / seconds * 10.0).round() / 10.0;
    let burst = number(extra, "burst").unwrap_or_else(|| i64::from(limit.requests).clamp(1, 5000));
    Some((rate, burst))
}

fn origins(cloud: &Cloud<'_>, route: &Route) -> Vec<String> {
    let names = route.paths.iter().filter_map(|path| path.cors.as_ref());
    let mut origins: Vec<String> = names
        .filter_map(|name| cloud.stack.variables.get(name)?.default.as_deref())
        .flat_map(|default| default.split(','))
        .map(|origin| hcl::plain(origin.trim()))
        .collect();
    origins.dedup();
    origins
}

pub(crate) fn gateways(cloud: &Cloud<'_>, problems: &mut Problems) -> Vec<Block> {
    if let Some((name, extra)) = gateway(cloud, "rest") {
        return rest_api(cloud, name, extra);
    }
    let Some((name, extra)) = gateway(cloud, "http") else { return Vec::new() };
    for (waf, _) in cloud.extras(Kind::Waf).filter(|_| cloud.shape == Shape::Lambda) {
        let message = format!("`waf.{waf}`: an HTTP API cannot have a filter, and `gateway.{name}` is one");
        problems.push(
            Problem::error(honours::CODE, format!("waf.{waf}"), message)
                .with_mend("write `kind = \"rest\"`, or put a load balancer or a CDN in front"),
        );
    }
    http_api(cloud, extra)
}

fn http_api(cloud: &Cloud<'_>, extra: &Extra) -> Vec<Block> {
    if cloud.shape != Shape::Lambda {
        return Vec::new();
    }
    let routes = routes(cloud, extra);
    let origins: Vec<String> = routes.iter().flat_map(|route| origins(cloud, route)).collect();
    let mut blocks = vec![hcl::resource(
        "aws_apigatewayv2_api",
        "main",
        json!({
            "name": "= local.name",
            "protocol_type": "HTTP",
            "# only by its own name: the default one would go around its certificate": null,
            "disable_execute_api_endpoint": true,
            "cors_configuration {}": (!origins.is_empty()).then(|| json!({
                "allow_origins": origins,
                "allow_credentials": true,
                "allow_methods": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
                "allow_headers": ["authorization", "content-type"],
                "max_age": 600,
            })),
        }),
    )];
    let pool = text(extra, "identity").and_then(|text| text.strip_prefix("identity.")).map(label);
    if let Some(pool) = &pool {
        blocks.push(hcl::resource(
            "aws_apigatewayv2_authorizer",
            "main",
            json!({
                "api_id": "= aws_apigatewayv2_api.main.id",
                "name": "people",
                "authorizer_type": "JWT",
                "identity_sources": ["$request.header.Authorization"],
                "jwt_configuration {}": {
                    "audience": [format!("= aws_cognito_user_pool_client.{pool}.id")],
                    "issuer": format!("https://${{aws_cognito_user_pool.{pool}.endpoint}}"),
                },
            }),
        ));
    }
    let mut wired: Vec<&ResourceName> = Vec::new();
    for path in routes.iter().flat_map(|route| &route.paths).filter(|path| path.to.kind == Kind::Service) {
        let own = format!("service_{}", label(&path.to.name));
        if !wired.contains(&&path.to.name) {
            wired.push(&path.to.name);
            blocks.push(hcl::resource(
                "aws_apigatewayv2_integration",
                &own,
                json!({
                    "api_id": "= aws_apigatewayv2_api.main.id",
                    "integration_type": "AWS_PROXY",
                    "integration_uri": format!("= aws_lambda_alias.{own}.invoke_arn"),
                    "payload_format_version": "2.0",
                }),
            ));
            blocks.push(hcl::resource(
                "aws_lambda_permission",
                &own,
                json!({
                    "function_name": format!("= aws_lambda_function.{own}.function_name"),
                    "qualifier": format!("= aws_lambda_alias.{own}.name"),
                    "action": "lambda:InvokeFunction",
                    "principal": "apigateway.amazonaws.com",
                    "source_arn": "${aws_apigatewayv2_api.main.execution_arn}/*/*",
                }),
            ));
        }
        let keys = if path.path == "/" {
            vec!["$default".to_owned()]
        } else {
            vec![format!("ANY {}", path.path), format!("ANY {}/{{proxy+}}", path.path)]
        };
        for (at, key) in keys.iter().enumerate() {
            let name = format!("{}_{at}", label(path.path.trim_matches('/').replace('/', "_")));
            blocks.push(hcl::resource(
                "aws_apigatewayv2_route",
                &format!("r{}", if path.path == "/" { String::from("_default") } else { format!("_{name}") }),
                json!({
                    "api_id": "= aws_apigatewayv2_api.main.id",
                    "route_key": key,
                    "target": format!("integrations/${{aws_apigatewayv2_integration.{own}.id}}"),
                    "authorization_type": pool.as_ref().map(|_| "JWT"),
                    "authorizer_id": pool.as_ref().map(|_| "= aws_apigatewayv2_authorizer.main.id"),
                }),
            ));
        }
    }
    let throttle = throttle(extra);
    blocks.push(hcl::resource("aws_apigatewayv2_stage", "main", json!({
        "api_id": "= aws_apigatewayv2_api.main.id",
        "name": "$default",
        "auto_deploy": true,
        "default_route_settings {}": {
            "detailed_metrics_enabled": true,
            "throttling_rate_limit": throttle.map_or(1000.0, |(rate, _)| rate),
            "throttling_burst_limit": throttle.map_or(2000, |(_, burst)| burst),
        },
        "access_log_settings {}": { "destination_arn": "= aws_cloudwatch_log_group.api.arn", "format": access_log() },
    })));
    for route in routes {
        let own = label(&route.host);
        blocks.push(hcl::resource(
            "aws_apigatewayv2_domain_name",
            &own,
            json!({
                "domain_name": route.host,
                "domain_name_configuration {}": {
                    "certificate_arn": "= aws_acm_certificate_validation.main.certificate_arn",
                    "endpoint_type": "REGIONAL",
                    "security_policy": "TLS_1_2",
                },
            }),
        ));
        blocks.push(hcl::resource(
            "aws_apigatewayv2_api_mapping",
            &own,
            json!({
                "api_id": "= aws_apigatewayv2_api.main.id",
                "domain_name": format!("= aws_apigatewayv2_domain_name.{own}.id"),
                "stage": "= aws_apigatewayv2_stage.main.id",
            }),
        ));
    }
    blocks
}

/// What is written down of a request: no query string and no header, which may carry tokens.
fn access_log() -> Value {
    json!({ "jsonencode()": {
        "time": "$context.requestTime", "id": "$context.requestId", "ip": "$context.identity.sourceIp",
        "method": "$context.httpMethod", "path": "$context.path", "status": "$context.status", "took": "$context.responseLatency",
    } })
}

/// A path of the OpenAPI document: passed on to the balancer as it is.
fn passed(host: &str, path: &str, secured: bool) -> Value {
    let target = format!("https://{}{path}", balancer::origin(host));
    let parameter = path.contains("{proxy}");
    let mut method = Map::new();
    if parameter {
        method.insert(
            "parameters".to_owned(),
            json!([{ "name": "proxy", "in": "path", "required": true, "schema": { "type": "string" } }]),
        );
    }
    if secured {
        method.insert("security".to_owned(), json!([{ "people": [] }]));
    }
    method.insert("responses".to_owned(), json!({}));
    method.insert("x-amazon-apigateway-integration".to_owned(), json!({
        "type": "http_proxy",
        "httpMethod": "ANY",
        "uri": target,
        "requestParameters": parameter.then(|| json!({ "integration.request.path.proxy": "method.request.path.proxy" })),
        "timeoutInMillis": 29_000,
    }));
    json!({ "x-amazon-apigateway-any-method": method })
}

fn rest_api(cloud: &Cloud<'_>, name: &ResourceName, extra: &Extra) -> Vec<Block> {
    let routes = routes(cloud, extra);
    let pool = text(extra, "identity").and_then(|text| text.strip_prefix("identity.")).map(label);
    let mut paths = Map::new();
    for route in &routes {
        for path in route.paths.iter().filter(|path| path.to.kind == Kind::Service) {
            // people sign in before they have a token
            let secured = pool.is_some() && !path.path.ends_with("/auth");
            let below = format!("{}/{{proxy+}}", path.path.trim_end_matches('/'));
            paths.insert(path.path.clone(), passed(&route.host, &path.path, secured));
            paths.insert(below.clone(), passed(&route.host, &below.replace("{proxy+}", "{proxy}"), secured));
        }
    }
    let schemes = pool.as_ref().map(|pool| {
        json!({ "securitySchemes": { "people": {
            "type": "apiKey", "name": "Authorization", "in": "header", "x-amazon-apigateway-authtype": "cognito_user_pools",
            "x-amazon-apigateway-authorizer": { "type": "cognito_user_pools", "providerARNs": [format!("= aws_cognito_user_pool.{pool}.arn")] },
        } } })
    });
    let versions = texts(extra, "versions");
    let about = if versions.is_empty() {
        format!("The API {name}")
    } else {
        format!("The API {name}, versions {}", versions.join(" and "))
    };
    let mut blocks = vec![
        hcl::resource(
            "aws_api_gateway_rest_api",
            "main",
            json!({
                "name": "= local.name",
                "description": about,
                "disable_execute_api_endpoint": true,
                "endpoint_configuration {}": { "types": ["REGIONAL"] },
                "body": { "jsonencode()": { "openapi": "3.0.1", "info": { "title": "= local.name", "version": "1.0" }, "paths": paths, "components": schemes } },
            }),
        ),
        hcl::resource(
            "aws_api_gateway_deployment",
            "main",
            json!({
                "rest_api_id": "= aws_api_gateway_rest_api.main.id",
                "triggers": { "body": "= sha1(aws_api_gateway_rest_api.main.body)" },
                "lifecycle {}": { "create_before_destroy": true },
            }),
        ),
        hcl::resource(
            "aws_api_gateway_stage",
            "main",
            json!({
                "rest_api_id": "= aws_api_gateway_rest_api.main.id",
                "deployment_id": "= aws_api_gateway_deployment.main.id",
                "stage_name": "= var.environment",
                "xray_tracing_enabled": super::role::traced(cloud),
                "access_log_settings {}": { "destination_arn": "= aws_cloudwatch_log_group.api.arn", "format": access_log() },
            }),
        ),
    ];
    let throttle = throttle(extra);
    blocks.push(hcl::resource(
        "aws_api_gateway_method_settings",
        "main",
        json!({
            "rest_api_id": "= aws_api_gateway_rest_api.main.id",
            "stage_name": "= aws_api_gateway_stage.main.stage_name",
            "method_path": "*/*",
            "settings {}": {
                "metrics_enabled": true,
                "logging_level": "ERROR",
                "# bodies are never logged": null,
                "data_trace_enabled": false,
                "throttling_rate_limit": throttle.map_or(1000.0, |(rate, _)| rate),
                "throttling_burst_limit": throttle.map_or(2000, |(_, burst)| burst),
            },
        }),
    ));
    for route in routes {
        let own = label(&route.host);
        blocks.push(hcl::resource(
            "aws_api_gateway_domain_name",
            &own,
            json!({
                "domain_name": route.host,
                "regional_certificate_arn": "= aws_acm_certificate_validation.main.certificate_arn",
                "security_policy": "TLS_1_2",
                "endpoint_configuration {}": { "types": ["REGIONAL"] },
            }),
        ));
        blocks.push(hcl::resource(
            "aws_api_gateway_base_path_mapping",
            &own,
            json!({
                "api_id": "= aws_api_gateway_rest_api.main.id",
                "stage_name": "= aws_api_gateway_stage.main.stage_name",
                "domain_name": format!("= aws_api_gateway_domain_name.{own}.domain_name"),
            }),
        ));
    }
    if flag(extra, "cors") {
        for kind in ["DEFAULT_4XX", "DEFAULT_5XX"] {
            blocks.push(hcl::resource(
                "aws_api_gateway_gateway_response",
                &kind.to_ascii_lowercase(),
                json!({
                    "rest_api_id": "= aws_api_gateway_rest_api.main.id",
                    "response_type": kind,
                    "response_parameters": { "gatewayresponse.header.Vary": "'Origin'" },
                }),
            ));
        }
    }
    blocks
}
