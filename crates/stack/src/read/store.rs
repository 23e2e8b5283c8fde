//! `[cache.x]`, `[queue.x]` and `[bucket.x]`.

use super::{extra, extra_keys, section::Section};
use crate::{Bucket, Cache, Queue};

fn engine(section: &Section<'_>, example: &str) -> String {
    let Some(entry) = section.find("engine") else {
        section.missing("engine", &format!("write for example `engine = \"{example}\"`"));
        return String::new();
    };
    let Some(text) = entry.filled() else { return String::new() };
    let name = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let (engine, version) = text.split_once(':').unwrap_or((text, ""));
    if !name(engine) || !name(version) {
        let message = format!("{} is `{}`", entry.path.place(), super::section::shortened(text));
        section.notes.add(
            entry
                .problem("unknown-engine", message)
                .with_mend(format!("write the engine and its version, for example `{example}`")),
        );
    }
    text.to_owned()
}

/// Reads `[cache.x]`.
pub(crate) fn read_cache(section: Section<'_>) -> Cache {
    let cache = Cache {
        engine: engine(&section, "redis:7"),
        url: section.template("url"),
        replicas: section.whole("replicas", 0..=100).unwrap_or(0),
        shards: section.whole("shards", 1..=1000).unwrap_or(1),
        memory: section.parse("memory"),
        cloud: extra::read_cloud(&section, &extra_keys::CACHE_CLOUD),
    };
    section.finish(&[("size", "memory"), ("nodes", "shards"), ("version", "engine")]);
    cache
}

/// Reads `[queue.x]`.
pub(crate) fn read_queue(section: Section<'_>) -> Queue {
    let queue = Queue {
        engine: engine(&section, "rabbitmq:4"),
        url: section.template("url"),
        replicas: section.whole("replicas", 1..=100).unwrap_or(1),
    };
    section.finish(&[("members", "replicas"), ("nodes", "replicas"), ("version", "engine")]);
    queue
}

/// Reads `[bucket.x]`.
pub(crate) fn read_bucket(section: Section<'_>) -> Bucket {
    let mut cors = Vec::new();
    for entry in section.texts("cors") {
        let Some(text) = entry.filled() else { continue };
        entry.check_template(text);
        cors.push(text.to_owned());
    }
    let bucket = Bucket {
        name: section.text("name"),
        versions: section.flag("versions", false),
        public: section.flag("public", false),
        archive_after: section.parse("archive_after"),
        delete_after: section.parse("delete_after"),
        cors,
        cloud: extra::read_cloud(&section, &extra_keys::BUCKET_CLOUD),
    };
    if let (Some(archive), Some(delete)) = (bucket.archive_after, bucket.delete_after)
        && archive >= delete
        && let Some(entry) = section.find("archive_after")
    {
        let message = format!("{} archives after {archive} what it deletes after {delete}", section.path.place());
        section
            .notes
            .add(entry.problem("bad-range", message).with_mend("make `archive_after` shorter than `delete_after`"));
    }
    section.finish(&[("versioning", "versions"), ("lifecycle", "archive_after"), ("expire_after", "delete_after")]);
    bucket
}
