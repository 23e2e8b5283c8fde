//! The load balancer: HTTP sends to HTTPS, HTTPS goes to a target group per service.

use serde_json::{Value, json};
use stack::{Health, Kind, ResourceName};

use super::cloud::{Cloud, Shape, flag, label, text};
use crate::hcl::{self, Block};

/// Whether a route leads to a service.
pub(crate) fn routed(cloud: &Cloud<'_>, name: &ResourceName) -> bool {
    let paths = cloud.stack.routes.iter().flat_map(|route| &route.paths);
    wanted(cloud) && paths.into_iter().any(|path| path.to.kind == Kind::Service && path.to.name == *name)
}

/// Whether there is a load balancer.
pub(crate) fn wanted(cloud: &Cloud<'_>) -> bool {
    let paths = cloud.stack.routes.iter().flat_map(|route| &route.paths);
    matches!(cloud.shape, Shape::Fargate | Shape::Machines)
        && paths.into_iter().any(|path| path.to.kind == Kind::Service)
}

fn check(health: Option<&Health>) -> Value {
    let Some(health) = health else { return json!({ "path": "/", "matcher": "200-399" }) };
    json!({
        "path": health.path,
        "interval": health.every.0.as_secs().clamp(5, 300),
        "timeout": health.timeout.0.as_secs().clamp(2, 120).min(health.every.0.as_secs().max(6) - 1),
        "healthy_threshold": health.up.clamp(2, 10),
        "unhealthy_threshold": health.down.clamp(2, 10),
        "matcher": "200",
    })
}

fn group(own: &str, port: u16, kind: &str, health: &Value, sticky: bool, drain: u64) -> Block {
    hcl::resource(
        "aws_lb_target_group",
        own,
        json!({
            "name_prefix": format!("{:.6}", own.replace('_', "")),
            "port": port,
            "protocol": "HTTP",
            "target_type": kind,
            "vpc_id": "= aws_vpc.main.id",
            "deregistration_delay": drain.min(3600),
            "health_check {}": health,
            "# a visitor keeps coming to the same one, as WebSockets that fall back want": sticky,
            "stickiness {}": sticky.then(|| json!({ "type": "lb_cookie", "cookie_duration": 86_400 })),
            "lifecycle {}": { "create_before_destroy": true },
        }),
    )
}

fn sticky(cloud: &Cloud<'_>, name: Option<&ResourceName>) -> bool {
    let mut paths = cloud.stack.routes.iter().flat_map(|route| &route.paths);
    let by_route = paths.any(|path| path.sticky && name.is_none_or(|name| path.to.name == *name));
    by_route || cloud.extras(Kind::Gateway).any(|(_, extra)| flag(extra, "sticky"))
}

