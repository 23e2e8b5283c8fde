//! What crosses a module's border: the name, the form and the words of an output, and of the variable it is handed to.

use serde_json::Value;

use super::reference::Reference;

/// How many there are of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Many {
    One,
    /// It has a `count`.
    Counted,
    /// It has a `for_each`.
    Keyed,
}

impl Many {
    pub(crate) fn of(body: &Value) -> Self {
        match (body.get("count"), body.get("for_each")) {
            (Some(count), _) if !count.is_null() => Many::Counted,
            (_, Some(each)) if !each.is_null() => Many::Keyed,
            _ => Many::One,
        }
    }
}

/// The form of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One value.
    Single,
    /// A value for each of a counted resource.
    List,
    /// A value for each key of one resource.
    Keyed,
    /// One value of each of several resources, by their names.
    ByName,
}

impl Form {
    /// Its type.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Form::Single => "string",
            Form::List => "list(string)",
            Form::Keyed | Form::ByName => "map(string)",
        }
    }
}

/// An output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Export {
    pub(crate) name: String,
    pub(crate) form: Form,
    pub(crate) about: String,
}

/// Kinds of which a stack has one: the word for it.
const SINGLE: [(&str, &str); 7] = [
    ("aws_vpc", "vpc"),
    ("aws_ecs_cluster", "cluster"),
    ("aws_lb", "balancer"),
    ("aws_backup_vault", "vault"),
    ("aws_api_gateway_rest_api", "rest_api"),
    ("aws_api_gateway_stage", "rest_stage"),
    ("aws_apigatewayv2_api", "http_api"),
];

/// Kinds that have a plainer word than their own.
const WORDS: [(&str, &str); 22] = [
    ("aws_acm_certificate_validation", "certificate"),
    ("aws_cloudwatch_log_group", "log_group"),
    ("aws_cognito_user_pool", "user_pool"),
    ("aws_cognito_user_pool_client", "user_pool_client"),
    ("aws_dynamodb_table", "table"),
    ("aws_ecr_repository", "image_repository"),
    ("aws_ecs_task_definition", "task_definition"),
    ("aws_elasticache_replication_group", "cache"),
    ("aws_iam_role", "role"),
    ("aws_instance", "machine"),
    ("aws_kms_key", "key"),
    ("aws_lambda_alias", "function_alias"),
    ("aws_lambda_function", "function"),
    ("aws_lb_target_group", "target_group"),
    ("aws_mq_broker", "broker"),
    ("aws_opensearch_domain", "search_domain"),
    ("aws_rds_cluster", "db_cluster"),
    ("aws_s3_bucket", "bucket"),
    ("aws_secretsmanager_secret", "secret"),
    ("aws_sns_topic", "topic"),
    ("aws_sqs_queue", "queue"),
    ("aws_wafv2_web_acl", "filter"),
];

impl Export {
    /// For what an expression reads of a block.
    pub(crate) fn of(reference: &Reference<'_>, many: Many) -> Self {
        let (kind, label) = parts(reference.address);
        let single = SINGLE.iter().find(|(single, _)| *single == kind).map(|(_, word)| *word);
        let other = || WORDS.iter().find(|(other, _)| *other == kind).map(|(_, word)| *word);
        let own = kind.split_once('_').map_or(kind, |(_, own)| own);
        let stem = single.or_else(other).unwrap_or(own.trim_start_matches("route53_").trim_start_matches("sesv2_"));
        let attribute = attribute(stem, reference.attribute.unwrap_or_default());
        let form = match (many, single) {
            (Many::Counted, _) => Form::List,
            (Many::Keyed, _) => Form::Keyed,
            (Many::One, Some(_)) => Form::Single,
            (Many::One, None) => Form::ByName,
        };
        let attributes = plural(attribute);
        let (what, all, words) = (said(attribute), said(&attributes), said(stem));
        let upper = |words: &str| {
            words.get(..1).map(str::to_ascii_uppercase).unwrap_or_default() + words.get(1..).unwrap_or_default()
        };
        let (name, about) = match form {
            Form::Single => (format!("{stem}_{attribute}"), format!("{} of the {words}", upper(&what))),
            Form::List => (
                format!("{label}_{stem}_{attributes}"),
                format!("{} of the {label} {}, in order", upper(&all), plural(&words)),
            ),
            Form::Keyed => {
                (format!("{stem}_{attributes}"), format!("{} of the {}, by key", upper(&all), plural(&words)))
            }
            Form::ByName => {
                (format!("{stem}_{attributes}"), format!("{} of the {}, by resource", upper(&all), plural(&words)))
            }
        };
        Self { name, form, about }
    }

    /// The label it has among others of its kind, and its value.
    pub(crate) fn value<'t>(reference: &Reference<'t>, many: Many) -> (&'t str, String) {
        let address = reference.address;
        let attribute = reference.attribute.unwrap_or_default();
        let value = match many {
            Many::One => format!("{address}.{attribute}"),
            Many::Counted => format!("{address}[*].{attribute}"),
            Many::Keyed => format!("{{ for key, one in {address} : key => one.{attribute} }}"),
        };
        (parts(address).1, value)
    }

    /// How an expression reads it: `whole` is the output, or the variable that has its value.
    pub(crate) fn read(&self, whole: &str, reference: &Reference<'_>) -> String {
        match (self.form, reference.index.as_deref()) {
            (Form::ByName, _) => format!("{whole}[\"{}\"]", parts(reference.address).1),
            (Form::Single, _) | (_, None | Some("*")) => whole.to_owned(),
            (_, Some(index)) => format!("{whole}[{index}]"),
        }
    }
}

/// Kind and label.
fn parts(address: &str) -> (&str, &str) {
    address.trim_start_matches("data.").split_once('.').unwrap_or((address, ""))
}

/// An attribute without the words that the stem says already: `function_name` of a `function` is its `name`.
fn attribute<'a>(stem: &str, attribute: &'a str) -> &'a str {
    let mut tail = stem;
    loop {
        if attribute == tail {
            return "name";
        }
        if let Some(rest) = attribute.strip_prefix(tail).and_then(|rest| rest.strip_prefix('_')) {
            return rest;
        }
        match tail.split_once('_') {
            Some((_, rest)) => tail = rest,
            None => return attribute,
        }
    }
}

/// Words as a person writes them.
fn said(words: &str) -> String {
    let words = words.split('_').map(|word| match word {
        "arn" | "api" | "db" | "dns" | "http" | "rest" | "url" | "vpc" => word.to_ascii_uppercase(),
        "arns" | "urls" => word[..3].to_ascii_uppercase() + "s",
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Several of it; what it is without stays as it is.
fn plural(word: &str) -> String {
    if let Some((first, rest)) = word.split_once("_without_") {
        return format!("{}_without_{rest}", plural(first));
    }
    match word.as_bytes().last() {
        Some(b's' | b'x') => format!("{word}es"),
        Some(b'y') => format!("{}ies", &word[..word.len() - 1]),
        _ => format!("{word}s"),
    }
}
