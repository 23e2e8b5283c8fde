//! Listeners of buckets.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use stack::ResourceName;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

use super::front::Front;

/// Connections of one listener at the same time; others wait in the kernel.
const CONNECTIONS: usize = 1_024;

/// How long a client may take to say what it wants.
const HEADERS: Duration = Duration::from_secs(30);

/// Listens on an address.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1_024)
}

/// Answers until `stop`; then takes nobody new, and ends when everybody has been answered.
pub(super) async fn serve(listener: TcpListener, front: Front, routed: Option<ResourceName>, stop: CancellationToken) {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Too many files are open: some will be closed.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Answers are small or streamed in large blocks.
        drop(stream.set_nodelay(true));
        let (front, routed, stop) = (front.clone(), routed.clone(), stop.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let (front, routed) = (front.clone(), routed.clone());
                async move { Ok::<_, Infallible>(front.answer(request, routed.as_ref()).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!("bucket: a connection ended: {error}");
            }
            drop(permit);
        });
    }
    drop(listener);
    // Everybody is gone when everything is free again.
    drop(free.acquire_many(u32::try_from(CONNECTIONS).unwrap_or(u32::MAX)).await);
}
