//! What a client is told when this host cannot do what it should.

use std::io;

use http::StatusCode;
use s3s::{S3Error, S3ErrorCode};

/// A failure of `doing` something on this host. A full disk is told as such; the rest is told to the log.
pub(super) fn of_io(doing: &str) -> impl FnOnce(io::Error) -> S3Error {
    move |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => full(),
        _ => {
            tracing::error!("bucket: cannot {doing}: {error}");
            S3Error::with_message(S3ErrorCode::InternalError, format!("cannot {doing}: {}", error.kind()))
        }
    }
}

/// A failure of the index.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` passes it")]
pub(super) fn of_index(error: sqlx::Error) -> S3Error {
    // Source: https://sqlite.org/rescode.html, SQLITE_FULL.
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    if code.as_deref() == Some("13") {
        return full();
    }
    tracing::error!("bucket: the index fails: {error}");
    S3Error::with_message(S3ErrorCode::InternalError, "the index of the bucket fails; see the agent's log")
}

/// A task of this program broke down.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` passes it")]
pub(super) fn of_task(error: tokio::task::JoinError) -> S3Error {
    tracing::error!("bucket: {error}");
    S3Error::with_message(S3ErrorCode::InternalError, "the agent ends, or a task of it broke down; try again")
}

/// There is no room for what is sent. Nothing of it is kept.
pub(super) fn full() -> S3Error {
    let message = "the disk of the bucket is full; free some space and send it again";
    let mut error = S3Error::with_message(S3ErrorCode::Custom("InsufficientStorage".into()), message);
    error.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
    error
}

/// What this server does not do.
pub(super) fn not_here(what: impl Into<String>) -> S3Error {
    S3Error::with_message(S3ErrorCode::NotImplemented, what.into())
}
