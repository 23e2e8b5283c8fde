//! What peers may ask: calls about the one environment whose certificate they showed, and what it is made of.
//!
//! - `POST /v1/call` as on the agent's own socket, but only what the hosts of an environment ask each other.
//! - `GET /v1/values/<id>`: a set of variable values.
//! - `GET /v1/release/<id>?has=<id>,<id>`: a release as `release::delta` writes it, against those the asker has.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use engine::target::{TargetError, Task};
use futures_util::Stream;
use release::delta::Delta;
use serde::Deserialize;
use stack::{ReleaseId, ValuesId};
use tokio::sync::mpsc;

use super::keys::Keys;
use crate::{api, environment::Environment, error::Error, host::Host, protocol::Call, values};

/// Largest call.
const LARGEST: usize = 8 << 20;
/// Bytes of a release that are read ahead of the network, in pieces of this size.
const PIECE: usize = 128 << 10;
const AHEAD: usize = 4;

/// One connection's way in.
#[derive(Clone)]
struct Door {
    host: Arc<Host>,
    environment: Arc<Environment>,
    /// What the other side proved to have.
    keys: Arc<Keys>,
}

/// All routes.
pub(super) fn router(host: Arc<Host>, environment: Arc<Environment>, keys: Arc<Keys>) -> Router {
    Router::new()
        .route("/v1/call", post(call))
        .route("/v1/values/{id}", get(values_of))
        .route("/v1/release/{id}", get(release_of))
        .layer(axum::extract::DefaultBodyLimit::max(LARGEST))
        .with_state(Door { host, environment, keys })
}

impl Door {
    /// Refuses those whose identity the environment has put away since they connected.
    fn check(&self) -> Result<(), TargetError> {
        if self.environment.peers.keys().is_some_and(|keys| keys.name == self.keys.name) {
            return Ok(());
        }
        Err(Error::failed("the environment has another identity by now; connect again with its new one").into())
    }
}

/// What the hosts of an environment ask each other.
fn is_allowed(call: &Call) -> bool {
    match call {
        Call::Lock { .. }
        | Call::Renew { .. }
        | Call::Unlock { .. }
        | Call::Observe
        | Call::Ship { .. }
        | Call::Want { .. }
        | Call::Append { .. }
        | Call::Adopt { .. }
        | Call::Journal
        | Call::Members
        | Call::PutMembers { .. }
        | Call::Claim { .. }
        | Call::PeerState => true,
        Call::Task { task, .. } => matches!(task, Task::MigrateDown { .. } | Task::PendingMigrations { .. }),
        _ => false,
    }
}

async fn call(State(door): State<Door>, body: Bytes) -> Response {
    let request = door.check().and_then(|()| api::read(&body)).and_then(|request| {
        if request.scope.as_ref() != Some(&door.environment.scope) {
            let reason = "this way leads to another environment; ask about that one";
            return Err(Error::failed(reason).into());
        }
        if !is_allowed(&request.call) {
            return Err(Error::failed("hosts may not ask this of each other; ask on the host itself").into());
        }
        Ok(request)
    });
    match request {
        Ok(request) => api::respond(&door.host, request).await,
        Err(error) => api::refuse(&error),
    }
}

async fn values_of(State(door): State<Door>, Path(id): Path<ValuesId>) -> Response {
    let folder = door.environment.folder.clone();
    let found = match door.check() {
        Ok(()) => tokio::task::spawn_blocking(move || values::find(&folder, &id)).await,
        Err(error) => return api::refuse(&error),
    };
    match found {
        Ok(Ok(Some(found))) => Json(found).into_response(),
        Ok(Ok(None)) => api::refuse(&Error::failed("these values are not on this host; ask another").into()),
        Ok(Err(error)) => api::refuse(&error.into()),
        Err(error) => api::refuse(&Error::failed(error.to_string()).into()),
    }
}

#[derive(Debug, Deserialize)]
struct Has {
    /// Releases the asker has, with commas between.
    #[serde(default)]
    has: String,
}

async fn release_of(State(door): State<Door>, Path(id): Path<ReleaseId>, Query(has): Query<Has>) -> Response {
    if let Err(error) = door.check() {
        return api::refuse(&error);
    }
    let has: Vec<ReleaseId> = has.has.split(',').filter_map(|id| ReleaseId::new(id).ok()).collect();
    let (store, app) = (door.host.store.clone(), door.environment.scope.app.clone());
    let delta = tokio::task::spawn_blocking(move || Delta::between(&store, &app, &id, &has)).await;
    let delta = match delta {
        Ok(Ok(delta)) => delta,
        Ok(Err(error)) => return api::refuse(&Error::failed(error.to_string()).into()),
        Err(error) => return api::refuse(&Error::failed(error.to_string()).into()),
    };
    let (pieces, body) = mpsc::channel(AHEAD);
    drop(tokio::task::spawn_blocking(move || {
        let mut pipe = io::BufWriter::with_capacity(PIECE, Pipe(pieces.clone()));
        let written = delta.write(&mut pipe, 1).and_then(|()| io::Write::flush(&mut pipe));
        // An asker that is cut off sees a stream that ends too early, and asks again.
        if let Err(error) = written {
            drop(pieces.blocking_send(Err(error)));
        }
    }));
    Body::from_stream(Pieces(body)).into_response()
}

/// Writes into a channel.
struct Pipe(mpsc::Sender<io::Result<Bytes>>);

impl io::Write for Pipe {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(piece)));
        sent.map(|()| piece.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}
