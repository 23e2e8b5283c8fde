//! Connections that became something else (WebSocket): bytes both ways until either side ends.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use http::{HeaderValue, Response, StatusCode, header};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;

use crate::{
    body::{EdgeBody, Kind},
    headers,
    instance::InFlight,
    request::Asked,
    shared::Shared,
    traffic::Meter,
    upstream::Lent,
};

/// Bytes copied at a time each way.
const BUFFER: usize = 8 * 1024;

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
        let (mut visitor, mut instance) = (TokioIo::new(visitor), TokioIo::new(instance));
        let copied = tokio::io::copy_bidirectional_with_sizes(&mut visitor, &mut instance, BUFFER, BUFFER).await;
        if let Err(error) = copied {
            tracing::debug!(%error, "a tunnel broke off");
        }
    });
    let mut answer = Response::from_parts(head, EdgeBody::new(Kind::Empty));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer
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
