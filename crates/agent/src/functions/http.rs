//! Functions that visitors wait for: one run per request.
//!
//! The edge passes visitors to an address of the loopback that the agent answers at, one for each function of each
//! revision, so that weights, limits and counters are those of a service.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Response, StatusCode, header},
    response::IntoResponse,
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    answer::answer,
    delivery::Receiver,
    event::{CloudEvent, base64},
};
use crate::{
    error::Error,
    jobs::{Cause, Ended, LARGEST_ANSWER, PAST_LIMIT},
    revision::Loaded,
};

/// What happened, to a function that is asked by a visitor.
const REQUEST: &str = "slipway.http.request";

/// Largest body of a request, in bytes.
const LARGEST: usize = 10 << 20;

/// Visitors of one function who may wait for their turn; more are told to come again.
const WAITING: usize = 256;

struct Answering {
    receiver: Receiver,
    loaded: Arc<Loaded>,
    waiting: AtomicUsize,
}

/// Answers for a function of a revision until `stop`, and then until the last visitor has an answer.
pub(super) async fn listen(
    receiver: Receiver,
    loaded: Arc<Loaded>,
    stop: CancellationToken,
) -> Result<SocketAddr, Error> {
    let failed = |error: std::io::Error| Error::failed(format!("cannot listen on 127.0.0.1: {error}"));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let state = Arc::new(Answering { receiver, loaded, waiting: AtomicUsize::new(0) });
    let router = Router::new().fallback(visit).with_state(state);
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
    tokio::spawn(serving.into_future());
    Ok(address)
}

async fn visit(State(state): State<Arc<Answering>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST).await else {
        return (StatusCode::PAYLOAD_TOO_LARGE, format!("a request to a function may have {LARGEST} bytes\n"))
            .into_response();
    };
    let Receiver { environment, to, .. } = &state.receiver;
    let mut data = Map::new();
    data.insert("method".to_owned(), head.method.as_str().into());
    data.insert("path".to_owned(), head.uri.path().into());
    data.insert("query".to_owned(), head.uri.query().unwrap_or_default().into());
    data.insert("headers".to_owned(), headers(&head.headers));
    match std::str::from_utf8(&body) {
        Ok(text) => data.insert("body".to_owned(), text.into()),
        Err(_) => data.insert("body_base64".to_owned(), base64(&body).into()),
    };
    let source = format!("/{}/{to}", environment.scope);
    let event = CloudEvent::new(source, REQUEST, Value::Object(data)).about(head.uri.path());
    if state.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
        state.waiting.fetch_sub(1, Ordering::Relaxed);
        return busy();
    }
    // A task of its own: the run comes to its end also when the visitor is gone.
    let run = state.clone();
    let done = tokio::spawn(async move {
        let mut job = run.receiver.job(run.loaded.clone(), Cause::Asked, Some(Arc::new(event)));
        job.answers = true;
        let done = run.receiver.attempt(job.clone(), 1, None).await;
        run.waiting.fetch_sub(1, Ordering::Relaxed);
        job.prune();
        done
    });
    let gone = |status: StatusCode, why: &'static str| (status, why).into_response();
    match done.await {
        Ok(Ok(Ended { code: 0, answer: output, .. })) if output.len() as u64 > LARGEST_ANSWER => {
            gone(StatusCode::BAD_GATEWAY, "the answer is too large\n")
        }
        Ok(Ok(Ended { code: 0, answer: output, .. })) => answer(output),
        Ok(Ok(Ended { code: PAST_LIMIT, .. })) => gone(StatusCode::GATEWAY_TIMEOUT, "the answer took too long\n"),
        // What went wrong is in the log, and not for strangers.
        Ok(Ok(_)) => gone(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong\n"),
        Ok(Err(_)) | Err(_) => gone(StatusCode::SERVICE_UNAVAILABLE, "not available right now\n"),
    }
}

fn busy() -> Response<Body> {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], "too many visitors at once\n").into_response()
}

/// Each name once; several values as RFC 9110, section 5.3 joins them, cookies as RFC 9113, section 8.2.3 does.
fn headers(headers: &HeaderMap) -> Value {
    let mut all = Map::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let between = if name == header::COOKIE { "; " } else { ", " };
        all.insert(name.to_string(), json!(values.collect::<Vec<_>>().join(between)));
    }
    Value::Object(all)
}
