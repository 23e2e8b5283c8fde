//! The reference of every key, as Markdown, made from the schema.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{alarm::METRICS, schema::schema};

const OPENING: &str = "# The stack file

`slipway.toml` describes an application once. This page lists every key; it is generated from the types that
`slipway schema` describes to editors. `slipway check` reports everything wrong with a file in one run.

Paths are relative to the folder of the stack file. Keys marked **required** must be there. Below
`[environment.NAME...]` any table can be written again with only the keys that change: tables are laid over each other
key by key, texts, numbers and lists replace. An empty text takes a key of a resource, or an alarm, away: `url = \"\"`.

To complete keys in an editor, put this into the first line:

```toml
#:schema ./slipway.schema.json
```

";

/// The Markdown of `docs/src/reference/stack-file.md`.
pub fn reference_page() -> String {
    let schema = schema();
    let mut page = OPENING.to_owned();
    let mut forms = Vec::new();
    section(&mut page, &schema, "At the top", "", &schema, &mut forms);
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let entry = resolved(&schema, &value["additionalProperties"]);
        let about = text(value, "description");
        match key.as_str() {
            "app" | "version" => {}
            "alarm" => alarms(&mut page, about),
            "route" => {
                section(&mut page, &schema, "`[route.\"HOST\"]`", about, entry, &mut forms);
                let path = tables(&schema, &entry["patternProperties"]["^/"]);
                let about = "`\"/PREFIX\" = \"service.api\"`, or a table:";
                for path in path {
                    section(&mut page, &schema, "`\"/PREFIX\"` of a route", about, path, &mut forms);
                }
            }
            "variable" => {
                for table in tables(&schema, &value["additionalProperties"]) {
                    section(&mut page, &schema, "`[variable]`", about, table, &mut forms);
                }
            }
            _ => section(&mut page, &schema, &format!("`[{key}.NAME]`"), about, entry, &mut forms),
        }
    }
    page += "## Forms\n\nTexts with a form of their own.\n\n| form | what it is | example |\n|---|---|---|\n";
    for (_, form) in schema["definitions"].as_object().into_iter().flatten() {
        if let (Some(title), Some(example)) = (form["title"].as_str(), form["examples"][0].as_str()) {
            line(&mut page, &[title, text(form, "description"), &format!("`{example}`")]);
        }
    }
    page
}

fn line(page: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    // writing to a String cannot fail
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// One table of the file with its keys; tables inside it follow as sections of their own.
fn section(page: &mut String, schema: &Value, heading: &str, about: &str, table: &Value, seen: &mut Vec<String>) {
    // writing to a String cannot fail
    let _ = write!(page, "## {heading}\n\n{about}{}", if about.is_empty() { "" } else { "\n\n" });
    *page += "| key | holds | what it says |\n|---|---|---|\n";
    let required: Vec<&str> = table["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut inner = Vec::new();
    for (key, value) in table["properties"].as_object().into_iter().flatten() {
        let mut about = text(value, "description").to_owned();
        if about.is_empty() {
            text(resolved(schema, value), "description").clone_into(&mut about);
        }
        if required.contains(&key.as_str()) {
            about += " **required**";
        }
        line(page, &[&format!("`{key}`"), &holds(schema, value), &about]);
        let tables = tables(schema, value).into_iter().filter(|table| table["properties"].is_object());
        inner.extend(tables.map(|table| (key.clone(), about.clone(), table)));
    }
    page.push('\n');
    for (key, about, table) in inner {
        let digest = table.to_string();
        if heading != "At the top" && !seen.contains(&digest) {
            seen.push(digest);
            section(page, schema, &format!("`{key}` of {heading}"), &about, table, seen);
        }
    }
}

/// What a reference or a single `allOf` stands for.
fn resolved<'s>(schema: &'s Value, value: &'s Value) -> &'s Value {
    let target = value["$ref"].as_str().or_else(|| value["allOf"][0]["$ref"].as_str());
    target.and_then(|target| target.rsplit('/').next()).map_or(value, |name| &schema["definitions"][name])
}

/// The tables a value may be.
fn tables<'s>(schema: &'s Value, value: &'s Value) -> Vec<&'s Value> {
    let value = resolved(schema, value);
    if value["type"] == "object" {
        return vec![value];
    }
    value["anyOf"].as_array().into_iter().flatten().flat_map(|choice| tables(schema, choice)).collect()
}

/// What a key holds, in a few words.
fn holds(schema: &Value, value: &Value) -> String {
    let value = resolved(schema, value);
    if let Some(title) = value["title"].as_str() {
        return title.to_owned();
    }
    if let Some(words) = value["enum"].as_array() {
        return words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(choices) = value["anyOf"].as_array() {
        return choices.iter().map(|choice| holds(schema, choice)).collect::<Vec<_>>().join(" or ");
    }
    match text(value, "type") {
        "string" => "text".to_owned(),
        "boolean" => "`true`, `false`".to_owned(),
        "array" => format!("list of {}", holds(schema, &value["items"])),
        "object" if value["properties"].is_object() => "table".to_owned(),
        "object" => match (&value["additionalProperties"], tables(schema, &value["additionalProperties"]).is_empty()) {
            (inner, false) if inner["anyOf"].is_array() => "tables or values by name".to_owned(),
            (_, false) => "tables by name".to_owned(),
            (_, true) => "values by name".to_owned(),
        },
        "integer" | "number" => match (value["minimum"].as_i64(), value["maximum"].as_i64()) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            _ => "number".to_owned(),
        },
        _ => "any".to_owned(),
    }
}

fn alarms(page: &mut String, about: &str) {
    // writing to a String cannot fail
    let _ = write!(
        page,
        "## `[alarm]`\n\n{about} Written `NAME = \"METRIC > LIMIT for TIME\"`, with `>`, `>=`, `<` or `<=`.\n\n"
    );
    *page += "| metric | limits | what it is |\n|---|---|---|\n";
    for (metric, units, about) in METRICS {
        let units: Vec<&str> = units.iter().map(|unit| crate::alarm::example(*unit)).collect();
        line(page, &[&format!("`{metric}`"), &units.join(" or "), about]);
    }
    page.push('\n');
}
