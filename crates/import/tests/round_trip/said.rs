//! Small sayings that facts are made of.

use std::collections::BTreeSet;

use stack::{DatabaseEngine, Kind, Limit, LimitKey, ResourceRef, Retention, Size, Stack};

use super::fact::{Fact, Said};

pub(crate) fn one(key: &str, value: &str) -> Said {
    Said::from([(key.to_owned(), value.to_owned())])
}

/// Whether the target runs the server itself.
pub(crate) fn served(database: &stack::Database) -> bool {
    database.url.is_none() && matches!(database.engine, DatabaseEngine::Postgres(_))
}

/// Names by which a program is told of what it needs.
pub(crate) fn given(needs: &[ResourceRef]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for need in needs {
        let own = need.name.as_str().to_ascii_uppercase().replace('-', "_");
        let (of_kind, ending): (&[&str], &str) = match need.kind {
            Kind::Database => {
                (&["DATABASE_URL", "PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD"], "DATABASE_URL")
            }
            Kind::Cache => (&["REDIS_URL"], "CACHE_URL"),
            Kind::Queue => (&["AMQP_URL"], "QUEUE_URL"),
            Kind::Bucket => (
                &["BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL_S3"],
                "BUCKET",
            ),
            Kind::Service => (&[], "URL"),
            Kind::Search => (&[], "SEARCH"),
            Kind::Mail => (&[], "MAIL"),
            _ => continue,
        };
        names.extend(of_kind.iter().map(|name| (*name).to_owned()));
        names.insert(format!("{own}_{ending}"));
    }
    names
}

/// A command line by its words: a shell around it that only starts it says nothing.
pub(crate) fn words(run: &str) -> String {
    let words = shlex::split(run).unwrap_or_else(|| vec![run.to_owned()]);
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["sh" | "/bin/sh", "-c", line] if line.starts_with("exec ") => self::words(&line[5..]),
        _ => words.join("\u{1f}"),
    }
}

pub(crate) fn cron(cron: &str) -> String {
    let plain = match cron {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        other => other,
    };
    plain.to_owned()
}

pub(crate) fn size(size: &Size) -> Option<String> {
    let text = format!(
        "{} {}",
        size.cpu.map_or_else(String::new, |cpu| format!("{}..{}", cpu.min, cpu.max)),
        size.memory.map_or_else(String::new, |memory| format!("{}..{}", memory.min, memory.max))
    );
    (text != " ").then_some(text)
}

pub(crate) fn cap(size: &Size) -> Option<String> {
    let cpu = size.cpu.map_or_else(String::new, |cpu| cpu.max.to_string());
    let memory = size.memory.map_or_else(String::new, |memory| memory.max.to_string());
    (size.cpu.is_some() || size.memory.is_some()).then(|| format!("{cpu} {memory}"))
}

pub(crate) fn engines(fact: Fact, stack: &Stack) -> Said {
    let mut said = Said::new();
    let mut add = |key: String, engine: &str, followers: u32| {
        drop(said.insert(key, if fact == Fact::Engines { engine.to_owned() } else { followers.to_string() }));
    };
    for (name, database) in stack.databases.iter().filter(|(_, one)| one.url.is_none()) {
        match &database.engine {
            DatabaseEngine::Postgres(version) => {
                let major = version.split('.').next().unwrap_or(version);
                add(format!("database.{name}"), &format!("postgres:{major}"), database.replicas);
            }
            // a file is no server: whoever uses it says where it is
            DatabaseEngine::Sqlite => {}
        }
    }
    for (name, cache) in stack.caches.iter().filter(|(_, one)| one.url.is_none()) {
        let (engine, version) = cache.engine.split_once(':').unwrap_or((&cache.engine, ""));
        let major = version.split('.').next().unwrap_or(version);
        add(format!("cache.{name}"), &format!("{engine}:{major}"), cache.replicas);
    }
    for (name, queue) in stack.queues.iter().filter(|(_, one)| one.url.is_none()) {
        add(format!("queue.{name}"), &queue.engine, queue.replicas);
    }
    said
}

pub(crate) fn backups(fact: Fact, stack: &Stack) -> Said {
    let mut said = Said::new();
    for (name, database) in stack.databases.iter().filter(|(_, database)| served(database)) {
        let Some(backup) = &database.backup else { continue };
        let Some(bucket) = backup.to.first().and_then(|to| stack.buckets.get_key_value(&to.name)) else { continue };
        let bucket = bucket.1.name.clone().unwrap_or_else(|| format!("{}-{}", stack.app, bucket.0));
        let keep = backup.keep.unwrap_or(Retention { days: 30, weeks: 0, months: 0 });
        let at = backup.at.as_deref().unwrap_or("03:00");
        let keep = if fact == Fact::Backups {
            format!("{}d {}w {}m", keep.days, keep.weeks, keep.months)
        } else {
            format!("{}d", keep.days.max(keep.weeks * 7).max(keep.months * 31))
        };
        said.insert(name.to_string(), format!("{at} {keep} {bucket}"));
    }
    said
}

/// A limit as proxies count: in a second, or in a minute.
pub(crate) fn rate(limit: &Limit) -> String {
    let millis = u64::from(limit.period).max(1);
    let per = if limit.per == LimitKey::Ip { "ip" } else { "all" };
    match u64::from(limit.requests) * 1000 / millis {
        0 => format!("{}/m per {per}", (u64::from(limit.requests) * 60_000 / millis).max(1)),
        second => format!("{second}/s per {per}"),
    }
}

/// Settings of databases, each under its name.
pub(crate) fn settings(fact: Fact, stack: &Stack) -> Said {
    let open = |key: &str| fact == Fact::Settings || key != "archive_mode";
    let databases = stack.databases.iter().filter(|(_, database)| served(database));
    databases
        .flat_map(|(name, database)| {
            database.settings.iter().map(move |(key, value)| (format!("{name}.{key}"), value.clone()))
        })
        .filter(|(key, _)| open(key.rsplit('.').next().unwrap_or_default()))
        .collect()
}
