//! The way to the edge of another host: whether that host is there at all, and what is under way to it.
//!
//! A host that lost its cable or its power refuses nothing and answers nothing, and so does one that takes its time. What
//! tells them apart is the kernel: it acknowledges as long as the host lives, however busy its programs are. So one
//! connection to each host lies idle, and the kernel asks for a sign of life on it every second. When two were not given,
//! new connections are tried for a moment, and only when none of them is answered either is the host lost: everything
//! under way to it breaks off at once. A host that is slow, or that does not read what it is sent, is waited for.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{link::Identity, shared::Shared};

/// Between two signs of life, which the kernel counts in whole seconds.
const SIGN: Duration = Duration::from_secs(1);

/// So many new connections are tried to a host that gave no sign, one after each pause; each may take until the last of
/// them is due. So a host that is lost is found out within 3.3 s, and eight packets in a row must get lost before one that
/// is there is taken for lost.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(250);

/// Before a host that refuses or closes is asked again, or one that is lost.
const AGAIN: Duration = Duration::from_millis(500);

/// The way to one other host with one identity.
#[derive(Debug)]
pub(crate) struct Way {
    address: SocketAddr,
    identity: Arc<Identity>,
    lost: AtomicBool,
    lines: Mutex<UnderWay>,
}

/// Open connections, by number.
#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    cuts: HashMap<u64, Arc<Cut>>,
}

/// What the kernel says of a host.
enum Sign {
    /// It took a connection.
    Takes(TcpStream),
    /// It is there and took none, or this host could not ask.
    Refuses,
    /// Nothing.
    Silent,
}

impl Way {
    pub(crate) fn new(address: SocketAddr, identity: &Arc<Identity>) -> Self {
        let (lost, lines) = (AtomicBool::new(false), Mutex::default());
        Self { address, identity: Arc::clone(identity), lost, lines }
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Whether it leads there, with this identity.
    pub(crate) fn leads_to(&self, address: SocketAddr, identity: &Arc<Identity>) -> bool {
        self.address == address && self.identity.is_same(identity)
    }

    /// Whether the host gave no sign of life lately.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Relaxed)
    }

    /// Whether a connection goes over it.
    pub(crate) fn is_used(&self) -> bool {
        !self.under_way().cuts.is_empty()
    }

    /// A connection that breaks off when the host is lost.
    pub(crate) fn enter<S>(self: &Arc<Self>, stream: S) -> Line<S> {
        let mut under_way = self.under_way();
        let number = under_way.next;
        under_way.next += 1;
        let cut = Arc::new(Cut::default());
        under_way.cuts.insert(number, Arc::clone(&cut));
        drop(under_way);
        Line { stream, cut, number, way: Arc::clone(self) }
    }

