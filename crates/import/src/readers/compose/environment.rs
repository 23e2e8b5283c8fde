//! Variables of a program: what it needs is given to it, what is secret comes from outside, the rest stays `env`.

use std::collections::BTreeSet;

use super::server::given;
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
    readers::data,
    report::Fate,
    text,
    trap::Trap,
};

/// Marks every variable of an environment and puts what remains into `env` of the owner, a kind and a name.
pub(crate) fn read(owner: (&str, &str), at: &Cursor<'_>, draft: &mut Draft) {
    let (kind, name) = owner;
    let pairs = at.pairs();
    let mut told = BTreeSet::new();
    for (variable, value, _) in &pairs {
        let lead = value.as_deref().and_then(|value| leads(variable, value, draft));
        told.extend(lead.filter(|lead| data::kind(lead) != "database" || variable == "PGHOST"));
    }
    for (variable, value, at) in pairs {
        if variable.is_empty() || !variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            at.refused("not a name of a variable");
            continue;
        }
        let Some(value) = value else {
            draft.variable(&variable, None, text::is_secret_name(&variable));
            draft.section(kind, name).put("env", &variable, format!("${{{variable}}}"));
            at.kept_as(&format!("{variable} is a variable of the contract"));
            continue;
        };
        if ["PORT", "HOST"].contains(&variable.as_str()) {
            at.changed("each instance is told where it listens in PORT and HOST");
            continue;
        }
        if variable == "SLIPWAY_APP" {
            at.changed("each instance is told the application's name");
            continue;
        }
        if let Some(reference) = leads(&variable, &value, draft) {
            draft.section(kind, name).add("needs", &reference);
            draft.passwords.extend(text::names(&value));
            needed(&variable, &value, &reference, &at);
            continue;
        }
        if let Some(reference) = told.iter().find(|reference| given(&variable, reference)) {
            at.changed(&format!("`needs` {reference} gives it {variable}"));
            continue;
        }
        if let Some(reference) = neighbour(owner, &variable, &value, draft) {
            at.changed(&format!("`needs` {reference} gives it {variable}"));
            continue;
        }
        let secret = text::is_secret_name(&variable) || text::is_secret(&value);
        if secret && !value.contains('$') {
            draft.variable(&variable, None, true);
            draft.section(kind, name).put("env", &variable, format!("${{{variable}}}"));
            at.changed(
                "a secret of the contract; its value stays out of the stack file: put it into .env.<environment>",
            );
            continue;
        }
        if let Some(bad) =
            value.split(',').find(|part| part.contains("accounts.google.com") || part.contains("oauth.google.com"))
            && variable.contains("ORIGIN")
        {
            at.trapped(Trap::CORS_OAUTH, Fate::Changed, &format!("without {}: it only redirects", bad.trim()));
            let kept: Vec<&str> = value
                .split(',')
                .filter(|part| !part.contains("oauth.google.com") && !part.contains("accounts.google.com"))
                .collect();
            let kept = text::template(&kept.join(","), draft);
            draft.section(kind, name).put("env", &variable, kept);
            continue;
        }
        let value = text::template(&value, draft);
        draft.section(kind, name).put("env", &variable, value);
        at.kept();
    }
}

/// The data service that a value leads to.
fn leads(variable: &str, value: &str, draft: &mut Draft) -> Option<String> {
    if let Some(path) = value.strip_prefix("sqlite:").filter(|path| path.contains('/')) {
        let file = path.split(['?', '#']).next()?.rsplit('/').next()?;
        let name = label(file.split('.').next()?, "main");
        draft.section("database", &name).set("engine", "sqlite");
        return Some(format!("database.{name}"));
    }
    if let Some(bucket) = draft.buckets.get(value).filter(|_| variable.ends_with("BUCKET")) {
        return Some(format!("bucket.{bucket}"));
    }
    let host = text::address(value).map_or(value, |address| address.host);
    data::find(host, draft)
}

fn needed(variable: &str, value: &str, reference: &str, at: &Cursor<'_>) {
    let own = reference.split('.').nth(1).unwrap_or_default().to_ascii_uppercase().replace('-', "_");
    let names = match data::kind(reference) {
        "database" => ["DATABASE_URL".to_owned(), format!("{own}_DATABASE_URL")],
        "cache" => ["REDIS_URL".to_owned(), format!("{own}_CACHE_URL")],
        "queue" => ["AMQP_URL".to_owned(), format!("{own}_QUEUE_URL")],
        _ => ["BUCKET".to_owned(), format!("{own}_BUCKET")],
    };
    if names.iter().any(|name| name == variable) || given(variable, reference) {
        at.changed(&format!("`needs` {reference} gives it {variable}"));
    } else if value.contains("://") {
        at.changed(&format!(
            "`needs` {reference} gives it {}: let the program read that instead of {variable}",
            data::variable(reference)
        ));
    } else {
        at.changed(&format!(
            "`needs` {reference} gives it {}: let the program read those",
            data::injected(reference)
        ));
    }
}

/// The service whose address a variable holds under the name by which `needs` gives it, when it is needed.
fn neighbour(owner: (&str, &str), variable: &str, value: &str, draft: &mut Draft) -> Option<String> {
    let host = label(text::address(value).filter(|address| address.scheme == "http")?.host, "");
    let reference = format!("service.{host}");
    let named = variable == format!("{}_URL", host.to_ascii_uppercase().replace('-', "_"));
    let needs = draft.section(owner.0, owner.1).get("needs").and_then(toml::Value::as_array);
    let needed = needs.is_some_and(|needs| needs.iter().any(|need| need.as_str() == Some(reference.as_str())));
    (named && needed).then_some(reference)
}
