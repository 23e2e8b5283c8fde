//! Versions, providers, variables and their values, outputs.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use stack::{Kind, Resolved};

use super::cloud::{Cloud, Shape, label};
use crate::{
    File, Input,
    hcl::{self, Block},
};

/// Terraform has locks in the bucket of the state since 1.10, and OpenTofu too.
const PROGRAM: &str = ">= 1.10.0, < 2.0.0";

/// What is needed of providers besides the one of AWS in the region of everything.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Needs {
    /// The one of AWS in CloudFront's own region.
    pub(crate) global: bool,
    /// The one that makes passwords.
    pub(crate) random: bool,
}

/// What a module is written for: a range, of which the root module takes one.
pub(crate) fn requirements(needs: Needs) -> Block {
    providers(needs, ">= 6.0.0, < 7.0.0", ">= 3.6.0, < 4.0.0", needs.global.then_some("= [aws.global]"))
}

/// What the root module takes: one minor release, whose patches `terraform init -upgrade` may fetch.
pub(crate) fn versions(needs: Needs) -> Vec<Block> {
    vec![providers(needs, "~> 6.62.0", "~> 3.7.0", None)]
}

fn providers(needs: Needs, aws: &str, random: &str, aliases: Option<&str>) -> Block {
    let other = needs.random.then(|| json!({ "source": "hashicorp/random", "version": random }));
    hcl::block(
        &["terraform"],
        json!({
            "required_version": PROGRAM,
            "required_providers {}": {
                "aws": { "source": "hashicorp/aws", "version": aws, "configuration_aliases": aliases },
                "random": other,
            },
        }),
    )
}

/// Where the state is.
pub(crate) fn backend(cloud: &Cloud<'_>) -> Vec<Block> {
    let key = format!("{}/terraform.tfstate", cloud.stack.app);
    vec![hcl::block(
        &["terraform"],
        json!({
            "# terraform init -backend-config=bucket=NAME -backend-config=region=REGION; one workspace per environment": null,
            "backend \"s3\" {}": { "key": key, "encrypt": true, "use_lockfile": true },
        }),
    )]
}

/// The providers, and the tags that everything has.
pub(crate) fn configured(cloud: &Cloud<'_>, needs: Needs) -> Vec<Block> {
    let app = cloud.stack.app.as_str();
    let tags = json!({ "Application": app, "Environment": "= var.environment", "ManagedBy": "terraform" });
    let mut blocks = vec![hcl::block(
        &["provider", "aws"],
        json!({ "region": "= var.region", "default_tags {}": { "tags": tags } }),
    )];
    if needs.global {
        let body = json!({ "alias": "global", "region": "us-east-1", "default_tags {}": { "tags": tags } });
        blocks.push(
            hcl::block(&["provider", "aws"], body)
                .about("CloudFront reads certificates and filters from this region only"),
        );
    }
    blocks
}

/// What the names of everything begin with.
pub(crate) fn names(cloud: &Cloud<'_>) -> Block {
    hcl::block(&["locals"], json!({ "name": format!("{}-${{var.environment}}", cloud.stack.app) }))
}

fn variable(name: &str, kind: &str, about: &str, default: &Value) -> Block {
    hcl::block(&["variable", name], json!({ "description": about, "type": format!("= {kind}"), "default": default }))
}

pub(crate) fn variables(cloud: &Cloud<'_>) -> Vec<Block> {
    let mut blocks = vec![
        variable("environment", "string", "Name of the environment", &Value::Null),
        variable("region", "string", "Region that everything is in", &json!("us-east-1")),
        variable(
            "image_tag",
            "string",
            "Tag of the first images; later ones are slipway deploy's",
            &"bootstrap".into(),
        ),
        variable("alarm_email", "string", "Who is woken; empty for nobody", &"".into()),
        variable("budget", "number", "Dollars per month that the account may cost", &json!(100)),
        variable("protect", "bool", "Refuse to remove databases and what holds data", &json!(true)),
        variable("single_nat", "bool", "One way out for all zones: cheaper, and down with its zone", &json!(false)),
    ];
    if cloud.shape == Shape::Fargate && !cloud.stack.services.is_empty() {
        let kind =
            "map(object({\n    cpu    = number\n    memory = number\n    min    = number\n    max    = number\n  }))";
        blocks.push(variable("services", kind, "CPU units, memory in MiB and replicas of each service", &Value::Null));
    }
    if cloud.databases().next().is_some() {
        let kind = "map(object({\n    class       = string\n    multi_az    = bool\n    replicas    = number\n    storage     = number\n    storage_max = number\n    backup_days = number\n  }))";
        blocks.push(variable(
            "databases",
            kind,
            "Machine, standby, read replicas, disk in GB and days of backups of each database",
            &Value::Null,
        ));
    }
    if cloud.caches().next().is_some() {
        let kind = "map(object({\n    class    = string\n    shards   = number\n    replicas = number\n  }))";
        blocks.push(variable("caches", kind, "Machine, shards and replicas per shard of each cache", &Value::Null));
    }
    if matches!(cloud.shape, Shape::Machines | Shape::Cluster) {
        blocks.push(variable("machine_type", "string", "Type of a machine", &json!("t3.medium")));
        blocks.push(variable("machines", "number", "How many machines", &json!(2)));
    }
    blocks.push(variable("config", "map(string)", "Variables of the application that are no secrets", &Value::Null));
    blocks
}

