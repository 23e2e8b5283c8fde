//! The variables of a program on AWS: plain ones by value, secrets by the ARN of where they are.

use serde_json::{Map, Value, json};
use stack::{Kind, ResourceRef};

use super::cloud::{Cloud, label};
use crate::{
    binding::{self, Addresses, Part},
    hcl,
    program::Program,
};

struct Aws<'c, 'i>(&'c Cloud<'i>);

/// A part from outside whose name begins so is an expression of Terraform, not a secret.
const EXPRESSION: &str = "=";
/// Or the address of a store, kept as a secret.
const STORE: &str = "store/";

fn expression(text: impl Into<String>) -> binding::Value {
    vec![Part::Outside(format!("{EXPRESSION}{}", text.into()))]
}

impl Addresses for Aws<'_, '_> {
    fn address(&self, need: &ResourceRef) -> Option<binding::Value> {
        let cloud = self.0;
        let name = label(&need.name);
        let secret = || Some(vec![Part::Outside(format!("{STORE}{}_{name}", need.kind))]);
        match need.kind {
            Kind::Database if cloud.databases().any(|(known, _)| *known == need.name) => secret(),
            Kind::Cache if cloud.caches().any(|(known, _)| *known == need.name) => secret(),
            Kind::Queue if cloud.queues().any(|(known, _)| *known == need.name) => secret(),
            Kind::Database => url(cloud, cloud.stack.databases.get(&need.name)?.url.as_deref()),
            Kind::Cache => url(cloud, cloud.stack.caches.get(&need.name)?.url.as_deref()),
            Kind::Queue => url(cloud, cloud.stack.queues.get(&need.name)?.url.as_deref()),
            Kind::Bucket => Some(expression(format!("aws_s3_bucket.{name}.bucket"))),
            Kind::Topic => Some(expression(format!("aws_sns_topic.{name}.arn"))),
            Kind::Table => Some(expression(format!("aws_dynamodb_table.{name}.name"))),
            Kind::Search => Some(expression(format!("\"https://${{aws_opensearch_domain.{name}.endpoint}}\""))),
            Kind::Identity => Some(expression(format!("aws_cognito_user_pool.{name}.id"))),
            Kind::Mail => Some(expression(format!("aws_sesv2_configuration_set.{name}.configuration_set_name"))),
            Kind::Service => {
                let port = cloud.stack.services.get(&need.name)?.port?;
                Some(expression(format!("\"http://{}.${{local.name}}.internal:{port}\"", need.name)))
            }
            _ => None,
        }
    }

    fn postgres(&self, _need: &ResourceRef) -> Option<[binding::Value; 5]> {
        None
    }
}

fn url(cloud: &Cloud<'_>, url: Option<&str>) -> Option<binding::Value> {
    url.map(|url| binding::expand(cloud.stack, url))
}

/// Plain variables, and secrets as name and expression of the ARN.
pub(crate) struct Bound {
    pub(crate) plain: Map<String, Value>,
    pub(crate) secrets: Vec<(String, String)>,
    /// Variables that mix text and secrets, which AWS cannot put together.
    pub(crate) mixed: Vec<String>,
}

pub(crate) fn of(cloud: &Cloud<'_>, program: &Program<'_>) -> Bound {
    let mut bound = Bound { plain: Map::new(), secrets: Vec::new(), mixed: Vec::new() };
    for (name, value) in binding::of(cloud.stack, program, &Aws(cloud)) {
        let contract = cloud.stack.variables.get(&name);
        if contract
            .is_some_and(|variable| variable.default.as_ref().is_some_and(|d| value == binding::text(d.as_str())))
        {
            bound.plain.insert(name.clone(), format!("= var.config[\"{name}\"]").into());
            continue;
        }
        match value.as_slice() {
            [Part::Outside(outside)] => match outside.strip_prefix(EXPRESSION) {
                Some(expression) => drop(bound.plain.insert(name, format!("= {expression}").into())),
                None => bound.secrets.push((name, arn(outside))),
            },
            parts if parts.iter().all(|part| matches!(part, Part::Text(_))) => {
                let text: String =
                    parts.iter().map(|part| if let Part::Text(text) = part { text.as_str() } else { "" }).collect();
                bound.plain.insert(name, hcl::plain(&text).into());
            }
            _ => bound.mixed.push(name),
        }
    }
    bound
}

/// The ARN of a secret: of a store's address, or of a variable.
pub(crate) fn arn(outside: &str) -> String {
    match outside.strip_prefix(STORE) {
        Some(store) => format!("aws_secretsmanager_secret.{store}.arn"),
        None => format!("aws_secretsmanager_secret.{}.arn", outside.to_ascii_lowercase()),
    }
}

/// Secrets as an ECS container takes them.
pub(crate) fn container(bound: &Bound) -> (Vec<Value>, Vec<Value>) {
    let plain = bound.plain.iter().map(|(name, value)| json!({ "name": name, "value": value }));
    let secrets = bound.secrets.iter().map(|(name, arn)| json!({ "name": name, "valueFrom": format!("= {arn}") }));
    (plain.collect(), secrets.collect())
}
