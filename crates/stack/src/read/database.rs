//! `[database.x]`: engine, migrations, backups and objectives.

use std::collections::BTreeMap;

use super::{extra, extra_keys, section::Section, size};
use crate::{
    Backup, Database, DatabaseEngine, Failover, Kind, Migrations, Objective, Period, Problem, ResourceName, Service,
};

const MOVED: [(&str, &str); 6] = [
    ("backups", "backup"),
    ("migration", "migrations"),
    ("version", "engine"),
    ("disk", "storage"),
    ("parameters", "settings"),
    ("memory", "size.memory"),
];

/// Backups that are not continuous: the day between two of them is what can be lost.
const BETWEEN_BACKUPS: Period = Period::from_secs(86_400);

/// Reads `[database.x]`.
pub(crate) fn read(section: Section<'_>, services: &BTreeMap<ResourceName, Service>) -> Database {
    let engine = read_engine(&section);
    let replicas = section.whole("replicas", 0..=100).unwrap_or(0);
    let sqlite = engine == DatabaseEngine::Sqlite;
    if let Some(entry) = section.find("replicas").filter(|_| sqlite && replicas > 0) {
        let message = format!("{} is SQLite, which has no replicas", section.path.place());
        section.notes.add(
            entry.problem("sqlite-replicas", message).with_mend("remove `replicas`, or use `engine = \"postgres:17\"`"),
        );
    }
    let failovers = [("none", Failover::None), ("manual", Failover::Manual), ("automatic", Failover::Automatic)];
    let failover = section.choice("failover", &failovers).unwrap_or(Failover::None);
    if let Some(entry) = section.find("failover").filter(|_| failover == Failover::Automatic && replicas == 0) {
        let message = format!("{} has no replica to take over", section.path.place());
        section.notes.add(entry.problem("failover-without-replica", message).with_mend("write `replicas = 1` or more"));
    }
    let url = section.template("url");
    if let Some(entry) = section.find("url").filter(|_| sqlite) {
        let message = format!("{} is SQLite, which is a file of this host and has no address", section.path.place());
        section.notes.add(entry.key_problem("conflicting-keys", message).with_mend("remove `url`"));
    }
    let backup = section.table("backup").map(read_backup);
    let objective = section.table("objective").map(read_objective);
    check_objective(&section, backup.as_ref(), objective.as_ref());
    let database = Database {
        engine,
        url,
        migrations: read_migrations(&section, services),
        seed: section.text("seed"),
        replicas,
        failover,
        backup,
        objective,
        settings: section.map("settings"),
        size: size::find(&section),
        storage: section.parse("storage"),
        cloud: extra::read_cloud(&section, &extra_keys::DATABASE_CLOUD),
    };
    section.finish(&MOVED);
    database
}

