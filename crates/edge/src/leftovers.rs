//! What a visitor still sends after its answer. It is read and thrown away, for a while: closing a socket with unread
//! bytes sends a reset, which can overtake the answer (RFC 9112 section 9.6), and a connection whose request was read to
//! its end can be used again.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{io::AsyncReadExt, net::TcpStream, sync::mpsc};

/// How long after its answer a visitor may go on sending.
const PATIENCE: Duration = Duration::from_secs(5);

/// More of a request's body than this is not read to save its connection.
const MOST: usize = 1024 * 1024;

/// Something to read to its end.
#[derive(Debug)]
pub(crate) enum Leftover {
    /// A socket that gets no further answer.
    Socket(TcpStream),
    /// The rest of an HTTP/1 request whose answer did not wait for it.
    Body(Incoming),
}

/// Where leftovers go: to the worker, as they are found where nothing can be waited for.
pub(crate) type Bin = mpsc::UnboundedSender<Leftover>;

impl Leftover {
    /// Reads and forgets.
    pub(crate) async fn read(self) {
        let read = async {
            match self {
                Self::Socket(mut stream) => {
                    let mut waste = vec![0; 16 * 1024];
                    while stream.read(&mut waste).await.is_ok_and(|read| read > 0) {}
                }
                Self::Body(mut body) => {
                    let mut read = 0;
                    while let Some(Ok(frame)) = body.frame().await {
                        read += frame.data_ref().map_or(0, bytes::Bytes::len);
                        if read > MOST {
                            return;
                        }
                    }
                }
            }
        };
        let _ = tokio::time::timeout(PATIENCE, read).await;
    }
}
