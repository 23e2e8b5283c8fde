//! When a program that ended is started again, and when nobody should wait for it any more.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Shortest wait.
const FIRST: Duration = Duration::from_millis(100);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// So many ends ...
const CRASHES: usize = 5;
/// ... within this time are a crash loop; as long a good life makes all earlier ends forgotten.
const WINDOW: Duration = Duration::from_mins(1);
/// So many ends before it was ever ready, and it is not tried again.
const TRIES: u32 = 3;

/// The past of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    ends: VecDeque<Instant>,
    /// Ends in a row without a good life between.
    in_a_row: u32,
    /// It was ready at least once.
    proven: bool,
}

/// What follows an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is started again after this.
    Again(Duration),
    /// It ends again and again; it is still started again after this.
    Loop(Duration),
    /// It never worked and is not started again.
    GiveUp,
}

impl Backoff {
    /// The past of an instance that was or was not ready before.
    pub(crate) fn new(proven: bool) -> Self {
        Self { proven, ..Self::default() }
    }

    /// It became ready.
    pub(crate) fn ready(&mut self) {
        self.proven = true;
    }

    /// Whether it was ready at least once.
    pub(crate) fn proven(&self) -> bool {
        self.proven
    }

    /// It ended at `now` after it was ready for `well`. `jitter` is from 0 to 1.
    pub(crate) fn ended(&mut self, now: Instant, well: Duration, jitter: f64) -> Next {
        if well >= WINDOW {
            self.ends.clear();
            self.in_a_row = 0;
        }
        self.in_a_row += 1;
        self.ends.push_back(now);
        while self.ends.len() > CRASHES || self.ends.front().is_some_and(|end| now.duration_since(*end) > WINDOW) {
            self.ends.pop_front();
        }
        if !self.proven && self.in_a_row >= TRIES {
            return Next::GiveUp;
        }
        let doubled = FIRST.saturating_mul(1 << (self.in_a_row - 1).min(16)).min(LONGEST);
        // Between three quarters and the whole, so that replicas do not start in step.
        let wait = doubled.mul_f64(0.25f64.mul_add(-jitter.clamp(0.0, 1.0), 1.0));
        if self.ends.len() >= CRASHES { Next::Loop(wait) } else { Next::Again(wait) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::ZERO;

    #[test]
    fn waits_double_up_to_half_a_minute_and_five_ends_in_a_minute_are_a_loop() {
        let mut backoff = Backoff::new(true);
        let now = Instant::now();
        let waits: Vec<Next> = (0..12).map(|_| backoff.ended(now, NEVER, 0.0)).collect();
        let wait = |millis| Duration::from_millis(millis);
        assert_eq!(waits[..4], [100, 200, 400, 800].map(|millis| Next::Again(wait(millis))));
        assert_eq!(waits[4], Next::Loop(wait(1_600)));
        assert_eq!(waits[11], Next::Loop(wait(30_000)));
        assert_eq!(backoff.ended(now, NEVER, 1.0), Next::Loop(wait(22_500)));
        assert_eq!(backoff.ended(now, WINDOW, 0.0), Next::Again(wait(100)), "a good life");
        let later = now + WINDOW * 2;
        assert_eq!(backoff.ended(later, NEVER, 0.0), Next::Again(wait(200)), "the others are long ago");
    }

    #[test]
    fn what_never_worked_is_given_up_at_the_third_end() {
        // proves S4.P11: a deploy does not wait for what cannot start
        let mut backoff = Backoff::new(false);
        let now = Instant::now();
        assert!(matches!(backoff.ended(now, NEVER, 0.5), Next::Again(_)));
        assert!(matches!(backoff.ended(now, NEVER, 0.5), Next::Again(_)));
        assert_eq!(backoff.ended(now, NEVER, 0.5), Next::GiveUp);
        backoff.ready();
        assert!(matches!(backoff.ended(now, NEVER, 0.5), Next::Again(_)));
    }
}
