//! The health report of an environment, for load balancers and monitoring in front of this host (S4.4).
//!
//! The agent makes the report; the edge asks it over its unix socket, at most once a second however many visitors ask,
//! and always answers within two seconds: an agent that is silent for longer counts as unhealthy (S4.P4, S4.P5).

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use observe::health::{About, Memory, Status, judge};
use tokio::{net::UnixStream, sync::Mutex};

use crate::{
    body::{EdgeBody, Kind},
    page,
};

/// How long an answer is given again.
const FRESH: Duration = Duration::from_secs(1);
/// How long the agent may take. What a report needs beyond it fits into the two seconds.
const PATIENCE: Duration = Duration::from_millis(1_900);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(100);
/// Longest report that is passed on, in bytes.
const LONGEST: usize = 256 * 1024;

/// Where the report of one environment comes from, and the last one.
#[derive(Debug)]
pub(crate) struct Report {
    socket: PathBuf,
    uri: Box<str>,
    /// Held while one visitor's request asks, so that the others wait for its answer instead of asking too.
    last: Mutex<Option<(Instant, StatusCode, Bytes)>>,
}

impl Report {
    /// Nothing has been asked yet.
    pub(crate) fn new(socket: &Path, uri: &str) -> Self {
        Self { socket: socket.to_owned(), uri: uri.into(), last: Mutex::new(None) }
    }

    /// Answers GET and HEAD with the report: 200, or 503 when the environment is unhealthy.
    pub(crate) async fn answer(&self, method: &Method) -> Response<EdgeBody> {
        if *method != Method::GET && *method != Method::HEAD {
            let mut response = page::empty(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let (status, body) = self.get().await;
        let mut response = Response::new(EdgeBody::new(Kind::Full(Some(body))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    async fn get(&self) -> (StatusCode, Bytes) {
        let mut last = self.last.lock().await;
        if let Some((_, status, body)) = last.as_ref().filter(|(at, ..)| at.elapsed() < FRESH) {
            return (*status, body.clone());
        }
        let mut reason = "the agent gave no answer in time".to_owned();
        let asking = async {
            loop {
                match ask(&self.socket, &self.uri).await {
                    Ok(answer) => return answer,
                    Err(why) => reason = why,
                }
                // an agent that was killed is back within a moment
                tokio::time::sleep(AGAIN).await;
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asking).await;
        let (status, body) = asked.unwrap_or_else(|_| silent(&reason));
        *last = Some((Instant::now(), status, body.clone()));
        (status, body)
    }
}

/// Asks the agent once.
async fn ask(socket: &Path, uri: &str) -> Result<(StatusCode, Bytes), String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| format!("no agent: {error}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let connection = tokio::spawn(connection);
    let request = Request::get(uri).header(header::HOST, "slipway").body(Empty::<Bytes>::new());
    let response = sender.send_request(request.map_err(|error| error.to_string())?).await;
    let response = response.map_err(|error| format!("the agent broke off: {error}"))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(|error| error.to_string())?;
    connection.abort();
    match status {
        StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE => Ok((status, body.to_bytes())),
        other => Err(format!("the agent answered {other}")),
    }
}

/// The report when there is none: unhealthy, in the same shape.
fn silent(reason: &str) -> (StatusCode, Bytes) {
    let about = About { version: "unknown".to_owned(), uptime: Duration::ZERO, now: jiff::Timestamp::now() };
    let mut report = judge(about, Vec::new(), Memory { used: 0, total: 0 });
    report.status = Status::Unhealthy;
    let mut document = serde_json::to_value(&report).unwrap_or_default();
    document["reason"] = reason.into();
    (StatusCode::SERVICE_UNAVAILABLE, Bytes::from(document.to_string()))
}
