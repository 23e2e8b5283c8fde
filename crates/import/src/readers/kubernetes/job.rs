//! Programs that end: on a schedule, or once.

use super::{container, known::Known};
use crate::{
    cursor::Cursor,
    draft::{Draft, label, migrate},
    report::Fate,
    text,
    trap::Trap,
};

/// Reads a `CronJob`.
pub(crate) fn scheduled(name: &str, at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let Some(spec) = at.find("spec") else { return };
    for (key, at) in spec.entries() {
        let text = at.text().unwrap_or_default();
        match key {
            "schedule" => {
                draft.section("job", name).set("schedule", text);
                at.kept_as("`schedule`");
            }
            "timeZone" => {
                if text != "UTC" {
                    draft.section("job", name).set("time_zone", text);
                }
                at.kept_as("`time_zone`");
            }
            "concurrencyPolicy" => {
                let (overlap, same) = match text.as_str() {
                    "Replace" => ("replace", true),
                    "Forbid" => ("skip", true),
                    _ => ("queue", false),
                };
                draft.section("job", name).set("overlap", overlap);
                if same {
                    at.kept_as("`overlap`");
                } else {
                    at.changed("runs of a job never overlap: the next one waits");
                }
            }
            "jobTemplate" => {}
            _ => at.changed("Slipway keeps the history of runs"),
        }
    }
    let Some(template) = spec.find("jobTemplate") else { return };
    template.changed(super::WRITES);
    if let Some(limit) = template.find_below(&["spec", "backoffLimit"])
        && let Some(number) = limit.text().and_then(|text| text.parse::<i64>().ok())
    {
        draft.section("job", name).set("retries", number);
        limit.kept_as("`retries`");
    }
    // of all tries together, or of each
    let limits = [&["spec", "activeDeadlineSeconds"][..], &["spec", "template", "spec", "activeDeadlineSeconds"]];
    for limit in limits.iter().filter_map(|keys| template.find_below(keys)) {
        let Some(period) = limit.text().and_then(|text| text::duration(&text)) else { continue };
        draft.section("job", name).set("timeout", period);
        limit.kept_as("`timeout`");
    }
    let containers = template
        .find_below(&["spec", "template", "spec", "containers"])
        .map(|containers| containers.items())
        .unwrap_or_default();
    if let Some(first) = containers.first() {
        container::read(("job", name), first, known, draft);
    }
}

/// Reads a `Job`: what migrates is a command of a database.
pub(crate) fn once(at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let text = super::name_of(at);
    if text.contains("failover") {
        return at.trapped(
            Trap::FAILOVER_JOB,
            Fate::Refused,
            "`failover` of the database: an operator or Patroni decides, with a lease",
        );
    }
    let containers = at.find_below(&["spec", "template", "spec", "containers"]).map(|all| all.items());
    let first = containers.and_then(|containers| containers.into_iter().next());
    if !text.contains("migrat") {
        return at.refused("a run without a schedule; `slipway run` runs a command once");
    }
    at.changed("`migrate` or `migrations` of the database: before the switch, once");
    let Some(first) = first else { return };
    let image = first.find("image").and_then(|image| image.text()).unwrap_or_default();
    let words = container::words(&first);
    let databases = draft.names("database");
    let named = databases.iter().find(|name| text.ends_with(name.as_str()) || text.contains(&format!("-{name}-")));
    let database = named.or(databases.first()).cloned();
    match (database, known.images.get(&image)) {
        (Some(database), Some(service)) if !words.is_empty() => {
            let run = text::command(&words).replace('\n', " ");
            let table = migrate(&run, &label(service, "service"));
            draft.section("database", &database).set("migrate", toml::Value::Table(table));
        }
        _ => {
            // the Dockerfile of its image builds no service
            let name = image.rsplit('/').next().unwrap_or_default();
            draft.steps.insert(name.split(':').next().unwrap_or_default().to_owned());
        }
    }
}