pub(crate) fn balancer(cloud: &Cloud<'_>) -> Vec<Block> {
    if !wanted(cloud) {
        return Vec::new();
    }
    let mut blocks = vec![
        hcl::resource(
            "aws_lb",
            "main",
            json!({
                "name": "= substr(local.name, 0, 32)",
                "load_balancer_type": "application",
                "subnets": "= aws_subnet.public[*].id",
                "security_groups": ["= aws_security_group.balancer.id"],
                "drop_invalid_header_fields": true,
                "enable_deletion_protection": "= var.protect",
                "# one more address in X-Forwarded-For: the balancer is the only proxy to be believed (S4.P10)": null,
                "xff_header_processing_mode": "append",
            }),
        ),
        hcl::resource(
            "aws_lb_listener",
            "http",
            json!({
                "load_balancer_arn": "= aws_lb.main.arn",
                "port": 80,
                "protocol": "HTTP",
                "default_action {}": { "type": "redirect", "redirect {}": { "port": "443", "protocol": "HTTPS", "status_code": "HTTP_301" } },
            }),
        ),
    ];
    let machines = cloud.shape == Shape::Machines;
    let fallback = if machines {
        json!({ "type": "forward", "target_group_arn": "= aws_lb_target_group.machines.arn" })
    } else {
        json!({ "type": "fixed-response", "fixed_response {}": { "content_type": "text/plain", "message_body": "not found", "status_code": "404" } })
    };
    let tls = cloud.extras(Kind::Gateway).find_map(|(_, extra)| text(extra, "tls"));
    let policy =
        if tls == Some("1.3") { "ELBSecurityPolicy-TLS13-1-3-2021-06" } else { "ELBSecurityPolicy-TLS13-1-2-2021-06" };
    blocks.push(hcl::resource(
        "aws_lb_listener",
        "https",
        json!({
            "load_balancer_arn": "= aws_lb.main.arn",
            "port": 443,
            "protocol": "HTTPS",
            "ssl_policy": policy,
            "certificate_arn": "= aws_acm_certificate_validation.main.certificate_arn",
            "default_action {}": fallback,
        }),
    ));
    if machines {
        blocks.extend(machine_group(cloud));
        return blocks;
    }
    for (name, service, port) in cloud.ported().filter(|(name, ..)| routed(cloud, name)) {
        blocks.push(group(
            &label(name),
            port,
            "ip",
            &check(service.health.as_ref()),
            sticky(cloud, Some(name)),
            service.drain.0.as_secs(),
        ));
    }
    blocks.extend(rules(cloud));
    blocks
}

fn machine_group(cloud: &Cloud<'_>) -> Vec<Block> {
    let service = cloud.stack.services.values().find_map(|service| service.health.as_ref());
    let mut health = check(service);
    // every host's own edge answers with the report of the whole host
    if let Some(path) = &cloud.resolved.environment.health {
        health["path"] = path.as_str().into();
    }
    vec![
        group("machines", 80, "instance", &health, sticky(cloud, None), 60),
        hcl::resource(
            "aws_lb_target_group_attachment",
            "machines",
            json!({
                "count": "= var.machines",
                "target_group_arn": "= aws_lb_target_group.machines.arn",
                "target_id": "= aws_instance.host[count.index].id",
                "port": 80,
            }),
        ),
    ]
}

/// Host names that the REST gateway reaches the balancer by.
pub(crate) fn origin(host: &str) -> String {
    format!("origin-{}", host.trim_start_matches("*."))
}

fn rules(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut priority = 0;
    for route in &cloud.stack.routes {
        for path in route.paths.iter().filter(|path| path.to.kind == Kind::Service) {
            priority += 10;
            let own = format!("r{priority}");
            let mut hosts = vec![route.host.clone()];
            if super::api::rest(cloud) {
                hosts.push(origin(&route.host));
            }
            let mut conditions = Vec::new();
            if route.host != "*" {
                conditions.push(json!({ "host_header {}": { "values": hosts } }));
            }
            let patterns = if path.path == "/" {
                vec!["/*".to_owned()]
            } else {
                vec![path.path.clone(), format!("{}/*", path.path)]
            };
            conditions.push(json!({ "path_pattern {}": { "values": patterns } }));
            blocks.push(hcl::resource("aws_lb_listener_rule", &own, json!({
                "listener_arn": "= aws_lb_listener.https.arn",
                "priority": priority,
                "action {}": { "type": "forward", "target_group_arn": format!("= aws_lb_target_group.{}.arn", label(&path.to.name)) },
                "condition {}": conditions,
            })));
        }
        if !route.redirect_from.is_empty() && route.paths.iter().all(|path| path.to.kind == Kind::Service) {
            priority += 10;
            blocks.push(hcl::resource("aws_lb_listener_rule", &format!("r{priority}"), json!({
                "listener_arn": "= aws_lb_listener.https.arn",
                "priority": priority,
                "action {}": { "type": "redirect", "redirect {}": { "host": route.host, "status_code": "HTTP_301" } },
                "condition {}": { "host_header {}": { "values": route.redirect_from } },
            })));
        }
    }
    blocks
}
