//! Time, as the engine is given it.

use std::time::Duration;

/// The time and a way to wait: the system's in production, a virtual one in the simulator.
#[expect(async_fn_in_trait, reason = "callers name the clock's type, so no bound on the future is ever needed")]
pub trait Clock {
    /// Now, UTC. May jump when the machine slept.
    fn now(&self) -> jiff::Timestamp;
    /// Returns once `time` has passed. May be dropped at any moment.
    async fn sleep(&self, time: Duration);
}

/// How long `clock` has run since `then`; zero when it was set back.
pub(crate) fn since(now: jiff::Timestamp, then: jiff::Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or(Duration::ZERO)
}

/// Whole milliseconds of `time`.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
