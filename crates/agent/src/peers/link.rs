//! HTTP/1.1 over TLS to the agent of another host: one connection that is kept, more when it is busy.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::keys::Keys;
use crate::socket::plain;

/// How long a host may take to take a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// A way to the agent of another host, for one environment.
pub(crate) struct Link {
    address: SocketAddr,
    keys: Arc<Keys>,
    idle: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Link {
    /// A way to the agent at `address`, whether or not it answers.
    pub(super) fn new(address: SocketAddr, keys: Arc<Keys>) -> Self {
        Self { address, keys, idle: Mutex::default() }
    }

    /// Where the agent answers.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it leads there, with these keys.
    pub(super) fn leads_to(&self, address: SocketAddr, keys: &Arc<Keys>) -> bool {
        self.address == address && Arc::ptr_eq(&self.keys, keys)
    }

    /// Sends one request and returns the answer once its head has arrived; the body may still stream. A request that
    /// a connection was too old for is sent once more on a new one.
    pub(crate) async fn send(&self, method: Method, uri: &str, body: Bytes) -> Result<Response<Incoming>, String> {
        let request = || {
            Request::builder()
                .method(method.clone())
                .uri(uri)
                .header(header::HOST, self.keys.name.as_str())
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(body.clone()))
                .map_err(|error| error.to_string())
        };
        let kept = self.idle().take().filter(SendRequest::is_ready);
        if let Some(mut kept) = kept
            && let Ok(response) = kept.send_request(request()?).await
        {
            self.keep(kept);
            return Ok(response);
        }
        let mut sender = match tokio::time::timeout(CONNECT, self.connect()).await {
            Ok(connected) => connected?,
            Err(_) => return Err(format!("no connection within {} s", CONNECT.as_secs())),
        };
        let response = sender.send_request(request()?).await.map_err(|error| error.to_string())?;
        self.keep(sender);
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| plain(&error))?;
        notice_death(&stream).map_err(|error| plain(&error))?;
        let connector = TlsConnector::from(self.keys.client.clone());
        let stream = connector.connect(self.keys.server_name.clone(), stream).await;
        let stream = stream.map_err(|error| plain(&error))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // Ends when its sender is dropped or the other side is gone.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        self.idle().get_or_insert(sender);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Option<SendRequest<Full<Bytes>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Has the kernel end a connection whose other side has been silent for about ten seconds: a call that waits for a
/// task must not wait for a host that is gone.
pub(super) fn notice_death(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(4))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(2))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    sockopt::set_tcp_user_timeout(stream, 10_000)?;
    Ok(())
}
