//! The JSON Schema of the stack file, so that editors complete it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::{
    read::extra_keys::EXTRAS,
    shape::{StackShape, extra},
};

/// The JSON Schema (draft 7) of a stack file: every key, what it holds and what it means.
///
/// It is a help for editors, and looser than `check`: it cannot see whether references resolve.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft07().into_generator();
    let extras: Vec<Value> = EXTRAS.iter().map(|(kind, ..)| extra::shape(*kind, &mut generator).to_value()).collect();
    let mut schema = generator.into_root_schema_for::<StackShape>().to_value();
    without_null(&mut schema);
    add_extras(&mut schema, extras);
    add_overlays(&mut schema);
    loosen_overlays(&mut schema);
    if let Value::Object(root) = &mut schema {
        root.insert("title".to_owned(), json!("slipway.toml"));
    }
    schema
}

/// Adds the kinds that only some targets can run, before the routes.
fn add_extras(schema: &mut Value, extras: Vec<Value>) {
    let mut properties = Map::new();
    for ((kind, about, _), shape) in EXTRAS.iter().zip(extras) {
        let name = capital(kind.as_str());
        let all = json!({ "$ref": format!("{DEFINITIONS}{name}") });
        let named = json!({ "description": about, "type": "object", "additionalProperties": all });
        properties.insert(kind.as_str().to_owned(), named);
        schema["definitions"][name] = shape;
    }
    insert_before(&mut schema["properties"], "route", properties);
}

/// What an environment may say differently: everything but the name, the version and the environments.
fn add_overlays(schema: &mut Value) {
    let mut overlays = Map::new();
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        if !["app", "version", "environment"].contains(&key.as_str()) {
            overlays.insert(key.clone(), value.clone());
        }
    }
    if let Some(keys) = schema["definitions"]["Environment"]["properties"].as_object_mut() {
        keys.extend(overlays);
    }
}

fn insert_before(properties: &mut Value, place: &str, mut more: Map<String, Value>) {
    let Value::Object(properties) = properties else { return };
    for (key, value) in std::mem::take(properties) {
        if key == place {
            properties.append(&mut more);
        }
        properties.insert(key, value);
    }
}

fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    format!("{}{rest}", first.to_uppercase())
}

/// TOML has no null: what may be absent is simply not required.
fn without_null(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Array(kinds)) = object.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [one] = kinds.as_slice() {
                    let one = one.clone();
                    object.insert("type".to_owned(), one);
                }
            }
            if let Some(Value::Array(values)) = object.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice != &json!({ "type": "null" }));
                if let [Value::Object(one)] = choices.as_slice() {
                    let one = one.clone();
                    object.remove("anyOf");
                    if one.contains_key("$ref") && !object.is_empty() {
                        // beside `$ref` draft 7 ignores everything, the description included
                        object.insert("allOf".to_owned(), json!([one]));
                    } else {
                        for (key, value) in one {
                            object.entry(key).or_insert(value);
                        }
                    }
                }
            }
            object.values_mut().for_each(without_null);
        }
        Value::Array(list) => list.iter_mut().for_each(without_null),
        _ => {}
    }
}

const DEFINITIONS: &str = "#/definitions/";

/// An overlay says only what changes: below an environment, copies of the tables stand in which nothing is required.
fn loosen_overlays(schema: &mut Value) {
    let Some(Value::Object(definitions)) = schema.get_mut("definitions") else { return };
    let is_table = |(_, definition): &(&String, &Value)| definition["type"] == "object";
    let tables: BTreeSet<String> = definitions.iter().filter(is_table).map(|(name, _)| name.clone()).collect();
    let mut wanted = Vec::new();
    if let Some(keys) = definitions.get_mut("Environment").and_then(|environment| environment.get_mut("properties")) {
        redirect(keys, &tables, &mut wanted);
    }
    let mut loose: BTreeMap<String, Value> = BTreeMap::new();
    while let Some(name) = wanted.pop() {
        let copy = overlay_of(&name);
        if loose.contains_key(&copy) {
            continue;
        }
        let mut definition = definitions[&name].clone();
        if let Value::Object(definition) = &mut definition {
            definition.remove("required");
        }
        redirect(&mut definition, &tables, &mut wanted);
        loose.insert(copy, definition);
    }
    definitions.extend(loose);
}

