//! Databases, caches and queues: as images in sets of pods, or kept by operators.

use super::{WRITES, container::resource, known::Known, name_of, number};
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
    readers::data::{self, Role},
    report::Fate,
    text,
    trap::Trap,
};

/// Reads a workload whose image is a data service.
pub(crate) fn set(name: &str, image: &str, at: &Cursor<'_>, known: &mut Known, draft: &mut Draft) {
    let Some(reference) = data::declare(image, name, draft) else { return };
    known.secrets.insert(format!("{name}-auth"), reference.clone());
    draft.hosts.insert(name.to_owned(), reference.clone());
    at.changed("Slipway and the operators it renders run data services: user, password, address and disk are their own business");
    let (role, line) = (data::role(image), line(at));
    if role == Role::Cache
        && let Some(memory) = data::cache_memory(&line)
    {
        draft.section("cache", name).set("memory", memory);
    }
    if let Some(replicas) = at.find_below(&["spec", "replicas"])
        && let Some(count) = number(at, &["spec", "replicas"]).filter(|count| *count > 1)
    {
        if matches!(role, Role::Database | Role::Cache) {
            draft.section(data::kind(&reference), name).set("replicas", count - 1);
        }
        let said = format!("`replicas = {}` that follow one primary", count - 1);
        if role == Role::Cache && line.contains("replicaof") {
            replicas.kept_as(&said);
        } else {
            replicas.trapped(Trap::THREE_PRIMARIES, Fate::Changed, &said);
        }
    }
    if let Some(size) = at
        .find_below(&["spec", "volumeClaimTemplates"])
        .and_then(|claims| claims.items().into_iter().next())
        .and_then(|claim| claim.find_below(&["spec", "resources", "requests", "storage"]))
        && role == Role::Database
        && let Some(storage) = size.text()
    {
        draft.section("database", name).set("storage", storage);
        size.kept_as("`storage`");
    }
}

/// The command line of the first container.
fn line(at: &Cursor<'_>) -> String {
    let containers = at.find_below(&["spec", "template", "spec", "containers"]).map(|all| all.items());
    let first = containers.and_then(|containers| containers.into_iter().next());
    first.map(|first| super::container::words(&first).join(" ")).unwrap_or_default()
}

/// Reads a `Cluster` of CloudNativePG.
pub(crate) fn cluster(at: &Cursor<'_>, known: &mut Known, draft: &mut Draft) {
    let api = at.find("apiVersion").and_then(|api| api.text()).unwrap_or_default();
    if !api.starts_with("postgresql.cnpg.io/") {
        return;
    }
    let object = name_of(at);
    let name = label(object.strip_suffix("-db").unwrap_or(&object), "main");
    let reference = format!("database.{name}");
    let image = at.find_below(&["spec", "imageName"]).and_then(|image| image.text());
    data::declare(image.as_deref().unwrap_or("postgresql:17"), &name, draft);
    known.secrets.insert(format!("{object}-app"), reference.clone());
    known.databases.insert(object.clone(), name.clone());
    for ending in ["rw", "ro", "r"] {
        draft.hosts.insert(format!("{object}-{ending}"), reference.clone());
    }
    let Some(spec) = at.find("spec") else { return };
    spec.changed(WRITES);
    for (key, at) in spec.entries() {
        match key {
            "imageName" => at.kept_as("`engine`, of the same major version"),
            "instances" => {
                if let Some(count) = number(&spec, &["instances"]).filter(|count| *count > 1) {
                    draft.section("database", &name).set("replicas", count - 1);
                }
                at.kept_as("`replicas`, and the primary");
            }
            "storage" => {
                if let Some(size) = at.find("size")
                    && let Some(text) = size.text()
                {
                    draft.section("database", &name).set("storage", text);
                    size.kept_as("`storage`");
                }
            }
            "postgresql" => {
                for (setting, at) in at.find("parameters").map(|all| all.entries()).unwrap_or_default() {
                    if let Some(value) = at.text() {
                        draft.section("database", &name).put("settings", setting, value);
                        at.kept_as("`settings`");
                    }
                }
                if let Some(at) = at.find("shared_preload_libraries") {
                    let names: Vec<String> = at.items().iter().filter_map(Cursor::text).collect();
                    draft.section("database", &name).put("settings", "shared_preload_libraries", names.join(","));
                    at.kept_as("`settings`");
                }
            }
            "resources" => {
                for (group, at) in at.entries() {
                    for (dimension, at) in at.entries() {
                        resource(("database", &name), group, dimension, &at, draft);
                    }
                }
            }
            "plugins" => {
                for plugin in at.items() {
                    if let Some(store) = plugin.find_below(&["parameters", "barmanObjectName"]).and_then(|at| at.text())
                    {
                        known.databases.insert(store, name.clone());
                    }
                }
                at.changed("`backup` of the database");
            }
            _ => {}
        }
    }
}

