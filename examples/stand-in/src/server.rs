//! What every service does: listen where it is told, tell its health, leave when it is told.

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{Done, database::Database};

/// An answer that says what went wrong.
pub(crate) struct Trouble(StatusCode, String);

impl From<String> for Trouble {
    fn from(reason: String) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, reason)
    }
}

impl Trouble {
    /// Nothing is there.
    pub(crate) fn missing(what: &str) -> Self {
        Self(StatusCode::NOT_FOUND, format!("no {what}"))
    }

    /// The request is not good.
    pub(crate) fn bad(what: &str) -> Self {
        Self(StatusCode::BAD_REQUEST, what.to_owned())
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        if self.0.is_server_error() {
            eprintln!("{}", self.1);
        }
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

/// Who answered: shown by every health report.
pub(crate) fn release() -> String {
    std::env::var("SLIPWAY_RELEASE").unwrap_or_default().chars().take(12).collect()
}

/// Answers until TERM, then finishes what has begun. Healthy while the database answers, for a role that has one.
pub(crate) async fn serve(routes: Router, database: Option<Database>) -> Done {
    let health = move || {
        let database = database.clone();
        async move {
            let reached = match &database {
                Some(database) => database.answers().await,
                None => Ok(()),
            };
            let (status, word) = match &reached {
                Ok(()) => (StatusCode::OK, "healthy"),
                Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
            };
            (
                status,
                Json(json!({ "status": word, "version": release(), "checks": { "database": { "status": word } } })),
            )
        }
    };
    let routes = routes.route("/health", get(health.clone())).route("/ready", get(health));
    let host = std::env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let port = std::env::var("PORT").unwrap_or_else(|_| "4000".to_owned());
    let address = format!("{host}:{port}");
    let listener = TcpListener::bind(&address).await.map_err(|error| format!("cannot listen at {address}: {error}"))?;
    let mut term = signal(SignalKind::terminate()).map_err(|error| format!("cannot listen for signals: {error}"))?;
    println!("listening at {address}");
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move {
            term.recv().await;
        })
        .await
        .map_err(|error| format!("cannot answer: {error}"))
}
