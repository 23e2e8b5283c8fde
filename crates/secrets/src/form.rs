//! What a value must look like.

use std::net::IpAddr;

use stack::{Period, VariableForm};

/// Why a value does not have its form, and how to mend it when that can be guessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// What is expected, as in `a port from 1 to 65535`.
    pub(crate) expected: String,
    /// The nearest value that would do.
    pub(crate) suggestion: Option<String>,
}

/// Checks `value` against `form`.
pub(crate) fn check(form: &VariableForm, value: &str) -> Result<(), Wrong> {
    let (good, expected) = match form {
        VariableForm::Text => return Ok(()),
        VariableForm::OneOf(allowed) => return one_of(allowed, value),
        VariableForm::Boolean => return boolean(value),
        VariableForm::Url => (is_url(value), "a URL with a scheme and a host, as in `https://example.com`"),
        VariableForm::UrlList => (
            value.split(',').all(|url| is_url(url.trim())),
            "URLs with a scheme and a host, separated by commas, as in `https://a.example,https://b.example`",
        ),
        VariableForm::Integer => (value.parse::<i64>().is_ok(), "a whole number"),
        VariableForm::Port => (is_port(value), "a port from 1 to 65535"),
        VariableForm::Email => (is_email(value), "an email address, as in `mail@example.com`"),
        VariableForm::Duration => (value.parse::<Period>().is_ok(), "a duration, as in `90s` or `1h30m`"),
        VariableForm::Host => (is_host(value), "a host name or an IP address, as in `db.example.com`"),
    };
    if good { Ok(()) } else { Err(Wrong { expected: expected.to_owned(), suggestion: None }) }
}

fn one_of(allowed: &[String], value: &str) -> Result<(), Wrong> {
    if allowed.iter().any(|one| one == value) {
        return Ok(());
    }
    let list: Vec<String> = allowed.iter().map(|one| format!("`{one}`")).collect();
    let expected = format!("one of {}", list.join(", "));
    Err(Wrong { expected, suggestion: nearest(value, allowed.iter().map(String::as_str)).map(str::to_owned) })
}

fn boolean(value: &str) -> Result<(), Wrong> {
    let suggestion = match value.to_ascii_lowercase().as_str() {
        _ if matches!(value, "true" | "false") => return Ok(()),
        "1" | "yes" | "y" | "on" | "true" => Some("true"),
        "0" | "no" | "n" | "off" | "false" => Some("false"),
        _ => None,
    };
    Err(Wrong { expected: "`true` or `false`".to_owned(), suggestion: suggestion.map(str::to_owned) })
}

/// The candidate a person most likely meant; `None` when none is near.
pub(crate) fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = text.to_lowercase();
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn is_url(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else { return false };
    let scheme_good = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // several hosts with their ports, as PostgreSQL and Kafka take them
    scheme_good && !value.contains(char::is_whitespace) && host.split(',').all(is_host_and_port)
}

fn is_host_and_port(value: &str) -> bool {
    if let Some(bracketed) = value.strip_prefix('[') {
        let Some((address, port)) = bracketed.split_once(']') else { return false };
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    match value.split_once(':') {
        Some((host, port)) => is_host(host) && is_port(port),
        None => is_host(value),
    }
}

fn is_port(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<u16>().is_ok_and(|port| port > 0)
}

/// An address, or labels of letters, digits, `-` and `_` joined by dots. The underscore is not a DNS host name's,
/// and container engines give it to their hosts all the same.
fn is_host(value: &str) -> bool {
    if value.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = value.strip_suffix('.').unwrap_or(value);
    let label_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // digits and dots alone are an address with a mistake in it, not a name
    let address_like = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && name.contains('.');
    name.len() <= 253 && name.split('.').all(label_good) && !address_like
}

fn is_email(value: &str) -> bool {
    let Some((person, host)) = value.split_once('@') else { return false };
    let unexpected = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',' | ';' | '@');
    !person.is_empty() && !value.replacen('@', "", 1).contains(unexpected) && is_host(host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn holds(form: &VariableForm, good: &[&str], bad: &[&str]) {
        for value in good {
            assert_eq!(check(form, value), Ok(()), "{value}");
        }
        for value in bad {
            assert!(check(form, value).is_err(), "{value:?} was taken for {form:?}");
        }
    }

    #[test]
    fn every_form_takes_what_it_should_and_nothing_else() {
        let urls = [
            "https://jobsprint.io",
            "postgres://u:p@db:5432/x?sslmode=require",
            "redis://[::1]:6379",
            "amqp://a_b/%2f",
        ];
        let lists = ["https://a.example", "https://a.example, https://b.example:8443"];
        holds(&VariableForm::Text, &["", " ", "ü"], &[]);
        holds(
            &VariableForm::Url,
            &urls,
            &["jobsprint.io", "://x", "https://", "https:// x", "ht tp://x", "https://a:b:c"],
        );
        holds(&VariableForm::Url, &["kafka://a:9092,b:9092"], &["https:///path", "https://a:99999", "https://[::1"]);
        holds(&VariableForm::UrlList, &lists, &["", "https://a.example,", "*", "https://a.example https://b.example"]);
        holds(&VariableForm::Integer, &["0", "-3", "+7"], &["", "1.5", "1e3", "0x1", " 1"]);
        holds(&VariableForm::Port, &["1", "5000", "65535"], &["0", "65536", "-1", "+1", "80x", ""]);
        holds(&VariableForm::Boolean, &["true", "false"], &["True", "1", "yes", ""]);
        holds(
            &VariableForm::Email,
            &["a@b.example", "a.b+c@localhost"],
            &["a", "@b", "a@", "a@b@c", "A <a@b.example>", "a b@c"],
        );
        holds(&VariableForm::Duration, &["7d", "1h30m", "500ms"], &["7", "", "forever", "-1s"]);
        holds(
            &VariableForm::Host,
            &["db", "db.example.com.", "10.0.0.1", "::1", "my_db"],
            &["", "a..b", "-a", "http://a", "10.0.0.256", "a:1"],
        );
    }

    #[test]
    fn a_near_miss_is_suggested() {
        let levels = ["debug", "info", "warn", "error"].map(str::to_owned).to_vec();
        let suggestion = |value| check(&VariableForm::OneOf(levels.clone()), value).unwrap_err().suggestion;
        assert_eq!(suggestion("wran").as_deref(), Some("warn"));
        assert_eq!(suggestion("INFO").as_deref(), Some("info"));
        assert_eq!(suggestion("verbose"), None);
        assert_eq!(check(&VariableForm::Boolean, "Yes").unwrap_err().suggestion.as_deref(), Some("true"));
    }

    proptest! {
        #[test]
        fn no_value_makes_a_check_panic(value in "\\PC{0,40}") {
            for form in [
                VariableForm::Url, VariableForm::UrlList, VariableForm::Integer, VariableForm::Port,
                VariableForm::Boolean, VariableForm::Email, VariableForm::Duration, VariableForm::Host,
                VariableForm::OneOf(vec!["a".into()]),
            ] {
                let _ = check(&form, &value);
            }
        }
    }
}
