//! Variables of a container. Kubernetes fills in `$(NAME)` alone: `$NAME` and `${NAME}` are plain text to it.

use std::collections::BTreeMap;

use super::known::Known;
use crate::{cursor::Cursor, draft::Draft, readers::binding, text};

/// Reads `env`.
pub(crate) fn read(owner: (&str, &str), at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let items = at.items();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for at in &items {
        let Some(name) = at.find("name").and_then(|name| name.text()) else { continue };
        let value = match (at.find("value").and_then(|value| value.text()), secret(at)) {
            (Some(value), _) => written(&value, &names),
            (None, Some((_, key))) => format!("${{{}}}", contract(&name, &key)),
            _ => format!("${{{name}}}"),
        };
        names.insert(name, value);
    }
    for at in items {
        let name = at.find("name").and_then(|name| name.text()).unwrap_or_default();
        if ["PORT", "HOST", "SLIPWAY_APP"].contains(&name.as_str()) {
            at.changed("each instance is told it by itself");
        } else if let Some(value) = at.find("value").and_then(|value| value.text()) {
            let own = names.get(&name).cloned().unwrap_or_default();
            put(owner, &name, &value, &own, Some(&at), draft);
        } else if let Some((secret, key)) = secret(&at) {
            if let Some(reference) = known.secrets.get(&secret) {
                draft.section(owner.0, owner.1).add("needs", reference);
                at.changed(&format!("`needs` {reference} gives it its address and password"));
            } else {
                let variable = contract(&name, &key);
                draft.variable(&variable, None, true);
                draft.section(owner.0, owner.1).put("env", &name, format!("${{{variable}}}"));
                at.changed("a secret of the contract, or an address given by `needs`");
            }
        } else if let Some(config) = at.find_below(&["valueFrom", "configMapKeyRef"]) {
            let key = |key: &str| config.find(key).and_then(|at| at.text()).unwrap_or_default();
            let values = known.configs.get(&key("name"));
            let value = values.and_then(|values| values.iter().find(|(known, _)| *known == key("key")));
            if let Some((_, value)) = value {
                put(owner, &name, value, &text::literal(value), None, draft);
            } else {
                draft.variable(&name, None, false);
                draft.section(owner.0, owner.1).put("env", &name, format!("${{{name}}}"));
            }
            at.kept_as("`env`");
        } else {
            at.refused("what the cluster knows of a pod; SLIPWAY_INSTANCE and its like tell who it is");
        }
    }
}

/// Reads `envFrom`.
pub(crate) fn read_all(owner: (&str, &str), at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    for source in at.items() {
        let name_of = |key: &str| source.find(key).and_then(|at| at.find("name")).and_then(|at| at.text());
        let (reference, secret) = match (name_of("configMapRef"), name_of("secretRef")) {
            (Some(reference), _) => (reference, false),
            (None, Some(reference)) => (reference, true),
            _ => continue,
        };
        for (variable, value) in known.configs.get(&reference).cloned().unwrap_or_default() {
            if secret {
                draft.variable(&variable, None, true);
                draft.section(owner.0, owner.1).put("env", &variable, format!("${{{variable}}}"));
            } else {
                put(owner, &variable, &value, &text::literal(&value), None, draft);
            }
        }
        source.kept_as("`env`");
    }
}

/// Secret and key of a variable that takes one.
fn secret(at: &Cursor<'_>) -> Option<(String, String)> {
    let from = at.find_below(&["valueFrom", "secretKeyRef"])?;
    Some((from.find("name")?.text()?, from.find("key")?.text()?))
}

/// The variable of the contract for a key of a Secret: the key, when it can be one.
fn contract(name: &str, key: &str) -> String {
    let good = key.starts_with(|c: char| c.is_ascii_uppercase())
        && key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if good { key.to_owned() } else { name.to_owned() }
}

