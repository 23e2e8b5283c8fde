//! YAML from plain values: nulls are left out, and a key that begins with `# ` becomes a comment line.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

/// One document; long texts stay in one line.
pub(crate) fn document(value: &Value) -> String {
    folded(value, 10_000)
}

/// One document whose long texts are folded at this many characters.
pub(crate) fn folded(value: &Value, width: usize) -> String {
    let options = serde_saphyr::ser_options! { compact_list_indent: false, folded_wrap_chars: width };
    let comments = std::cell::RefCell::new(Vec::new());
    let text = serde_saphyr::to_string_with_options(&Node { value, comments: &comments }, options)
        .expect("maps with text keys, lists and plain scalars have a form in YAML");
    place(&text, &comments.borrow())
}

/// Several documents in one stream.
pub(crate) fn documents<'v>(values: impl IntoIterator<Item = &'v Value>) -> String {
    values.into_iter().map(document).collect::<Vec<_>>().join("---\n")
}

/// Stands where a comment goes until the text is there.
const PLACE: &str = "#comment-";

struct Node<'v> {
    value: &'v Value,
    comments: &'v std::cell::RefCell<Vec<&'v str>>,
}

impl<'v> Node<'v> {
    fn of(&self, value: &'v Value) -> Self {
        Self { value, comments: self.comments }
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Object(map) => {
                let mut entries = serializer.serialize_map(None)?;
                for (key, value) in map {
                    if let Some(comment) = key.strip_prefix("# ") {
                        let at = self.comments.borrow().len();
                        self.comments.borrow_mut().push(comment);
                        entries.serialize_entry(&format!("{PLACE}{at}"), &0)?;
                    } else if !value.is_null() {
                        entries.serialize_entry(key, &self.of(value))?;
                    }
                }
                entries.end()
            }
            Value::Array(list) => serializer.collect_seq(list.iter().map(|item| self.of(item))),
            other => other.serialize(serializer),
        }
    }
}

/// Puts the comments where their places are.
fn place(text: &str, comments: &[&str]) -> String {
    let mut whole = String::with_capacity(text.len());
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let at = line.trim_start().trim_start_matches(['"', '\'']).strip_prefix(PLACE);
        let comment = at.and_then(|rest| {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            comments.get(rest[..digits].parse::<usize>().ok()?)
        });
        match comment {
            Some(comment) => {
                whole.push_str(&line[..indent]);
                whole.push_str("# ");
                whole.push_str(comment);
            }
            None => whole.push_str(line),
        }
        whole.push('\n');
    }
    whole
}

#[cfg(test)]
mod tests {
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
}
