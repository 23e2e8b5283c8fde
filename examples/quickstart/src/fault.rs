//! What a request is answered when it cannot be done: `{"error": "..."}` with a fitting status.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::output::{Level, say};

/// Why a request cannot be done.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The request is wrong, and this is how.
    Bad(String),
    /// The admin token is missing or wrong.
    Forbidden,
    /// There is no such thing.
    Missing,
    /// It is there already.
    Conflict(&'static str),
    /// More bytes than are taken.
    TooLarge(u64),
    /// The database or the disk does not do what it should.
    Broken(String),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Fault::Broken(error.to_string())
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Fault::Broken(error.to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Fault::Bad(reason) => (StatusCode::BAD_REQUEST, reason),
            Fault::Forbidden => (StatusCode::FORBIDDEN, "this needs the admin token".to_owned()),
            Fault::Missing => (StatusCode::NOT_FOUND, "there is nothing here".to_owned()),
            Fault::Conflict(reason) => (StatusCode::CONFLICT, reason.to_owned()),
            Fault::TooLarge(most) => (StatusCode::PAYLOAD_TOO_LARGE, format!("at most {} MB are taken", most >> 20)),
            Fault::Broken(reason) => {
                // the reason is for whoever runs this, not for the visitor
                say(Level::Error, format_args!("a request failed: {reason}"));
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the harbour office does not answer; try again in a moment".to_owned(),
                )
            }
        };
        (status, Json(serde_json::json!({ "error": text }))).into_response()
    }
}
