//! Kinds that only some targets can run: their shape is the reader's own table of keys.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::form::{self, OneOrMany};
use crate::{
    Kind,
    read::extra_keys::{Form, Key, keys},
};

macro_rules! cloud {
    ($($type:ident $keys:ident $name:literal),*) => {$(
        pub(crate) struct $type;

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                table(&crate::read::extra_keys::$keys, &[], generator)
            }
        }
    )*};
}

cloud!(
    DatabaseCloudShape DATABASE_CLOUD "DatabaseCloud",
    CacheCloudShape CACHE_CLOUD "CacheCloud",
    BucketCloudShape BUCKET_CLOUD "BucketCloud"
);

/// The shape of a kind.
pub(crate) fn shape(kind: Kind, generator: &mut SchemaGenerator) -> Schema {
    table(keys(kind), if kind == Kind::Table { &["key"] } else { &[] }, generator)
}

fn table(keys: &[Key], required: &[&str], generator: &mut SchemaGenerator) -> Schema {
    let mut properties = Map::new();
    for (key, form, about) in keys {
        let schema = match form {
            Form::Text => String::json_schema(generator),
            Form::Texts => OneOrMany::<String>::json_schema(generator),
            Form::Flag => bool::json_schema(generator),
            Form::Whole => schemars::json_schema!({ "type": "integer", "minimum": 0, "maximum": 1_000_000_000 }),
            Form::Period => form::Period::json_schema(generator),
            Form::Size => form::Size::json_schema(generator),
            Form::Any => schemars::json_schema!({ "title": "table or list" }),
        };
        let mut schema = schema.to_value();
        if let Value::Object(schema) = &mut schema {
            schema.insert("description".to_owned(), json!(about));
        }
        properties.insert((*key).to_owned(), schema);
    }
    schemars::json_schema!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    })
}
