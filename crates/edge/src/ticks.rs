//! A coarse clock per worker, so that time limits cost the request path one load instead of a timer each.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

/// Time between two ticks.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Ticks since the worker began.
#[derive(Debug, Default)]
pub(crate) struct Ticks(AtomicU32);

impl Ticks {
    pub(crate) fn now(&self) -> u32 {
        self.0.load(Relaxed)
    }

    pub(crate) fn advance(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// How many ticks a duration is, rounded up.
    pub(crate) fn in_ticks(duration: Duration) -> u32 {
        u32::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX)
    }
}
