//! Overlays: what an environment says differently.
//!
//! Tables overlay key by key to any depth; texts, numbers and lists replace. A short form stands for the table it is
//! short for, so `health = "/up"` over `{ path = "/health", every = "5s" }` changes only the path. An empty text for a
//! key of a resource, or for an alarm, takes it away, as in `url = ""`. Overlays associate: applying `b` and then `c` is
//! applying the overlay of `c` over `b`.

use std::borrow::Cow;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{Kind, Problem};

/// Writes every short form as the table it stands for.
pub(crate) fn expand(document: &mut DeTable<'_>) {
    expand_resources(document);
    let Some(environments) = find_table(document, "environment") else { return };
    for environment in tables(environments) {
        expand_resources(environment);
    }
}

fn expand_resources(document: &mut DeTable<'_>) {
    for (kind, key, meant) in [("service", "health", "path"), ("database", "migrate", "run")] {
        let Some(group) = find_table(document, kind) else { continue };
        for resource in tables(group) {
            if let Some(value) = resource.get_mut(key).filter(|value| value.get_ref().is_str()) {
                wrap(value, meant);
            }
        }
    }
    if let Some(routes) = find_table(document, "route") {
        for route in tables(routes) {
            for (key, value) in route.iter_mut() {
                if key.get_ref().starts_with('/') && value.get_ref().is_str() {
                    wrap(value, "to");
                }
            }
        }
    }
    if let Some(variables) = find_table(document, "variable") {
        for (_, value) in variables.iter_mut() {
            if !value.get_ref().is_table() && !value.get_ref().is_array() {
                wrap(value, "default");
            }
        }
    }
}

fn wrap(value: &mut Spanned<DeValue<'_>>, key: &'static str) {
    let span = value.span();
    let short = std::mem::replace(value.get_mut(), DeValue::Boolean(false));
    let mut table = DeTable::new();
    table.insert(Spanned::new(span.clone(), Cow::Borrowed(key)), Spanned::new(span, short));
    *value.get_mut() = DeValue::Table(table);
}

fn find_table<'t, 'i>(table: &'t mut DeTable<'i>, key: &str) -> Option<&'t mut DeTable<'i>> {
    as_table(table.get_mut(key)?.get_mut())
}

fn tables<'t, 'i: 't>(table: &'t mut DeTable<'i>) -> impl Iterator<Item = &'t mut DeTable<'i>> {
    table.iter_mut().filter_map(|(_, value)| as_table(value.get_mut()))
}

fn as_table<'t, 'i>(value: &'t mut DeValue<'i>) -> Option<&'t mut DeTable<'i>> {
    match value {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// The document as `environment` sees it, with the problems of laying one over the other; `None` when it changes nothing.
pub(crate) fn apply<'i>(document: &DeTable<'i>, environment: &str) -> Option<(DeTable<'i>, Vec<Problem>)> {
    let overlay = document.get("environment")?.get_ref().get(environment)?.get_ref().as_table()?;
    let kinds = Kind::ALL.iter().map(|kind| kind.as_str()).chain(["variable", "route", "alarm"]);
    let mut merged = None;
    let mut problems = Vec::new();
    for kind in kinds {
        let Some((key, value)) = overlay.get_key_value(kind) else { continue };
        let path = format!("environment.{environment}.{kind}");
        lay(merged.get_or_insert_with(|| document.clone()), key, value, &path, &mut problems);
    }
    let mut merged = merged?;
    take_away(&mut merged);
    Some((merged, problems))
}

/// Removes what an empty text takes away: keys of resources, and alarms.
fn take_away(document: &mut DeTable<'_>) {
    let keep_filled = |table: &mut DeTable<'_>| {
        let filled = |value: &Spanned<DeValue<'_>>| value.get_ref().as_str() != Some("");
        if !table.values().all(filled) {
            *table = std::mem::take(table).into_iter().filter(|(_, value)| filled(value)).collect();
        }
    };
    for kind in Kind::ALL {
        find_table(document, kind.as_str()).into_iter().flat_map(tables).for_each(keep_filled);
    }
    if let Some(alarms) = find_table(document, "alarm") {
        keep_filled(alarms);
    }
}

/// Lays one value over `base`. Where one side is a table and the other is not, the table stays and the other is noted.
fn lay<'i>(
    base: &mut DeTable<'i>,
    key: &Spanned<Cow<'i, str>>,
    value: &Spanned<DeValue<'i>>,
    path: &str,
    problems: &mut Vec<Problem>,
) {
    let Some(below) = base.get_mut(key.get_ref().as_ref()) else {
        base.insert(key.clone(), value.clone());
        return;
    };
    match (below.get_mut(), value.get_ref()) {
        (DeValue::Table(below), DeValue::Table(above)) => {
            for (key, value) in above {
                lay(below, key, value, &format!("{path}.{}", key.get_ref()), problems);
            }
        }
        (DeValue::Table(_), _) => {
            let message = format!("`{}` is a table below this overlay", key.get_ref());
            problems.push(
                Problem::error("wrong-type", path, message)
                    .with_span(value.span())
                    .with_mend("write a table with the keys that change"),
            );
        }
        _ => *below = value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A document without its spans.
    fn plain(table: &DeTable<'_>) -> String {
        let value = |value: &DeValue<'_>| match value {
            DeValue::Table(table) => format!("{{{}}}", plain(table)),
            other => format!("{:?}", other.as_str()),
        };
        let mut parts: Vec<String> =
            table.iter().map(|(k, v)| format!("{}={}", k.get_ref(), value(v.get_ref()))).collect();
        parts.sort();
        parts.join(",")
    }

    fn over<'i>(base: &DeTable<'i>, above: &DeTable<'i>) -> DeTable<'i> {
        let mut merged = base.clone();
        for (key, value) in above {
            lay(&mut merged, key, value, "", &mut Vec::new());
        }
        merged
    }

    fn document() -> impl Strategy<Value = String> {
        let leaf = "[a-c]".prop_map(|text| format!("\"{text}\""));
        let value = leaf.prop_recursive(3, 12, 3, |inner| {
            proptest::collection::btree_map("[k-n]", inner, 0..3).prop_map(|map| {
                let pairs: Vec<String> = map.into_iter().map(|(k, v)| format!("{k} = {v}")).collect();
                format!("{{ {} }}", pairs.join(", "))
            })
        });
        proptest::collection::btree_map("[k-n]", value, 0..4)
            .prop_map(|map| map.into_iter().map(|(k, v)| format!("{k} = {v}")).collect::<Vec<_>>().join("\n"))
    }

    proptest! {
        #[test]
        fn overlays_associate(a in document(), b in document(), c in document()) {
            let [a, b, c] = [&a, &b, &c].map(|text| DeTable::parse(text).expect("well formed").into_inner());
            prop_assert_eq!(plain(&over(&over(&a, &b), &c)), plain(&over(&a, &over(&b, &c))));
        }

        #[test]
        fn an_overlay_of_itself_changes_nothing(a in document()) {
            let a = DeTable::parse(&a).expect("well formed").into_inner();
            prop_assert_eq!(plain(&over(&a, &a)), plain(&a));
            prop_assert_eq!(plain(&over(&a, &DeTable::new())), plain(&a));
        }
    }
}
