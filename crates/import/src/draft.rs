//! The stack file as it comes to be: tables with keys and remarks, written in the order people read them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use stack::{AppName, ByteSize, Millicpu, ResourceName, Span};
use toml::Value;

use crate::beside::Beside;

/// The order of kinds in the written file.
const ORDER: [&str; 23] = [
    "service",
    "function",
    "job",
    "site",
    "database",
    "cache",
    "queue",
    "bucket",
    "topic",
    "table",
    "search",
    "mail",
    "identity",
    "network",
    "route",
    "gateway",
    "cdn",
    "dns",
    "waf",
    "log",
    "variable",
    "alarm",
    "environment",
];

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// Name of the application, once something names it.
    pub(crate) app: Option<String>,
    /// What was found in all files before any was read.
    pub(crate) beside: Beside,
    /// References of data services by the names under which programs reach them.
    pub(crate) hosts: BTreeMap<String, String>,
    /// Buckets by their names at the server.
    pub(crate) buckets: BTreeMap<String, String>,
    /// Contexts of the Dockerfiles that something builds.
    pub(crate) dockerfiles: BTreeMap<String, String>,
    /// Names of images that only migrate.
    pub(crate) steps: BTreeSet<String>,
    /// Variables that only hold passwords of data services.
    pub(crate) passwords: BTreeSet<String>,
    /// Visitors come to its services, and no file may have said by which names.
    pub(crate) open: bool,
    sections: Vec<Section>,
}

/// One table.
#[derive(Debug)]
pub(crate) struct Section {
    kind: String,
    name: String,
    about: Vec<String>,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    name: String,
    value: Value,
    remark: String,
}

impl Draft {
    /// The table `[kind.name]`, begun when it is not there.
    pub(crate) fn section(&mut self, kind: &str, name: &str) -> &mut Section {
        let known = self.sections.iter().position(|section| section.kind == kind && section.name == name);
        let index = known.unwrap_or_else(|| {
            let (kind, name) = (kind.to_owned(), name.to_owned());
            self.sections.push(Section { kind, name, about: Vec::new(), keys: Vec::new() });
            self.sections.len() - 1
        });
        &mut self.sections[index]
    }

    /// Whether a table is there.
    pub(crate) fn has(&self, kind: &str, name: &str) -> bool {
        self.sections.iter().any(|section| section.kind == kind && section.name == name)
    }

    /// Names of all tables of a kind, in the order they came.
    pub(crate) fn names(&self, kind: &str) -> Vec<String> {
        self.sections.iter().filter(|section| section.kind == kind).map(|section| section.name.clone()).collect()
    }

    /// Declares a variable of the contract; a default never replaces one that is there, and a secret has none.
    pub(crate) fn variable(&mut self, name: &str, default: Option<&str>, secret: bool) {
        let section = self.section("variable", "");
        if let Some(known) = section.keys.iter_mut().find(|key| key.name == name) {
            if secret {
                known.value = Value::Table([("secret".to_owned(), Value::Boolean(true))].into_iter().collect());
            }
            return;
        }
        let mut table = toml::Table::new();
        if secret {
            table.insert("secret".to_owned(), Value::Boolean(true));
        } else if let Some(default) = default.filter(|default| !default.is_empty()) {
            table.insert("default".to_owned(), Value::String(default.to_owned()));
        } else if default.is_some() {
            table.insert("optional".to_owned(), Value::Boolean(true));
        }
        section.keys.push(Key { name: name.to_owned(), value: Value::Table(table), remark: String::new() });
    }

    /// Whether the contract has a variable.
    pub(crate) fn declares(&self, name: &str) -> bool {
        let contract = self.sections.iter().filter(|section| section.kind == "variable");
        contract.flat_map(|section| &section.keys).any(|key| key.name == name)
    }

    /// The text of the file.
    pub(crate) fn write(&self, from: &[String]) -> String {
        let mut text = format!(
            "# Imported from {}. `slipway check` says what is still wrong; the import's report says what became of each key.\n",
            from.join(", ")
        );
        let app = label(self.app.as_deref().unwrap_or("app"), "app");
        let app = if AppName::new(app.clone()).is_ok() { app } else { "app".to_owned() };
        // writing to a String cannot fail
        let _ = writeln!(text, "app = {}", Value::from(app));
        let mut sections: Vec<&Section> = self.sections.iter().collect();
        let rank = |section: &Section| ORDER.iter().position(|kind| *kind == section.kind).unwrap_or(ORDER.len());
        sections.sort_by_key(|section| rank(section));
        for section in sections {
            section.write(&mut text);
        }
        text
    }
}

