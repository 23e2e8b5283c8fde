//! What the edge of another host passes on: answered by an exported pool of its identity, and by nothing else.
//!
//! The asking edge did what a visitor's request needs (limits, CORS, redirects, the visitor's address), so nothing of
//! that is done again, and what it says of the visitor is passed on as it is.

use std::{convert::Infallible, io, rc::Rc, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration, time::Instant};

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{
    balance::{Choice, Pool},
    body::EdgeBody,
    client::Client,
    connection::{Phase, Visitor},
    headers::Present,
    link::{self, Identity},
    page, proxy,
    request::{Asked, Origin},
    routes::Passing,
    worker::{Snapshot, Worker},
};

/// A peer that does not shake hands in this time is not waited for.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct From {
    /// The server name it asked for.
    name: Rc<str>,
    /// What it proved to have.
    identity: Arc<Identity>,
}

/// Shakes hands with a peer. Fails when it asks for an identity that is not in the table, or shows no certificate of it.
pub(crate) async fn welcome(worker: &Worker, stream: TcpStream) -> io::Result<(From, TlsStream<TcpStream>)> {
    let handshake = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let name: Rc<str> = start.client_hello().server_name().unwrap_or_default().into();
        let snapshot = worker.snapshot();
        let Some(exports) = snapshot.table.exports(&name) else {
            return Err(io::Error::other(format!("`{name}` is not an environment of this host")));
        };
        let identity = Arc::clone(&exports.identity);
        let stream = start.into_stream(identity.server()).await?;
        Ok((From { name, identity }, stream))
    };
    tokio::time::timeout(HANDSHAKE, handshake).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Answers one request of a peer. Never fails: what goes wrong is an answer too.
pub(crate) async fn serve(
    visitor: Rc<Visitor>,
    from: From,
    request: Request<Incoming>,
) -> Result<Response<EdgeBody>, Infallible> {
    let started = Instant::now();
    let (ongoing, _) = visitor.begin();
    visitor.worker.shared.requests[visitor.worker.number].0.fetch_add(1, Relaxed);
    let mut response = answer(&visitor, &from, request, started).await;
    if visitor.handle.phase() != Phase::Open && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response.body_mut().set_ongoing(ongoing);
    Ok(response)
}

async fn answer(
    visitor: &Visitor,
    from: &From,
    mut request: Request<Incoming>,
    started: Instant,
) -> Response<EdgeBody> {
    let snapshot = visitor.worker.snapshot();
    let asked_for = request.headers_mut().remove(link::POOL);
    let asked_for = asked_for.as_ref().and_then(|pool| pool.to_str().ok()).unwrap_or_default();
    let (check, id) = match asked_for.strip_prefix(link::CHECK) {
        Some(id) => (true, id),
        None => (false, asked_for),
    };
    let pool = match exported(&snapshot, from, id) {
        Ok(pool) => pool,
        Err(sentence) => return refuse(sentence, request.headers().get(header::ACCEPT)),
    };
    if check {
        return match pool.choose(&visitor.worker.random, None, &[], false, started) {
            Choice::Take(..) => page::empty(StatusCode::NO_CONTENT),
            Choice::Later(_) => refuse("no instance takes visitors", None),
        };
    }
    let seen = Present::in_request(request.headers());
    let host = request.headers().get(header::HOST).cloned().unwrap_or_else(|| HeaderValue::from_static(""));
    let client = Client::find(visitor.peer.ip(), request.headers(), &[], false);
    let passing = Passing { websocket: true, ..Passing::default() };
    let asked = Asked {
        visitor,
        snapshot: Rc::clone(&snapshot),
        passing: &passing,
        client: &client,
        origin: Origin::Peer,
        seen,
        host: &host,
        started,
    };
    proxy::forward(asked, pool, request, None).await
}

/// The pool, if this identity still holds and exports it.
fn exported<'s>(snapshot: &'s Snapshot, from: &From, id: &str) -> Result<&'s Arc<Pool>, &'static str> {
    let exports = snapshot.table.exports(&from.name).filter(|exports| exports.identity.is_same(&from.identity));
    let exports = exports.ok_or("this host does not belong to the environment any more")?;
    exports.pools.get(id).ok_or("this host does not have these instances any more")
}

/// 503: nothing was passed on, so another host may be asked.
fn refuse(sentence: &str, accept: Option<&HeaderValue>) -> Response<EdgeBody> {
    let mut response = page::answer(StatusCode::SERVICE_UNAVAILABLE, sentence, accept);
    response.headers_mut().insert(link::PEER, link::UNSENT);
    response
}
