//! What a program can find out: addresses, instances, databases, what visitors get, backups.

use std::{collections::BTreeSet, net::SocketAddr, time::SystemTime};

use engine::{
    judge::{Readiness, readiness},
    target::Target,
};
use stack::{AlarmRule, DatabaseEngine, Period, Revision, gate::Rule};

use crate::{
    addresses::{edges, names},
    context::Reach,
    printer::ago,
};

/// Looks once whether it is so, of the release that is `on`; what was seen, or why it is not so. Before the first deploy
/// there is nothing to look at, which is well.
pub(super) async fn look(reach: &Reach, rule: &Rule, on: Option<&Revision>) -> Result<String, String> {
    let Some(on) = on else { return Ok("nothing is deployed yet".to_owned()) };
    match rule {
        Rule::Answers { url, within } => answers(reach, url, *within).await,
        Rule::Ready => ready(reach, on).await,
        Rule::Databases => databases(reach).await,
        Rule::Migrated => Ok("by this deploy, before the switch".to_owned()),
        Rule::Holds(rule) if rule.metric == "backup.age" => backups(reach, rule),
        Rule::Holds(rule) => traffic(reach, rule, on).await,
        Rule::Person => Err("only a person can know".to_owned()),
    }
}

/// An own path is asked at every edge. On this machine, so is the own name of a route, which leads nowhere else here; a
/// whole address otherwise is what visitors use, and asked as they do.
async fn answers(reach: &Reach, url: &str, within: Period) -> Result<String, String> {
    let own = url.starts_with('/');
    let host = url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_lowercase)).unwrap_or_default();
    let known = reach.fleet.is_here() && names(reach).any(|name| name == host);
    let (url, at): (String, Vec<Option<SocketAddr>>) = if own || known {
        let edges = edges(reach).await?;
        let name = names(reach).find(|name| !name.contains('*')).unwrap_or_else(|| "localhost".to_owned());
        (if own { format!("http://{name}{url}") } else { url.to_owned() }, edges.into_iter().map(Some).collect())
    } else {
        (url.to_owned(), vec![None])
    };
    let mut slowest = std::time::Duration::ZERO;
    for at in at {
        let took = observe::answer::answers(&url, at, within.0).await.map_err(|error| match at {
            Some(at) => format!("{url} at {at}: {error}"),
            None => format!("{url}: {error}"),
        })?;
        slowest = slowest.max(took);
    }
    Ok(format!("in {} ms", slowest.as_millis()))
}

async fn ready(reach: &Reach, on: &Revision) -> Result<String, String> {
    let observed = reach.fleet.observe().await.map_err(|error| error.to_string())?;
    match readiness(&observed, on, &BTreeSet::new()) {
        Readiness::Ready => {
            let count = observed.instances.iter().filter(|instance| instance.revision == *on).count();
            Ok(format!("{count} of {count}"))
        }
        Readiness::Coming { ready, of: Some(of) } => Err(format!("{ready} of {of} are ready")),
        Readiness::Coming { .. } => Err("none runs".to_owned()),
        Readiness::Failed { why } => Err(why),
    }
}

/// What the health report, or each host's own, says of databases.
async fn databases(reach: &Reach) -> Result<String, String> {
    let (_, report) = reach.fleet.health().await.map_err(|error| error.to_string())?;
    let reports = report["hosts"].as_object().map_or_else(|| vec![&report], |hosts| hosts.values().collect());
    let checks = reports.into_iter().filter_map(|report| report["checks"].as_object()).flatten();
    let mut count = 0;
    for (name, check) in checks.filter(|(name, _)| name.split('.').next() == Some("database")) {
        if check["status"] != "healthy" {
            return Err(format!("{name}: {}", check["reason"].as_str().unwrap_or("does not answer")));
        }
        count += 1;
    }
    if count == 0 && !reach.resolved.stack.databases.is_empty() {
        return Err("the health report says nothing of them".to_owned());
    }
    Ok(if count == 0 { "there is none".to_owned() } else { String::new() })
}

#[expect(clippy::cast_precision_loss, reason = "counts of one release are far below 2^52")]
async fn traffic(reach: &Reach, rule: &AlarmRule, on: &Revision) -> Result<String, String> {
    let observed = reach.fleet.observe().await.map_err(|error| error.to_string())?;
    let seen = observed.traffic.get(on).copied().unwrap_or_default();
    if seen.requests == 0 {
        return Ok("nobody asked yet".to_owned());
    }
    let (value, said) = if rule.metric == "http.errors" {
        let percent = seen.errors as f64 * 100.0 / seen.requests as f64;
        (percent, format!("{percent:.1} % of {} requests", seen.requests))
    } else {
        (seen.p95_ms, format!("{:.0} ms for 95 % of {} requests", seen.p95_ms, seen.requests))
    };
    if rule.comparison.holds(value, rule.limit) { Ok(said) } else { Err(format!("it is {said}")) }
}

/// The copies that a deploy makes of SQLite databases before it migrates them. Those of servers are made by other tools.
fn backups(reach: &Reach, rule: &AlarmRule) -> Result<String, String> {
    let folder = reach.home().environment(reach.fleet.scope()).join("data/backups");
    let mut oldest = None;
    for (name, database) in &reach.resolved.stack.databases {
        if database.engine != DatabaseEngine::Sqlite || !reach.fleet.is_here() {
            return Err(format!(
                "slipway knows no backups of database `{name}`: let the gate's `run` ask the tool that takes them"
            ));
        }
        let copies = std::fs::read_dir(&folder).into_iter().flatten().flatten().filter(|entry| {
            let file = entry.file_name().to_string_lossy().into_owned();
            file.strip_prefix(&format!("{name}-"))
                .is_some_and(|rest| rest.strip_suffix(".sqlite").is_some_and(|number| number.parse::<u64>().is_ok()))
        });
        let newest = copies.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max();
        let newest = newest.ok_or_else(|| format!("there is no backup of database `{name}`"))?;
        oldest = Some(oldest.map_or(newest, |oldest: SystemTime| oldest.min(newest)));
    }
    let Some(oldest) = oldest else { return Ok("there is no database".to_owned()) };
    let age = SystemTime::now().duration_since(oldest).unwrap_or_default().as_secs_f64();
    let said = format!("{} old", ago(age));
    if rule.comparison.holds(age * 1000.0, rule.limit) { Ok(said) } else { Err(said) }
}
