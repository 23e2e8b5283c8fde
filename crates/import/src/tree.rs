//! A file as a tree of keys and values, each with its line.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

/// Most nesting of any file: what people write has a dozen levels.
pub(crate) const DEEPEST: usize = 64;

/// Stack of the thread that reads YAML, in bytes: 64 levels take some 4 MB without optimisation.
const STACK: usize = 32 << 20;

/// A value with the line it begins on; 0 where that is not known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Flag(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the file's order.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// A value whose line is not known.
    pub(crate) fn new(value: Value) -> Self {
        Self { line: 0, value }
    }

    /// The value of a key.
    pub(crate) fn find(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// A scalar as text.
    pub(crate) fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some(text.clone()),
            Value::Flag(flag) => Some(flag.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Lays `over` over this: maps key by key, everything else replaces.
    pub(crate) fn merge(&mut self, over: &Node) {
        let (Value::Map(entries), Value::Map(others)) = (&mut self.value, &over.value) else {
            *self = over.clone();
            return;
        };
        for (key, node) in others {
            match entries.iter_mut().find(|(name, _)| name == key) {
                Some((_, known)) => known.merge(node),
                None => entries.push((key.clone(), node.clone())),
            }
        }
    }
}

struct Bare(Value);

impl<'de> Deserialize<'de> for Bare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Build).map(Bare)
    }
}

struct Build;

impl<'de> Visitor<'de> for Build {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Build)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Bare>>()? {
            list.push(node(item));
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<Bare>>()? {
            let line = line(&key);
            let key = match key.value.0 {
                Value::Text(text) | Value::Number(text) => text,
                Value::Flag(flag) => flag.to_string(),
                Value::Null => "null".to_owned(),
                Value::List(_) | Value::Map(_) => return Err(serde::de::Error::custom("a key must be a plain text")),
            };
            let mut value = node(entries.next_value::<Spanned<Bare>>()?);
            value.line = line;
            map.push((key, value));
        }
        Ok(Value::Map(map))
    }
}

fn line(spanned: &Spanned<Bare>) -> usize {
    usize::try_from(spanned.referenced.line()).unwrap_or(0)
}

fn node(spanned: Spanned<Bare>) -> Node {
    Node { line: line(&spanned), value: spanned.value.0 }
}

/// Every document of a YAML file. Bounded in depth, anchors and repetition.
pub(crate) fn yaml(text: &str) -> Result<Vec<Node>, String> {
    too_deep(text)?;
    // the reader calls itself for each level: it gets a stack that holds as many as it allows
    let text = text.to_owned();
    let reading = std::thread::Builder::new().stack_size(STACK).spawn(move || read_yaml(&text));
    let read = reading.map_err(|error| format!("cannot start to read it: {error}; try again"))?.join();
    read.unwrap_or_else(|_| Err("the reader broke down; import the file it was made from".to_owned()))
}

fn read_yaml(text: &str) -> Result<Vec<Node>, String> {
    let mut options = serde_saphyr::Options::default();
    options.strict_booleans = true;
    options.duplicate_keys = serde_saphyr::DuplicateKeyPolicy::Error;
    let documents: Vec<Spanned<Bare>> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| first_line(&error.to_string()))?;
    Ok(documents.into_iter().map(node).filter(|node| node.value != Value::Null).collect())
}

/// A JSON file.
pub(crate) fn json(text: &str) -> Result<Node, String> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}; mend the file"))?;
    Ok(of_json(&value))
}

fn of_json(value: &serde_json::Value) -> Node {
    use serde_json::Value as Json;
    Node::new(match value {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Flag(*flag),
        Json::Number(number) => Value::Number(number.to_string()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(of_json).collect()),
        Json::Object(map) => Value::Map(map.iter().map(|(key, value)| (key.clone(), of_json(value))).collect()),
    })
}

/// A TOML file.
pub(crate) fn toml(text: &str) -> Result<Node, String> {
    too_deep(text)?;
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| format!("this is no TOML: {}; mend the file", error.message()))?;
    Ok(of_toml(&toml::Value::Table(table)))
}

fn of_toml(value: &toml::Value) -> Node {
    Node::new(match value {
        toml::Value::String(text) => Value::Text(text.clone()),
        toml::Value::Integer(number) => Value::Number(number.to_string()),
        toml::Value::Float(number) => Value::Number(number.to_string()),
        toml::Value::Boolean(flag) => Value::Flag(*flag),
        toml::Value::Datetime(time) => Value::Text(time.to_string()),
        toml::Value::Array(items) => Value::List(items.iter().map(of_toml).collect()),
        toml::Value::Table(map) => Value::Map(map.iter().map(|(key, value)| (key.clone(), of_toml(value))).collect()),
    })
}

/// Refuses a text whose brackets are nested deeper than any file of a person: readers of trees call themselves.
pub(crate) fn too_deep(text: &str) -> Result<(), String> {
    let (mut depth, mut line) = (0usize, 1usize);
    for byte in text.bytes() {
        match byte {
            b'\n' => line += 1,
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(format!(
                "line {line} is nested deeper than {DEEPEST} levels; import the file it was made from"
            ));
        }
    }
    Ok(())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_keeps_lines_and_order() {
        let trees = yaml("b: 1\na:\n  - x\n  - y: yes\n---\nc: &one {d: 2}\ne: *one\n").unwrap();
        assert_eq!(trees.len(), 2);
        let Value::Map(entries) = &trees[0].value else { panic!("a map") };
        assert_eq!(entries[0], ("b".to_owned(), Node { line: 1, value: Value::Number("1".to_owned()) }));
        assert_eq!(entries[1].0, "a");
        assert_eq!(entries[1].1.line, 2);
        let Value::List(items) = &entries[1].1.value else { panic!("a list") };
        assert_eq!(items[1].find("y").unwrap().value, Value::Text("yes".to_owned()));
        assert_eq!(trees[1].find("e").unwrap().find("d").unwrap().scalar().unwrap(), "2");
    }

    #[test]
    fn hostile_texts_are_refused_quickly() {
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
            + &('b'..='z').fold(String::new(), |text, c| {
                let before = format!("*{},", char::from(c as u8 - 1)).repeat(9);
                text + &format!("{c}: &{c} [{}]\n", before.trim_end_matches(','))
            });
        for text in [
            "[".repeat(100_000),
            "a: ".to_owned() + &"{a: ".repeat(100_000),
            bomb,
            (0..2_000).map(|level| " ".repeat(level) + "a:\n").collect(),
            "a: &a\n  b: *a\n".to_owned(),
            "\u{0}\u{1}".to_owned(),
            "a: 1\na: 2\n".to_owned(),
        ] {
            let began = std::time::Instant::now();
            assert!(yaml(&text).is_err(), "{}", &text[..text.len().min(40)]);
            // far more than it takes, however many others are at work
            assert!(began.elapsed() < std::time::Duration::from_mins(1));
        }
        assert!(json(&"[".repeat(100_000)).is_err());
        assert!(toml(&format!("a = {}", "[".repeat(100_000))).is_err());
    }
}
