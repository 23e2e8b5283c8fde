//! What a value of the environment contract must look like.

use std::net::IpAddr;

use crate::{Period, Variable, VariableForm, suggest::listed};

impl Variable {
    /// What `value` should have been instead, in words such as "a port from 1 to 65535"; `None` when it fits.
    ///
    /// Never repeats the value, so the answer may be shown for secrets too.
    pub fn mismatch(&self, value: &str) -> Option<String> {
        let length = value.chars().count();
        if let Some(least) = self.min_length.filter(|least| length < *least) {
            return Some(format!("at least {least} characters, not {length}"));
        }
        if let Some(most) = self.max_length.filter(|most| length > *most) {
            return Some(format!("at most {most} characters, not {length}"));
        }
        (!self.form.accepts(value)).then(|| self.form.expected())
    }
}

impl VariableForm {
    /// Whether `value` has this form.
    pub fn accepts(&self, value: &str) -> bool {
        match self {
            VariableForm::Text => true,
            VariableForm::OneOf(allowed) => allowed.iter().any(|one| one == value),
            VariableForm::Url => is_url(value),
            VariableForm::UrlList => value.split(',').all(|part| is_url(part.trim())),
            VariableForm::Integer => value.parse::<i64>().is_ok(),
            VariableForm::Port => {
                value.bytes().all(|b| b.is_ascii_digit()) && value.parse::<u16>().is_ok_and(|port| port > 0)
            }
            VariableForm::Boolean => value == "true" || value == "false",
            VariableForm::Email => {
                let clean = !value.chars().any(|c| c.is_whitespace() || c.is_control());
                clean && value.split_once('@').is_some_and(|(user, host)| !user.is_empty() && is_host(host))
            }
            VariableForm::Duration => value.parse::<Period>().is_ok(),
            VariableForm::Host => is_host(value),
        }
    }

    /// The form in words that follow "expected" or "write".
    pub fn expected(&self) -> String {
        match self {
            VariableForm::Text => "any text".to_owned(),
            VariableForm::OneOf(allowed) => listed(allowed.iter().map(String::as_str)),
            VariableForm::Url => "a URL such as `https://example.com`".to_owned(),
            VariableForm::UrlList => {
                "URLs separated by commas, such as `https://a.example,https://b.example`".to_owned()
            }
            VariableForm::Integer => "a whole number".to_owned(),
            VariableForm::Port => "a port from 1 to 65535".to_owned(),
            VariableForm::Boolean => "`true` or `false`".to_owned(),
            VariableForm::Email => "an address such as `post@example.com`".to_owned(),
            VariableForm::Duration => "a duration such as `90s` or `1h30m`".to_owned(),
            VariableForm::Host => "a host name or an IP address".to_owned(),
        }
    }
}

fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    scheme_ok
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && !host.is_empty()
        && !host.starts_with(':')
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_accept_what_they_say() {
        let cases = [
            (VariableForm::Url, "postgres://u:p@db:5432/x", "example.com"),
            (VariableForm::UrlList, "https://a.io, https://b.io", "https://a.io,"),
            (VariableForm::Integer, "-5", "5.0"),
            (VariableForm::Port, "5000", "70000"),
            (VariableForm::Boolean, "true", "yes"),
            (VariableForm::Email, "a@b.io", "a.b.io"),
            (VariableForm::Duration, "7d", "7 days"),
            (VariableForm::Host, "db.internal", "db internal"),
            (VariableForm::OneOf(vec!["a".to_owned()]), "a", "b"),
        ];
        for (form, good, bad) in cases {
            assert!(form.accepts(good), "{form:?} refused {good}");
            assert!(!form.accepts(bad), "{form:?} accepted {bad}");
        }
    }
}
