//! One instance as all workers share it: health, and what is in flight to it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::link::Link;

/// How long an instance that refused a connection is passed over, unless there is no other.
pub(crate) const PASSED_OVER: Duration = Duration::from_millis(500);

/// The same for another host, which may take a second to be found dead each time; its checks bring it back earlier.
const PEER_PASSED_OVER: Duration = Duration::from_secs(8);

/// Shared by every table that names the same id and address, so that counts stay right across swaps.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) address: SocketAddr,
    /// Unique in this process: the key of a worker's idle connections.
    pub(crate) number: u64,
    /// Opaque name in the sticky cookie.
    pub(crate) cookie: u64,
    /// How it is reached when it is the edge of another host.
    pub(crate) link: Option<Link>,
    /// How many instances it stands for.
    behind: AtomicU32,
    born: Instant,
    requests: AtomicU64,
    tunnels: AtomicU64,
    /// Rung whenever a count reaches zero.
    emptied: Notify,
    healthy: AtomicBool,
    failure: Mutex<Option<String>>,
    /// Milliseconds after `born` until which it is passed over; 0: never refused.
    passed_over_until: AtomicU64,
    /// No longer in the table: idle connections are closed.
    retired: AtomicBool,
}

impl Instance {
    pub(crate) fn new(id: &str, address: SocketAddr, number: u64, link: Option<Link>) -> Self {
        Self {
            id: id.to_owned(),
            address,
            number,
            cookie: fingerprint(id.as_bytes()),
            link,
            behind: AtomicU32::new(1),
            born: Instant::now(),
            requests: AtomicU64::new(0),
            tunnels: AtomicU64::new(0),
            emptied: Notify::new(),
            healthy: AtomicBool::new(true),
            failure: Mutex::new(None),
            passed_over_until: AtomicU64::new(0),
            retired: AtomicBool::new(false),
        }
    }

    /// Requests in flight.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Upgraded connections open.
    pub(crate) fn tunnels(&self) -> u64 {
        self.tunnels.load(Ordering::SeqCst)
    }

    /// Whether it is what is reached at this address, over this link if there is one.
    pub(crate) fn is_reached_at(&self, address: SocketAddr, link: Option<&Link>) -> bool {
        self.address == address
            && match (&self.link, link) {
                (None, None) => true,
                (Some(own), Some(link)) => own.is_same(link),
                _ => false,
            }
    }

    /// It stands for so many instances.
    pub(crate) fn stands_for(&self, instances: u32) {
        self.behind.store(instances, Ordering::Relaxed);
    }

    /// Whether it is busier than `other`, each measured by the instances it stands for.
    pub(crate) fn is_busier_than(&self, other: &Self) -> bool {
        let load = |one: &Self, for_each: &Self| {
            (one.requests() + one.tunnels()) * u64::from(for_each.behind.load(Ordering::Relaxed))
        };
        load(self, other) > load(other, self)
    }

    pub(crate) fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The verdict of the active checks.
    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    /// The last failed check, or `None` after a good one.
    pub(crate) fn set_failure(&self, failure: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    pub(crate) fn retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub(crate) fn set_retired(&self, retired: bool) {
        self.retired.store(retired, Ordering::Relaxed);
    }

    /// Named by a table again after it had left: new, so it begins healthy.
    pub(crate) fn revive(&self) {
        self.set_healthy(true);
        self.set_failure(None);
        self.passed_over_until.store(0, Ordering::Relaxed);
        self.set_retired(false);
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    /// It refused a connection. A connection that broke after a request was sent does not count: one poisonous request
    /// would take out one instance after the other.
    pub(crate) fn pass_over(&self, now: Instant) {
        let time = if self.link.is_some() { PEER_PASSED_OVER } else { PASSED_OVER };
        let until = self.millis(now + time).max(1);
        self.passed_over_until.store(until, Ordering::Relaxed);
    }

    /// It took a connection. Says whether it had refused one before.
    pub(crate) fn accepted(&self) -> bool {
        self.passed_over_until.load(Ordering::Relaxed) != 0 && self.passed_over_until.swap(0, Ordering::Relaxed) != 0
    }

    /// When it may be tried again, if it is being passed over.
    pub(crate) fn passed_over(&self, now: Instant) -> Option<Instant> {
        if self.link.as_ref().is_some_and(|link| link.way.is_lost()) {
            return Some(now + PEER_PASSED_OVER);
        }
        let until = self.passed_over_until.load(Ordering::Relaxed);
        (until != 0 && self.millis(now) < until).then(|| self.born + Duration::from_millis(until))
    }

    /// Counts a request from now until the guard is dropped. See [`Shared::epoch`](crate::shared::Shared::epoch)
    /// for why the count comes before the look at the epoch.
    pub(crate) fn enter(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Ordering::SeqCst);
        InFlight(Arc::clone(self))
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn empty(&self) {
        loop {
            let mut rung = std::pin::pin!(self.emptied.notified());
            rung.as_mut().enable(); // before the look, so that no ring is missed
            if self.requests() == 0 && self.tunnels() == 0 {
                return;
            }
            rung.await;
        }
    }
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Instance>);

impl InFlight {
    pub(crate) fn instance(&self) -> &Arc<Instance> {
        &self.0
    }

    /// The request became a tunnel; there is no moment in which neither is counted.
    pub(crate) fn into_tunnel(self) -> Tunnel {
        self.0.tunnels.fetch_add(1, Ordering::SeqCst);
        Tunnel(Arc::clone(&self.0))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

/// One upgraded connection.
#[derive(Debug)]
pub(crate) struct Tunnel(Arc<Instance>);

impl Drop for Tunnel {
    fn drop(&mut self) {
        if self.0.tunnels.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}

/// FNV-1a with a final mix: the same for ever, so that cookies outlive the edge's process.
fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}
