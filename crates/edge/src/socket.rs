//! The visitor's socket: counts what it reads, and closes the way the connection needs.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{
    connection::{Handle, Pulse},
    framing::Framing,
    leftovers::Leftover,
};

/// The visitor's socket.
#[derive(Debug)]
pub(crate) struct ClientIo {
    /// There until it is dropped.
    stream: Option<TcpStream>,
    pulse: Arc<Pulse>,
    /// HTTP/1 only.
    framing: Option<Framing>,
}

impl ClientIo {
    pub(crate) fn new(stream: TcpStream, handle: &Handle) -> Self {
        let framing = (!handle.http2()).then(Framing::default);
        Self { stream: Some(stream), pulse: Arc::clone(&handle.pulse), framing }
    }

    /// Whether an answer broke off. HTTP/2 resets the stream and not everybody else's on the connection.
    fn resets(&self) -> bool {
        self.framing.is_some() && self.pulse.aborted()
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.stream.as_mut().expect("only dropping takes it"))
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(this.stream().poll_read(cx, buffer))?;
        let bytes = &buffer.filled()[before..];
        if !bytes.is_empty() {
            this.pulse.read();
            if let Some(framing) = &mut this.framing
                && let Some(request) = framing.look(bytes)
            {
                this.pulse.found_ambiguous(request);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut().stream();
        match bytes {
            [one] => stream.poll_write(cx, one), // the cheaper system call
            several => stream.poll_write_vectored(cx, several),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.resets() {
            return Poll::Ready(Ok(())); // the reset follows when the socket is dropped
        }
        this.stream().poll_shutdown(cx)
    }
}

impl Drop for ClientIo {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        if self.resets() {
            // with no time to linger the kernel sends a reset; if it will not, the visitor sees an end too early
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        } else if self.pulse.has_leftovers() {
            self.pulse.leave(Leftover::Socket(stream));
        }
    }
}