/// A value as the stack writes it: `$(NAME)` is what that variable holds, all else is plain.
fn written(value: &str, names: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("$(") {
        let before = &rest[..at];
        let Some((name, after)) = rest[at + 2..].split_once(')') else { break };
        if let Some(before) = before.strip_suffix('$') {
            out += &text::literal(before);
            out += "$(";
            rest = &rest[at + 2..];
            continue;
        }
        out += &text::literal(before);
        match names.get(name) {
            Some(value) => out += value,
            None => out += &text::literal(&format!("$({name})")),
        }
        rest = after;
    }
    out + &text::literal(rest)
}

/// A word of a command line: `$(NAME)` is a variable of the container.
pub(crate) fn shell(word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(at) = rest.find("$(") {
        let Some((name, after)) = rest[at + 2..].split_once(')') else { break };
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if let Some(before) = rest[..at].strip_suffix('$') {
            out += before;
            out += "$(";
            rest = &rest[at + 2..];
        } else if is_name {
            out += &rest[..at];
            out.extend(["${", name, "}"]);
            rest = after;
        } else {
            out += &rest[..at + 2];
            rest = &rest[at + 2..];
        }
    }
    out + rest
}

/// Puts a variable where it belongs: what leads to a data service or a neighbour is given by `needs`.
fn put(owner: (&str, &str), variable: &str, value: &str, own: &str, at: Option<&Cursor<'_>>, draft: &mut Draft) {
    let good = !variable.is_empty()
        && variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !value.contains('\n');
    if !good {
        if let Some(at) = at {
            at.refused("not a name of a variable, or a value of several lines");
        }
        return;
    }
    if let Some(reference) = binding::leads(variable, value, draft).or_else(|| standing_for(variable, draft)) {
        draft.section(owner.0, owner.1).add("needs", &reference);
        if let Some(at) = at {
            binding::needed(variable, value, &reference, at);
        }
        return;
    }
    let neighbour = binding::neighbour(variable, value, draft);
    if let Some(reference) = neighbour.filter(|reference| *reference != format!("{}.{}", owner.0, owner.1)) {
        let other = reference.trim_start_matches("service.").to_owned();
        let needs = draft.section("service", &other).get("needs").and_then(toml::Value::as_array);
        let mine = format!("{}.{}", owner.0, owner.1);
        // two that call each other need no order
        if !needs.is_some_and(|needs| needs.iter().any(|need| need.as_str() == Some(mine.as_str()))) {
            draft.section(owner.0, owner.1).add("needs", &reference);
            if let Some(at) = at {
                at.changed(&format!("`needs` {reference} gives it {variable}"));
            }
            return;
        }
    }
    let secret = text::is_secret_name(variable) || text::is_secret(value);
    if secret && !own.contains("${") {
        draft.variable(variable, None, true);
        draft.section(owner.0, owner.1).put("env", variable, format!("${{{variable}}}"));
    } else {
        draft.section(owner.0, owner.1).put("env", variable, own);
    }
    if let Some(at) = at {
        at.kept_as("`env`, or `needs`");
    }
}

/// The only data service that a variable of a well-known name can mean.
fn standing_for(variable: &str, draft: &Draft) -> Option<String> {
    let kind = match variable {
        "DATABASE_URL" => "database",
        "REDIS_URL" => "cache",
        "AMQP_URL" | "RABBITMQ_URL" => "queue",
        _ => return None,
    };
    draft.names(kind).first().map(|first| format!("{kind}.{first}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_brackets_take_variables() {
        let names = BTreeMap::from([("A".to_owned(), "${KEY}".to_owned()), ("B".to_owned(), "plain".to_owned())]);
        for (value, said) in
            [("x$(A)y", "x${KEY}y"), ("$(B) $(C)", "plain $(C)"), ("$$(A) $A ${A}", "$(A) $A $${A}"), ("$(", "$(")]
        {
            assert_eq!(written(value, &names), said, "{value}");
        }
        assert_eq!(shell("--port=$(PORT) $$(id) $(a b)"), "--port=${PORT} $(id) $(a b)");
    }
}