impl Section {
    /// Sets a key; the last one counts.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        self.set_with(key, value, "")
    }

    /// Sets a key with a remark behind it.
    pub(crate) fn set_with(&mut self, key: &str, value: impl Into<Value>, remark: &str) -> &mut Self {
        let (value, remark) = (value.into(), remark.to_owned());
        match self.keys.iter_mut().find(|known| known.name == key) {
            Some(known) => (known.value, known.remark) = (value, remark),
            None => self.keys.push(Key { name: key.to_owned(), value, remark }),
        }
        self
    }

    /// Adds a text to a list, once.
    pub(crate) fn add(&mut self, key: &str, text: &str) -> &mut Self {
        let item = Value::String(text.to_owned());
        match self.keys.iter_mut().find(|known| known.name == key) {
            Some(Key { value: Value::Array(items), .. }) => {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            _ => drop(self.set(key, Value::Array(vec![item]))),
        }
        self
    }

    /// Adds an entry to a table inside, as in `env`.
    pub(crate) fn put(&mut self, key: &str, name: &str, value: impl Into<Value>) -> &mut Self {
        let value = value.into();
        match self.keys.iter_mut().find(|known| known.name == key) {
            Some(Key { value: Value::Table(table), .. }) => drop(table.insert(name.to_owned(), value)),
            _ => drop(self.set(key, Value::Table([(name.to_owned(), value)].into_iter().collect()))),
        }
        self
    }

    /// Takes a key away.
    pub(crate) fn remove(&mut self, key: &str) {
        self.keys.retain(|known| known.name != key);
    }

    /// Sets one end of a range of `size`: what is asked for, or where it is capped. An end that does not fit the other
    /// replaces both.
    pub(crate) fn range(&mut self, dimension: &str, value: &str, asked: bool) {
        let known = match self.get("size") {
            Some(Value::Table(size)) => size.get(dimension).and_then(Value::as_str).unwrap_or(value),
            _ => value,
        };
        let (least, most) = known.split_once("..").unwrap_or((known, known));
        let range = if asked { format!("{value}..{most}") } else { format!("{least}..{value}") };
        let good = match dimension {
            "cpu" => range.parse::<Span<Millicpu>>().is_ok_and(|span| span.min <= span.max),
            _ => range.parse::<Span<ByteSize>>().is_ok_and(|span| span.min <= span.max),
        };
        let (least, most) = range.split_once("..").unwrap_or((value, value));
        let range = if !good || least == most { value.to_owned() } else { range };
        self.put("size", dimension, range);
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.keys.iter().find(|known| known.name == key).map(|known| &known.value)
    }

    /// A line of comment above the table, once.
    pub(crate) fn about(&mut self, line: &str) -> &mut Self {
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if !self.about.contains(&line) {
            self.about.push(line);
        }
        self
    }

    fn write(&self, text: &mut String) {
        text.push('\n');
        for line in &self.about {
            let _ = writeln!(text, "# {line}");
        }
        let name = match self.kind.as_str() {
            "variable" | "alarm" => self.kind.clone(),
            "route" => format!("route.{}", Value::from(self.name.clone())),
            kind => format!("{kind}.{}", self.name),
        };
        let _ = writeln!(text, "[{name}]");
        let width = self.keys.iter().map(|key| written_key(&key.name).len()).max().unwrap_or(0);
        for key in &self.keys {
            let line = format!("{:width$} = {}", written_key(&key.name), inline(&key.value));
            let _ = if key.remark.is_empty() {
                writeln!(text, "{line}")
            } else {
                writeln!(text, "{line:<60} # {}", key.remark)
            };
        }
    }
}

fn written_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { key.to_owned() } else { Value::from(key).to_string() }
}

/// A value on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Table(table) if table.is_empty() => "{}".to_owned(),
        Value::Table(table) => {
            let pairs: Vec<String> =
                table.iter().map(|(key, value)| format!("{} = {}", written_key(key), inline(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        // a text of several lines stays on one
        Value::String(text) if text.contains('\n') => {
            serde_json::to_string(text).unwrap_or_else(|_| Value::from("").to_string())
        }
        other => other.to_string(),
    }
}

/// `text` as a name: small letters, digits and `-`; `otherwise` when nothing of it can be used.
pub(crate) fn label(text: &str, otherwise: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => name.push(c),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
    }
    let name: String = name.trim_start_matches(|c: char| !c.is_ascii_lowercase()).chars().take(48).collect();
    let name = name.trim_end_matches('-');
    if ResourceName::new(name).is_ok() { name.to_owned() } else { otherwise.to_owned() }
}

/// A command that migrates, in the files of a service.
pub(crate) fn migrate(run: &str, service: &str) -> toml::Table {
    [("run", run), ("service", service)].into_iter().map(|(key, text)| (key.to_owned(), Value::from(text))).collect()
}
