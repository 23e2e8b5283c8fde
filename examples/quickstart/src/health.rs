//! `/health`: how this instance is. `/ready`: whether it may take visitors.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

use crate::{
    output::{Level, say},
    server::App,
};

/// A report is due within two seconds, however the database is; this is what the database gets of them.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Above this share of the memory the instance is degraded, in percent.
const MEMORY_LIMIT: u64 = 90;

/// Whether the last report was a good one: only a change is worth a line.
static WELL: AtomicBool = AtomicBool::new(true);

/// `GET /health`: 503 when the database does not answer.
pub(crate) async fn health(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let asked = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, ask(&app)).await;
    let took = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
    let database = match answer {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} ms", PATIENCE.as_millis())),
    };
    let (status, report) = report(&app, took, &database, memory());
    let well = status == "healthy";
    if WELL.swap(well, Ordering::Relaxed) != well {
        say(if well { Level::Info } else { Level::Warn }, format_args!("health is now {status}: {}", report["checks"]));
    }
    let code = if status == "unhealthy" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(report))
}

fn report(app: &App, took: u64, database: &Result<(), String>, memory: Option<(u64, u64)>) -> (&'static str, Value) {
    let (used, total) = memory.unwrap_or_default();
    let percentage = (used * 100 + total / 2).checked_div(total).unwrap_or(0);
    let status = match database {
        Err(_) => "unhealthy",
        Ok(()) if used * 100 > total * MEMORY_LIMIT => "degraded",
        Ok(()) => "healthy",
    };
    let mut check = json!({ "status": if database.is_ok() { "healthy" } else { "unhealthy" }, "responseTime": took });
    if let Err(reason) = database {
        check["reason"] = json!(reason);
    }
    let now = jiff::Timestamp::now();
    let report = json!({
        "status": status,
        "timestamp": jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string(),
        "version": app.settings.identity.version,
        "uptime": app.started.elapsed().as_secs(),
        "checks": {
            "database": check,
            "memory": { "used": used >> 20, "total": total >> 20, "percentage": percentage },
        },
    });
    (status, report)
}

/// `GET /ready`: 200 once the tables are there, 503 while this instance leaves.
pub(crate) async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    if *app.leaving.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "leaving\n");
    }
    match tokio::time::timeout(PATIENCE, ask(&app)).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}

/// Asks for what needs the newest table.
async fn ask(app: &App) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1 FROM summaries LIMIT 1").fetch_optional(&app.pool).await.map(drop)
}

/// Bytes this process has in memory, and bytes of the whole machine. `None` outside Linux.
fn memory() -> Option<(u64, u64)> {
    let kilobytes = |path: &str, key: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix(key))?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    Some((kilobytes("/proc/self/status", "VmRSS:")? << 10, kilobytes("/proc/meminfo", "MemTotal:")? << 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn status(database: Result<(), String>, memory: (u64, u64)) -> (&'static str, Value) {
        report(&App::for_test().await, 15, &database, Some(memory))
    }

    #[tokio::test]
    async fn the_report_says_how_it_is() {
        let (name, report) = status(Ok(()), (256 << 20, 512 << 20)).await;
        assert_eq!(name, "healthy");
        assert_eq!(report["checks"]["memory"], json!({ "used": 256, "total": 512, "percentage": 50 }));
        assert_eq!(report["checks"]["database"], json!({ "status": "healthy", "responseTime": 15 }));
        assert_eq!(status(Ok(()), (91, 100)).await.0, "degraded");
        let (name, report) = status(Err("gone".into()), (91, 100)).await;
        assert_eq!((name, &report["checks"]["database"]["reason"]), ("unhealthy", &json!("gone")));
        assert!(memory().is_some_and(|(used, total)| used > 0 && used < total));
    }

    #[tokio::test]
    async fn a_database_without_tables_is_unhealthy_and_a_leaving_instance_not_ready() {
        let app = App::for_test().await;
        assert_eq!(health(State(app.clone())).await.0, StatusCode::OK);
        assert_eq!(ready(State(app.clone())).await.0, StatusCode::OK);
        app.leaving.send_replace(true);
        assert_eq!(ready(State(app.clone())).await.0, StatusCode::SERVICE_UNAVAILABLE);
        sqlx::query("DROP TABLE summaries").execute(&app.pool).await.unwrap();
        assert_eq!(health(State(app.clone())).await.0, StatusCode::SERVICE_UNAVAILABLE);
    }
}
