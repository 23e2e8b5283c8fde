//! Services that run to their end: they migrate, make buckets, copy databases, or run on a schedule.

use std::collections::{BTreeMap, BTreeSet};

use super::scene::{Part, Scene};
use crate::{
    cursor::Cursor,
    draft::{Draft, label, migrate},
    readers::data,
    text,
};

/// Services that others wait for until they have ended, with those that wait.
pub(crate) fn waited_for(services: &[(&str, Cursor<'_>)]) -> BTreeMap<String, BTreeSet<String>> {
    let mut waited: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, service) in services {
        for (other, at) in service.find("depends_on").map(|at| at.entries()).unwrap_or_default() {
            let condition = at.find("condition").and_then(|at| at.text());
            if condition.as_deref() == Some("service_completed_successfully") {
                waited.entry(other.to_owned()).or_default().insert((*name).to_owned());
            }
        }
    }
    waited
}

/// Entrypoint and command as words.
pub(crate) fn words(at: &Cursor<'_>) -> Vec<String> {
    let parts = ["entrypoint", "command"].into_iter().filter_map(|key| at.find(key));
    let words = parts.flat_map(|part| match part.text() {
        Some(text) => shlex::split(&text).unwrap_or_else(|| text.split_whitespace().map(str::to_owned).collect()),
        None => part.items().iter().filter_map(Cursor::text).collect(),
    });
    words.collect()
}

/// What a service is that others wait for.
pub(crate) fn part(name: &str, at: &Cursor<'_>, waiting: &BTreeSet<String>, services: &[(&str, Cursor<'_>)]) -> Part {
    let words = words(at);
    let image = |name: &str| {
        let (_, at) = services.iter().find(|(known, _)| *known == name)?;
        at.find("image")?.text()
    };
    let storing = waiting.iter().any(|name| image(name).is_some_and(|image| data::role(&image) == data::Role::Bucket));
    if storing && words.first().is_some_and(|word| word == "mkdir") {
        let folders = words.iter().filter(|word| word.starts_with('/'));
        return Part::Buckets(folders.filter_map(|path| path.rsplit('/').next()).map(str::to_owned).collect());
    }
    let file = at.find_below(&["build", "dockerfile"]).and_then(|at| at.text()).unwrap_or_default();
    let migrates =
        [name, &file].into_iter().chain(words.iter().map(String::as_str)).any(|text| text.contains("migrat"));
    let needed = at.find("depends_on").map(|at| match at.entries() {
        entries if entries.is_empty() => at.items().iter().filter_map(Cursor::text).collect(),
        entries => entries.into_iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>(),
    });
    let database = needed
        .unwrap_or_default()
        .into_iter()
        .find(|name| image(name).is_some_and(|image| data::role(&image) == data::Role::Database));
    match database {
        Some(database) if migrates => Part::Migration(database),
        _ => Part::Step,
    }
}

/// A step that changes the schema of the database that a server is.
pub(crate) fn migration(at: &Cursor<'_>, server: &str, scene: &Scene, draft: &mut Draft) {
    let Some(reference) = data::find(server, draft) else {
        return at.refused("it changes the schema of a database that these files do not have");
    };
    let name = reference.trim_start_matches("database.").to_owned();
    let words = words(at);
    let folder = at.find_below(&["build", "args", "FOLDER"]).and_then(|at| at.text());
    if let (true, Some(folder)) = (words.is_empty(), folder) {
        at.changed("`migrations` of the database: each once, in order, before the switch");
        draft.section("database", &name).set("migrations", folder);
        return;
    }
    if words.is_empty() {
        return at.refused("the image says how it migrates; write the command as `migrate` of the database");
    }
    let image = at.find("image").and_then(|image| image.text()).unwrap_or_default();
    let service = scene.owner(&image).filter(|owner| scene.is(owner) == Some(&Part::Program));
    let service = service.map(|owner| label(owner, "service")).or_else(|| draft.names("service").first().cloned());
    let Some(service) = service else {
        return at.refused("no service here has its files; write the command as `migrate` of the database");
    };
    let run = text::template(&text::command(&words).replace('\n', " "), draft);
    draft.section("database", &name).set("migrate", toml::Value::Table(migrate(&run, &service)));
    at.changed("`migrate` of the database: once, in the files of a service, before the switch");
}

/// A step that copies a database. Those that `slipway render` writes say where to and what stays.
pub(crate) fn backup(service: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let pairs = at.find("environment").map(|at| at.pairs()).unwrap_or_default();
    let get = |key: &str| pairs.iter().find(|(name, ..)| name == key).and_then(|(_, value, _)| value.clone());
    let database = get("DATABASE_URL")
        .and_then(|url| data::find(text::address(&url)?.host, draft))
        .and_then(|reference| reference.strip_prefix("database.").map(str::to_owned));
    let bucket = get("BUCKET").and_then(|name| draft.buckets.get(&name).cloned());
    let (Some(database), Some(bucket)) = (database, bucket) else {
        return at.refused("write `backup` of the database: encrypted while it streams, pruned where copies lie");
    };
    let mut backup = toml::Table::new();
    if let Some(at) = draft.beside.schedules.get(service).and_then(|when| time(&when.cron)) {
        backup.insert("at".to_owned(), at.into());
    }
    let keep: Vec<String> = [("DAILY", "d"), ("WEEKLY", "w"), ("MONTHLY", "m")]
        .into_iter()
        .filter_map(|(key, unit)| Some(format!("{}{unit}", get(key).filter(|count| count != "0")?)))
        .collect();
    if !keep.is_empty() {
        backup.insert("keep".to_owned(), keep.join(" ").into());
    }
    backup.insert("to".to_owned(), format!("bucket.{bucket}").into());
    draft.section("database", &database).set("backup", toml::Value::Table(backup));
    at.changed("`backup` of the database");
}

/// The time of day of a schedule that runs daily.
fn time(cron: &str) -> Option<String> {
    let fields: Vec<&str> = cron.split_whitespace().collect();
    let [minute, hour, "*", "*", "*"] = fields[..] else { return None };
    let (minute, hour) = (minute.parse::<u8>().ok()?, hour.parse::<u8>().ok()?);
    Some(format!("{hour:02}:{minute:02}"))
}
