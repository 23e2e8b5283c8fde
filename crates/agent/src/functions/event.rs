//! One event. Source: `CloudEvents` 1.0.2, JSON event format 1.0.2.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;

/// The version of the specification.
const VERSION: &str = "1.0";

/// Largest event as JSON, in bytes.
pub(crate) const LARGEST: usize = 1 << 20;

/// An event in the structured JSON form of `CloudEvents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CloudEvent {
    specversion: String,
    /// Unique among the events of its source.
    pub(crate) id: String,
    /// Where it happened, as in `/shop/production/bucket.files`.
    pub(crate) source: String,
    /// What happened, as in `slipway.bucket.object-created`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// What it happened to, as in the key of an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<Timestamp>,
    /// What the data are; JSON when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) datacontenttype: Option<String>,
    /// The data, as JSON or as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Value>,
    /// The data, when they are neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data_base64: Option<String>,
    /// Further attributes.
    #[serde(flatten)]
    pub(crate) extensions: Map<String, Value>,
}

impl CloudEvent {
    /// An event that happened now, without a subject.
    pub(crate) fn new(source: impl Into<String>, kind: impl Into<String>, data: Value) -> Self {
        Self {
            specversion: VERSION.to_owned(),
            id: id(),
            source: source.into(),
            kind: kind.into(),
            subject: None,
            time: Some(Timestamp::now()),
            datacontenttype: Some("application/json".to_owned()),
            data: Some(data),
            data_base64: None,
            extensions: Map::new(),
        }
    }

    /// The same about `subject`.
    pub(crate) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// The same with data of any kind: JSON and text stay readable, the rest becomes Base64.
    pub(crate) fn with_data(mut self, content_type: Option<&str>, bytes: &[u8]) -> Self {
        (self.data, self.data_base64) = (None, None);
        self.datacontenttype = content_type.map(str::to_owned);
        let json = content_type.is_none_or(is_json);
        if let Some(value) = json.then(|| serde_json::from_slice(bytes).ok()).flatten() {
            self.data = Some(value);
            self.datacontenttype.get_or_insert_with(|| "application/json".to_owned());
        } else if let Ok(text) = std::str::from_utf8(bytes) {
            self.data = Some(text.into());
            if json {
                self.datacontenttype = Some("text/plain".to_owned());
            }
        } else {
            self.data_base64 = Some(base64(bytes));
            if json {
                self.datacontenttype = Some("application/octet-stream".to_owned());
            }
        }
        self
    }

    /// Reads the structured form. Fails when an attribute is missing or of another version.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Error> {
        let event: Self = serde_json::from_slice(text).map_err(|error| {
            Error::failed(format!(
                "this is no CloudEvent ({error}); give it `specversion`, `id`, `source` and `type`, as CloudEvents 1.0 asks"
            ))
        })?;
        if event.specversion != VERSION {
            return Err(Error::failed(format!(
                "the event has specversion `{}`; write it in version {VERSION}",
                event.specversion
            )));
        }
        for (name, value) in [("id", &event.id), ("source", &event.source), ("type", &event.kind)] {
            if value.is_empty() || value.contains(['\0', '\n']) {
                return Err(Error::failed(format!("the event's `{name}` is empty or of several lines; give it one")));
            }
        }
        Ok(event)
    }

    /// As JSON.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|error| Error::failed(format!("cannot write an event: {error}")))
    }

    /// The variables that tell a program the most important of it.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        let mut set = |name: &str, value: &str| {
            // A zero byte cannot be in a variable.
            variables.insert(name.to_owned(), value.replace('\0', ""));
        };
        set("CE_SPECVERSION", &self.specversion);
        set("CE_ID", &self.id);
        set("CE_TYPE", &self.kind);
        set("CE_SOURCE", &self.source);
        set("CE_SUBJECT", self.subject.as_deref().unwrap_or_default());
        if let Some(time) = self.time {
            set("CE_TIME", &time.to_string());
        }
        variables
    }

    /// An attribute by its name, as text.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        match name {
            "id" => Some(self.id.clone()),
            "source" => Some(self.source.clone()),
            "type" => Some(self.kind.clone()),
            "subject" => self.subject.clone(),
            _ => self.extensions.get(name).map(plain),
        }
    }
}

/// A value as a person would write it.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A name for an event that no other has.
pub(crate) fn id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Whether a media type is JSON.
pub(crate) fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

/// Source: RFC 4648, section 4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) & 63;
            text.push(if digit <= chunk.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

/// Undoes [`base64`]; `None` when it is something else.
pub(crate) fn unbase64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let text = text.trim_end().trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        if chunk.len() == 1 {
            return None;
        }
        let mut group = 0;
        for at in 0..4 {
            group = group << 6 | chunk.get(at).map_or(Some(0), |byte| digit(*byte))?;
        }
        bytes.extend(&group.to_be_bytes()[1..chunk.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_what_the_specification_says() {
        let event = CloudEvent::new("/shop/dev/bucket.files", "slipway.bucket.object-created", json!({"key": "a.pdf"}));
        let event = event.about("a.pdf");
        let value: Value = serde_json::from_slice(&event.to_json().unwrap()).unwrap();
        assert_eq!(value["specversion"], "1.0");
        assert_eq!(value["type"], "slipway.bucket.object-created");
        assert_eq!(value["subject"], "a.pdf");
        assert_eq!(value["data"]["key"], "a.pdf");
        assert!(value.get("data_base64").is_none());
        assert_eq!(CloudEvent::parse(&event.to_json().unwrap()).unwrap(), event);
        assert_eq!(event.variables()["CE_SUBJECT"], "a.pdf");
        let theirs = br#"{"specversion":"1.0","id":"7","source":"/x","type":"t","tenant":"blue","data":[1]}"#;
        let theirs = CloudEvent::parse(theirs).unwrap();
        assert_eq!(theirs.attribute("tenant").unwrap(), "blue");
        assert_eq!(theirs.attribute("type").unwrap(), "t");
        for bad in [
            &br#"{"id":"7"}"#[..],
            br#"{"specversion":"0.3","id":"7","source":"/x","type":"t"}"#,
            br#"{"specversion":"1.0","id":"","source":"/x","type":"t"}"#,
            b"[]",
        ] {
            assert!(CloudEvent::parse(bad).is_err());
        }
    }

    #[test]
    fn data_of_any_kind_are_carried() {
        let of = |content_type, bytes: &[u8]| CloudEvent::new("/x", "t", Value::Null).with_data(content_type, bytes);
        assert_eq!(of(None, b"{\"a\":1}").data, Some(json!({"a": 1})));
        assert_eq!(of(Some("application/json; charset=utf-8"), b"[1]").data, Some(json!([1])));
        let text = of(None, b"hello");
        assert_eq!((text.data, text.datacontenttype.as_deref()), (Some(json!("hello")), Some("text/plain")));
        let text = of(Some("text/csv"), b"1,2");
        assert_eq!((text.data, text.datacontenttype.as_deref()), (Some(json!("1,2")), Some("text/csv")));
        let bytes = of(Some("image/png"), &[0xff, 0, 1]);
        assert_eq!((bytes.data, bytes.data_base64.as_deref()), (None, Some("/wAB")));
    }

    #[test]
    fn base64_is_the_standard_one() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, coded) in pairs {
            assert_eq!(base64(plain.as_bytes()), coded);
            assert_eq!(unbase64(coded).unwrap(), plain.as_bytes());
        }
        assert_eq!(unbase64("a"), None);
        assert_eq!(unbase64("ab!="), None);
    }
}
