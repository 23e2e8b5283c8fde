//! What visitors got from one revision: counters that cost the request path three relaxed additions.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::control::Traffic;

/// Buckets of the latency histogram: 1, 2, 4 ... 32768 ms and everything slower.
pub(crate) const BUCKETS: usize = 17;

/// One worker's share, on cache lines of its own so that workers never wait for each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    requests: AtomicU64,
    errors: AtomicU64,
    latency: [AtomicU64; BUCKETS],
}

/// Counters of one revision of a pool or site.
#[derive(Debug)]
pub(crate) struct Meter {
    shards: Box<[Shard]>,
}

impl Meter {
    pub(crate) fn new(workers: usize) -> Self {
        Self { shards: (0..workers.max(1)).map(|_| Shard::default()).collect() }
    }

    /// Counts one answer by its status, and the time until its head.
    pub(crate) fn record(&self, worker: usize, status: u16, took: Duration) {
        let shard = &self.shards[worker % self.shards.len()];
        shard.requests.fetch_add(1, Relaxed);
        if (500..600).contains(&status) {
            shard.errors.fetch_add(1, Relaxed);
        }
        shard.latency[bucket(took)].fetch_add(1, Relaxed);
    }

    /// Counts an answer that was already recorded as good and then broke off.
    pub(crate) fn broke(&self, worker: usize) {
        self.shards[worker % self.shards.len()].errors.fetch_add(1, Relaxed);
    }

    /// The sum over all workers.
    pub(crate) fn read(&self) -> Traffic {
        let mut sum = Traffic { latency_ms_pow2: vec![0; BUCKETS], ..Traffic::default() };
        for shard in &self.shards {
            sum.requests += shard.requests.load(Relaxed);
            sum.errors += shard.errors.load(Relaxed);
            for (total, one) in sum.latency_ms_pow2.iter_mut().zip(&shard.latency) {
                *total += one.load(Relaxed);
            }
        }
        sum
    }
}

/// Index of the first power of two milliseconds that is not less than `took`.
fn bucket(took: Duration) -> usize {
    let millis = took.as_micros().div_ceil(1000).max(1);
    let power = u128::BITS - (millis - 1).leading_zeros();
    (power as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_upper_bounds() {
        for (micros, index) in [
            (0, 0),
            (1000, 0),
            (1001, 1),
            (2000, 1),
            (2001, 2),
            (4000, 2),
            (4001, 3),
            (32_768_000, 15),
            (32_768_001, 16),
            (u64::MAX, 16),
        ] {
            assert_eq!(bucket(Duration::from_micros(micros)), index, "{micros} us");
        }
    }

    #[test]
    fn shards_sum_up() {
        let meter = Meter::new(2);
        meter.record(0, 200, Duration::from_micros(10));
        meter.record(1, 503, Duration::from_millis(3));
        meter.broke(0);
        let traffic = meter.read();
        assert_eq!((traffic.requests, traffic.errors), (2, 2));
        assert_eq!(traffic.latency_ms_pow2[0], 1);
        assert_eq!(traffic.latency_ms_pow2[2], 1);
    }
}
