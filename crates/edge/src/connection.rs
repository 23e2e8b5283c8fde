//! One connection from a visitor: its pulse (what it is waiting for and since when) and its end.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Duration,
};

use http::HeaderValue;

use crate::{
    leftovers::{Bin, Leftover},
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
    bin: Bin,
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
    fn new(ticks: Arc<Ticks>, bin: Bin) -> Self {
        let now = ticks.now();
        Self {
            ticks,
            bin,
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

    /// Whether the answer broke off.
    pub(crate) fn aborted(&self) -> bool {
        self.abort.load(Relaxed)
    }

    /// Hands something over to be read to its end; it is closed at once if the worker is gone.
    pub(crate) fn leave(&self, leftover: Leftover) {
        let _ = self.bin.send(leftover);
    }

    /// Whether something must be read before closing.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.leftovers.load(Relaxed)
    }

    /// The request of this number is framed twice.
    pub(crate) fn found_ambiguous(&self, request: u32) {
        self.ambiguous.store(request, Relaxed);
    }

    /// The answer did not wait for the request's end.
    pub(crate) fn expect_leftovers(&self) {
        self.leftovers.store(true, Relaxed);
    }

    /// Bytes came.
    pub(crate) fn read(&self) {
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
    pub(crate) fn new(ticks: &Arc<Ticks>, bin: &Bin, listener: SocketAddr) -> Self {
        Self {
            pulse: Arc::new(Pulse::new(Arc::clone(ticks), bin.clone())),
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

    pub(crate) fn http2(&self) -> bool {
        self.http2.get()
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
        let past = |tick: u32| self.pulse.ticks.now().wrapping_sub(tick) >= Ticks::in_ticks(linger);
        if self.phase.get() == Phase::Last
            && self.pulse.busy.load(Relaxed) == 0
            && past(self.phase_since.get())
            && past(self.pulse.idle_since.load(Relaxed))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> (Arc<Ticks>, Handle) {
        let ticks = Arc::new(Ticks::default());
        let handle = Handle::new(&ticks, &tokio::sync::mpsc::unbounded_channel().0, ([127, 0, 0, 1], 80).into());
        (ticks, handle)
    }

    fn pass(ticks: &Ticks, handle: &Handle, time: Duration) -> Phase {
        for _ in 0..Ticks::in_ticks(time) {
            ticks.advance();
            handle.sweep(Duration::from_secs(1));
        }
        handle.phase()
    }

    #[test]
    fn a_head_that_trickles_in_is_cut_off() {
        let (ticks, handle) = handle();
        for _ in 0..29 {
            handle.pulse.read(); // a byte each second does not help
            assert_eq!(pass(&ticks, &handle, Duration::from_secs(1)), Phase::Open);
        }
        assert_eq!(pass(&ticks, &handle, Duration::from_secs(2)), Phase::Now);
    }

    #[test]
    fn an_idle_connection_is_closed_gracefully_and_a_busy_one_never() {
        let (ticks, handle) = handle();
        let ongoing = Ongoing::begin(&handle.pulse);
        assert_eq!(pass(&ticks, &handle, Duration::from_hours(1)), Phase::Open);
        drop(ongoing);
        assert_eq!(pass(&ticks, &handle, Duration::from_secs(70)), Phase::Open);
        assert_eq!(pass(&ticks, &handle, Duration::from_secs(10)), Phase::Graceful);
    }

    #[test]
    fn a_body_that_does_not_come_is_given_up_only_while_it_is_wanted() {
        let (ticks, handle) = handle();
        let _ongoing = Ongoing::begin(&handle.pulse);
        handle.pulse.read();
        assert_eq!(pass(&ticks, &handle, Duration::from_mins(10)), Phase::Open, "the instance is not reading");
        handle.pulse.starving(true);
        handle.pulse.read();
        assert_eq!(pass(&ticks, &handle, Duration::from_secs(59)), Phase::Open);
        handle.pulse.read();
        assert_eq!(pass(&ticks, &handle, Duration::from_secs(59)), Phase::Open, "a piece came");
        assert_eq!(pass(&ticks, &handle, Duration::from_secs(5)), Phase::Now);
    }

    #[test]
    fn the_last_phase_lingers_for_a_request_under_way() {
        let (ticks, handle) = handle();
        let ongoing = Ongoing::begin(&handle.pulse);
        handle.end(Phase::Last);
        assert_eq!(pass(&ticks, &handle, Duration::from_secs(5)), Phase::Last, "busy");
        drop(ongoing);
        handle.sweep(Duration::from_secs(1));
        assert_eq!(handle.phase(), Phase::Last, "its answer may not have said that it was the last");
        assert_eq!(pass(&ticks, &handle, Duration::from_secs(1)), Phase::Graceful);
        handle.end(Phase::Last);
        assert_eq!(handle.phase(), Phase::Graceful, "never back");
        let (_, second) = self::handle();
        second.speaks_http2();
        second.end(Phase::Last);
        assert_eq!(second.phase(), Phase::Graceful, "HTTP/2 says it with GOAWAY");
    }
}
