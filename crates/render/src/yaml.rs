//! YAML from plain values: nulls are left out, and a key that begins with `# ` becomes a comment line.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// One document; long texts stay in one line.
pub(crate) fn document(value: &Value) -> String {
    folded(value, 10_000)
}

/// One document whose long texts are folded at this many characters.
pub(crate) fn folded(value: &Value, width: usize) -> String {
    let mut writer = Writer { text: String::new(), width };
    writer.block(value);
    writer.text
}

/// Several documents in one stream.
pub(crate) fn documents<'v>(values: impl IntoIterator<Item = &'v Value>) -> String {
    let mut writer = Writer { text: String::new(), width: 10_000 };
    for (at, value) in values.into_iter().enumerate() {
        if at > 0 {
            writer.text.push_str("---\n");
        }
        writer.block(value);
    }
    writer.text
}

/// Lays out maps and lists; how an unusual scalar is written is left to the library.
struct Writer {
    text: String,
    width: usize,
}

/// Whether there is anything in it below a key or a dash.
fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| key.starts_with("# ") || !value.is_null()),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    }
}

impl Writer {
    fn block(&mut self, value: &Value) {
        match value {
            Value::Object(map) if is_block(value) => self.entries(map, 0, false),
            Value::Array(list) if is_block(value) => self.items(list, 0, false),
            other => {
                self.scalar(other, 0);
                self.text.remove(0);
            }
        }
    }

    fn indent(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }

    /// The entries of a map, each in lines of its own; `inline` when the first goes on where a dash stands.
    fn entries(&mut self, map: &Map<String, Value>, indent: usize, mut inline: bool) {
        for (key, value) in map {
            let comment = key.strip_prefix("# ");
            if comment.is_none() && value.is_null() {
                continue;
            }
            if !std::mem::take(&mut inline) {
                self.indent(indent);
            }
            if let Some(comment) = comment {
                self.text.push_str("# ");
                self.text.push_str(comment);
                self.text.push('\n');
                continue;
            }
            self.key(key);
            self.text.push(':');
            match value {
                Value::Object(map) if is_block(value) => {
                    self.text.push('\n');
                    self.entries(map, indent + 2, false);
                }
                Value::Array(list) if is_block(value) => {
                    self.text.push('\n');
                    self.items(list, indent + 2, false);
                }
                other => self.scalar(other, indent),
            }
        }
    }

    fn items(&mut self, list: &[Value], indent: usize, mut inline: bool) {
        for item in list {
            if !std::mem::take(&mut inline) {
                self.indent(indent);
            }
            self.text.push('-');
            match item {
                Value::Object(map) if is_block(item) => {
                    self.text.push(' ');
                    self.entries(map, indent + 2, true);
                }
                Value::Array(list) if is_block(item) => {
                    self.text.push(' ');
                    self.items(list, indent + 2, true);
                }
                other => self.scalar(other, indent),
            }
        }
    }

    fn key(&mut self, key: &str) {
        if is_plain(key) && !key.contains(':') {
            self.text.push_str(key);
        } else {
            let pair = library(&BTreeMap::from([(key, 0)]), self.width);
            self.text.push_str(pair.trim_end_matches(": 0\n"));
        }
    }

    /// A space, the scalar (or an empty map or list) and the end of the line; further lines of a text below `indent`.
    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::String(text) if text.len() <= self.width && is_plain(text) => {
                self.text.push(' ');
                self.text.push_str(text);
                self.text.push('\n');
            }
            Value::Bool(true) => self.text.push_str(" true\n"),
            Value::Bool(false) => self.text.push_str(" false\n"),
            Value::Object(_) => self.text.push_str(" {}\n"),
            other => {
                let pair = library(&BTreeMap::from([("k", other)]), self.width);
                for (at, line) in pair.trim_start_matches("k:").lines().enumerate() {
                    if at > 0 && !line.is_empty() {
                        self.indent(indent);
                    }
                    self.text.push_str(line);
                    self.text.push('\n');
                }
            }
        }
    }
}

/// Whether a text is sure to be read back as it is without quotes. What is not sure is asked of the library.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let begins = match first {
        b'a'..=b'z' | b'A'..=b'Z' => bytes.len() > 8 || !is_word(text),
        b'/' | b'<' => bytes.len() > 3,
        // with one of these letters it is no number
        b'0'..=b'9' => {
            bytes.iter().all(u8::is_ascii_alphanumeric) && bytes.iter().any(|b| matches!(b, b'g'..=b'n' | b'p'..=b'w'))
        }
        _ => false,
    };
    begins
        && !matches!(last, b' ' | b':')
        && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
        && !bytes.windows(2).any(|pair| pair == b": " || pair == b" #")
}

/// Words that some reader takes for something else.
fn is_word(text: &str) -> bool {
    const WORDS: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "inf", "nan"];
    text.eq_ignore_ascii_case("infinity") || WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

fn library(value: &impl serde::Serialize, width: usize) -> String {
    let options = serde_saphyr::ser_options! { compact_list_indent: false, folded_wrap_chars: width };
    serde_saphyr::to_string_with_options(value, options)
        .expect("maps with text keys, lists and plain scalars have a form in YAML")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn comments_stand_above_and_nulls_are_gone() {
        let text = document(&json!({
            "# It's the first: \"one\".": null,
            "a": 1,
            "gone": null,
            "b": { "# inside": null, "c": ["x", { "d": "yes", "e": "1:2" }], "on": "a\nb\n" },
        }));
        insta::assert_snapshot!(text);
        let back: Value = serde_saphyr::from_str(&text).expect("YAML");
        assert_eq!(back, json!({ "a": 1, "b": { "c": ["x", { "d": "yes", "e": "1:2" }], "on": "a\nb\n" } }));
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~]{0,12}",
            "[a-z0-9:# <>/.%-]{1,12}",
            "(yes|No|on|null|nan|Infinity|1e3|0x1f|12m|1_000|~|3f9c2a1|.inf)",
            "[a-z \n:#-]{0,20}",
            "[ -~äß✓\u{1}\u{7f}]{0,12}",
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            text().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            (-1e6..1e6_f64).prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            let key = text().prop_filter("a comment", |key| !key.starts_with("# "));
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((key, inner), 0..4).prop_map(|pairs| pairs.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back(value in value(), width in prop_oneof![Just(40_usize), Just(10_000)]) {
            let text = folded(&value, width);
            let back: Value = serde_saphyr::from_str(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            prop_assert_eq!(back, value, "{}", text);
        }
    }
}