/// `environments/NAME.tfvars` for each environment of the same target, with values of these variables.
pub(crate) fn values(input: &Input, cloud: &Cloud<'_>, known: &BTreeSet<&str>) -> Vec<File> {
    let same = input.all.iter().filter(|other| other.environment.target == cloud.resolved.environment.target);
    same.map(|resolved| {
        let mut values = values_of(resolved, cloud);
        values.retain(|name, _| known.contains(name.as_str()));
        let name = &resolved.name;
        let about =
            format!("terraform workspace select {name} && terraform apply -var-file=environments/{name}.tfvars");
        File::new(format!("environments/{name}.tfvars"), &about, &hcl::assignments(&values))
    })
    .collect()
}

fn values_of(resolved: &Resolved, cloud: &Cloud<'_>) -> Map<String, Value> {
    let stack = &resolved.stack;
    let mut body = Map::new();
    let mut set = |key: &str, value: Value| body.insert(key.to_owned(), value);
    let real = resolved.environment.data == stack::DataClass::Real;
    set("environment", resolved.name.as_str().into());
    set("protect", real.into());
    set("single_nat", (!real).into());
    if let Some((_, price)) = stack.extras.iter().find(|(need, extra)| {
        need.kind == Kind::Price
            && extra.settings.get("environment").and_then(Value::as_str) == Some(resolved.name.as_str())
    }) && let Some(total) = price.settings.get("total")
    {
        set("budget", total.clone());
    }
    if cloud.shape == Shape::Fargate && !stack.services.is_empty() {
        let services: Map<String, Value> =
            stack.services.iter().map(|(name, service)| (name.to_string(), task(&service.size))).collect();
        set("services", services.into());
    }
    let databases: Map<String, Value> = cloud
        .databases()
        .filter_map(|(name, _)| Some((name.to_string(), super::database::database_values(stack.databases.get(name)?))))
        .collect();
    if !databases.is_empty() {
        set("databases", databases.into());
    }
    let caches: Map<String, Value> = cloud
        .caches()
        .filter_map(|(name, _)| {
            let cache = stack.caches.get(name)?;
            let class = cache.cloud.get("class").cloned().unwrap_or_else(|| "cache.t4g.small".into());
            Some((name.to_string(), json!({ "class": class, "shards": cache.shards, "replicas": cache.replicas })))
        })
        .collect();
    if !caches.is_empty() {
        set("caches", caches.into());
    }
    if cloud.shape == Shape::Machines {
        set("machines", resolved.environment.hosts.len().max(1).into());
    }
    let config: Map<String, Value> = stack
        .variables
        .iter()
        .filter(|(_, variable)| !variable.secret)
        .filter_map(|(name, variable)| Some((name.clone(), hcl::plain(variable.default.as_ref()?).into())))
        .collect();
    set("config", config.into());
    body
}

/// CPU units and MiB that Fargate has, at least what is asked for.
fn task(size: &stack::Size) -> Value {
    let wanted_cpu = size.cpu.map_or(256, |cpu| cpu.max.0 * 1024 / 1000);
    let wanted_memory = size.memory.map_or(512, |memory| memory.max.0 >> 20);
    let (cpu, memory) = fit(wanted_cpu, wanted_memory);
    json!({ "cpu": cpu, "memory": memory, "min": size.replicas.min, "max": size.replicas.max })
}

/// The smallest pair of Fargate that holds both. Source: Amazon ECS, task size table.
pub(crate) fn fit(cpu: u32, memory: u64) -> (u32, u64) {
    const SIZES: [(u32, u64, u64, u64); 7] = [
        (256, 512, 2048, 512),
        (512, 1024, 4096, 1024),
        (1024, 2048, 8192, 1024),
        (2048, 4096, 16_384, 1024),
        (4096, 8192, 30_720, 1024),
        (8192, 16_384, 61_440, 4096),
        (16_384, 32_768, 122_880, 8192),
    ];
    // a request a little over a size, as 0.51 cores, is meant to be that size
    let found = SIZES.iter().find(|(have, _, most, _)| *have * 103 / 100 >= cpu && *most >= memory);
    let (cpu, least, most, step) = found.unwrap_or(&SIZES[6]);
    (*cpu, memory.max(*least).div_ceil(*step).saturating_mul(*step).min(*most))
}

pub(crate) fn outputs(cloud: &Cloud<'_>) -> Vec<Block> {
    let output = |name: &str, about: &str, value: &str| {
        hcl::block(&["output", name], json!({ "description": about, "value": format!("= {value}") }))
    };
    let mut blocks = Vec::new();
    if cloud.shape == Shape::Fargate && !cloud.stack.services.is_empty() {
        blocks.push(output("cluster", "Cluster of the services", "aws_ecs_cluster.main.name"));
    }
    if !super::fargate::built(cloud).is_empty() && cloud.shape != Shape::Machines {
        blocks.push(output("images", "Where images go", "aws_ecr_repository.all[*].repository_url"));
    }
    if cloud.networked() {
        blocks.push(output("private_subnets", "Where migrations run", "aws_subnet.private[*].id"));
    }
    for name in cloud.stack.sites.keys() {
        let value = format!("aws_s3_bucket.site_{}.bucket", label(name));
        blocks.push(output(&format!("site_{}", label(name)), "Where the files of the site go", &value));
    }
    if super::balancer::wanted(cloud) {
        blocks.push(output("balancer", "Address of the load balancer", "aws_lb.main.dns_name"));
    }
    blocks
}
