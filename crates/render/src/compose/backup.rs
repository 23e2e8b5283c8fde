//! Backups of databases on one host: a dump into the bucket's folder, pruned as `keep` says.

use serde_json::{Map, Value, json};
use stack::{Backup, Database, DatabaseEngine, Kind, ResourceName, ResourceRef, Retention};

use super::{addresses::Compose, interpolated, service};
use crate::{Input, binding::Addresses};

/// A dump is whole before it has its name; a week's and a month's are copies of the day's.
const SCRIPT: &str = r#"set -eu
cd "/buckets/$$BUCKET"
mkdir -p "database/$$NAME/daily" "database/$$NAME/weekly" "database/$$NAME/monthly"
cd "database/$$NAME"
now=$$(date -u +%Y%m%dT%H%M%SZ)
pg_dump --format=custom --file=.part "$$DATABASE_URL"
mv .part "daily/$$now.dump"
if [ "$$(date -u +%u)" = 7 ]; then cp "daily/$$now.dump" "weekly/$$now.dump"; fi
if [ "$$(date -u +%d)" = 01 ]; then cp "daily/$$now.dump" "monthly/$$now.dump"; fi
# the newest stay, however old they are
prune() { ls -1 "$$1" | sort -r | tail -n "+$$(($$2 + 1))" | while read -r old; do rm -- "$$1/$$old"; done; }
prune daily "$$DAILY"
prune weekly "$$WEEKLY"
prune monthly "$$MONTHLY"
"#;

/// Databases with backups that this host runs.
fn wanted(input: &Input) -> impl Iterator<Item = (&ResourceName, &Database, &Backup, &str)> {
    input.resolved.stack.databases.iter().filter_map(|(name, database)| match &database.engine {
        DatabaseEngine::Postgres(version) => Some((name, database, database.backup.as_ref()?, version.as_str())),
        DatabaseEngine::Sqlite => None,
    })
}

/// When each runs: minute, hour, step.
pub(crate) fn steps(input: &Input) -> Vec<(u32, u32, String)> {
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    wanted(input)
        .map(|(name, _, backup, _)| {
            let (hour, minute) = backup.at.as_deref().and_then(|at| at.split_once(':')).unwrap_or(("3", "0"));
            (number(minute), number(hour), format!("backup-{name}"))
        })
        .collect()
}

/// Adds a step per database, which the host's cron runs.
pub(crate) fn add(input: &Input, services: &mut Map<String, Value>) {
    let stack = &input.resolved.stack;
    for (name, _, backup, version) in wanted(input) {
        let need = ResourceRef { kind: Kind::Database, name: name.clone() };
        let Some(url) = (Compose { stack }).address(&need) else { continue };
        let Some((own, bucket)) = backup.to.first().and_then(|to| stack.buckets.get_key_value(&to.name)) else {
            continue;
        };
        let bucket = bucket.name.clone().unwrap_or_else(|| format!("{}-{own}", stack.app));
        let keep = backup.keep.unwrap_or(Retention { days: 30, weeks: 0, months: 0 });
        services.insert(
            format!("backup-{name}"),
            json!({
                "image": format!("postgres:{version}-alpine"),
                "profiles": ["backup"],
                "command": ["sh", "-c", SCRIPT],
                "restart": "no",
                "environment": {
                    "DATABASE_URL": interpolated(&url),
                    "NAME": name.as_str(),
                    "BUCKET": bucket,
                    "DAILY": keep.days.to_string(),
                    "WEEKLY": keep.weeks.to_string(),
                    "MONTHLY": keep.months.to_string(),
                },
                "depends_on": service::depends(input, &[&need], false),
                "networks": ["back"],
                "volumes": ["s3-data:/buckets"],
                "security_opt": ["no-new-privileges:true"],
                "logging": service::logging(),
            }),
        );
    }
}
