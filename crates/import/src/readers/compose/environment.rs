//! Variables of a program: what it needs is given to it, what is secret comes from outside, the rest stays `env`.

use std::collections::BTreeSet;

use crate::{
    cursor::Cursor,
    draft::Draft,
    readers::{
        binding::{given, leads, needed, neighbour},
        data,
    },
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
        let needs = draft.section(kind, name).get("needs").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let known = |reference: &String| needs.iter().any(|need| need.as_str() == Some(reference.as_str()));
        if let Some(reference) = neighbour(&variable, &value, draft).filter(known) {
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
