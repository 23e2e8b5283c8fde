//! The socket of another host's edge: counts what it reads, and closes the way the connection needs.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::{
    connection::{Handle, Pulse},
    leftovers::Leftover,
};

/// The socket of a peer. Requests are framed by an edge, so nobody looks whether they are framed twice.
#[derive(Debug)]
pub(crate) struct PeerIo {
    /// There until it is dropped.
    stream: Option<TlsStream<TcpStream>>,
    pulse: Arc<Pulse>,
}

impl PeerIo {
    pub(crate) fn new(stream: TlsStream<TcpStream>, handle: &Handle) -> Self {
        Self { stream: Some(stream), pulse: Arc::clone(&handle.pulse) }
    }

    fn stream(&mut self) -> Pin<&mut TlsStream<TcpStream>> {
        Pin::new(self.stream.as_mut().expect("only dropping takes it"))
    }
}

impl AsyncRead for PeerIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(this.stream().poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            this.pulse.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PeerIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().stream().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.pulse.aborted() {
            return Poll::Ready(Ok(())); // an end without a word is not taken for the end of an answer
        }
        this.stream().poll_shutdown(cx)
    }
}

impl Drop for PeerIo {
    fn drop(&mut self) {
        if self.pulse.has_leftovers()
            && !self.pulse.aborted()
            && let Some(stream) = self.stream.take()
        {
            self.pulse.leave(Leftover::Socket(stream.into_inner().0));
        }
    }
}
