//! The sender's side of [`upload`](crate::upload).

use std::{
    io::SeekFrom,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use engine::target::TargetError;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::de::DeserializeOwned;
use stack::AppName;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::{
    client::Client,
    socket,
    upload::{Removed, Shelf, Uploaded},
};

/// A stream that does not move for so long is cut.
const STALLED: Duration = Duration::from_secs(20);

/// Bytes handed over at a time.
const PIECE: usize = 128 << 10;

/// A stream to be sent: what [`release::delta`] wrote, in a file.
#[derive(Debug, Clone, Copy)]
pub struct Stream<'s> {
    /// The file.
    pub path: &'s Path,
    /// BLAKE3 of the file, 64 hexadecimal digits.
    pub digest: &'s str,
    /// Its bytes.
    pub size: u64,
    /// Bytes the release takes on the host once it is unpacked.
    pub needed: u64,
}

/// Whether a host took a release in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is there, whole.
    Whole,
    /// The host has not all that was taken for granted: everything has to be sent.
    Lacks,
}

impl Client {
    /// What the host has of an app.
    pub async fn shelf(&self, app: &AppName) -> Result<Shelf, TargetError> {
        self.ask(Method::GET, &format!("/v1/releases?app={app}")).await
    }

    /// How much of a stream the host has, from an upload that was cut.
    pub async fn uploaded(&self, digest: &str) -> Result<u64, TargetError> {
        let uploaded: Uploaded = self.ask(Method::GET, &format!("/v1/uploads/{digest}")).await?;
        Ok(uploaded.offset)
    }

    /// Sends a stream from `offset` on, which is what [`Client::uploaded`] told. `sent` counts up with the bytes that are
    /// on their way. Fails with `Unreachable` when it is cut; what has arrived stays, for a day.
    pub async fn upload(&self, stream: &Stream<'_>, offset: u64, sent: &Arc<AtomicU64>) -> Result<(), TargetError> {
        self.put(stream, offset, sent, false).await.map(drop)
    }

    /// As [`Client::upload`], and the host takes the release in as soon as it has the whole stream: one way there and back
    /// less than with [`Client::take_in`].
    pub async fn upload_whole(
        &self,
        stream: &Stream<'_>,
        offset: u64,
        sent: &Arc<AtomicU64>,
    ) -> Result<Taken, TargetError> {
        match self.put(stream, offset, sent, true).await? {
            Some(taken) => Ok(taken),
            None => self.take_in(stream.digest).await,
        }
    }

    /// Sends a stream; what became of the release, if it was to be taken in.
    async fn put(
        &self,
        stream: &Stream<'_>,
        offset: u64,
        sent: &Arc<AtomicU64>,
        take: bool,
    ) -> Result<Option<Taken>, TargetError> {
        let Stream { path, digest, size, needed } = *stream;
        let cannot = |error: std::io::Error| TargetError::Failed {
            reason: format!("cannot read {}: {error}; try again", path.display()),
        };
        let mut file = tokio::fs::File::open(path).await.map_err(cannot)?;
        file.seek(SeekFrom::Start(offset)).await.map_err(cannot)?;
        let counter = sent.clone();
        let pieces = futures_util::stream::unfold((file, counter), |(mut file, counter)| async move {
            let mut piece = vec![0; PIECE];
            match file.read(&mut piece).await {
                Ok(0) => None,
                Ok(length) => {
                    piece.truncate(length);
                    counter.fetch_add(length as u64, Ordering::Relaxed);
                    Some((Ok(Frame::data(Bytes::from(piece))), (file, counter)))
                }
                Err(error) => Some((Err(error), (file, counter))),
            }
        });
        let uri = format!("/v1/uploads/{digest}?offset={offset}&size={size}&needed={needed}&take={take}");
        let Some(socket) = self.socket() else {
            return Err(self.cut("releases are sent over a socket of this machine".to_owned()));
        };
        let sending = socket::send_body(socket, Method::PUT, &uri, StreamBody::new(pieces));
        let response = tokio::select! {
            response = sending => response.map_err(|reason| self.cut(reason))?,
            () = stalled(sent, size) => return Err(self.cut(format!("nothing moved for {} s", STALLED.as_secs()))),
        };
        if take && response.status() == StatusCode::PRECONDITION_FAILED {
            return Ok(Some(Taken::Lacks));
        }
        let uploaded: Uploaded = self.read(response).await?;
        if uploaded.offset != size {
            return Err(self.cut("the connection was cut".to_owned()));
        }
        Ok(uploaded.taken.then_some(Taken::Whole))
    }

    /// Lets the host take a release in from a stream that it has whole.
    pub async fn take_in(&self, digest: &str) -> Result<Taken, TargetError> {
        let uri = format!("/v1/uploads/{digest}");
        let response = self.send(Method::POST, &uri, Bytes::new()).await?;
        if response.status() == StatusCode::PRECONDITION_FAILED {
            return Ok(Taken::Lacks);
        }
        self.read::<serde_json::Value>(response).await.map(|_| Taken::Whole)
    }

    /// Removes all releases of an app but the newest `keep`, those that an environment of the host runs and those it may
    /// go back to.
    pub async fn prune(&self, app: &AppName, keep: usize) -> Result<Removed, TargetError> {
        self.ask(Method::POST, &format!("/v1/prune?app={app}&keep={keep}")).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, uri: &str) -> Result<T, TargetError> {
        let response = self.send(method, uri, Bytes::new()).await?;
        self.read(response).await
    }

    async fn read<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, TargetError> {
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| self.cut(error.to_string()))?.to_bytes();
        let unclear = |error: serde_json::Error| TargetError::Failed {
            reason: format!(
                "the agent of {} and this program do not understand each other ({error}); bring both to one version with \
                 `slipway host upgrade`",
                self.host()
            ),
        };
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(unclear);
        }
        Err(serde_json::from_slice(&body).unwrap_or_else(unclear))
    }

    fn cut(&self, reason: String) -> TargetError {
        TargetError::Unreachable { host: self.host().to_owned(), reason }
    }
}

/// Until nothing has moved for too long, while there is something left to move.
async fn stalled(sent: &AtomicU64, size: u64) {
    let mut last = sent.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(STALLED).await;
        let now = sent.load(Ordering::Relaxed);
        if now == last && now < size {
            return;
        }
        last = now;
    }
}
