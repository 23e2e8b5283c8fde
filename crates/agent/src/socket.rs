//! HTTP/1.1 over a unix socket: one connection per request, paths of any length.

use std::{io, os::fd::AsRawFd, path::Path};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};

/// Longest path that fits into a socket address of Linux, without its final zero.
const LONGEST_PATH: usize = 107;

/// Runs `act` with a path to the socket that fits into an address: a longer one is reached through its folder's
/// descriptor. Source: unix(7), `sun_path`.
fn with_short_path<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= LONGEST_PATH {
        return act(path);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the path of a socket"));
    };
    let folder = std::fs::File::open(folder)?;
    act(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

/// Connects to the socket at `path`. Fails with `NotFound` or `ConnectionRefused` when nobody listens there.
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    // A unix socket connects or refuses at once; only a full backlog could make it wait, and then it is an error.
    let stream = with_short_path(path, |path| std::os::unix::net::UnixStream::connect(path))?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Listens at `path`, in place of whatever socket was left there; only the owner may connect.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = with_short_path(path, |path| std::os::unix::net::UnixListener::bind(path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Sends one request and returns the answer once its head has arrived; the body may still stream.
pub(crate) async fn send(
    path: &Path,
    method: Method,
    uri: &str,
    body: impl Into<Bytes>,
) -> Result<Response<Incoming>, String> {
    send_body(path, method, uri, Full::new(body.into())).await
}

/// [`send`] with a body that may be made while it is sent.
pub(crate) async fn send_body<B>(path: &Path, method: Method, uri: &str, body: B) -> Result<Response<Incoming>, String>
where
    B: Body + Send + Sync + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = connect(path).map_err(|error| plain(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // Ends when the answer has been read or dropped.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header(header::HOST, "slipway")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Box::pin(body))
        .map_err(|error| error.to_string())?;
    sender.send_request(request).await.map_err(|error| error.to_string())
}

/// Closes its connection when it is dropped, also in the middle of a request.
#[derive(Debug)]
pub(crate) struct Held(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends one request whose body streams, and returns the answer once its head has arrived.
pub(crate) async fn stream<B>(
    path: &Path,
    method: Method,
    uri: &str,
    body: B,
) -> Result<(Response<Incoming>, Held), String>
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = connect(path).map_err(|error| plain(&error))?;
    // The body is boxed so that the caller need not keep still.
    let body = Box::pin(body);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let held = Held(tokio::spawn(connection));
    let request = Request::builder().method(method).uri(uri).header(header::HOST, "slipway").body(body);
    let request = request.map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    Ok((response, held))
}

/// An I/O error as a person says it: `connection refused`, not `Connection refused (os error 111)`.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_in_a_very_deep_folder_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a".repeat(80)).join("b".repeat(80));
        std::fs::create_dir_all(&deep).unwrap();
        let path = deep.join("agent.sock");
        assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        let listener = bind(&path).unwrap();
        let _client = connect(&path).unwrap();
        listener.accept().await.unwrap();
        drop(listener);
        assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        bind(&path).unwrap();
    }
}
