//! One connection from a visitor: its pulse (what it is waiting for and since when) and its end.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use http::HeaderValue;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::mpsc,
};

use crate::{
    framing::Framing,
    ticks::Ticks,
    worker::{Snapshot, Worker},
};

/// A request's head must be complete this long after its first byte, or after the connection was accepted.
const HEAD: Duration = Duration::from_secs(30);

/// An idle connection is closed after this long.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The next piece of a request's body must come within this time while an instance waits for it.
const BODY: Duration = Duration::from_mins(1);

const NEVER: u32 = u32::MAX;

/// What a connection is doing, written on the request path with plain stores and read by the worker's sweep.
#[derive(Debug)]
pub(crate) struct Pulse {
    ticks: Arc<Ticks>,
    /// Requests in flight.
    busy: AtomicU32,
    idle_since: AtomicU32,
    head_since: AtomicU32,
    read_at: AtomicU32,
    starving: AtomicBool,
    /// Close with a reset, so that nothing looks complete.
    abort: AtomicBool,
    /// The visitor may still be sending what nobody reads: read it before closing.
    leftovers: AtomicBool,
    /// Number of the request whose framing is ambiguous; `NEVER` for none.
    ambiguous: AtomicU32,
}

impl Pulse {
    fn new(ticks: Arc<Ticks>) -> Self {
        let now = ticks.now();
        Self {
            ticks,
            busy: AtomicU32::new(0),
            idle_since: AtomicU32::new(now),
            head_since: AtomicU32::new(now),
            read_at: AtomicU32::new(now),
            starving: AtomicBool::new(false),
            abort: AtomicBool::new(false),
            leftovers: AtomicBool::new(false),
            ambiguous: AtomicU32::new(NEVER),
        }
    }

    /// The request's body is wanted and does not come.
    pub(crate) fn starving(&self, starving: bool) {
        self.starving.store(starving, Relaxed);
    }

    /// The answer did not wait for the request's end.
    pub(crate) fn expect_leftovers(&self) {
        self.leftovers.store(true, Relaxed);
    }

    fn read(&self) {
        let now = self.ticks.now();
        self.read_at.store(now, Relaxed);
        if self.busy.load(Relaxed) == 0 && self.head_since.load(Relaxed) == NEVER {
            self.head_since.store(now, Relaxed);
        }
    }

    fn overdue(&self, http2: bool) -> bool {
        let now = self.ticks.now();
        let since = |tick: u32, limit: Duration| now.wrapping_sub(tick) > Ticks::in_ticks(limit);
        if self.busy.load(Relaxed) > 0 {
            return self.starving.load(Relaxed) && since(self.read_at.load(Relaxed), BODY);
        }
        let head = self.head_since.load(Relaxed);
        (!http2 && head != NEVER && since(head, HEAD)) || since(self.idle_since.load(Relaxed), KEEP_ALIVE)
    }
}

/// A request in flight on a visitor's connection; lives until its answer is handed over whole.
#[derive(Debug)]
pub(crate) struct Ongoing(Arc<Pulse>);

impl Ongoing {
    fn begin(pulse: &Arc<Pulse>) -> Self {
        pulse.busy.fetch_add(1, Relaxed);
        pulse.head_since.store(NEVER, Relaxed);
        Self(Arc::clone(pulse))
    }

    /// The answer broke off.
    pub(crate) fn abort(&self) {
        self.0.abort.store(true, Relaxed);
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        if self.0.busy.fetch_sub(1, Relaxed) == 1 {
            self.0.idle_since.store(self.0.ticks.now(), Relaxed);
        }
    }
}

/// How a connection is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not at all.
    Open,
    /// The next answer says `Connection: close`; an idle connection waits a moment for that next request.
    Last,
    /// No further request.
    Graceful,
    /// At once.
    Now,
}

/// The worker's grip on a connection.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) listener: SocketAddr,
    http2: Cell<bool>,
    phase: Cell<Phase>,
    phase_since: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}

impl Handle {
    pub(crate) fn new(ticks: &Arc<Ticks>, listener: SocketAddr) -> Self {
        Self {
            pulse: Arc::new(Pulse::new(Arc::clone(ticks))),
            listener,
            http2: Cell::new(false),
            phase: Cell::new(Phase::Open),
            phase_since: Cell::new(0),
            waker: RefCell::new(None),
        }
    }