fn overlay_of(name: &str) -> String {
    format!("{name}Overlay")
}

/// Points every reference to one of `tables` at its loose copy, and notes which are wanted.
fn redirect(value: &mut Value, tables: &BTreeSet<String>, wanted: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(target)) = object.get_mut("$ref")
                && let Some(name) = target.strip_prefix(DEFINITIONS).filter(|name| tables.contains(*name))
            {
                wanted.push(name.to_owned());
                *target = format!("{DEFINITIONS}{}", overlay_of(name));
            }
            object.values_mut().for_each(|value| redirect(value, tables, wanted));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| redirect(value, tables, wanted)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key the schema knows, by the path of its table, with `*` for names the author chooses.
    fn known(schema: &Value) -> BTreeMap<String, BTreeSet<String>> {
        let mut found = BTreeMap::new();
        walk(schema, schema, "", &mut found);
        found
    }

    fn walk(root: &Value, value: &Value, path: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        if let Some(name) = value["$ref"].as_str().and_then(|target| target.strip_prefix(DEFINITIONS)) {
            walk(root, &root["definitions"][name], path, found);
        }
        for choice in ["anyOf", "allOf"].iter().filter_map(|key| value[key].as_array()).flatten() {
            walk(root, choice, path, found);
        }
        if let Some(properties) = value["properties"].as_object() {
            found.entry(path.to_owned()).or_default().extend(properties.keys().cloned());
            for (key, value) in properties {
                // below an environment the same tables come again
                let overlaid =
                    crate::Kind::find(key).is_some() || ["route", "variable", "alarm"].contains(&key.as_str());
                if path != "environment.*" || !overlaid {
                    walk(root, value, &below(key), found);
                }
            }
        }
        if value["additionalProperties"].is_object() {
            walk(root, &value["additionalProperties"], &below("*"), found);
        }
        for value in value["patternProperties"].as_object().into_iter().flat_map(|patterns| patterns.values()) {
            walk(root, value, &below("*"), found);
        }
    }

    #[test]
    fn the_schema_and_the_reader_know_the_same_keys() {
        let described = known(&schema());
        // a document that opens every table the schema describes; a path of a route begins with `/`
        let header = |path: &String| match path.as_str() {
            "" => String::new(),
            "route.*.*" => "[route.x.\"/x\"]\n".to_owned(),
            path => format!("[{}]\n", path.replace('*', "x")),
        };
        let text: String = described.keys().map(header).collect();
        let document = toml::de::DeTable::parse(&text).expect("well formed").into_inner();
        let read: BTreeMap<String, BTreeSet<String>> = crate::read::stack::known_keys(&document)
            .into_iter()
            .map(|(path, keys)| (path, keys.into_iter().map(str::to_owned).collect()))
            .collect();
        assert!(described.len() > 25, "{described:?}");
        for path in read.keys().chain(described.keys()) {
            assert_eq!(
                read.get(path),
                described.get(path),
                "keys of `{path}`: read on the left, described on the right"
            );
        }
    }

    #[test]
    fn overlays_require_nothing_and_tables_do() {
        let schema = schema();
        assert!(schema["definitions"]["Database"]["required"].is_array());
        assert!(schema["definitions"]["DatabaseOverlay"].is_object());
        let overlays =
            schema["definitions"].as_object().expect("an object").iter().filter(|(name, _)| name.ends_with("Overlay"));
        assert!(overlays.clone().count() > 15);
        for (name, overlay) in overlays {
            assert!(overlay.get("required").is_none(), "{name}");
        }
        assert!(!schema.to_string().contains("null"));
    }

    #[test]
    fn the_committed_files_are_fresh() {
        let schema = serde_json::to_string_pretty(&schema()).expect("plain data") + "\n";
        let files = [("slipway.schema.json", schema), ("stack-file.md", crate::reference_page::reference_page())];
        for (file, fresh) in files {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/reference").join(file);
            if std::env::var_os("SLIPWAY_WRITE_REFERENCE").is_some() {
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
                std::fs::write(&path, &fresh).expect("writable");
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                committed == fresh,
                "docs/src/reference/{file} is stale: SLIPWAY_WRITE_REFERENCE=1 cargo test -p stack fresh"
            );
        }
    }
}
