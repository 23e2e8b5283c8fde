//! Subnets in three rings, ways out, and who may reach whom.

use serde_json::{Value, json};
use stack::Kind;

use super::cloud::{Cloud, Shape, flag, label, text, texts};
use crate::{
    hcl::{self, Block},
    program,
};

fn ring(cloud: &Cloud<'_>, key: &str, first: u32) -> Value {
    let said = cloud.extras(Kind::Network).next().map(|(_, extra)| texts(extra, key)).unwrap_or_default();
    if said.is_empty() {
        json!([format!("10.0.{first}.0/24"), format!("10.0.{}.0/24", first + 1)])
    } else {
        json!(said)
    }
}

#[expect(clippy::too_many_lines, reason = "one resource after another, in the order of the file")]
pub(crate) fn network(cloud: &Cloud<'_>) -> Vec<Block> {
    if !cloud.networked() {
        return Vec::new();
    }
    let extra = cloud.extras(Kind::Network).next().map(|(_, extra)| extra);
    let cidr = extra.and_then(|extra| text(extra, "cidr")).unwrap_or("10.0.0.0/16");
    let zones = extra.map(|extra| texts(extra, "zones")).unwrap_or_default();
    let zones =
        if zones.is_empty() { json!("= slice(data.aws_availability_zones.all.names, 0, 2)") } else { json!(zones) };
    let subnet = |name: &str, public: bool| {
        hcl::resource(
            "aws_subnet",
            name,
            json!({
                "count": format!("= length(local.{name})"),
                "vpc_id": "= aws_vpc.main.id",
                "cidr_block": format!("= local.{name}[count.index]"),
                "availability_zone": "= local.zones[count.index]",
                "map_public_ip_on_launch": public.then_some(false),
                "tags": { "Name": format!("${{local.name}}-{name}-${{count.index}}") },
            }),
        )
    };
    let mut blocks = vec![
        hcl::block(
            &["locals"],
            json!({
                "zones": zones,
                "public": ring(cloud, "public", 1),
                "private": ring(cloud, "private", 10),
                "data": ring(cloud, "data", 20),
                "ways_out": "= var.single_nat ? 1 : length(local.public)",
            }),
        ),
        hcl::resource(
            "aws_vpc",
            "main",
            json!({
                "cidr_block": cidr,
                "enable_dns_support": true,
                "enable_dns_hostnames": true,
                "tags": { "Name": "= local.name" },
            }),
        ),
        hcl::resource("aws_default_security_group", "none", json!({ "vpc_id": "= aws_vpc.main.id" }))
            .about("the network's own group lets nothing through"),
        subnet("public", true),
        subnet("private", false),
        subnet("data", false),
        hcl::resource(
            "aws_internet_gateway",
            "main",
            json!({ "vpc_id": "= aws_vpc.main.id", "tags": { "Name": "= local.name" } }),
        ),
        hcl::resource("aws_eip", "nat", json!({ "count": "= local.ways_out", "domain": "vpc" })),
        hcl::resource(
            "aws_nat_gateway",
            "main",
            json!({
                "count": "= local.ways_out",
                "allocation_id": "= aws_eip.nat[count.index].id",
                "subnet_id": "= aws_subnet.public[count.index].id",
                "tags": { "Name": "${local.name}-${count.index}" },
                "depends_on": ["= aws_internet_gateway.main"],
            }),
        ),
        hcl::resource(
            "aws_route_table",
            "public",
            json!({
                "vpc_id": "= aws_vpc.main.id",
                "route {}": { "cidr_block": "0.0.0.0/0", "gateway_id": "= aws_internet_gateway.main.id" },
                "tags": { "Name": "${local.name}-public" },
            }),
        ),
        hcl::resource(
            "aws_route_table",
            "private",
            json!({
                "count": "= length(local.private)",
                "vpc_id": "= aws_vpc.main.id",
                "route {}": {
                    "cidr_block": "0.0.0.0/0",
                    "nat_gateway_id": "= aws_nat_gateway.main[var.single_nat ? 0 : count.index].id",
                },
                "tags": { "Name": "${local.name}-private-${count.index}" },
            }),
        ),
        hcl::resource(
            "aws_route_table",
            "data",
            json!({ "vpc_id": "= aws_vpc.main.id", "tags": { "Name": "${local.name}-data" } }),
        )
        .about("data has no way out at all"),
    ];
    for (name, table) in [
        ("public", "aws_route_table.public.id"),
        ("private", "aws_route_table.private[count.index].id"),
        ("data", "aws_route_table.data.id"),
    ] {
        blocks.push(hcl::resource(
            "aws_route_table_association",
            name,
            json!({
                "count": format!("= length(local.{name})"),
                "subnet_id": format!("= aws_subnet.{name}[count.index].id"),
                "route_table_id": format!("= {table}"),
            }),
        ));
    }
    blocks.push(hcl::resource(
        "aws_vpc_endpoint",
        "s3",
        json!({
            "vpc_id": "= aws_vpc.main.id",
            "service_name": "com.amazonaws.${var.region}.s3",
            "vpc_endpoint_type": "Gateway",
            "route_table_ids": "= concat(aws_route_table.private[*].id, [aws_route_table.data.id])",
        }),
    ));
    if extra.is_none_or(|extra| flag(extra, "flow_logs") || !extra.settings.contains_key("flow_logs")) {
        blocks.extend(flow_logs());
    }
    blocks
}