/// Reads a `RabbitmqCluster`.
pub(crate) fn broker(name: &str, at: &Cursor<'_>, known: &mut Known, draft: &mut Draft) {
    let image = at.find_below(&["spec", "image"]).and_then(|image| image.text());
    let Some(reference) = data::declare(image.as_deref().unwrap_or("rabbitmq"), name, draft) else { return };
    known.secrets.insert(format!("{name}-default-user"), reference.clone());
    draft.hosts.insert(name.to_owned(), reference);
    let Some(spec) = at.find("spec") else { return };
    spec.changed(WRITES);
    if let Some(count) = number(&spec, &["replicas"]) {
        draft.section("queue", name).set("replicas", count);
    }
    for (key, said) in [("image", "`engine`"), ("replicas", "`replicas`")] {
        if let Some(at) = spec.find(key) {
            at.kept_as(said);
        }
    }
}

/// Reads a `RedisCluster`: shards with their followers.
pub(crate) fn shards(name: &str, at: &Cursor<'_>, known: &mut Known, draft: &mut Draft) {
    let image = at.find_below(&["spec", "kubernetesConfig", "image"]).and_then(|image| image.text());
    let Some(reference) = data::declare(image.as_deref().unwrap_or("redis"), name, draft) else { return };
    known.secrets.insert(format!("{name}-auth"), reference.clone());
    draft.hosts.insert(format!("{name}-leader"), reference);
    let Some(spec) = at.find("spec") else { return };
    spec.changed(WRITES);
    let shards = number(&spec, &["clusterSize"]).unwrap_or(3).max(1);
    let followers = number(&spec, &["redisFollower", "replicas"]).unwrap_or(shards) / shards;
    draft.section("cache", name).set("shards", shards).set("replicas", followers);
    for (key, said) in [("clusterSize", "`shards`"), ("redisFollower", "`replicas` of each shard")] {
        if let Some(at) = spec.find(key) {
            at.kept_as(said);
        }
    }
    if let Some(image) = spec.find_below(&["kubernetesConfig", "image"]) {
        image.kept_as("`engine`, of the same major version");
    }
    let settings = spec.find_below(&["redisConfig", "dynamicConfig"]).map(|list| list.items()).unwrap_or_default();
    for at in settings {
        let text = at.text().unwrap_or_default();
        if let Some(memory) = text.strip_prefix("maxmemory ").and_then(text::size) {
            draft.section("cache", name).set("memory", memory);
            at.kept_as("`memory`");
        }
    }
}

/// Reads where the copies of a database go.
pub(crate) fn backups(at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let path = at.find_below(&["spec", "configuration", "destinationPath"]).and_then(|at| at.text());
    let bucket = path.as_deref().and_then(|path| path.strip_prefix("s3://")?.split('/').next());
    let (Some(database), Some(bucket)) = (known.databases.get(&name_of(at)), bucket) else { return };
    at.changed("`backup` of the database");
    let short = draft.app.as_deref().and_then(|app| bucket.strip_prefix(app)?.strip_prefix('-'));
    let own = label(short.unwrap_or(bucket), "backups");
    let whole = short.is_some_and(|short| short == own);
    let section = draft.section("bucket", &own);
    if !whole {
        section.set("name", bucket);
    }
    draft.section("database", database).put("backup", "to", format!("bucket.{own}"));
    if let Some(keep) = at.find_below(&["spec", "retentionPolicy"])
        && let Some(days) = keep.text().filter(|days| days.ends_with('d'))
    {
        draft.section("database", database).put("backup", "keep", days);
        keep.kept_as("`backup.keep`: the days that are reached back");
    }
}

/// Reads when a database is copied.
pub(crate) fn schedule(at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let cluster = at.find_below(&["spec", "cluster", "name"]).and_then(|name| name.text()).unwrap_or_default();
    let Some(database) = known.databases.get(&cluster) else { return };
    at.changed("`backup` of the database");
    let Some(when) = at.find_below(&["spec", "schedule"]) else { return };
    let text = when.text().unwrap_or_default();
    let fields: Vec<&str> = text.split_whitespace().collect();
    if let ["0", minute, hour, "*", "*", "*"] = fields[..]
        && let (Ok(minute), Ok(hour)) = (minute.parse::<u8>(), hour.parse::<u8>())
    {
        draft.section("database", database).put("backup", "at", format!("{hour:02}:{minute:02}"));
        when.kept_as("`backup.at`");
    } else {
        when.refused("copies are taken once a day; write the time as `backup.at`");
    }
}
