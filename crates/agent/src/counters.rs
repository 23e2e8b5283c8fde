//! What visitors got, summed over restarts of the edge.

use std::collections::BTreeMap;

use edge::control::{self, Status};
use engine::desired::Traffic;
use stack::Revision;

use crate::protocol::Scope;

/// Counters by pool or site, then revision. They never go back while the agent runs.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// The edge's process they are from.
    pid: u32,
    /// Sums of the processes before it.
    base: BTreeMap<(String, String), control::Traffic>,
    last: BTreeMap<(String, String), control::Traffic>,
}

impl Counters {
    /// Takes what the edge says now.
    pub(crate) fn add(&mut self, status: &Status) {
        if status.pid != self.pid {
            self.pid = status.pid;
            for (key, traffic) in std::mem::take(&mut self.last) {
                add(self.base.entry(key).or_default(), &traffic);
            }
        }
        for (pool, revisions) in &status.traffic {
            for (revision, traffic) in revisions {
                self.last.insert((pool.clone(), revision.clone()), traffic.clone());
            }
        }
    }

    /// What visitors of an environment got, by revision. What its services asked of each other is not in it.
    pub(crate) fn of(&self, scope: &Scope) -> BTreeMap<Revision, Traffic> {
        let prefix = format!("{scope}/");
        let mut sums: BTreeMap<&str, control::Traffic> = BTreeMap::new();
        for ((pool, revision), traffic) in self.base.iter().chain(&self.last) {
            if pool.starts_with(&prefix) && !pool.contains('@') {
                add(sums.entry(revision).or_default(), traffic);
            }
        }
        let known = sums.into_iter().filter_map(|(revision, traffic)| {
            let p95_ms = percentile(&traffic.latency_ms_pow2, 0.95);
            let traffic = Traffic { requests: traffic.requests, errors: traffic.errors, p95_ms };
            Some((Revision::try_from(revision.to_owned()).ok()?, traffic))
        });
        known.collect()
    }
}

fn add(sum: &mut control::Traffic, traffic: &control::Traffic) {
    sum.requests += traffic.requests;
    sum.errors += traffic.errors;
    let buckets = sum.latency_ms_pow2.len().max(traffic.latency_ms_pow2.len());
    sum.latency_ms_pow2.resize(buckets, 0);
    for (sum, count) in sum.latency_ms_pow2.iter_mut().zip(&traffic.latency_ms_pow2) {
        *sum += count;
    }
}

/// The value that `share` of the answers did not exceed, spread evenly within its bucket. 0 when there are none.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn percentile(buckets: &[u64], share: f64) -> f64 {
    let total: u64 = buckets.iter().sum();
    let rank = total as f64 * share;
    let mut below = 0.0;
    for (index, &count) in buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
        let count = count as f64;
        if below + count >= rank {
            let exponent = i32::try_from(index).unwrap_or(i32::MAX);
            let upper = 2f64.powi(exponent);
            let lower = if index == 0 { 0.0 } else { upper / 2.0 };
            return lower + (upper - lower) * ((rank - below) / count);
        }
        below += count;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pid: u32, pool: &str, revision: &str, requests: u64) -> Status {
        let traffic = control::Traffic { requests, errors: 1, latency_ms_pow2: vec![requests, 0] };
        let revisions = BTreeMap::from([(revision.to_owned(), traffic)]);
        Status { pid, traffic: BTreeMap::from([(pool.to_owned(), revisions)]), ..Status::default() }
    }

    #[test]
    fn a_restarted_edge_does_not_set_the_counters_back() {
        let scope = Scope { app: "jobs".parse().unwrap(), environment: "dev".parse().unwrap() };
        let revision = format!("{}+{}", "a".repeat(64), "b".repeat(16));
        let mut counters = Counters::default();
        for (status, sum) in [
            (status(1, "jobs/dev/service.api", &revision, 10), 10),
            (status(1, "jobs/dev/service.api", &revision, 15), 15),
            (status(2, "jobs/dev/service.api", &revision, 2), 17),
            (status(2, "jobs/dev/service.api@aaaa", &revision, 100), 17),
            (status(2, "jobs/development/service.api", &revision, 100), 17),
        ] {
            counters.add(&status);
            assert_eq!(counters.of(&scope).values().map(|traffic| traffic.requests).collect::<Vec<_>>(), [sum]);
        }
    }

    #[test]
    fn the_percentile_lies_in_its_bucket() {
        assert!(percentile(&[], 0.95).abs() < f64::EPSILON);
        assert!((percentile(&[100], 0.95) - 0.95).abs() < 1e-9);
        // 90 within 1 ms, 10 from 4 to 8 ms: the 95th is in the middle of these.
        assert!((percentile(&[90, 0, 0, 10], 0.95) - 6.0).abs() < 1e-9);
    }
}
