//! `${NAME}` in the stack's values: `env`, and the `url` of a database, cache or queue. The syntax is
//! [`stack::template`]'s; here it meets the values there are.

use std::collections::{BTreeMap, BTreeSet};

use stack::template::{self, BadTemplate};

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
        "`${{{text}}}` is not a reference; write `${{NAME}}` in capitals, digits and `_`, or `$${{` for these characters themselves"
    )]
    NotAName {
        /// What stands between the braces.
        text: String,
    },
}

/// Replaces each `${NAME}` in `text` by that variable's value; `$${` becomes `${`. Everything else stays as it is, a
/// `$NAME` without braces too, and values are never looked at a second time.
///
/// Fails with every name that has no value, in the text's order; or with the first thing that is no reference at all,
/// which a checked stack does not have.
pub fn interpolate(text: &str, values: &BTreeMap<String, String>) -> Result<String, Vec<BadReference>> {
    let unknown = |name: &str| BadReference::Unknown {
        name: name.to_owned(),
        suggestion: stack::suggest(name, values.keys().map(String::as_str)).map(str::to_owned),
    };
    let bad = |bad| match bad {
        BadTemplate::Open => BadReference::Open,
        BadTemplate::Name(text) => BadReference::NotAName { text },
        BadTemplate::Unknown(name) => unknown(&name),
    };
    let mut seen = BTreeSet::new();
    let names = template::variables(text).map_err(|error| vec![bad(error)])?;
    let missing = names.into_iter().filter(|name| !values.contains_key(*name) && seen.insert(*name));
    let missing: Vec<BadReference> = missing.map(unknown).collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    template::expand(text, |name| values.get(name)).map_err(|error| vec![bad(error)])
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
        ] {
            assert_eq!(interpolate(text, &values()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn every_name_without_a_value_is_said_at_once() {
        let shown = |text| -> Vec<String> {
            interpolate(text, &values()).unwrap_err().iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            shown("${HOTS} ${NOWHERE} ${HOTS} ${HOST}"),
            [
                "`${HOTS}` is not a variable with a value; did you mean `${HOST}`?",
                "`${NOWHERE}` is not a variable with a value; declare `NOWHERE` under `[variable]`, or write `$${` for these characters themselves",
            ]
        );
        assert_eq!(
            shown("${a-b}"),
            [
                "`${a-b}` is not a reference; write `${NAME}` in capitals, digits and `_`, or `$${` for these characters themselves"
            ]
        );
        assert_eq!(
            shown("${HOST"),
            ["a `${` is never closed; add the `}`, or write `$${` for these characters themselves"]
        );
    }

    proptest! {
        #[test]
        fn a_text_without_references_stays(text in "[^$]{0,30}") {
            prop_assert_eq!(interpolate(&text, &BTreeMap::new()).ok(), Some(text));
        }
    }
}
