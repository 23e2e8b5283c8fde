//! What the workers and the control thread share: the served table and when it changed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::compiled::Compiled;

/// One per edge.
#[derive(Debug)]
pub(crate) struct Shared {
    table: ArcSwap<Compiled>,
    epoch: AtomicU64,
    /// Rung when an instance may have become available: a new table, or a check that turned good.
    pub(crate) changed: Notify,
    /// Connections from visitors that are open.
    pub(crate) connections: AtomicU64,
    /// Upgraded connections that are open.
    pub(crate) tunnels: AtomicU64,
    /// At most so many visitors' connections, from the limit of open files.
    pub(crate) max_connections: u64,
    /// Requests, one counter per worker.
    pub(crate) requests: Box<[PaddedCounter]>,
    /// Set once: stop accepting, finish, leave.
    pub(crate) quitting: AtomicBool,
}

/// A counter on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct PaddedCounter(pub(crate) AtomicU64);

impl Shared {
    pub(crate) fn new(table: Compiled, workers: usize, max_connections: u64) -> Self {
        Self {
            table: ArcSwap::from_pointee(table),
            epoch: AtomicU64::new(1),
            changed: Notify::new(),
            connections: AtomicU64::new(0),
            tunnels: AtomicU64::new(0),
            max_connections,
            requests: (0..workers).map(|_| PaddedCounter::default()).collect(),
            quitting: AtomicBool::new(false),
        }
    }

    /// The served table.
    pub(crate) fn table(&self) -> Arc<Compiled> {
        self.table.load_full()
    }

    /// Counts the swaps. Why no request slips through a swap to an instance that is being drained:
    ///
    /// A worker (W) and the control thread (C) do, each in this order and all sequentially consistent,
    ///
    /// ```text
    /// W1  epoch e, table t of e (cached per worker)    C1  store the new table
    /// W2  choose instance i from t                     C2  epoch = e + 1
    /// W3  i.requests += 1                              C3  answer `PUT /table`
    /// W4  read the epoch; if it is not e: undo W3,     C4  `POST /drain`: wait until i.requests == 0
    ///     begin again with the new table
    /// ```
    ///
    /// W3 and W4 against C2 and C4 is the store-then-look pattern on both sides: in the single order of all
    /// sequentially consistent operations either C2 is before W4, so W4 sees the new epoch and the request leaves
    /// `i` alone; or W4 is before C2, so W3 is before C4, and the drain sees the request and waits for it. A third
    /// case does not exist. So a request is sent to `i` only if it was counted on `i` before `PUT /table` was
    /// answered, and a drain that answers means that nothing is sent to `i` any more. Workers are never waited for:
    /// a worker that sleeps through a swap finds the new epoch at its next request, before it looks at any table.
    ///
    /// A worker may cache the new table under the old epoch (it reads the epoch before C2 and the table after C1).
    /// Then W4 fails once for nothing; the reverse, an old table under a new epoch, cannot happen, because C1
    /// precedes C2 and the worker reads the epoch first.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Serves another table from now on.
    pub(crate) fn serve(&self, table: Arc<Compiled>) {
        self.table.store(table);
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub(crate) fn quitting(&self) -> bool {
        self.quitting.load(Ordering::Relaxed)
    }
}
