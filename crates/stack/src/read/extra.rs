//! Kinds that only some targets can run, kept as their checked keys: the reader of `extra_keys`.

use serde_json::{Map, Value};
use toml::de::DeValue;

use super::{
    extra_keys::{Form, Key, keys},
    section::{Entry, Section},
};
use crate::{
    AlarmRule, ByteSize, Extra, Kind, Period, ResourceRef,
    gate::{Check, Rule, When},
};

/// Deepest nesting inside an `Any`.
const DEEPEST: usize = 4;

/// Reads a resource of an extra kind.
pub(crate) fn read(section: Section<'_>, kind: Kind) -> Extra {
    let settings = read_keys(&section, keys(kind));
    if kind == Kind::Table && !section.has("key") {
        section.missing("key", "write the key that finds an item, for example `key = \"id\"`");
    }
    check_values(&section, kind);
    section.finish(&[
        ("description", "about"),
        ("subscribers", "to"),
        ("subnets", "private"),
        ("partition_key", "key"),
        ("sort_key", "sort"),
    ]);
    Extra { settings }
}

/// Reads the `cloud` table of a resource: what only a provider's own service has.
pub(crate) fn read_cloud(section: &Section<'_>, known: &[Key]) -> Map<String, Value> {
    let Some(table) = section.table("cloud") else { return Map::new() };
    let settings = read_keys(&table, known);
    table.finish(&[("instance_class", "class"), ("multi_az", "zones"), ("retention", "keep")]);
    settings
}

fn read_keys(section: &Section<'_>, known: &[Key]) -> Map<String, Value> {
    let mut settings = Map::new();
    for (key, form, _) in known {
        let Some(entry) = section.find(key) else { continue };
        let value = read_value(&entry, *form);
        settings.extend(value.map(|value| ((*key).to_owned(), value)));
    }
    settings
}

/// What a topic names in `to`, apart from addresses of people.
pub(crate) fn receivers(extra: &Extra) -> Vec<ResourceRef> {
    let to = extra.settings.get("to").and_then(Value::as_array).into_iter().flatten();
    to.filter_map(|text| text.as_str()?.parse().ok()).collect()
}

/// The few keys whose text has a form that other rooms rely on.
fn check_values(section: &Section<'_>, kind: Kind) {
    if kind == Kind::Waf
        && let Some(entry) = section.find("limit")
        && let Some(text) = entry.filled()
    {
        entry.quantity(text.parse::<crate::Limit>());
    }
    for (key, kinds) in
        [("snapshots", Kind::Bucket), ("bounces", Kind::Topic), ("complaints", Kind::Topic), ("mail", Kind::Mail)]
    {
        if !keys(kind).iter().any(|(known, ..)| *known == key) {
            continue;
        }
        if let Some(entry) = section.find(key) {
            entry.reference(match kinds {
                Kind::Bucket => &[Kind::Bucket],
                Kind::Topic => &[Kind::Topic],
                _ => &[Kind::Mail],
            });
        }
    }
    if kind == Kind::Topic {
        for entry in section
            .texts("to")
            .iter()
            .filter(|entry| entry.value.get_ref().as_str().is_some_and(|text| !text.contains('@')))
        {
            entry.reference(&[Kind::Queue, Kind::Function, Kind::Service]);
        }
    }
    if kind == Kind::Gate {
        check_gate(section);
    }
    if kind == Kind::Dashboard {
        for entry in section.texts("metrics") {
            let Some(text) = entry.filled() else { continue };
            let known = crate::alarm::METRICS.map(|(metric, ..)| metric);
            if !known.contains(&text) {
                // the alarm's own parser knows the suggestion
                let refused = format!("{text} > 0").parse::<AlarmRule>().err();
                let mend = refused.map_or_else(String::new, |bad| bad.mend);
                let message = format!(
                    "{}: `{}` is no metric",
                    entry.path.place(),
                    super::section::shortened(text).escape_debug()
                );
                section.notes.add(entry.problem("unknown-metric", message).with_mend(mend));
            }
        }
    }
}

/// A gate that could never be passed, or that nobody would ever pass.
fn check_gate(section: &Section<'_>) {
    let choices = [("before", Some(When::Before)), ("during", None), ("after", Some(When::After))];
    let (asks, when) = (section.has("run") || section.has("checks"), section.choice("when", &choices));
    if asks && !section.has("when") {
        section.missing("when", "write `when = \"before\"` or `when = \"after\"`");
    }
    if asks && when == Some(None) {
        let message = "a gate `during` a deploy only describes it: its `run` and `checks` would never be looked at";
        let problem = section.problem("gate-never-passed", message);
        section
            .notes
            .add(problem.with_mend("write `when = \"before\"` or `when = \"after\"`, or keep its `order` only"));
    }
    for entry in section.texts("checks") {
        let Some(check) = entry.filled().and_then(|text| entry.quantity(text.parse::<Check>())) else { continue };
        if check.rule == Rule::Migrated && when == Some(Some(When::Before)) {
            let problem =
                entry.problem("gate-never-passed", "a deploy applies its migrations after the gates before it");
            section.notes.add(problem.with_mend("make sure of it in a gate with `when = \"after\"`"));
        }
    }
}

fn read_value(entry: &Entry<'_>, form: Form) -> Option<Value> {
    match form {
        Form::Text => {
            let text = entry.filled()?;
            entry.check_template(text);
            Some(text.into())
        }
        Form::Texts => Some(entry.items().iter().filter_map(Entry::filled).collect()),
        Form::Flag => entry.value.get_ref().as_bool().map(Value::from).or_else(|| {
            entry.wrong_type("`true` or `false`");
            None
        }),
        Form::Whole => entry.whole::<i64>(0..=1_000_000_000).map(Value::from),
        Form::Period => entry.quantity(entry.filled()?.parse::<Period>()).map(|period| period.to_string().into()),
        Form::Size => entry.quantity(entry.scalar()?.parse::<ByteSize>()).map(|size| size.to_string().into()),
        Form::Any => any(entry, entry.value.get_ref(), DEEPEST),
    }
}

fn any(entry: &Entry<'_>, value: &DeValue<'_>, depth: usize) -> Option<Value> {
    if depth == 0 {
        let message = format!("{} is nested too deeply", entry.path.place());
        entry.notes.add(entry.problem("too-deep", message).with_mend(format!("nest at most {DEEPEST} levels")));
        return None;
    }
    match value {
        DeValue::String(text) => Some(text.as_ref().into()),
        DeValue::Integer(number) => {
            let whole = i64::from_str_radix(number.as_str(), number.radix()).ok();
            if whole.is_none() {
                let message = format!("{} holds a number that is too large", entry.path.place());
                let problem = entry.problem("out-of-range", message);
                entry.notes.add(problem.with_mend("write a number of at most 18 digits"));
            }
            whole.map(Value::from)
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().ok().map(Value::from),
        DeValue::Boolean(flag) => Some((*flag).into()),
        DeValue::Datetime(time) => Some(time.to_string().into()),
        DeValue::Array(list) => list.iter().map(|item| any(entry, item.get_ref(), depth - 1)).collect(),
        DeValue::Table(table) => {
            let pair = |(name, value): (&toml::Spanned<std::borrow::Cow<'_, str>>, &toml::Spanned<DeValue<'_>>)| {
                Some((name.get_ref().to_string(), any(entry, value.get_ref(), depth - 1)?))
            };
            table.iter().map(pair).collect::<Option<Map<_, _>>>().map(Value::Object)
        }
    }
}
