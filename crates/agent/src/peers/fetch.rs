//! Brings what this host lacks of a revision from one that has it.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use bytes::{Buf, Bytes};
use engine::target::TargetError;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use stack::{ReleaseId, Revision, ValuesId};
use tokio::sync::mpsc;

use crate::{client::Client, environment::Environment, error::Error, host::Host, values};

/// How long a host may take to begin an answer, or to go on with it.
const STALL: Duration = Duration::from_secs(30);

/// Pieces of a release that are read ahead of the disk.
const AHEAD: usize = 4;

/// So many releases that this host has are told to the other side, the newest: it sends the difference.
const TOLD: usize = 8;

/// Makes sure that a revision's release and values are here, asking each of `from` until one has them. Says in words
/// what was brought. Fails with the last refusal.
pub(super) async fn bring(
    host: &Arc<Host>,
    environment: &Arc<Environment>,
    revision: &Revision,
    from: &[Client],
) -> Result<Vec<String>, Error> {
    let mut brought = Vec::new();
    let lacking = values::find(&environment.folder, &revision.values)?.is_none();
    if lacking {
        brought.push(values_of_any(from, environment, &revision.values).await?);
    }
    let (store, app, release) = (host.store.clone(), environment.scope.app.clone(), revision.release.clone());
    let well = tokio::task::spawn_blocking(move || store.check(&app, &release).is_ok()).await;
    if !well.is_ok_and(|well| well) {
        brought.push(release_of_any(from, host, environment, &revision.release).await?);
    }
    Ok(brought)
}

fn nobody() -> Error {
    Error::failed("no other host answers; it is tried again")
}

async fn values_of_any(from: &[Client], environment: &Environment, id: &ValuesId) -> Result<String, Error> {
    let mut refused = nobody();
    for client in from {
        match values_of(client, &environment.folder, id).await {
            Ok(brought) => return Ok(brought),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

async fn release_of_any(
    from: &[Client],
    host: &Arc<Host>,
    environment: &Arc<Environment>,
    release: &ReleaseId,
) -> Result<String, Error> {
    let mut refused = nobody();
    for client in from {
        match release_of(host, environment, client, release).await {
            Ok(brought) => return Ok(brought),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

async fn values_of(client: &Client, folder: &std::path::Path, id: &ValuesId) -> Result<String, Error> {
    let uri = format!("/v1/values/{}", id.as_str());
    let body = get(client, &uri).await?;
    let body = in_time(client, body.collect()).await?.map_err(|error| cut_off(client, &error))?;
    let found = serde_json::from_slice(&body.to_bytes())
        .map_err(|error| Error::failed(format!("{} answered something else than values: {error}", client.host())))?;
    let (folder, id) = (folder.to_owned(), id.clone());
    let said = format!("values {} from {}", id.as_str(), client.host());
    let kept = tokio::task::spawn_blocking(move || values::keep(&folder, &id, &found)).await;
    kept.map_err(|error| Error::failed(error.to_string()))??;
    Ok(said)
}

async fn release_of(
    host: &Arc<Host>,
    environment: &Arc<Environment>,
    client: &Client,
    release: &ReleaseId,
) -> Result<String, Error> {
    let app = &environment.scope.app;
    let here: BTreeSet<ReleaseId> =
        host.store.records(app).unwrap_or_default().into_iter().map(|record| record.release).take(TOLD).collect();
    let has: Vec<&str> = here.iter().filter(|id| host.store.has(app, id)).map(ReleaseId::as_str).collect();
    let uri = format!("/v1/release/{}?has={}", release.as_str(), has.join(","));
    let mut body = get(client, &uri).await?;
    let (pieces, queue) = mpsc::channel(AHEAD);
    let store = host.store.clone();
    let receiving = tokio::task::spawn_blocking(move || {
        store.receive(&mut Pieces { queue, piece: Bytes::new() }).map_err(|error| Error::failed(error.to_string()))
    });
    let mut bytes = 0;
    while let Some(frame) = in_time(client, body.frame()).await? {
        let piece = frame.map(|frame| frame.into_data().unwrap_or_default());
        let cut = piece.is_err();
        bytes += piece.as_ref().map_or(0, Bytes::len);
        // A receiver that has seen enough says why below.
        if pieces.send(piece.map_err(io::Error::other)).await.is_err() || cut {
            break;
        }
    }
    drop(pieces);
    let (of, received) = receiving.await.map_err(|error| Error::failed(error.to_string()))??;
    if (&of, &received) != (app, release) {
        let reason =
            format!("{} sent release {received} of {of} in place of {release}; it is tried again", client.host());
        return Err(Error::failed(reason));
    }
    Ok(format!("release {release} from {} ({bytes} bytes)", client.host()))
}

async fn get(client: &Client, uri: &str) -> Result<Incoming, Error> {
    let failed = |error: TargetError| Error::failed(error.to_string());
    let response = in_time(client, client.send(Method::GET, uri, Bytes::new())).await?.map_err(failed)?;
    if response.status() == StatusCode::OK {
        return Ok(response.into_body());
    }
    let body = in_time(client, response.into_body().collect()).await?.map_err(|error| cut_off(client, &error))?;
    let refused = serde_json::from_slice::<TargetError>(&body.to_bytes());
    Err(Error::failed(match refused {
        Ok(refused) => format!("{}: {refused}", client.host()),
        Err(error) => format!("{} gave an answer that is not understood: {error}", client.host()),
    }))
}

async fn in_time<T>(client: &Client, doing: impl Future<Output = T>) -> Result<T, Error> {
    let stalled =
        |_| Error::failed(format!("{} said nothing for {} s; it is tried again", client.host(), STALL.as_secs()));
    tokio::time::timeout(STALL, doing).await.map_err(stalled)
}

fn cut_off(client: &Client, error: &hyper::Error) -> Error {
    Error::failed(format!("{} was cut off: {error}; it is tried again", client.host()))
}

/// Reads what comes through a channel.
struct Pieces {
    queue: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl io::Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.queue.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
