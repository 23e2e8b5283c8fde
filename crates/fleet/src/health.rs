//! Health reports of many hosts as one.

use engine::target::TargetError;
use serde_json::{Map, Value, json};

/// From well to worst.
const VERDICTS: [&str; 3] = ["healthy", "degraded", "unhealthy"];

/// A host's report and whether it is well, or why there is none.
pub(crate) type Answer = Result<(bool, Value), TargetError>;

/// The report of a fleet, and whether it is well: the worst verdict of hosts that answer, at least `degraded` when one
/// does not; each host's own report below `hosts`.
pub(crate) fn merge(reports: Vec<(String, Answer)>) -> (bool, Value) {
    let rank = |status: &str| VERDICTS.iter().position(|verdict| *verdict == status).unwrap_or(VERDICTS.len() - 1);
    let (mut worst, mut best, mut hosts) = (0, VERDICTS.len() - 1, Map::new());
    for (host, report) in reports {
        let report = match report {
            Ok((_, report)) => {
                let found = rank(report["status"].as_str().unwrap_or_default());
                (worst, best) = (worst.max(found), best.min(found));
                report
            }
            Err(error) => {
                worst = worst.max(1);
                json!({ "status": "lost", "reason": error.to_string() })
            }
        };
        hosts.insert(host, report);
    }
    // visitors are served as long as one host is well
    let verdict = if worst == 2 && best < 2 { 1 } else { worst };
    (verdict < 2, json!({ "status": VERDICTS[verdict], "hosts": hosts }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Answer {
        Err(TargetError::Unreachable { host: "b".to_owned(), reason: "gone".to_owned() })
    }

    #[test]
    fn the_worst_counts_and_a_fleet_lives_as_long_as_one_host() {
        let report = |status: &str| -> Answer { Ok((status != "unhealthy", json!({ "status": status }))) };
        for (reports, well, verdict) in [
            (vec![report("healthy"), report("healthy")], true, "healthy"),
            (vec![report("healthy"), lost()], true, "degraded"),
            (vec![report("healthy"), report("unhealthy")], true, "degraded"),
            (vec![report("unhealthy"), report("unhealthy")], false, "unhealthy"),
            (vec![report("unhealthy"), lost()], false, "unhealthy"),
        ] {
            let named = reports.into_iter().enumerate().map(|(index, report)| (index.to_string(), report)).collect();
            let (is_well, merged) = merge(named);
            assert_eq!((is_well, merged["status"].as_str()), (well, Some(verdict)));
            assert_eq!(merged["hosts"].as_object().map(Map::len), Some(2));
        }
    }
}
