//! Image stores, the ECS cluster, task definitions, services and how they scale.

use serde_json::{Value, json};
use stack::{Kind, Source};

use super::{
    cloud::{Cloud, Shape, label},
    environment, function, role,
    variables::fit,
};
use crate::{
    hcl::{self, Block},
    program::{self, Program},
};

/// Names that images are built under.
pub(crate) fn built(cloud: &Cloud<'_>) -> Vec<String> {
    let mut names: Vec<String> = program::all(cloud.stack)
        .iter()
        .map(Program::source)
        .filter(|(_, source)| !matches!(source, Source::Image(_)))
        .map(|(name, _)| name.to_string())
        .collect();
    names.sort();
    names.dedup();
    names
}

pub(crate) fn images(cloud: &Cloud<'_>) -> Vec<Block> {
    let names = built(cloud);
    if names.is_empty() || cloud.shape == Shape::Machines {
        return Vec::new();
    }
    vec![
        hcl::resource(
            "aws_ecr_repository",
            "all",
            json!({
                "for_each": { "toset()": names },
                "name": format!("${{local.name}}/${{each.key}}"),
                "# a tag is a commit and never moves": null,
                "image_tag_mutability": "IMMUTABLE",
                "force_delete": "= !var.protect",
                "image_scanning_configuration {}": { "scan_on_push": true },
                "encryption_configuration {}": { "encryption_type": "KMS" },
            }),
        ),
        hcl::resource(
            "aws_ecr_lifecycle_policy",
            "all",
            json!({
                "for_each": "= aws_ecr_repository.all",
                "repository": "= each.value.name",
                "policy": { "jsonencode()": { "rules": [{
                    "rulePriority": 1, "description": "keep the last 50",
                    "selection": { "tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 50 },
                    "action": { "type": "expire" },
                }] } },
            }),
        ),
    ]
}

/// Image of a program, as an expression's text.
pub(crate) fn image(program: &Program<'_>) -> String {
    match program.source() {
        (_, Source::Image(image)) => hcl::plain(image),
        (name, _) => format!("${{aws_ecr_repository.all[\"{name}\"].repository_url}}:${{var.image_tag}}"),
    }
}

/// Whether anything runs as a task.
pub(crate) fn any(cloud: &Cloud<'_>) -> bool {
    program::all(cloud.stack).iter().any(|program| function::is_task(cloud, program))
}

pub(crate) fn services(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    if !any(cloud) {
        return blocks;
    }
    blocks.push(hcl::resource(
        "aws_ecs_cluster",
        "main",
        json!({
            "name": "= local.name",
            "setting {}": { "name": "containerInsights", "value": "enhanced" },
        }),
    ));
    blocks.push(hcl::resource(
        "aws_service_discovery_private_dns_namespace",
        "main",
        json!({
            "name": "${local.name}.internal",
            "description": "Names of services for each other",
            "vpc": "= aws_vpc.main.id",
        }),
    ));
    for program in program::all(cloud.stack).iter().filter(|program| function::is_task(cloud, program)) {
        blocks.push(definition(cloud, program));
        if program.kind == Kind::Service {
            blocks.extend(service(cloud, program));
        }
    }
    blocks
}

fn definition(cloud: &Cloud<'_>, program: &Program<'_>) -> Block {
    let own = role::name(program);
    let bound = environment::of(cloud, program);
    let (plain, secrets) = environment::container(&bound);
    let service = program.host.map(|(_, service)| service).filter(|_| program.kind == Kind::Service);
    let (cpu, memory) = if service.is_some() {
        let at = format!("= var.services[\"{}\"]", program.name);
        (Value::from(format!("{at}.cpu")), Value::from(format!("{at}.memory")))
    } else {
        let size = program.size();
        let cpu = size.and_then(|size| size.cpu).map_or(256, |cpu| cpu.max.0 * 1024 / 1000);
        let (cpu, memory) = fit(cpu, size.and_then(|size| size.memory).map_or(512, |memory| memory.max.0 >> 20));
        (cpu.into(), memory.into())
    };
    let health = service.and_then(|service| Some((service.port?, service.health.as_ref()?)));
    let stop = service.map(|service| (service.drain.0 + service.stop.0).as_secs().clamp(2, 120));
    let container = json!({
        "name": program.name.as_str(),
        "image": image(program),
        "essential": true,
        "command": program.command.map(|_| crate::dockerfile::arguments(program.run().unwrap_or_default())),
        "portMappings": service.and_then(|service| service.port).map(|port| json!([{ "containerPort": port, "protocol": "tcp" }])),
        "environment": plain,
        "secrets": secrets,
        "healthCheck": health.map(|(port, health)| json!({
            "command": ["CMD-SHELL", format!("wget -q -O /dev/null http://127.0.0.1:{port}{0} || curl -fsS -o /dev/null http://127.0.0.1:{port}{0} || exit 1", health.path)],
            "interval": health.every.0.as_secs().clamp(5, 300),
            "timeout": health.timeout.0.as_secs().clamp(2, 60),
            "retries": health.down.clamp(1, 10),
            "startPeriod": 60,
        })),
        "stopTimeout": stop,
        "readonlyRootFilesystem": matches!(program.source().1, Source::Folder(_)),
        "linuxParameters": { "initProcessEnabled": true },
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": format!("= aws_cloudwatch_log_group.{own}.name"),
                "awslogs-region": "= var.region",
                "awslogs-stream-prefix": program.name.as_str(),
            },
        },
    });
    let container: serde_json::Map<String, Value> = container
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let mut containers = vec![Value::Object(container)];
    if role::traced(cloud) && service.is_some() {
        containers.push(json!({
            "name": "xray",
            "image": "public.ecr.aws/xray/aws-xray-daemon:3.3.13",
            "essential": false,
            "portMappings": [{ "containerPort": 2000, "protocol": "udp" }],
        }));
    }
    hcl::resource(
        "aws_ecs_task_definition",
        &own,
        json!({
            "family": format!("${{local.name}}-{}", program.name),
            "requires_compatibilities": ["FARGATE"],
            "network_mode": "awsvpc",
            "cpu": cpu,
            "memory": memory,
            "execution_role_arn": "= aws_iam_role.task_execution.arn",
            "task_role_arn": format!("= aws_iam_role.{own}.arn"),
            "runtime_platform {}": { "operating_system_family": "LINUX", "cpu_architecture": "X86_64" },
            "container_definitions": { "jsonencode()": containers },
        }),
    )
}

