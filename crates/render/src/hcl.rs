//! HCL as a person writes it, laid out as `terraform fmt` would: a small writer of blocks, attributes and expressions.
//!
//! Bodies are plain values with four conventions: a key that ends in ` {}` is a nested block (a list gives several), a
//! key that begins with `# ` is a comment (its value `false` leaves it out), a text that begins with `= ` is an
//! expression, and an object whose only key ends in `()` is a call. Nulls are left out. Other texts are templates:
//! [`plain`] keeps `${` as it is.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// A key that leaves a line empty.
pub(crate) const GAP: &str = "\n";

/// A block as it stands in a file: comments above it, its words (`resource "aws_vpc" "main"`), and what is in it.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// Lines above it, each a comment.
    pub(crate) about: Vec<String>,
    /// Its kind and labels; none when there is only a comment.
    pub(crate) words: Vec<String>,
    /// What is in it.
    pub(crate) body: Value,
}

impl Block {
    /// Nothing but comments.
    pub(crate) fn comment(lines: &[&str]) -> Self {
        let about = lines.iter().map(|line| (*line).to_owned()).collect();
        Self { about, words: Vec::new(), body: Value::Null }
    }

    /// With one more comment above it.
    pub(crate) fn about(mut self, line: impl Into<String>) -> Self {
        self.about.push(line.into());
        self
    }

    /// As expressions call it: `aws_vpc.main`, `data.aws_region.current`; `None` for what is neither of the two.
    pub(crate) fn address(&self) -> Option<String> {
        match self.words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["resource", kind, name] => Some(format!("{kind}.{name}")),
            ["data", kind, name] => Some(format!("data.{kind}.{name}")),
            _ => None,
        }
    }

    /// Its text.
    pub(crate) fn write(&self) -> String {
        let mut text = String::new();
        for line in &self.about {
            let _ = writeln!(text, "# {line}");
        }
        let Some((kind, labels)) = self.words.split_first() else { return text };
        text.push_str(kind);
        for label in labels {
            let _ = write!(text, " \"{label}\"");
        }
        write_block(&mut text, &self.body, 0);
        text
    }
}

/// A block: its words (`resource "aws_vpc" "main"`), and what is in it.
pub(crate) fn block(words: &[&str], body: Value) -> Block {
    Block { about: Vec::new(), words: words.iter().map(|word| (*word).to_owned()).collect(), body }
}

/// `resource "TYPE" "NAME"`.
pub(crate) fn resource(kind: &str, name: &str, body: Value) -> Block {
    block(&["resource", kind, name], body)
}

/// `data "TYPE" "NAME"`.
pub(crate) fn data(kind: &str, name: &str, body: Value) -> Block {
    block(&["data", kind, name], body)
}

/// A text in which `${` and `%{` mean themselves.
pub(crate) fn plain(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

/// The text of a file of blocks.
pub(crate) fn document(blocks: &[Block]) -> String {
    blocks.iter().map(Block::write).collect::<Vec<_>>().join("\n")
}

/// Attributes at the top of a file, as in a file of variables.
pub(crate) fn assignments(body: &Map<String, Value>) -> String {
    let mut text = String::new();
    attributes(&mut text, body, 0);
    text
}

fn write_block(text: &mut String, body: &Value, depth: usize) {
    let empty = Map::new();
    let body = body.as_object().unwrap_or(&empty);
    if body.values().all(Value::is_null) && !body.keys().any(|key| key.starts_with("# ")) {
        text.push_str(" {}\n");
        return;
    }
    text.push_str(" {\n");
    attributes(text, body, depth + 1);
    indent(text, depth);
    text.push_str("}\n");
}

fn indent(text: &mut String, depth: usize) {
    for _ in 0..depth {
        text.push_str("  ");
    }
}

/// A line of an attribute that is not written yet: its name, and its value in one line.
type Row = (String, String);

fn attributes(text: &mut String, body: &Map<String, Value>, depth: usize) {
    let mut rows: Vec<Row> = Vec::new();
    let mut begun = false;
    for (key, value) in body {
        if let Some(comment) = key.strip_prefix("# ") {
            if *value == Value::Bool(false) {
                continue;
            }
            flush(text, &mut rows, depth, "");
            indent(text, depth);
            let _ = writeln!(text, "# {comment}");
        } else if key == GAP {
            flush(text, &mut rows, depth, "");
            text.push('\n');
        } else if let Some(kind) = key.strip_suffix(" {}") {
            flush(text, &mut rows, depth, "");
            let list = match value {
                Value::Null => continue,
                Value::Array(list) => list.as_slice(),
                one => std::slice::from_ref(one),
            };
            for one in list.iter().filter(|one| !one.is_null()) {
                let commented = text.lines().last().is_some_and(|line| line.trim_start().starts_with("# "));
                if begun && !commented {
                    text.push('\n');
                }
                begun = true;
                indent(text, depth);
                text.push_str(kind);
                write_block(text, one, depth);
            }
            continue;
        } else if value.is_null() {
            continue;
        } else {
            add(text, &mut rows, name(key), value, depth, "");
        }
        begun = true;
    }
    flush(text, &mut rows, depth, "");
}

fn add(text: &mut String, rows: &mut Vec<Row>, key: String, value: &Value, depth: usize, end: &str) {
    let whole = expression(value, depth);
    if whole.contains('\n') {
        flush(text, rows, depth, end);
        indent(text, depth);
        let _ = writeln!(text, "{key} = {whole}{end}");
    } else {
        rows.push((key, whole));
    }
}

/// Neighbouring one-line attributes have their signs below each other.
fn flush(text: &mut String, rows: &mut Vec<Row>, depth: usize, end: &str) {
    let width = rows.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
    for (key, value) in rows.drain(..) {
        indent(text, depth);
        let _ = writeln!(text, "{key:width$} = {value}{end}");
    }
}

fn name(key: &str) -> String {
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain || key.starts_with('(') { key.to_owned() } else { quoted(key) }
}

fn quoted(text: &str) -> String {
    let mut whole = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => whole.push_str("\\\""),
            '\\' => whole.push_str("\\\\"),
            '\n' => whole.push_str("\\n"),
            '\r' => whole.push_str("\\r"),
            '\t' => whole.push_str("\\t"),
            c => whole.push(c),
        }
    }
    whole.push('"');
    // inside an interpolation a quote is a quote
    unescape_interpolations(&whole)
}

