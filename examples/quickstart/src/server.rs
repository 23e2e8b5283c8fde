//! The service: its routes, and how it leaves.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::Response,
    routing::{get, post, put},
};
use serde_json::{Value, json};
use sqlx::SqlitePool;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{broadcast, watch},
};

use crate::{
    database, entries, files, health, live,
    output::{Level, say},
    settings::Settings,
    tidy,
};

/// How long open WebSockets may take to close once this instance leaves.
const FAREWELL: Duration = Duration::from_secs(5);

/// What every request may use.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) settings: Arc<Settings>,
    pub(crate) pool: SqlitePool,
    pub(crate) news: live::News,
    /// True once this instance was told to leave. Each open WebSocket holds a receiver.
    pub(crate) leaving: watch::Sender<bool>,
    pub(crate) started: Instant,
}

/// Answers visitors until TERM or Ctrl-C, then finishes what it has begun.
pub(crate) async fn serve(settings: Settings) -> Result<(), String> {
    let address = format!("{}:{}", settings.host, settings.port);
    let listener = TcpListener::bind(&address).await.map_err(|error| {
        format!("cannot listen at {address}: {error}; is another program there? choose another PORT")
    })?;
    let app = App {
        pool: database::open(&settings.database)?,
        settings: Arc::new(settings),
        news: broadcast::Sender::new(64),
        leaving: watch::Sender::new(false),
        started: Instant::now(),
    };
    let watcher = tokio::spawn(live::watch(app.clone()));
    let identity = &app.settings.identity;
    say(
        Level::Info,
        format_args!("listening at http://{address}, release {}, version {}", identity.release, identity.version),
    );

    let leaving = app.leaving.clone();
    let told = told_to_leave()?;
    let stop = async move {
        told.await;
        say(Level::Info, "told to leave: finishing requests, closing WebSockets");
        leaving.send_replace(true);
    };
    axum::serve(listener, routes(app.clone())).with_graceful_shutdown(stop).await.map_err(|error| error.to_string())?;
    // the server does not count connections that became WebSockets; each of them holds a receiver until it is closed
    if tokio::time::timeout(FAREWELL, app.leaving.closed()).await.is_err() {
        say(Level::Warn, "a WebSocket would not close in time");
    }
    watcher.abort();
    app.pool.close().await;
    say(Level::Info, "goodbye");
    Ok(())
}

fn told_to_leave() -> Result<impl Future<Output = ()>, String> {
    let cannot = |error| format!("cannot wait for signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn routes(app: App) -> Router {
    Router::new()
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/api/health", get(health::health))
        .route("/api/who", get(who))
        .route("/api/live", get(live::live))
        .route("/api/summary", get(tidy::summary))
        .route("/api/entries", get(entries::list).post(entries::create))
        .route("/api/entries/{id}", put(entries::change).delete(entries::remove))
        .route("/api/files/{id}", get(files::show))
        .layer(DefaultBodyLimit::max(16 << 10))
        .route("/api/files", post(files::upload).get(files::list))
        .fallback(|| async { crate::fault::Fault::Missing })
        .layer(middleware::from_fn_with_state(app.clone(), sign))
        .with_state(app)
}

/// `GET /api/who`: who answers.
async fn who(State(app): State<App>) -> Json<Value> {
    let mut who = json!(app.settings.identity);
    who["harbour"] = json!(app.settings.name);
    who["uptime"] = json!(app.started.elapsed().as_secs());
    Json(who)
}

/// Says in each answer which release gave it, and that it is not to be kept unless it says so itself.
async fn sign(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Ok(release) = HeaderValue::from_str(&app.settings.identity.release) {
        headers.insert("x-release", release);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    impl App {
        /// An application around a fresh database in memory.
        pub(crate) async fn for_test() -> Self {
            let read = |name: &str| match name {
                "DATABASE_URL" => Some("sqlite::memory:".to_owned()),
                "ADMIN_TOKEN" => Some("t".repeat(32)),
                _ => None,
            };
            Self {
                settings: Arc::new(Settings::read(read).unwrap_or_else(|reason| panic!("{reason}"))),
                pool: database::tests::fresh().await,
                news: broadcast::Sender::new(8),
                leaving: watch::Sender::new(false),
                started: Instant::now(),
            }
        }
    }
}
