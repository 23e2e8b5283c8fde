//! Routes and variables.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::form::{Limit, OneOrMany, Period, Reference, Scalar, Size, VariableName};

pub(crate) struct RouteShape;

/// Written by hand: its keys are paths, which begin with `/`.
impl JsonSchema for RouteShape {
    fn schema_name() -> Cow<'static, str> {
        "Route".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let names = generator.subschema_for::<OneOrMany<String>>();
        let path = generator.subschema_for::<PathShape>();
        json_schema!({
            "type": "object",
            "properties": {
                "redirect_from": {
                    "description": "Other names that are sent here with 308.",
                    "anyOf": names.get("anyOf"),
                },
            },
            "patternProperties": { "^/": path },
            "additionalProperties": false,
        })
    }
}

/// What answers below one path prefix: `kind.name`, or a table. The longest prefix wins.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub(crate) enum PathShape {
    To(Reference),
    Table(PathTable),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Path")]
pub(crate) struct PathTable {
    /// What answers: `service.x`, `site.x`, `function.x` or `bucket.x`.
    pub(crate) to: Reference,
    /// Requests allowed.
    pub(crate) limit: Option<Limit>,
    /// The variable that lists the origins allowed to call from a page.
    pub(crate) cors: Option<VariableName>,
    /// A visitor keeps coming to the same instance. Default false.
    pub(crate) sticky: Option<bool>,
    /// Upgrades are passed through. Default true.
    pub(crate) websocket: Option<bool>,
    /// Largest request body. Default: no limit.
    pub(crate) max_body: Option<Size>,
    /// The prefix is removed before the request is passed on. Default false.
    pub(crate) strip: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub(crate) enum VariableShape {
    Default(Scalar),
    Table(VariableTable),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "Variable")]
pub(crate) struct VariableTable {
    /// Never shown, and never given a value in this file. Default false.
    pub(crate) secret: Option<bool>,
    /// What a value must look like. Default `text`.
    pub(crate) r#type: Option<FormShape>,
    /// Or the values that are allowed.
    pub(crate) one_of: Option<OneOrMany<Scalar>>,
    /// Value when none is given.
    pub(crate) default: Option<Scalar>,
    /// May be absent. Default false.
    pub(crate) optional: Option<bool>,
    /// Fewest characters.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(crate) min_length: Option<u32>,
    /// Most characters.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) max_length: Option<u32>,
    /// How often it must change.
    pub(crate) rotate: Option<Period>,
    /// What it is for, shown in messages.
    pub(crate) about: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
pub(crate) enum FormShape {
    Text,
    Url,
    UrlList,
    Integer,
    Port,
    Boolean,
    Email,
    Duration,
    Host,
}