    /// The connection turned out to speak HTTP/2.
    pub(crate) fn speaks_http2(&self) {
        self.http2.set(true);
        if self.phase.get() == Phase::Last {
            self.end(Phase::Graceful);
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Moves towards the end, never back.
    pub(crate) fn end(&self, phase: Phase) {
        // HTTP/2 has its own word for "the last request", which loses none: GOAWAY
        let phase = if self.http2.get() && phase == Phase::Last { Phase::Graceful } else { phase };
        if phase > self.phase.get() {
            self.phase.set(phase);
            self.phase_since.set(self.pulse.ticks.now());
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// Called now and then: ends what takes too long. `linger` is how long an idle connection in its last phase is
    /// kept for a request that may be under way.
    pub(crate) fn sweep(&self, linger: Duration) {
        if self.pulse.overdue(self.http2.get()) {
            let idle = self.pulse.busy.load(Relaxed) == 0 && self.pulse.head_since.load(Relaxed) == NEVER;
            self.end(if idle { Phase::Graceful } else { Phase::Now });
        }
        if self.phase.get() == Phase::Last
            && self.pulse.busy.load(Relaxed) == 0
            && self.pulse.ticks.now().wrapping_sub(self.phase_since.get()) >= Ticks::in_ticks(linger)
        {
            self.end(Phase::Graceful);
        }
    }

    /// The phase, with a wake-up when it changes.
    pub(crate) fn watch(&self, cx: &Context<'_>) -> Phase {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.phase.get()
    }
}

/// What every request of one connection shares.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) worker: Rc<Worker>,
    pub(crate) handle: Rc<Handle>,
    pub(crate) peer: SocketAddr,
    /// The peer's address as a header value, made once.
    pub(crate) peer_value: HeaderValue,
    pub(crate) http2: bool,
    /// The last table that had the connection's listener.
    routes: RefCell<Rc<Snapshot>>,
    count: Cell<u32>,
}

impl Visitor {
    pub(crate) fn new(worker: Rc<Worker>, handle: Rc<Handle>, peer: SocketAddr, http2: bool) -> Self {
        let address = peer.ip().to_canonical().to_string();
        Self {
            handle,
            peer,
            peer_value: HeaderValue::try_from(address).unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            http2,
            routes: RefCell::new(worker.snapshot()),
            worker,
            count: Cell::new(0),
        }
    }

    /// A request begins. Says whether its framing is ambiguous.
    pub(crate) fn begin(&self) -> (Ongoing, bool) {
        let number = self.count.get();
        self.count.set(number.wrapping_add(1));
        (Ongoing::begin(&self.handle.pulse), self.handle.pulse.ambiguous.load(Relaxed) == number)
    }

    /// The table whose rules hold for this connection: `snapshot`, unless the listener is not in it any more; then the
    /// last that had it, because a connection on a removed listener finishes.
    pub(crate) fn routes(&self, snapshot: &Rc<Snapshot>) -> Rc<Snapshot> {
        let mut known = self.routes.borrow_mut();
        if known.epoch != snapshot.epoch && snapshot.table.hosts(self.handle.listener).is_some() {
            *known = Rc::clone(snapshot);
        }
        Rc::clone(&known)
    }
}

/// The visitor's socket.
#[derive(Debug)]
pub(crate) struct ClientIo {
    /// There until it is dropped.
    stream: Option<TcpStream>,
    /// Where it goes if something must be read first.
    leave: mpsc::UnboundedSender<TcpStream>,
    pulse: Arc<Pulse>,
    /// HTTP/1 only.
    framing: Option<Framing>,
}

impl ClientIo {
    pub(crate) fn new(stream: TcpStream, handle: &Handle, leave: mpsc::UnboundedSender<TcpStream>) -> Self {
        let framing = (!handle.http2.get()).then(Framing::default);
        Self { stream: Some(stream), leave, pulse: Arc::clone(&handle.pulse), framing }
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
                this.pulse.ambiguous.store(request, Relaxed);
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
        if this.pulse.abort.load(Relaxed) {
            return Poll::Ready(Ok(())); // the reset follows when the socket is dropped
        }
        this.stream().poll_shutdown(cx)
    }
}

impl Drop for ClientIo {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        if self.pulse.abort.load(Relaxed) {
            // with no time to linger the kernel sends a reset; if it will not, the visitor sees an end too early
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        } else if self.pulse.leftovers.load(Relaxed) {
            let _ = self.leave.send(stream); // a worker that is gone closes it now
        }
    }
}
