//! `[function.x]` and `[job.x]`: programs that run to their end.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    section::Section,
    service::{env, needs},
    size, source,
};
use crate::{
    Command, CommandSource, Function, Job, Kind, Overlap, Period, ResourceName, ResourceRef, Schedule, Service, Source,
    Trigger,
};

const MOVED: [(&str, &str); 7] = [
    ("command", "run"),
    ("cmd", "run"),
    ("cron", "schedule"),
    ("timezone", "time_zone"),
    ("environment", "env"),
    ("depends_on", "needs"),
    ("trigger", "on"),
];

/// Kinds whose events can start a function.
const TRIGGERS: [(&str, Kind); 6] = [
    ("bucket", Kind::Bucket),
    ("queue", Kind::Queue),
    ("topic", Kind::Topic),
    ("table", Kind::Table),
    ("mail", Kind::Mail),
    ("service", Kind::Service),
];

/// Reads `[function.x]`; `asked` are those that routes lead to.
pub(crate) fn read_function(
    section: Section<'_>,
    services: &BTreeMap<ResourceName, Service>,
    asked: &BTreeSet<ResourceName>,
) -> Function {
    let command = read_command(&section, services);
    let on = section.table("on").and_then(read_trigger);
    let schedule = read_schedule(&section);
    let is_asked = asked.iter().any(|name| name.as_str() == section.path.last());
    if !section.has("on") && !section.has("schedule") && !is_asked {
        let mend =
            "write what starts it: `on = { bucket = \"files\" }` or `schedule = \"0 2 * * *\"`, or lead a route to it";
        section.missing("on", mend);
    }
    section.finish(&[&MOVED[..], &size::MOVED[..]].concat());
    Function { command, on, schedule }
}

/// Reads `[job.x]`.
pub(crate) fn read_job(section: Section<'_>, services: &BTreeMap<ResourceName, Service>) -> Job {
    let command = read_command(&section, services);
    let schedule = read_schedule(&section);
    if !section.has("schedule") {
        section.missing("schedule", "write when it runs, for example `schedule = \"0 2 * * *\"`");
    }
    let overlaps = [("skip", Overlap::Skip), ("queue", Overlap::Queue), ("replace", Overlap::Replace)];
    let overlap = section.choice("overlap", &overlaps).unwrap_or(Overlap::Skip);
    section.finish(&[&MOVED[..], &size::MOVED[..]].concat());
    let never = Schedule { cron: "@yearly".to_owned(), time_zone: "UTC".to_owned() };
    Job { command, schedule: schedule.unwrap_or(never), overlap }
}

fn read_schedule(section: &Section<'_>) -> Option<Schedule> {
    let cron = section.checked("schedule", crate::schedule::check_cron);
    let zone = section.checked("time_zone", crate::schedule::check_time_zone);
    if section.has("time_zone") && !section.has("schedule") {
        section.missing("schedule", "`time_zone` belongs to a `schedule`");
    }
    let cron = cron?.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(Schedule { cron, time_zone: zone.unwrap_or_else(|| "UTC".to_owned()) })
}

fn read_command(section: &Section<'_>, services: &BTreeMap<ResourceName, Service>) -> Command {
    let run = section.text("run");
    if !section.has("run") {
        section.missing("run", "write the command to run, for example `run = \"node jobs/match.js\"`");
    }
    let own = source::find(section);
    let service = section.service_name("service");
    if let Some(entry) = section.find("service").filter(|_| own.is_some()) {
        let message = format!("{} has both `service` and files of its own", section.path.place());
        let mend = "keep `service` to run in that service's files, or `dir`, `image` or `dockerfile`";
        section.notes.add(entry.key_problem("conflicting-keys", message).with_mend(mend));
    }
    let source = match (service, own) {
        (Some(service), _) => CommandSource::Service(service),
        (None, Some(own)) => CommandSource::Own(own),
        (None, None) => only_folder_service(services)
            .map_or_else(|| CommandSource::Own(Source::Folder(source::here())), CommandSource::Service),
    };
    let timeout = section.parse("timeout");
    if let Some(entry) = section.find("timeout").filter(|_| timeout == Some(Period::from(0))) {
        let message = format!("{} is no time at all", entry.path.place());
        section.notes.add(entry.problem("out-of-range", message).with_mend("write a time longer than zero"));
    }
    Command {
        source,
        run: run.unwrap_or_default(),
        needs: needs(section, None),
        env: env(section),
        retries: section.whole("retries", 0..=1000).unwrap_or(0),
        timeout: timeout.unwrap_or(Period::from_secs(3600)),
        size: size::get(section),
    }
}

/// The one service that is built in a folder, when there is exactly one.
fn only_folder_service(services: &BTreeMap<ResourceName, Service>) -> Option<ResourceName> {
    let mut folders = services.iter().filter(|(_, service)| matches!(service.source, Source::Folder(_)));
    folders.next().filter(|_| folders.next().is_none()).map(|(name, _)| name.clone())
}

fn read_trigger(section: Section<'_>) -> Option<Trigger> {
    let mut sources: Vec<ResourceRef> = Vec::new();
    for (key, kind) in TRIGGERS {
        if let Some(entry) = section.find(key) {
            sources.extend(entry.named_reference(kind));
        }
    }
    let named = TRIGGERS.iter().filter(|(key, _)| section.has(key)).count();
    if named != 1 {
        let message = format!("{} names {named} sources of events, expected one", section.path.place());
        let mend = "name one bucket, queue, topic, table, mail or service, for example `{ bucket = \"files\" }`";
        section.notes.add(section.problem("bad-trigger", message).with_mend(mend));
    }
    let (prefix, event) = (section.text("prefix"), section.text("event"));
    if let Some(entry) = section.find("prefix").filter(|_| !section.has("bucket")) {
        let message = format!("{} has a `prefix` but no `bucket`", section.path.place());
        section
            .notes
            .add(entry.key_problem("bad-trigger", message).with_mend("only the objects of a bucket have prefixes"));
    }
    section.finish(&[]);
    Some(Trigger { on: sources.into_iter().next()?, prefix, event })
}
