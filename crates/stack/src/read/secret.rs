//! Secrets written in plain text: by the name that holds them, or by how they look.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::section::Entry;
use crate::Problem;

const CODE: &str = "plain-secret";
const PASSWORD: &str = "an address with a password";

/// How well-known secrets begin, and what they are.
const SHAPES: [(&str, usize, &str); 10] = [
    ("AKIA", 16, "an AWS access key"),
    ("ASIA", 16, "an AWS access key"),
    ("AGE-SECRET-KEY-1", 20, "an age private key"),
    ("ghp_", 30, "a GitHub token"),
    ("github_pat_", 30, "a GitHub token"),
    ("glpat-", 20, "a GitLab token"),
    ("sk_live_", 16, "a Stripe key"),
    ("xoxb-", 20, "a Slack token"),
    ("xoxp-", 20, "a Slack token"),
    ("SG.", 60, "a SendGrid key"),
];

/// What secret `text` holds by its looks, if any.
pub(crate) fn find(text: &str) -> Option<&'static str> {
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    if has_password(text) {
        return Some(PASSWORD);
    }
    let token = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
    let shaped = |&(start, least, _): &(&str, usize, &str)| {
        text.match_indices(start).any(|(at, _)| {
            let free = !text[..at].ends_with(token);
            free && text[at + start.len()..].chars().take_while(|c| token(*c)).count() >= least
        })
    };
    SHAPES.iter().find(|shape| shaped(shape)).map(|(_, _, what)| *what)
}

/// `scheme://user:password@host` with a password that is no `${NAME}`.
fn has_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        let authority =
            &rest[..rest.find(|c: char| c == '/' || c == '?' || c.is_whitespace() || c == '"').unwrap_or(rest.len())];
        let password =
            authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password);
        password.is_some_and(|password| !password.is_empty() && !password.starts_with("${"))
    })
}

/// Whether a variable of this name holds a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let words: Vec<&str> = upper.split('_').collect();
    let open = words.iter().any(|word| ["PUBLIC", "PUBLISHABLE", "SITE"].contains(word));
    let before = words.len().checked_sub(2).and_then(|at| words.get(at)).copied().unwrap_or_default();
    match words.last().copied().unwrap_or_default() {
        "PASSWORD" | "PASSWD" | "PASS" | "PASSPHRASE" | "SECRET" | "CREDENTIALS" | "APIKEY" => true,
        "TOKEN" => !open,
        "KEY" => {
            !open
                && ["", "API", "SECRET", "PRIVATE", "ACCESS", "ENCRYPTION", "SIGNING", "MASTER", "AUTH", "JWT"]
                    .contains(&before)
        }
        _ => false,
    }
}

/// Notes a literal value under a name that says "secret".
pub(crate) fn check_named(entry: &Entry<'_>, name: &str, value: &str) {
    let literal = !value.is_empty() && !value.contains("${") && value != "true" && value != "false";
    if literal && is_secret_name(name) && find(value).is_none() {
        let message = format!("{} looks like a secret in plain text", entry.path.place());
        entry.notes.add(entry.problem(CODE, message).with_mend(mend(name)));
    }
}

fn mend(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    format!(
        "declare `{name} = {{ secret = true }}` in [variable], write `${{{name}}}` where it is used, and change the secret: it has been seen"
    )
}

fn mend_password(name: &str) -> String {
    let name = if name == "SECRET" { "PASSWORD".to_owned() } else { format!("{name}_PASSWORD") };
    format!(
        "declare `{name} = {{ secret = true }}` in [variable], write `${{{name}}}` in place of the password, and change it: it has been seen"
    )
}

/// Finds secrets by their looks in every text of the document.
pub(crate) fn search(table: &DeTable<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, value) in table {
        search_value(name.get_ref(), value.get_ref(), &value.span(), name.get_ref(), &mut problems);
    }
    problems
}

fn search_value(path: &str, value: &DeValue<'_>, span: &Range<usize>, last: &str, problems: &mut Vec<Problem>) {
    match value {
        DeValue::String(text) => {
            let Some(what) = find(text) else { return };
            // the default of a variable is named by the variable
            let last = if last == "default" { path.rsplit('.').nth(1).unwrap_or(last) } else { last };
            let problem = Problem::error(CODE, path, format!("`{last}` holds {what} in plain text"));
            let name = if crate::template::is_variable_name(last) { last } else { "SECRET" };
            let mend = if what == PASSWORD { mend_password(name) } else { mend(name) };
            problems.push(problem.with_span(span.clone()).with_mend(mend));
        }
        DeValue::Array(items) => {
            items.iter().for_each(|item| search_value(path, item.get_ref(), &item.span(), last, problems));
        }
        DeValue::Table(table) => {
            for (name, value) in table {
                // a path is only built where it may be needed
                let deeper =
                    matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) || has_mark(value.get_ref());
                if deeper {
                    search_value(
                        &format!("{path}.{}", name.get_ref()),
                        value.get_ref(),
                        &value.span(),
                        name.get_ref(),
                        problems,
                    );
                }
            }
        }
        _ => {}
    }
}

fn has_mark(value: &DeValue<'_>) -> bool {
    value.as_str().is_some_and(|text| find(text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_looks() {
        for secret in [
            "postgres://user:hunter2@db/app",
            "AKIAIOSFODNN7EXAMPLE",
            "key=AKIAIOSFODNN7EXAMPLE;",
            "-----BEGIN RSA PRIVATE KEY-----\nMII",
            "sk_live_0123456789abcdef0123",
        ] {
            assert!(find(secret).is_some(), "{secret} was not seen");
        }
        for open in
            ["postgres://user:${PG_PASSWORD}@db/app", "postgres://user@db/app", "https://a.io/x:y@z", "AKIA", "age1qqq"]
        {
            assert!(find(open).is_none(), "{open} was taken for a secret");
        }
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for secret in ["JWT_SECRET", "PG_PASSWORD", "SMTP_PASS", "API_KEY", "STRIPE_API_KEY", "GITHUB_TOKEN"] {
            assert!(is_secret_name(secret), "{secret}");
        }
        for open in ["PORT", "STRIPE_PUBLISHABLE_KEY", "CACHE_KEY", "TOKEN_TTL", "SECRET_NAME", "KEYBOARD"] {
            assert!(!is_secret_name(open), "{open}");
        }
    }
}
