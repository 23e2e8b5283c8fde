//! What an observation says about a revision: ready, still coming, or to be given up.

use std::collections::BTreeSet;

use stack::Revision;

use crate::{
    desired::{Instance, InstanceState, Observed, THIS_MACHINE, Traffic},
    policy::Limits,
};

/// How the instances of one revision stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// All that the hosts mean to run are ready.
    Ready,
    /// Not yet.
    Coming {
        /// Ready now.
        ready: u32,
        /// Meant to run; `None` while the hosts have not taken the revision up.
        of: Option<u32>,
    },
    /// One of them will never be.
    Failed {
        /// Which instance and why.
        why: String,
    },
}

/// Its name in the whole environment: `api-3f9c2a1b-1 on web2`, without the host where there is only one.
fn name(instance: &Instance) -> String {
    let Instance { id, host, .. } = instance;
    if host.is_empty() || host == THIS_MACHINE { id.clone() } else { format!("{id} on {host}") }
}

/// How the instances of `revision` stand. Failures of the instances in `forgiven` are old news and do not count.
pub fn readiness(observed: &Observed, revision: &Revision, forgiven: &BTreeSet<String>) -> Readiness {
    let of = observed.expected.get(revision).copied();
    let mut ready = 0;
    for instance in observed.instances.iter().filter(|instance| instance.revision == *revision) {
        match &instance.state {
            InstanceState::Ready => ready += 1,
            InstanceState::Failed { why } if !forgiven.contains(&name(instance)) => {
                return Readiness::Failed { why: format!("instance {} failed: {why}", name(instance)) };
            }
            _ => {}
        }
    }
    if of.is_some_and(|of| ready >= of) { Readiness::Ready } else { Readiness::Coming { ready, of } }
}

/// Instances of `revision` that have failed already.
pub fn failed(observed: &Observed, revision: &Revision) -> BTreeSet<String> {
    let failed = |state: &InstanceState| matches!(state, InstanceState::Failed { .. });
    let instances = observed.instances.iter();
    instances.filter(|one| one.revision == *revision && failed(&one.state)).map(name).collect()
}

/// Why an instance of `revision` that has been ready is not well any more, if one is.
pub fn sick(observed: &Observed, revision: &Revision) -> Option<String> {
    observed.instances.iter().filter(|instance| instance.revision == *revision).find_map(|instance| {
        let (what, why) = match &instance.state {
            InstanceState::Failed { why } => ("failed", why),
            InstanceState::Unready { why } => ("is unready", why),
            InstanceState::Waiting { why } => ("ended", why),
            _ => return None,
        };
        Some(format!("instance {} {what}: {why}", name(instance)))
    })
}

/// What visitors got between two observations. The p95 is the later one's: percentiles have no difference.
pub fn gained(before: Traffic, after: Traffic) -> Traffic {
    Traffic {
        requests: after.requests.saturating_sub(before.requests),
        errors: after.errors.saturating_sub(before.errors),
        p95_ms: after.p95_ms,
    }
}

/// Why the new revision is worse than the old one, if it is. `old` is absent when there is nothing to compare with.
#[expect(clippy::cast_precision_loss, reason = "counts of one bake are far below 2^52")]
pub fn worse(new: Traffic, old: Option<Traffic>, limits: &Limits) -> Option<String> {
    if new.requests < limits.min_requests {
        return None;
    }
    let rate = |traffic: Traffic| traffic.errors as f64 * 100.0 / traffic.requests.max(1) as f64;
    let old = old.filter(|old| old.requests >= limits.min_requests);
    let (new_rate, old_rate) = (rate(new), old.map_or(0.0, rate));
    if new_rate > limits.max_error_percent && new_rate > old_rate + limits.max_error_points {
        return Some(format!(
            "{new_rate:.1} % of {} requests failed, against {old_rate:.1} % before (at most {} % are well)",
            new.requests, limits.max_error_percent
        ));
    }
    let old = old.filter(|old| old.p95_ms > 0.0)?;
    let slower = new.p95_ms > old.p95_ms * limits.max_slower && new.p95_ms > old.p95_ms + limits.max_slower_ms;
    slower.then(|| format!("the 95th percentile rose from {:.0} ms to {:.0} ms", old.p95_ms, new.p95_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(requests: u64, errors: u64, p95_ms: f64) -> Traffic {
        Traffic { requests, errors, p95_ms }
    }

    #[test]
    fn a_few_requests_say_nothing() {
        assert_eq!(worse(traffic(19, 19, 9000.0), None, &Limits::default()), None);
        assert!(worse(traffic(20, 20, 9000.0), None, &Limits::default()).is_some());
    }

    #[test]
    fn errors_count_against_those_of_the_old_revision() {
        let limits = Limits::default();
        assert_eq!(worse(traffic(100, 5, 10.0), None, &limits), None);
        assert_eq!(
            worse(traffic(100, 6, 10.0), None, &limits).as_deref(),
            Some("6.0 % of 100 requests failed, against 0.0 % before (at most 5 % are well)")
        );
        // an application that always had errors may keep them
        assert_eq!(worse(traffic(100, 12, 10.0), Some(traffic(1000, 80, 10.0)), &limits), None);
        assert!(worse(traffic(100, 14, 10.0), Some(traffic(1000, 80, 10.0)), &limits).is_some());
    }

    #[test]
    fn slower_is_worse_only_when_people_would_notice() {
        let limits = Limits::default();
        let new = |p95_ms| traffic(100, 0, p95_ms);
        assert_eq!(worse(new(90.0), Some(new(10.0)), &limits), None, "nine times, yet 80 ms");
        assert_eq!(worse(new(1100.0), Some(new(500.0)), &limits), None, "600 ms, yet not three times");
        let why = worse(new(400.0), Some(new(100.0)), &limits);
        assert_eq!(why.as_deref(), Some("the 95th percentile rose from 100 ms to 400 ms"));
        assert_eq!(worse(new(400.0), Some(traffic(3, 0, 1.0)), &limits), None, "nothing to compare with");
    }

    #[test]
    fn counters_that_began_again_are_no_gain() {
        assert_eq!(gained(traffic(500, 20, 1.0), traffic(10, 1, 2.0)), traffic(0, 0, 2.0));
    }
}
