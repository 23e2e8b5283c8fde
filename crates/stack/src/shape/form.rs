//! Texts with a form of their own.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::alarm::METRICS;

/// A text form: type, its name in the reference, pattern, what it is, an example. With `number`, a bare number will do.
macro_rules! form {
    ($type:ident, $title:literal, $pattern:expr, $about:literal, $example:literal $(, $number:literal)*) => {
        pub(crate) struct $type(String);

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let kinds: &[&str] = &["string" $(, $number)*];
                let kind = if kinds.len() == 1 { serde_json::json!(kinds[0]) } else { serde_json::json!(kinds) };
                json_schema!({ "type": kind, "title": $title, "description": $about, "pattern": $pattern, "examples": [$example] })
            }
        }
    };
}

form!(Name, "name", "^[a-z]([a-z0-9-]{0,46}[a-z0-9])?$", "1 to 48 of `a-z 0-9 -`, starting with a letter.", "shop");
form!(Reference, "reference", "^[a-z]+\\.[a-z][a-z0-9-]*$", "A resource of this stack, `kind.name`.", "database.main");
form!(RelativePath, "path", "^[^/\\\\~]", "A path relative to the stack file's folder; never out of it.", "src/api");
form!(Period, "duration", "^([0-9.]+(ms|s|m|h|d|w|y))+$", "A number with ms, s, m, h, d, w or y.", "1h30m");
form!(
    Size,
    "size",
    "^[0-9.]+((Ki|Mi|Gi|Ti|k|K|M|G|T)?B?)$",
    "Bytes, with Ki, Mi, Gi, Ti (1024) or k, M, G, T (1000).",
    "512Mi",
    "integer"
);
form!(
    SizeRange,
    "size range",
    "^[0-9.]+[KMGTkiB]*( *\\.\\. *[0-9.]+[KMGTkiB]*)?$",
    "A size, or `smallest..largest`.",
    "512Mi..1Gi",
    "integer"
);
form!(
    CpuRange,
    "CPU range",
    "^[0-9.]+m?( *\\.\\. *[0-9.]+m?)?$",
    "Thousandths of a core (`250m`) or cores (`0.5`), or `smallest..largest`.",
    "250m..1",
    "number"
);
form!(
    ReplicaRange,
    "replicas",
    "^[0-9]+( *\\.\\. *[0-9]+)?$",
    "A whole number, or `fewest..most`.",
    "2..10",
    "integer"
);
form!(Retention, "retention", "^([0-9]+[dwm] *)+$", "How many daily, weekly and monthly copies stay.", "30d 12w 12m");
form!(TimeOfDay, "time", "^([01][0-9]|2[0-3]):[0-5][0-9]$", "Time of day, `HH:MM`.", "03:00");
form!(
    Recurrence,
    "recurrence",
    "^(daily|weekly|monthly|quarterly|yearly|(mon|tue|wed|thu|fri|sat|sun) ([01][0-9]|2[0-3]):[0-5][0-9])$",
    "`daily`, `weekly`, `monthly`, `quarterly`, `yearly`, or a weekday with a time.",
    "sun 04:00"
);
form!(
    Cron,
    "cron",
    "^(@[a-z]+|[^@ ]+( +[^ ]+){4})$",
    "Five fields, minute hour day month weekday, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.",
    "0 2 * * *"
);
form!(
    Limit,
    "rate limit",
    "^[0-9]+/[0-9a-z.]+( per (ip|all))?$",
    "Requests per time, `per ip` (the default) or `per all`.",
    "100/s per ip"
);
form!(
    Rollout,
    "rollout",
    "^(at_once|(waves )?[0-9]+%?( for [0-9a-z.]+| until promoted)?( *, *[0-9]+%?( for [0-9a-z.]+| until promoted)?)*)$",
    "Stages of rising share, each watched for a while, or held until a person promotes it; the last is 100%. `waves` takes \
     whole hosts: a bare number is that many of them. `at_once` is `100%`.",
    "10% for 5m, 50% for 10m, 100%"
);
form!(UrlPath, "URL path", "^/", "A path that starts with `/`.", "/health");
form!(Engine, "engine", "^[A-Za-z0-9._-]+:[A-Za-z0-9._-]+$", "The engine and its version.", "redis:7");
form!(
    DatabaseEngine,
    "engine",
    "^(sqlite|postgres:[0-9]+(\\.[0-9]+)*)$",
    "`sqlite`, or `postgres:` and a version.",
    "postgres:17"
);
form!(VariableName, "variable", "^[A-Z_][A-Z0-9_]*$", "Name of a variable of `[variable]`.", "ALLOWED_ORIGINS");
form!(
    Template,
    "text with `${NAME}`",
    "",
    "Text in which `${NAME}` takes a variable of the contract; `$${` stands for `${`.",
    "https://${HOST}/"
);
form!(
    Scalar,
    "text, number or flag",
    "",
    "Text; numbers and flags count as their text.",
    "production",
    "number",
    "boolean"
);

/// A text, or a list of them.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

pub(crate) struct Alarm;

impl JsonSchema for Alarm {
    fn schema_name() -> Cow<'static, str> {
        "Alarm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let metrics = METRICS.map(|(metric, ..)| metric.replace('.', "\\.")).join("|");
        json_schema!({
            "type": "string",
            "title": "alarm",
            "description": "Metric, comparison, limit, and how long it must hold.",
            "pattern": format!("^({metrics}) *[<>]=? *[0-9.]+[%a-zA-Z/]*( for [0-9a-z.]+)?$"),
            "examples": ["http.errors > 5% for 5m"],
        })
    }
}
