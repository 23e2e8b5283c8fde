//! Connections that became something else (WebSocket): bytes both ways until either side ends.

use std::{
    io,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use http::{HeaderValue, Response, StatusCode, header};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::{
    body::{EdgeBody, Kind},
    headers,
    instance::InFlight,
    request::Asked,
    shared::Shared,
    traffic::Meter,
    upstream::Lent,
};

/// How long one side may go on once the other has ended: enough for last words, and not for ever, since a program
/// that does not look for the end of its input would hold its tunnel until it is stopped.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Answers 101 and joins the two connections once both are free of HTTP.
pub(crate) fn open(
    asked: &Asked<'_>,
    mut response: Response<Incoming>,
    visitor: OnUpgrade,
    lent: Lent,
    in_flight: InFlight,
    meter: &Arc<Meter>,
    cookie: Option<HeaderValue>,
) -> Response<EdgeBody> {
    let worker = &asked.visitor.worker;
    meter.record(worker.number, response.status().as_u16(), asked.started.elapsed());
    let instance = hyper::upgrade::on(&mut response);
    let protocol = response.headers().get(header::UPGRADE).cloned();
    let (mut head, _) = response.into_parts();
    headers::strip_response(&mut head.headers);
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        head.headers.insert(header::UPGRADE, protocol);
    }
    if let Some(cookie) = cookie {
        head.headers.append(header::SET_COOKIE, cookie);
    }
    let counted = (in_flight.into_tunnel(), Open::new(&worker.shared));
    lent.into_tunnel();
    tokio::task::spawn_local(async move {
        let _counted = counted;
        // the answer must reach the visitor first; if it cannot, there is nobody to join
        let Ok((visitor, instance)) = tokio::try_join!(visitor, instance) else { return };
        if let Err(error) = join(TokioIo::new(visitor), TokioIo::new(instance)).await {
            tracing::debug!(%error, "a tunnel broke off");
        }
    });
    let mut answer = Response::from_parts(head, EdgeBody::new(Kind::Empty));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer
}

/// Copies both ways until one side ends, and then the other's last words.
async fn join(visitor: impl AsyncRead + AsyncWrite, instance: impl AsyncRead + AsyncWrite) -> io::Result<()> {
    let (from_visitor, to_visitor) = tokio::io::split(visitor);
    let (from_instance, to_instance) = tokio::io::split(instance);
    let (mut up, mut down) = (pin!(pass(from_visitor, to_instance)), pin!(pass(from_instance, to_visitor)));
    let late = |_| io::Error::other("one side ended and the other went on");
    tokio::select! {
        ended = &mut up => {
            ended?;
            tokio::time::timeout(LAST_WORDS, down).await.map_err(late)?
        }
        ended = &mut down => {
            ended?;
            tokio::time::timeout(LAST_WORDS, up).await.map_err(late)?
        }
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}

/// Counts a tunnel for the whole edge.
#[derive(Debug)]
pub(crate) struct Open(Arc<Shared>);

impl Open {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.tunnels.fetch_add(1, Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Relaxed);
    }
}
