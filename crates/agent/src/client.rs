//! Talks to the agent of a home: one connection per call, so an agent that was restarted in between is no matter.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use engine::target::TargetError;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{
    home::Home,
    peers::Link,
    protocol::{Call, LogLine, Reply, Request, Scope},
    socket,
};

/// What is said of this machine where a host is named.
pub const THIS_MACHINE: &str = "this machine";

/// How long any call but a task may take. An agent answers within milliseconds; one that does not is stuck on its disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// A way to the agent of one host.
#[derive(Debug, Clone)]
pub struct Client {
    way: Way,
    host: String,
}

/// How an agent is reached.
#[derive(Debug, Clone)]
enum Way {
    /// A socket of this machine.
    Socket(PathBuf),
    /// The link between the hosts of one environment.
    Peer(Arc<Link>),
}

/// Which lines of a log are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only of this service, job or function; `None`: all.
    pub service: Option<String>,
    /// At most this many of the past, the newest; `None`: 100.
    pub lines: Option<usize>,
    /// Goes on with those that come.
    pub follow: bool,
}

impl Client {
    /// A way to the agent of `home` on this machine, whether or not one runs.
    pub fn new(home: &Home) -> Self {
        Self::over(home.agent_socket(), THIS_MACHINE.to_owned())
    }

    /// A way to the agent behind a socket of this machine, also one that leads to another host; `host` is its name in
    /// messages.
    pub fn over(socket: PathBuf, host: String) -> Self {
        Self { way: Way::Socket(socket), host }
    }

    /// A way to the agent of another host of an environment; it answers what hosts ask each other, about that
    /// environment.
    pub(crate) fn to_peer(link: Arc<Link>, host: String) -> Self {
        Self { way: Way::Peer(link), host }
    }

    /// A way to the agent of `home`. Fails with `Unreachable` when none answers.
    pub async fn connect(home: &Home) -> Result<Self, TargetError> {
        let client = Self::new(home);
        client.call(None, Call::Info).await?;
        Ok(client)
    }

    /// The host's name in messages.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The socket of this machine it goes through; `None` for a peer.
    pub(crate) fn socket(&self) -> Option<&std::path::Path> {
        match &self.way {
            Way::Socket(socket) => Some(socket),
            Way::Peer(_) => None,
        }
    }

    /// Asks once. Fails with `Unreachable` when no answer comes (the call may or may not have been done), with
    /// whatever the agent refused otherwise.
    pub async fn call(&self, scope: Option<&Scope>, call: Call) -> Result<Reply, TargetError> {
        let patient = matches!(call, Call::Task { .. } | Call::Ship { .. });
        let request = Request { scope: scope.cloned(), call };
        let body = serde_json::to_vec(&request).map_err(|error| unclear(&error))?;
        // Boxed: callers nest it deep in futures of their own.
        let answer = Box::pin(async {
            let (status, body) = self.exchange(Method::POST, "/v1/call", body.into()).await?;
            if status == StatusCode::OK {
                return serde_json::from_slice(&body).map_err(|error| unclear(&error));
            }
            Err(serde_json::from_slice(&body).unwrap_or_else(|error| unclear(&error)))
        });
        if patient {
            return answer.await;
        }
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable(format!("the agent gave no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    /// The health report of an environment and whether it may be answered with 200 (else 503).
    pub async fn health(&self, scope: &Scope) -> Result<(bool, serde_json::Value), TargetError> {
        let uri = format!("/v1/health?app={}&environment={}", scope.app, scope.environment);
        let (status, body) = self.exchange(Method::GET, &uri, Bytes::new()).await?;
        if status == StatusCode::OK || status == StatusCode::SERVICE_UNAVAILABLE {
            return Ok((status == StatusCode::OK, serde_json::from_slice(&body).map_err(|error| unclear(&error))?));
        }
        Err(serde_json::from_slice(&body).unwrap_or_else(|error| unclear(&error)))
    }

    /// Lines of output, oldest first; ends after the past ones unless it follows.
    pub async fn logs(&self, scope: &Scope, query: &LogQuery) -> Result<Logs, TargetError> {
        let mut uri = format!(
            "/v1/logs?app={}&environment={}&lines={}&follow={}",
            scope.app,
            scope.environment,
            query.lines.unwrap_or(100),
            query.follow
        );
        if let Some(service) = &query.service {
            uri.push_str("&service=");
            uri.push_str(service);
        }
        let response = self.send(Method::GET, &uri, Bytes::new()).await?;
        if response.status() != StatusCode::OK {
            let body = response.into_body().collect().await.map_err(|error| self.unreachable(error.to_string()))?;
            return Err(serde_json::from_slice(&body.to_bytes()).unwrap_or_else(|error| unclear(&error)));
        }
        Ok(Logs { host: self.host.clone(), body: response.into_body(), pending: BytesMut::new() })
    }

    async fn exchange(&self, method: Method, uri: &str, body: Bytes) -> Result<(StatusCode, Bytes), TargetError> {
        let response = self.send(method, uri, body).await?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| self.unreachable(error.to_string()))?;
        Ok((status, body.to_bytes()))
    }

    /// Sends one request and returns the answer once its head has arrived.
    pub(crate) async fn send(&self, method: Method, uri: &str, body: Bytes) -> Result<Response<Incoming>, TargetError> {
        let sent = match &self.way {
            Way::Socket(socket) => socket::send(socket, method, uri, body).await,
            Way::Peer(link) => link.send(method, uri, body).await,
        };
        sent.map_err(|reason| {
            let place = match &self.way {
                Way::Socket(socket) => socket.display().to_string(),
                Way::Peer(link) => link.address().to_string(),
            };
            self.unreachable(format!("no agent at {place}: {reason}"))
        })
    }

    fn unreachable(&self, reason: String) -> TargetError {
        TargetError::Unreachable { host: self.host.clone(), reason }
    }
}

/// Lines of output as they come.
#[derive(Debug)]
pub struct Logs {
    host: String,
    body: Incoming,
    pending: BytesMut,
}

impl Logs {
    /// The next line; `None` at the end, which a log that is followed reaches only when the agent stops.
    pub async fn next(&mut self) -> Option<Result<LogLine, TargetError>> {
        loop {
            if let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
                let line = self.pending.split_to(end);
                self.pending.advance(1);
                return Some(serde_json::from_slice(&line).map_err(|error| unclear(&error)));
            }
            match self.body.frame().await? {
                Ok(frame) => self.pending.extend(frame.into_data().ok()),
                Err(error) => {
                    let (host, reason) = (self.host.clone(), error.to_string());
                    return Some(Err(TargetError::Unreachable { host, reason }));
                }
            }
        }
    }
}

fn unclear(error: &serde_json::Error) -> TargetError {
    TargetError::Failed {
        reason: format!(
            "the agent and this program do not understand each other ({error}); restart the agent with this version"
        ),
    }
}
