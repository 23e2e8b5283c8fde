//! `${NAME}` in the stack's values: `env`, and the `url` of a database, cache or queue.

use std::collections::{BTreeMap, BTreeSet};

use crate::form::nearest;

/// Why a value cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReference {
    /// There is no variable of that name with a value.
    #[error("`${{{name}}}` is not a variable with a value; {}", match suggestion {
        Some(suggestion) => format!("did you mean `${{{suggestion}}}`?"),
        None => format!("declare `{name}` under `[variable]`, or write `$${{` for these characters themselves"),
    })]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The nearest that there is.
        suggestion: Option<String>,
    },
    /// `${` without its `}`.
    #[error("a `${{` is never closed; add the `}}`, or write `$${{` for these characters themselves")]
    Open,
    /// Something between the braces that is not a name.
    #[error(
        "`${{{text}}}` is not a reference; write `${{NAME}}` with letters, digits and `_`, or `$${{` for these characters themselves"
    )]
    NotAName {
        /// What stands between the braces.
        text: String,
    },
}

/// Replaces each `${NAME}` in `text` by that variable's value; `$${` becomes `${`. Everything else stays as it is, a
/// `$NAME` without braces too, and values are never looked at a second time.
///
/// Fails with everything that is wrong with `text`, in its order.
pub fn interpolate(text: &str, values: &BTreeMap<String, String>) -> Result<String, Vec<BadReference>> {
    let mut result = String::with_capacity(text.len());
    let mut bad = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => result.push_str(text),
            Piece::Name(name) => match values.get(name) {
                Some(value) => result.push_str(value),
                None => bad.push(BadReference::Unknown {
                    name: name.to_owned(),
                    suggestion: nearest(name, values.keys().map(String::as_str)).map(str::to_owned),
                }),
            },
            Piece::Bad(reference) => bad.push(reference),
        }
    }
    if bad.is_empty() { Ok(result) } else { Err(bad) }
}

/// The names that `text` refers to.
pub fn names(text: &str) -> BTreeSet<&str> {
    pieces(text).into_iter().filter_map(|piece| if let Piece::Name(name) = piece { Some(name) } else { None }).collect()
}

/// A text cut at its references.
enum Piece<'t> {
    Text(&'t str),
    Name(&'t str),
    Bad(BadReference),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('$') {
            pieces.extend([Piece::Text(before), Piece::Text("${")]);
            rest = &reference["${".len()..];
            continue;
        }
        pieces.push(Piece::Text(before));
        let Some(end) = reference.find('}') else {
            pieces.push(Piece::Bad(BadReference::Open));
            return pieces;
        };
        let name = &reference["${".len()..end];
        let good = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let bad = || Piece::Bad(BadReference::NotAName { text: name.to_owned() });
        pieces.push(if good { Piece::Name(name) } else { bad() });
        rest = &reference[end + 1..];
    }
    pieces.push(Piece::Text(rest));
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> BTreeMap<String, String> {
        [("HOST", "db"), ("PASSWORD", "p${HOST}$${x"), ("EMPTY", "")].map(|(n, v)| (n.to_owned(), v.to_owned())).into()
    }

    #[test]
    fn references_are_replaced_once() {
        for (text, expected) in [
            ("", ""),
            ("plain $HOST $$ $5", "plain $HOST $$ $5"),
            ("postgres://u:${PASSWORD}@${HOST}/x${EMPTY}", "postgres://u:p${HOST}$${x@db/x"),
            ("$${HOST} ${HOST}", "${HOST} db"),
            ("a$$${HOST}", "a$${HOST}"),
            ("${HOST}${HOST}", "dbdb"),
        ] {
            assert_eq!(interpolate(text, &values()).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(names("${A} $${B} ${A}${C}"), BTreeSet::from(["A", "C"]));
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let bad = interpolate("${HOTS} ${NOWHERE} ${} ${1} ${A-b} ${HOST", &values()).unwrap_err();
        let shown: Vec<String> = bad.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "`${HOTS}` is not a variable with a value; did you mean `${HOST}`?",
                "`${NOWHERE}` is not a variable with a value; declare `NOWHERE` under `[variable]`, or write `$${` for these characters themselves",
                "`${}` is not a reference; write `${NAME}` with letters, digits and `_`, or `$${` for these characters themselves",
                "`${1}` is not a reference; write `${NAME}` with letters, digits and `_`, or `$${` for these characters themselves",
                "`${A-b}` is not a reference; write `${NAME}` with letters, digits and `_`, or `$${` for these characters themselves",
                "a `${` is never closed; add the `}`, or write `$${` for these characters themselves",
            ]
        );
    }

    proptest! {
        #[test]
        fn a_text_without_references_stays(text in "[^$]{0,30}") {
            prop_assert_eq!(interpolate(&text, &BTreeMap::new()).ok(), Some(text));
        }

        #[test]
        fn an_escaped_text_comes_back(text in "[a${}A_]{0,20}") {
            // a `$` right before an escape belongs to no escape of its own
            let escaped = text.replace("${", "$${");
            prop_assert_eq!(interpolate(&escaped, &values()).ok(), Some(text));
        }
    }
}