fn flow_logs() -> Vec<Block> {
    vec![
        hcl::resource(
            "aws_cloudwatch_log_group",
            "flow",
            json!({ "name": "/aws/vpc/${local.name}", "retention_in_days": 90 }),
        ),
        hcl::resource(
            "aws_iam_role",
            "flow",
            json!({
                "name": "${local.name}-flow-logs",
                "assume_role_policy": super::role::trust("vpc-flow-logs.amazonaws.com"),
            }),
        ),
        hcl::resource(
            "aws_iam_role_policy",
            "flow",
            json!({
                "name": "write",
                "role": "= aws_iam_role.flow.id",
                "policy": super::role::policy(&[json!({
                    "Effect": "Allow",
                    "Action": ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                    "Resource": "${aws_cloudwatch_log_group.flow.arn}:*",
                })]),
            }),
        ),
        hcl::resource(
            "aws_flow_log",
            "main",
            json!({
                "vpc_id": "= aws_vpc.main.id",
                "traffic_type": "ALL",
                "iam_role_arn": "= aws_iam_role.flow.arn",
                "log_destination": "= aws_cloudwatch_log_group.flow.arn",
            }),
        ),
    ]
}

fn group(name: &str, about: &str) -> Block {
    hcl::resource(
        "aws_security_group",
        name,
        json!({
            "name": format!("${{local.name}}-{}", name.replace('_', "-")),
            "description": about,
            "vpc_id": "= aws_vpc.main.id",
            "tags": { "Name": format!("${{local.name}}-{}", name.replace('_', "-")) },
            "lifecycle {}": { "create_before_destroy": true },
        }),
    )
}

/// One port from one group to another.
fn between(from: &str, to: &str, port: u16) -> Vec<Block> {
    let name = format!("{from}_to_{to}_{port}");
    let rule = |kind: &str, own: &str, other: &str| {
        hcl::resource(
            kind,
            &name,
            json!({
                "security_group_id": format!("= aws_security_group.{own}.id"),
                "referenced_security_group_id": format!("= aws_security_group.{other}.id"),
                "description": format!("{} to {}", from.replace('_', " "), to.replace('_', " ")),
            "ip_protocol": "tcp",
                "from_port": port,
                "to_port": port,
            }),
        )
    };
    vec![rule("aws_vpc_security_group_egress_rule", from, to), rule("aws_vpc_security_group_ingress_rule", to, from)]
}

fn open(kind: &str, group: &str, port: u16) -> Block {
    hcl::resource(
        &format!("aws_vpc_security_group_{kind}_rule"),
        &format!("{group}_internet_{port}"),
        json!({
            "security_group_id": format!("= aws_security_group.{group}.id"),
            "cidr_ipv4": "0.0.0.0/0",
            "description": format!("{} {kind}, port {port}", group.replace('_', " ")),
        "ip_protocol": "tcp",
            "from_port": port,
            "to_port": port,
        }),
    )
}

/// Group of the programs: what a service, function or job runs in.
pub(crate) fn group_of(cloud: &Cloud<'_>, kind: Kind, name: &stack::ResourceName) -> String {
    match cloud.shape {
        Shape::Machines => "machines".to_owned(),
        Shape::Cluster => "nodes".to_owned(),
        _ => format!("{kind}_{}", label(name)),
    }
}

pub(crate) fn security(cloud: &Cloud<'_>) -> Vec<Block> {
    if !cloud.networked() {
        return Vec::new();
    }
    let mut blocks = Vec::new();
    if super::balancer::wanted(cloud) {
        blocks.push(group("balancer", "Takes visitors"));
        blocks.extend([open("ingress", "balancer", 80), open("ingress", "balancer", 443)]);
    }
    for (name, _) in cloud.databases() {
        blocks.push(group(&format!("database_{}", label(name)), "PostgreSQL"));
    }
    for (name, _) in cloud.caches() {
        blocks.push(group(&format!("cache_{}", label(name)), "Redis"));
    }
    for (name, _) in cloud.queues() {
        blocks.push(group(&format!("queue_{}", label(name)), "Message broker"));
    }
    for (name, _) in cloud.extras(Kind::Search) {
        blocks.push(group(&format!("search_{}", label(name)), "Search"));
    }
    match cloud.shape {
        Shape::Machines => blocks.extend([group("machines", "Machines of the fleet"), open("egress", "machines", 443)]),
        Shape::Cluster => blocks.extend([group("nodes", "Machines of the cluster"), open("egress", "nodes", 443)]),
        _ => {}
    }
    let mut wired = std::collections::BTreeSet::new();
    for program in program::all(cloud.stack) {
        let own = group_of(cloud, program.kind, program.name);
        if matches!(cloud.shape, Shape::Fargate | Shape::Lambda) {
            blocks.push(group(&own, &format!("The {} {}", program.kind, program.name)));
            blocks.push(open("egress", &own, 443));
        }
        for need in program.needs() {
            let port = match need.kind {
                Kind::Database if cloud.databases().any(|(name, _)| *name == need.name) => 5432,
                Kind::Cache if cloud.caches().any(|(name, _)| *name == need.name) => 6379,
                Kind::Queue if cloud.queues().any(|(name, _)| *name == need.name) => 5671,
                Kind::Search => 443,
                Kind::Service if cloud.shape == Shape::Fargate => {
                    cloud.stack.services.get(&need.name).and_then(|service| service.port).unwrap_or(80)
                }
                _ => continue,
            };
            wired.insert((own.clone(), format!("{}_{}", need.kind, label(&need.name)), port));
        }
        if super::balancer::wanted(cloud)
            && program.kind == Kind::Service
            && let Some(port) = program.host.and_then(|(_, service)| service.port)
        {
            // the fleet's own edge listens on 80 and passes on to whatever port an instance has
            let port = if cloud.shape == Shape::Machines { 80 } else { port };
            wired.insert(("balancer".to_owned(), own, port));
        }
    }
    for (from, to, port) in wired {
        blocks.extend(between(&from, &to, port));
    }
    blocks
}
