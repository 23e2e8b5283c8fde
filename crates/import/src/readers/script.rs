//! Lines of shell: scripts, steps of workflows, configuration of PostgreSQL. They are never run; known mistakes in them are named.

use crate::{
    detect::File,
    draft::Draft,
    report::{Entry, Fate},
    text,
    trap::Trap,
};

/// A known mistake in one line, and what is right.
pub(crate) fn mistake(line: &str) -> Option<(Trap, &'static str)> {
    let line = line.trim();
    if line.starts_with('#') || line.starts_with("//") {
        return None;
    }
    let has = |text: &str| line.contains(text);
    Some(match () {
        () if has("pg_basebackup") && has("rds") => {
            (Trap::OLD_REPLICATION, "follow by logical replication, with sequences, and promote when the lag is small")
        }
        () if has("recovery.conf") || has("standby_mode") || has("trigger_file") => {
            (Trap::OLD_REPLICATION, "standby.signal and `pg_ctl promote`, or let Patroni decide")
        }
        () if has("wal_keep_segments") => {
            (Trap::OLD_REPLICATION, "`wal_keep_size`, in megabytes: 64 segments are 1024")
        }
        () if line.starts_with("host") && line.ends_with(" md5") => (Trap::OLD_REPLICATION, "`scram-sha-256`"),
        () if has("pg_dump") && has(" > ") && !has("| age") && !has("gpg") && !has("| gzip") => {
            (Trap::PLAIN_DUMP, "`backup` of the database: encrypted while it streams, nothing left on the disk")
        }
        () if has("-mtime") && has("-delete") => {
            (Trap::PLAIN_DUMP, "`backup.keep`: old copies are removed where they lie, in the bucket too")
        }
        () if has("exec -it") => {
            (Trap::LATE_MIGRATION, "there is no terminal in CI: `slipway migrate up`, `slipway run` or `slipway exec`")
        }
        () if line.starts_with("ssh ") && line.split_whitespace().count() == 2 => (
            Trap::LATE_MIGRATION,
            "the lines after it run on the machine that runs this; `slipway deploy` does its work on the hosts",
        ),
        () if has(":latest") => (Trap::LATE_MIGRATION, "tag images by commit; Slipway deploys digests"),
        () if has("prisma migrate") && has("rollback") => {
            (Trap::PRISMA_DOWN, "`slipway rollback --with-database` with down scripts, or a copy from before")
        }
        () => return None,
    })
}

/// What a line of a pipeline is replaced by, when it is known.
pub(crate) fn replaced(line: &str) -> Option<&'static str> {
    let has = |text: &str| line.contains(text);
    Some(match () {
        () if has("docker build") || has("docker push") || has("docker tag") || has("docker login") => {
            "`slipway deploy` builds, names by digest and ships"
        }
        () if has("kubectl set image") || has("kubectl apply") || has("kubectl rollout") => {
            "`slipway deploy` rolls out and waits"
        }
        () if has("docker-compose") || has("docker compose") => "`slipway up` here, `slipway deploy` elsewhere",
        () if has("migrate") => "migrations run before the switch, by `slipway deploy`",
        () if has("aws s3 sync")
            || has("create-invalidation")
            || has("update-function-code")
            || has("aws ecs update-service") =>
        {
            "`slipway deploy` does this"
        }
        () if has("pg_dump") || has("pg_restore") => "`backup` of the database, and `slipway restore`",
        () if has("curl -f") => "instances are asked for their health before and after the switch",
        () if has("npm ci") || has("npm install") || has("npm run build") || has("yarn") || has("pnpm") => {
            "`build` of the service or site"
        }
        () => return None,
    })
}

/// Reads a script or a configuration of PostgreSQL: every line that says something gets an entry.
#[expect(clippy::unnecessary_wraps, reason = "all readers have one shape")]
pub(crate) fn read(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') || text.starts_with("--") {
            continue;
        }
        found.push(entry(file, index + 1, text, draft));
    }
    Ok(found)
}

fn entry(file: &File, line: usize, said: &str, draft: &mut Draft) -> Entry {
    let key: String = text::shown(said).chars().take(60).collect();
    let (fate, reason, trap) = match (mistake(said), replaced(said), setting(said)) {
        (Some((trap, right)), ..) => (Fate::Refused, format!("{}: {right}", trap.about()), Some(trap)),
        (None, Some(by), _) => (Fate::Changed, by.to_owned(), None),
        (None, None, Some((name, value))) if file.name.ends_with("postgresql.conf") => {
            let databases = draft.names("database");
            match databases.first() {
                Some(first) => {
                    draft.section("database", first).put("settings", name, value);
                    (Fate::Kept, "`settings` of the database".to_owned(), None)
                }
                None => (Fate::Refused, "write it as `settings` of the database".to_owned(), None),
            }
        }
        _ => (Fate::Refused, "a script is not run and not read into a stack".to_owned(), None),
    };
    Entry { file: file.name.clone(), line: Some(line), key, fate, reason, trap }
}

/// `name = value` of a configuration.
fn setting(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    let value = value.split(" #").next()?.trim().trim_matches('\'');
    let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit());
    good.then_some((name, value))
}