fn unescape_interpolations(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let escaped = rest[..at].ends_with('$');
        let end = rest[at..].find('}').map_or(rest.len(), |end| at + end + 1);
        whole.push_str(&rest[..at]);
        let inside = &rest[at..end];
        whole.push_str(&if escaped { inside.to_owned() } else { inside.replace("\\\"", "\"") });
        rest = &rest[end..];
    }
    whole.push_str(rest);
    whole
}

fn expression(value: &Value, depth: usize) -> String {
    match value {
        Value::String(text) => match text.strip_prefix("= ") {
            Some(raw) => raw.to_owned(),
            None => quoted(text),
        },
        Value::Array(list) => {
            let items: Vec<String> =
                list.iter().filter(|item| !item.is_null()).map(|item| expression(item, depth + 1)).collect();
            let line = format!("[{}]", items.join(", "));
            if line.len() <= 90 && !line.contains('\n') {
                return line;
            }
            let mut text = String::from("[\n");
            for item in items {
                indent(&mut text, depth + 1);
                let _ = writeln!(text, "{item},");
            }
            indent(&mut text, depth);
            text.push(']');
            text
        }
        Value::Object(map) => object(map, depth),
        other => other.to_string(),
    }
}

fn object(map: &Map<String, Value>, depth: usize) -> String {
    if let Some((key, value)) = map.iter().next()
        && let Some(function) = key.strip_suffix("()")
    {
        return format!("{function}({})", expression(value, depth));
    }
    if map.values().all(Value::is_null) {
        return "{}".to_owned();
    }
    let mut text = String::from("{\n");
    let mut rows = Vec::new();
    for (key, value) in map {
        if let Some(comment) = key.strip_prefix("# ") {
            if *value == Value::Bool(false) {
                continue;
            }
            flush(&mut text, &mut rows, depth + 1, "");
            indent(&mut text, depth + 1);
            let _ = writeln!(text, "# {comment}");
        } else if !value.is_null() {
            add(&mut text, &mut rows, name(key), value, depth + 1, "");
        }
    }
    flush(&mut text, &mut rows, depth + 1, "");
    indent(&mut text, depth);
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_block_is_laid_out_as_terraform_does() {
        insta::assert_snapshot!(
            resource(
                "aws_vpc",
                "main",
                json!({
                    "cidr_block": "10.0.0.0/16",
                    "enable_dns_support": true,
                    "# why": null,
                "# not this": false,
                    "name": "= var.name",
                    "gone": null,
                    "path": plain("${HOME}"),
                    "joined": "${var.a}-${aws_x.y[\"b\"].id}",
                    "policy": { "jsonencode()": { "Version": "2012-10-17", "a/b": [1, 2] } },
                    "rule {}": [{ "port": 80 }, { "port": 443, "inner {}": {} }],
                    "tags": { "Name": "a", "Longer": "b" },
                })
            )
            .write()
        );
    }
}