fn service(cloud: &Cloud<'_>, program: &Program<'_>) -> Vec<Block> {
    let own = role::name(program);
    let name = program.name;
    let Some((_, service)) = program.host else { return Vec::new() };
    let routed = super::balancer::routed(cloud, name);
    let port = service.port.unwrap_or(80);
    let at = format!("var.services[\"{name}\"]");
    let mut blocks = vec![hcl::resource(
        "aws_ecs_service",
        &own,
        json!({
            "name": name.as_str(),
            "cluster": "= aws_ecs_cluster.main.id",
            "task_definition": format!("= aws_ecs_task_definition.{own}.arn"),
            "desired_count": format!("= {at}.min"),
            "launch_type": "FARGATE",
            "propagate_tags": "SERVICE",
            "# the old tasks serve until the new ones are healthy; a failed deploy goes back by itself": null,
            "deployment_minimum_healthy_percent": 100,
            "deployment_maximum_percent": 200,
            "health_check_grace_period_seconds": routed.then(|| service.start.0.as_secs().max(30)),
            "deployment_circuit_breaker {}": { "enable": true, "rollback": true },
            "network_configuration {}": {
                "subnets": "= aws_subnet.private[*].id",
                "security_groups": [format!("= aws_security_group.{own}.id")],
                "assign_public_ip": false,
            },
            "load_balancer {}": routed.then(|| json!({
                "target_group_arn": format!("= aws_lb_target_group.{}.arn", label(name)),
                "container_name": name.as_str(),
                "container_port": port,
            })),
            "service_registries {}": { "registry_arn": format!("= aws_service_discovery_service.{}.arn", label(name)) },
            "lifecycle {}": {
                "# releases are slipway deploy's, replicas the autoscaler's": null,
                "ignore_changes": ["= task_definition", "= desired_count"],
            },
            "depends_on": routed.then(|| json!(["= aws_lb_listener.https"])),
        }),
    )];
    blocks.push(hcl::resource(
        "aws_service_discovery_service",
        &label(name),
        json!({
            "name": name.as_str(),
            "dns_config {}": {
                "namespace_id": "= aws_service_discovery_private_dns_namespace.main.id",
                "routing_policy": "MULTIVALUE",
                "dns_records {}": { "ttl": 10, "type": "A" },
            },
        }),
    ));
    blocks.extend(scaling(&own, name.as_str(), service, &at));
    blocks
}

fn scaling(own: &str, name: &str, service: &stack::Service, at: &str) -> Vec<Block> {
    let scale = service.size.scale_at.as_ref();
    let cpu = scale
        .and_then(|scale| scale.cpu)
        .or((service.size.replicas.max > service.size.replicas.min && scale.is_none()).then_some(70));
    let memory = scale.and_then(|scale| scale.memory);
    if cpu.is_none() && memory.is_none() {
        return Vec::new();
    }
    let mut blocks = vec![hcl::resource(
        "aws_appautoscaling_target",
        own,
        json!({
            "service_namespace": "ecs",
            "resource_id": format!("service/${{aws_ecs_cluster.main.name}}/${{aws_ecs_service.{own}.name}}"),
            "scalable_dimension": "ecs:service:DesiredCount",
            "min_capacity": format!("= {at}.min"),
            "max_capacity": format!("= {at}.max"),
        }),
    )];
    for (what, metric, percent) in
        [("cpu", "ECSServiceAverageCPUUtilization", cpu), ("memory", "ECSServiceAverageMemoryUtilization", memory)]
    {
        let Some(percent) = percent else { continue };
        blocks.push(hcl::resource(
            "aws_appautoscaling_policy",
            &format!("{own}_{what}"),
            json!({
                "name": format!("{name}-{what}"),
                "policy_type": "TargetTrackingScaling",
                "service_namespace": format!("= aws_appautoscaling_target.{own}.service_namespace"),
                "resource_id": format!("= aws_appautoscaling_target.{own}.resource_id"),
                "scalable_dimension": format!("= aws_appautoscaling_target.{own}.scalable_dimension"),
                "target_tracking_scaling_policy_configuration {}": {
                    "target_value": percent,
                    "scale_in_cooldown": 300,
                    "scale_out_cooldown": 60,
                    "predefined_metric_specification {}": { "predefined_metric_type": metric },
                },
            }),
        ));
    }
    blocks
}
