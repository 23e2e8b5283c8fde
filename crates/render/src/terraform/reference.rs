//! References in values: what they name, and others put in their place.

use serde_json::Value;

/// A reference to a resource, to data, to a variable or to a local.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference<'t> {
    /// `aws_vpc.main`, `data.aws_region.current`, `var.region`, `local.name`.
    pub(crate) address: &'t str,
    /// What is in brackets behind it, itself rewritten; never of a variable or a local.
    pub(crate) index: Option<String>,
    /// The attribute that is read; never of a variable or a local.
    pub(crate) attribute: Option<&'t str>,
}

/// Shows every reference inside a value, in order; where `change` gives a text, that stands there from now on.
pub(crate) fn rewrite(value: &mut Value, change: &mut dyn FnMut(&Reference<'_>) -> Option<String>) {
    match value {
        Value::String(text) => {
            let code = text.starts_with("= ");
            if code || text.contains("${") {
                *text = Scan::over(text, change).all(code);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| rewrite(value, change)),
        Value::Object(map) => map.values_mut().for_each(|value| rewrite(value, change)),
        _ => {}
    }
}

/// Where a pass over a text is.
struct Scan<'t, 'c> {
    text: &'t str,
    at: usize,
    /// What is before this is in `done`.
    copied: usize,
    done: String,
    change: &'c mut dyn FnMut(&Reference<'_>) -> Option<String>,
}

impl<'t, 'c> Scan<'t, 'c> {
    fn over(text: &'t str, change: &'c mut dyn FnMut(&Reference<'_>) -> Option<String>) -> Self {
        Self { text, at: 0, copied: 0, done: String::with_capacity(text.len()), change }
    }

    fn all(mut self, code: bool) -> String {
        if code {
            self.code(None);
        } else {
            self.template(None);
        }
        self.done.push_str(&self.text[self.copied..]);
        self.done
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn follows(&self, what: &str) -> bool {
        self.text.as_bytes()[self.at..].starts_with(what.as_bytes())
    }

    /// An expression, and the bracket that ends it.
    fn code(&mut self, end: Option<u8>) {
        let mut after_dot = false;
        while let Some(byte) = self.peek() {
            if Some(byte) == end {
                self.at += 1;
                return;
            }
            match byte {
                b'"' => {
                    self.at += 1;
                    self.template(Some(b'"'));
                }
                b'{' | b'[' | b'(' => {
                    self.at += 1;
                    self.code(Some(match byte {
                        b'{' => b'}',
                        b'[' => b']',
                        _ => b')',
                    }));
                }
                b'a'..=b'z' | b'A'..=b'Z' | b'_' if !after_dot => self.reference(),
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => drop(self.word()),
                _ => self.at += 1,
            }
            after_dot = byte == b'.';
        }
    }

    /// A text, and the quote that ends it.
    fn template(&mut self, end: Option<u8>) {
        while let Some(byte) = self.peek() {
            if Some(byte) == end {
                self.at += 1;
                return;
            }
            if byte == b'\\' && end.is_some() {
                self.at += 2;
            } else if self.follows("$${") || self.follows("%%{") {
                self.at += 3;
            } else if self.follows("${") || self.follows("%{") {
                self.at += 2;
                self.code(Some(b'}'));
            } else {
                self.at += 1;
            }
        }
    }

    fn word(&mut self) -> &'t str {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    /// `.word`, when it stands here.
    fn member(&mut self) -> Option<&'t str> {
        let next = self.text.as_bytes().get(self.at + 1);
        if self.peek() != Some(b'.') || !next.is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_') {
            return None;
        }
        self.at += 1;
        Some(self.word())
    }

    fn reference(&mut self) {
        let start = self.at;
        let root = self.word();
        let names = match root {
            "data" => 2,
            "var" | "local" => 1,
            _ if root.starts_with("aws_") || root.starts_with("random_") => 1,
            _ => return,
        };
        if (0..names).any(|_| self.member().is_none()) {
            return;
        }
        let behind = self.at;
        let address = &self.text[start..behind];
        let (mut index, mut attribute) = (None, None);
        if !matches!(root, "var" | "local") {
            if self.peek() == Some(b'[') {
                self.at += 1;
                let mut inside = Scan::over(self.text, self.change);
                (inside.at, inside.copied) = (self.at, self.at);
                inside.code(Some(b']'));
                let end = inside.at;
                inside.done.push_str(&self.text[inside.copied..end.max(inside.copied + 1) - 1]);
                index = Some(inside.done);
                self.at = end;
            }
            attribute = self.member();
        }
        if let Some(other) = (self.change)(&Reference { address, index, attribute }) {
            self.done.push_str(&self.text[self.copied..start]);
            self.done.push_str(&other);
            self.copied = self.at;
        } else {
            // what is in the brackets may yet change
            self.at = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let mut seen = Vec::new();
        rewrite(&mut json!(text), &mut |reference| {
            let index = reference.index.as_ref().map(|index| format!("[{index}]")).unwrap_or_default();
            let attribute = reference.attribute.map(|name| format!(".{name}")).unwrap_or_default();
            seen.push(format!("{}{index}{attribute}", reference.address));
            None
        });
        seen
    }

    #[test]
    fn references_are_found_in_expressions_and_templates() {
        for (text, found) in [
            ("= aws_vpc.main.id", vec!["aws_vpc.main.id"]),
            ("= aws_subnet.private[*].id", vec!["aws_subnet.private[*].id"]),
            ("http://${aws_lb.main.dns_name}/${var.region}", vec!["aws_lb.main.dns_name", "var.region"]),
            ("= var.databases[\"main\"].class", vec!["var.databases"]),
            ("= merge(local.a, { x = data.aws_region.current.name })", vec!["local.a", "data.aws_region.current.name"]),
            ("= \"aws_vpc.main ${aws_vpc.main.id}\"", vec!["aws_vpc.main.id"]),
            ("aws_vpc.main.id $${aws_vpc.main.id}", vec![]),
            ("= aws_mq_broker.q.instances[0].endpoints[0]", vec!["aws_mq_broker.q.instances"]),
            ("= each.value.aws_vpc.main", vec![]),
        ] {
            assert_eq!(shown(text), found, "{text}");
        }
    }

    #[test]
    fn others_stand_in_their_place() {
        let mut value = json!(["= x(aws_a.b[aws_c.d.id].e, 1).f", "${aws_c.d.id}-é-${aws_c.d.id}"]);
        rewrite(&mut value, &mut |reference| match (reference.address, &reference.index) {
            ("aws_c.d", _) => Some("var.c".to_owned()),
            ("aws_a.b", Some(index)) => Some(format!("var.b[{index}]")),
            _ => None,
        });
        assert_eq!(value, json!(["= x(var.b[var.c], 1).f", "${var.c}-é-${var.c}"]));
    }
}