    /// Watches the host for as long as it is polled.
    pub(crate) async fn watch(self: Arc<Self>, shared: Arc<Shared>) {
        loop {
            match self.look().await {
                Sign::Silent => self.lose(),
                Sign::Refuses => self.find(&shared),
                Sign::Takes(stream) => {
                    self.find(&shared);
                    if self.hold(stream).await.is_ok() {
                        continue; // it closed, as it does with connections that lie idle
                    }
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Tries connections until one is answered.
    async fn look(&self) -> Sign {
        let mut tries: Vec<Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>> = Vec::new();
        for _ in 0..TRIES {
            tries.push(Box::pin(TcpStream::connect(self.address)));
            let answered = poll_fn(|cx| {
                let mut ended = None;
                tries.retain_mut(|one| match one.as_mut().poll(cx) {
                    Poll::Pending => true,
                    Poll::Ready(Err(error)) if is_silence(&error) => false,
                    Poll::Ready(answer) => {
                        ended.get_or_insert(answer);
                        false
                    }
                });
                ended.map_or(Poll::Pending, Poll::Ready)
            });
            match tokio::time::timeout(PAUSE, answered).await {
                Ok(Ok(stream)) => return Sign::Takes(stream),
                Ok(Err(error)) => {
                    tracing::debug!(address = %self.address, %error, "another host refuses connections");
                    return Sign::Refuses;
                }
                Err(_) => {}
            }
        }
        Sign::Silent
    }

    /// Shakes hands and waits until the connection ends: well when the host closed it, else with whatever ended it.
    async fn hold(&self, stream: TcpStream) -> io::Result<()> {
        let signs = socket2::TcpKeepalive::new().with_time(SIGN).with_interval(SIGN).with_retries(1);
        socket2::SockRef::from(&stream).set_tcp_keepalive(&signs)?;
        let mut stream = self.identity.secure(stream).await?;
        let mut nothing = [0; 64];
        while stream.read(&mut nothing).await? > 0 {}
        Ok(())
    }

    fn lose(&self) {
        if !self.lost.swap(true, Relaxed) {
            let cuts: Vec<_> = self.under_way().cuts.values().cloned().collect();
            tracing::warn!(address = %self.address, under_way = cuts.len(), "another host is lost");
            for cut in cuts {
                cut.make();
            }
        }
    }

    fn find(&self, shared: &Shared) {
        if self.lost.swap(false, Relaxed) {
            tracing::info!(address = %self.address, "another host is back");
            shared.changed.notify_waiters();
        }
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it says that nobody answered; everything else is an answer, or a trouble of this host.
fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
    matches!(error.kind(), TimedOut | HostUnreachable | NetworkUnreachable)
}

/// Breaks a connection off from outside.
#[derive(Debug, Default)]
struct Cut(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    made: bool,
    /// Who waits to read, and who to write.
    wakers: [Option<Waker>; 2],
}

const READ: usize = 0;
const WRITE: usize = 1;

impl Cut {
    fn make(&self) {
        let mut waiting = self.waiting();
        waiting.made = true;
        let wakers = std::mem::take(&mut waiting.wakers);
        drop(waiting);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// What was polled, unless it waits for a host that is lost.
    fn or_break<T>(&self, cx: &Context<'_>, side: usize, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            return polled;
        }
        let mut waiting = self.waiting();
        if waiting.made {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other host is lost")));
        }
        match &mut waiting.wakers[side] {
            Some(waker) => waker.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to another host.
#[derive(Debug)]
pub(crate) struct Line<S> {
    stream: S,
    cut: Arc<Cut>,
    number: u64,
    way: Arc<Way>,
}

impl<S> Drop for Line<S> {
    fn drop(&mut self) {
        self.way.under_way().cuts.remove(&self.number);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        this.cut.or_break(cx, READ, polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.cut.or_break(cx, WRITE, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        this.cut.or_break(cx, WRITE, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.cut.or_break(cx, WRITE, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.cut.or_break(cx, WRITE, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    fn way() -> Arc<Way> {
        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(["live.shop".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        let document = table::Identity {
            authority: own.clone(),
            certificate: own,
            key: key.serialize_pem(),
            exports: std::collections::BTreeSet::new(),
        };
        let identity = Arc::new(Identity::new("live.shop", &document).unwrap());
        Arc::new(Way::new(([127, 0, 0, 1], 1).into(), &identity))
    }

    #[tokio::test]
    async fn what_is_under_way_to_a_lost_host_breaks_off_and_what_came_is_still_read() {
        let way = way();
        let (near, mut far) = tokio::io::duplex(64);
        let mut line = way.enter(near);
        tokio::io::AsyncWriteExt::write_all(&mut far, b"last").await.unwrap();
        let waiting = async {
            let mut came = Vec::new();
            let error = line.read_to_end(&mut came).await.unwrap_err();
            (came, error.kind())
        };
        let lose = async {
            tokio::task::yield_now().await;
            way.lose();
        };
        let (broken, ()) = tokio::join!(waiting, lose);
        assert_eq!(broken, (b"last".to_vec(), io::ErrorKind::TimedOut));
        drop(line);
        assert!(way.is_lost() && way.under_way().cuts.is_empty());
    }
}
