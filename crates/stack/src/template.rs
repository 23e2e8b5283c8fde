//! Texts that take variables of the contract: `${NAME}`, and `$${` for the characters themselves.

use std::fmt::Write as _;

/// Why a text with variables was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// `${` without `}`.
    #[error("`${{` is never closed")]
    Open,
    /// What stands between the braces is no variable's name.
    #[error("`${{{0}}}` does not name a variable")]
    Name(String),
    /// Nobody knows this variable.
    #[error("the variable `{0}` has no value")]
    Unknown(String),
}

enum Part<'t> {
    Text(&'t str),
    Variable(&'t str),
}

/// Whether `name` can be a variable: capitals, digits and `_`, not starting with a digit.
pub(crate) fn is_variable_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, BadTemplate> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            parts.extend([Part::Text(&rest[..at - 1]), Part::Text("${")]);
            rest = &rest[at + 2..];
            continue;
        }
        let (name, after) = rest[at + 2..].split_once('}').ok_or(BadTemplate::Open)?;
        if !is_variable_name(name) {
            return Err(BadTemplate::Name(name.chars().take(60).collect()));
        }
        parts.extend([Part::Text(&rest[..at]), Part::Variable(name)]);
        rest = after;
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

/// The names of the variables a text takes, in order, repetitions included.
pub fn variables(text: &str) -> Result<Vec<&str>, BadTemplate> {
    let names = parts(text)?.into_iter().filter_map(|part| match part {
        Part::Variable(name) => Some(name),
        Part::Text(_) => None,
    });
    Ok(names.collect())
}

/// The text with every `${NAME}` replaced by what `find` says and every `$${` by `${`.
///
/// Fails with the first variable that `find` does not know.
pub fn expand<V: AsRef<str>>(text: &str, find: impl Fn(&str) -> Option<V>) -> Result<String, BadTemplate> {
    let mut whole = String::with_capacity(text.len());
    for part in parts(text)? {
        match part {
            Part::Text(text) => whole.push_str(text),
            Part::Variable(name) => {
                let value = find(name).ok_or_else(|| BadTemplate::Unknown(name.to_owned()))?;
                // writing to a String cannot fail
                let _ = whole.write_str(value.as_ref());
            }
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn variables_are_taken_and_escapes_kept() {
        let find = |name: &str| (name == "HOST").then_some("db");
        assert_eq!(expand("postgres://${HOST}/a", find), Ok("postgres://db/a".to_owned()));
        assert_eq!(expand("$${HOST} $5 ${HOST}", find), Ok("${HOST} $5 db".to_owned()));
        assert_eq!(expand("${OTHER}", find), Err(BadTemplate::Unknown("OTHER".to_owned())));
        assert_eq!(variables("${A}${B}$${C}"), Ok(vec!["A", "B"]));
        assert_eq!(variables("${A"), Err(BadTemplate::Open));
        assert!(variables("${a}").is_err() && variables("${}").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[$a-zA-Z{}é]{0,20}") {
            let _ = variables(&text);
        }

        #[test]
        fn a_text_without_dollars_stays(text in "[^$]{0,20}") {
            prop_assert_eq!(expand(&text, |_| None::<&str>), Ok(text));
        }
    }
}