fn read_engine(section: &Section<'_>) -> DatabaseEngine {
    let Some(entry) = section.find("engine") else {
        section.missing("engine", "write `engine = \"postgres:17\"` or `engine = \"sqlite\"`");
        return DatabaseEngine::Postgres(String::new());
    };
    let Some(text) = entry.filled() else { return DatabaseEngine::Postgres(String::new()) };
    let version = |text: &str| {
        text.len() <= 8 && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    match text.split_once(':').unwrap_or((text, "")) {
        ("sqlite", "") => return DatabaseEngine::Sqlite,
        ("postgres", number) if version(number) => return DatabaseEngine::Postgres(number.to_owned()),
        _ => {}
    }
    let message = format!("{} is `{}`", entry.path.place(), super::section::shortened(text));
    let mend = match text {
        "postgres" => "add the version, for example `postgres:17`",
        _ if text.starts_with("postgresql") => "write `postgres` and the version, for example `postgres:17`",
        _ => "write `postgres:` and a version, for example `postgres:17`, or `sqlite`",
    };
    section.notes.add(entry.problem("unknown-engine", message).with_mend(mend));
    DatabaseEngine::Postgres(String::new())
}

fn read_migrations(section: &Section<'_>, services: &BTreeMap<ResourceName, Service>) -> Option<Migrations> {
    let folder = section.path("migrations").map(Migrations::Folder);
    let command = section.table("migrate").map(|table| {
        let run = table.text("run");
        if !table.has("run") {
            table.missing("run", "write the command that migrates, for example `run = \"npx prisma migrate deploy\"`");
        }
        let service: Option<ResourceName> = table.service_name("service");
        if !table.has("service") && services.len() != 1 {
            let message = format!("{} does not say in the files of which service it runs", table.path.place());
            let mend = "write `migrate = { run = \"...\", service = \"api\" }`";
            section.notes.add(table.problem("ambiguous-service", message).with_mend(mend));
        }
        table.finish(&[("command", "run")]);
        Migrations::Command { run: run.unwrap_or_default(), service }
    });
    if let Some(entry) = section.find("migrate").filter(|_| section.has("migrations")) {
        let message = format!("{} has both `migrations` and `migrate`", section.path.place());
        section.notes.add(entry.key_problem("conflicting-keys", message).with_mend("keep the folder or the command"));
    }
    folder.or(command)
}

fn read_backup(section: Section<'_>) -> Backup {
    let at = section.checked("at", crate::schedule::check_time_of_day);
    let keep = section.parse("keep");
    let mut encrypt_to = Vec::new();
    for entry in section.texts("encrypt_to") {
        let Some(text) = entry.filled() else { continue };
        entry.check_template(text);
        if ["age1", "ssh-ed25519 ", "ssh-rsa ", "${"].iter().any(|start| text.starts_with(start)) {
            encrypt_to.push(text.to_owned());
        } else if super::secret::find(text).is_none() {
            let message = format!("{}: `{}` is no recipient", entry.path.place(), super::section::shortened(text));
            section.notes.add(
                entry
                    .problem("bad-recipient", message)
                    .with_mend("write an age public key, which begins with `age1`, or an SSH public key"),
            );
        }
    }
    let to = section.references("to", &[Kind::Bucket]);
    let drill = section.checked("drill", crate::schedule::check_recurrence);
    for (key, mend) in [
        ("to", "write where backups go, for example `to = [\"bucket.backups\"]`"),
        ("keep", "write how many stay, for example `keep = \"30d 12w 12m\"`"),
    ] {
        if !section.has(key) {
            let message = format!("{} has no `{key}`", section.path.place());
            section.notes.add(section.problem("backup-incomplete", message).with_mend(mend));
        }
    }
    if let Some(entry) =
        section.find("to").filter(|entry| entry.value.get_ref().as_array().is_some_and(|list| list.is_empty()))
    {
        let message = format!("{} goes nowhere", section.path.place());
        section.notes.add(
            entry.problem("backup-incomplete", message).with_mend("name a bucket, for example `[\"bucket.backups\"]`"),
        );
    }
    section.finish(&[
        ("retention", "keep"),
        ("schedule", "at"),
        ("time", "at"),
        ("bucket", "to"),
        ("encrypt", "encrypt_to"),
    ]);
    Backup { at, keep, encrypt_to, to, drill }
}

fn read_objective(section: Section<'_>) -> Objective {
    let objective = Objective { rpo: section.parse("rpo"), rto: section.parse("rto") };
    section.finish(&[]);
    objective
}

/// An objective that no backup can meet deserves a warning.
fn check_objective(section: &Section<'_>, backup: Option<&Backup>, objective: Option<&Objective>) {
    let Some(rpo) = objective.and_then(|objective| objective.rpo) else { return };
    let replicated = section.has("replicas");
    let mend = match backup {
        None => "add `backup`, or replicas",
        Some(_) if rpo < BETWEEN_BACKUPS && !replicated => "add `replicas`, or allow `rpo = \"1d\"`",
        Some(_) => return,
    };
    let message = format!("{} may lose {rpo} at most, and nothing here promises that", section.path.place());
    let message = if backup.is_some() { format!("{message}: backups are a day apart") } else { message };
    let problem = Problem::warning("objective-unmet", format!("{}.objective.rpo", section.path), message);
    let span = section.find("objective").map_or(section.span.clone(), |entry| entry.key_span);
    section.notes.add(problem.with_span(span).with_mend(mend));
}
