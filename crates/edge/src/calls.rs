//! `control.sock`: the agent's calls, as HTTP on a unix socket.

use std::{convert::Infallible, path::Path, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;

use crate::{control::Drain, controller::Controller, table::Table};

/// A table of a few thousand routes is well below this.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Takes over the socket at `path` from an edge that is gone or about to go. The agent alone may call.
pub(crate) fn bind(path: &Path) -> std::io::Result<std::os::unix::net::UnixListener> {
    // bound beside its place and renamed, so that there is never a moment without a socket
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let _ = std::fs::remove_file(&beside);
    let listener = std::os::unix::net::UnixListener::bind(&beside)?;
    std::fs::set_permissions(&beside, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    std::fs::rename(&beside, path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers calls for ever.
pub(crate) async fn answer(listener: UnixListener, controller: Arc<Controller>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let controller = Arc::clone(&controller);
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(|request| call(Arc::clone(&controller), request));
                    let served = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                    if let Err(error) = served {
                        tracing::debug!(%error, "a control connection broke off");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept control calls");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn call(controller: Arc<Controller>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Ok(refuse(StatusCode::BAD_REQUEST, &format!("cannot read the call: {error}"))),
    };
    let answer = match (&head.method, head.uri.path()) {
        (&Method::PUT, "/table") => match serde_json::from_slice::<Table>(&body) {
            Ok(table) => match controller.swap(table).await {
                Ok(()) => status(&controller).await,
                Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
            },
            Err(error) => refuse(StatusCode::BAD_REQUEST, &format!("this is not a table: {error}")),
        },
        (&Method::GET, "/status") => status(&controller).await,
        (&Method::POST, "/drain") => match serde_json::from_slice::<Drain>(&body) {
            Ok(drain) => {
                controller.drain(&drain).await;
                status(&controller).await
            }
            Err(error) => refuse(StatusCode::BAD_REQUEST, &format!("this is not a drain: {error}")),
        },
        (&Method::POST, "/quit") => {
            controller.quit.notify_one();
            status(&controller).await
        }
        (_, "/table" | "/status" | "/drain" | "/quit") => {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "use PUT /table, GET /status, POST /drain or POST /quit")
        }
        _ => refuse(StatusCode::NOT_FOUND, "use PUT /table, GET /status, POST /drain or POST /quit"),
    };
    Ok(answer)
}

async fn status(controller: &Controller) -> Response<Full<Bytes>> {
    json(StatusCode::OK, serde_json::to_vec(&controller.status().await).unwrap_or_default())
}

fn refuse(status: StatusCode, sentence: &str) -> Response<Full<Bytes>> {
    json(status, serde_json::json!({ "error": sentence }).to_string().into_bytes())
}

fn json(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
