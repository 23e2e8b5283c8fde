//! The health report: what an application says of itself at `/health` (S4.4).
//!
//! ```json
//! {"status": "healthy", "timestamp": "2024-12-04T10:30:00Z", "version": "1.0.1", "uptime": 3600,
//!  "checks": {"database": {"status": "healthy", "responseTime": 15},
//!             "memory": {"used": 256, "total": 512, "percentage": 50}}}
//! ```
//!
//! [`collect`] asks, [`judge`] decides, [`Report::http_status`] is the status code to answer with. A report is always
//! there within [`LONGEST`], also when a database hangs.

use std::{collections::BTreeMap, future::Future, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::{task::JoinSet, time::Instant};

/// Longest that [`collect`] waits, whatever its caller asks for: a report is due within 2 s (S4.P4), and the rest is
/// for writing and sending it.
pub const LONGEST: Duration = Duration::from_millis(1800);

/// Above this share of its memory an application is degraded (S4.E8), in percent.
pub const MEMORY_LIMIT: u64 = 90;

/// How well something is, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Healthy,
    /// Works, and somebody should look.
    Degraded,
    /// Does not work: answered with 503.
    Unhealthy,
}

/// The whole report, serialised in the shape of S4.4.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The worst of all checks.
    pub status: Status,
    /// When it was made, in whole seconds.
    pub timestamp: Timestamp,
    /// Version of the application.
    pub version: String,
    /// Whole seconds since the application started.
    #[serde(deserialize_with = "whole")]
    pub uptime: u64,
    /// What was looked at.
    pub checks: Checks,
}

/// What a report looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Checks {
    /// The first database; `None` when the application has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseCheck>,
    /// Memory of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryCheck>,
    /// Further databases, by `database.<name>`, and in a report of a whole environment also `cache.<name>` and
    /// `queue.<name>`.
    #[serde(flatten, deserialize_with = "databases_only")]
    pub more: BTreeMap<String, DatabaseCheck>,
}

/// One database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseCheck {
    /// `healthy` or `unhealthy`.
    pub status: Status,
    /// How long its answer, or the wait for it, took in milliseconds.
    #[serde(default, deserialize_with = "whole")]
    pub response_time: u64,
    /// Why it is unhealthy; absent when it is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Memory as the report shows it, in MB (2^20 bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryCheck {
    /// MB in use.
    #[serde(deserialize_with = "whole")]
    pub used: u64,
    /// MB that may be used.
    #[serde(deserialize_with = "whole")]
    pub total: u64,
    /// Rounded percentage.
    #[serde(deserialize_with = "whole")]
    pub percentage: u64,
}

/// Memory in bytes: what [`judge`] decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes in use.
    pub used: u64,
    /// Bytes that may be used. 0: not known, and never too little.
    pub total: u64,
}

/// What a report says of the application itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Version of the application.
    pub version: String,
    /// How long it has been running.
    pub uptime: Duration,
    /// Now.
    pub now: Timestamp,
}

/// What one database answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseAnswer {
    /// Its name in the stack, as in `main`.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// Whether it answered, or why not: in words for a person, without a password.
    pub result: Result<(), String>,
}

/// Decides, without looking at anything: a database that does not answer makes unhealthy (S4.P5), more than 90 % of
/// the memory in use makes degraded (S4.E8).
///
/// The first of `databases` is reported as `database`, each other as `database.<name>`.
pub fn judge(about: About, databases: Vec<DatabaseAnswer>, memory: Memory) -> Report {
    let mut status = Status::Healthy;
    let mut checks = Checks { memory: Some(memory.check()), ..Checks::default() };
    if memory.is_short() {
        status = Status::Degraded;
    }
    for (index, answer) in databases.into_iter().enumerate() {
        let check = DatabaseCheck {
            status: if answer.result.is_ok() { Status::Healthy } else { Status::Unhealthy },
            response_time: u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX),
            reason: answer.result.err(),
        };
        status = status.max(check.status);
        if index == 0 {
            checks.database = Some(check);
        } else {
            checks.more.insert(format!("database.{}", answer.name), check);
        }
    }
    let timestamp = Timestamp::from_second(about.now.as_second()).unwrap_or(about.now);
    Report { status, timestamp, version: about.version, uptime: about.uptime.as_secs(), checks }
}

/// Asks all databases at once and answers within `deadline`, at most [`LONGEST`], whatever they do: a check that has
/// not ended by then, or panics, counts as failed and says so.
///
/// Each check is a name and a future that ends when the database has answered. It runs as a task of its own and is
/// aborted at the deadline. The answers are in the order of `checks`.
pub async fn collect<F>(checks: Vec<(String, F)>, deadline: Duration) -> Vec<DatabaseAnswer>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let deadline = deadline.min(LONGEST);
    let began = Instant::now();
    let late = || Err(format!("no answer within {} ms", deadline.as_millis()));
    let mut answers: Vec<DatabaseAnswer> = Vec::with_capacity(checks.len());
    let mut places = BTreeMap::new();
    let mut running = JoinSet::new();
    for (index, (name, check)) in checks.into_iter().enumerate() {
        answers.push(DatabaseAnswer { name, took: deadline, result: late() });
        let task = running.spawn(async move { (check.await, began.elapsed()) });
        places.insert(task.id(), index);
    }
    let all = async {
        while let Some(ended) = running.join_next_with_id().await {
            let (id, result, took) = match ended {
                Ok((id, (result, took))) => (id, result, took),
                Err(broken) => (broken.id(), Err("the check itself broke down".to_owned()), began.elapsed()),
            };
            if let Some(&index) = places.get(&id) {
                answers[index].took = took;
                answers[index].result = result;
            }
        }
    };
    // whoever has not answered keeps the failure it began with
    let _ = tokio::time::timeout_at(began + deadline, all).await;
    answers
}

impl Report {
    /// The status code to answer with: 503 when unhealthy, so that whoever balances visitors takes the instance out;
    /// 200 otherwise.
    pub fn http_status(&self) -> u16 {
        if self.status == Status::Unhealthy { 503 } else { 200 }
    }

    /// Reads what an application answered. `None` when it is not a report in this shape, which is no failure: any
    /// answer of 200 to 399 means well.
    ///
    /// Checks of other kinds are left out, fractions are cut, as in the `uptime` of Node.
    pub fn find(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// Why it is not healthy, in one line; `None` when it is.
    pub fn why(&self) -> Option<String> {
        if self.status == Status::Healthy {
            return None;
        }
        let mut why = Vec::new();
        let first = self.checks.database.as_ref().map(|check| ("database", check));
        let more = self.checks.more.iter().map(|(name, check)| (name.as_str(), check));
        for (name, check) in first.into_iter().chain(more).filter(|(_, check)| check.status != Status::Healthy) {
            why.push(format!("{name}: {}", check.reason.as_deref().unwrap_or("does not answer")));
        }
        if let Some(memory) = self.checks.memory.filter(|memory| memory.percentage >= MEMORY_LIMIT) {
            why.push(format!("memory: {} of {} MB in use ({} %)", memory.used, memory.total, memory.percentage));
        }
        if why.is_empty() {
            why.push("the application gives no reason".to_owned());
        }
        Some(why.join("; "))
    }
}

impl Memory {
    /// Whether more than [`MEMORY_LIMIT`] percent are in use; decided by bytes, before any rounding.
    pub fn is_short(self) -> bool {
        self.total > 0 && u128::from(self.used) * 100 > u128::from(self.total) * u128::from(MEMORY_LIMIT)
    }

    fn check(self) -> MemoryCheck {
        let megabytes = |bytes: u64| bytes.saturating_add(1 << 19) >> 20;
        let (used, total) = (u128::from(self.used), u128::from(self.total));
        let percentage = (used * 100 + total / 2).checked_div(total).unwrap_or(0);
        MemoryCheck {
            used: megabytes(self.used),
            total: megabytes(self.total),
            percentage: u64::try_from(percentage).unwrap_or(u64::MAX),
        }
    }
}

/// A number of another program, which may have written it with a fraction.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let negative = || serde::de::Error::custom("expected a number of 0 or more");
    if let Some(whole) = number.as_u64() {
        return Ok(whole);
    }
    // the integer part of a fraction, as text: no lossy cast
    let text = number.to_string();
    let (integer, _) = text.split_once('.').ok_or_else(negative)?;
    integer.parse().map_err(|_| negative())
}

/// Keeps the checks named `database.<name>`, and leaves out checks of kinds that are not known here.
fn databases_only<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, DatabaseCheck>, D::Error> {
    let all = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    let known = all.into_iter().filter(|(name, _)| name.starts_with("database."));
    Ok(known.filter_map(|(name, value)| Some((name, serde_json::from_value(value).ok()?))).collect())
}

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::Pin};

    use proptest::prelude::*;

    use super::*;

    type Check = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

    fn about() -> About {
        About {
            version: "1.0.1".into(),
            uptime: Duration::from_millis(3_600_900),
            now: "2024-12-04T10:30:00.987Z".parse().unwrap(),
        }
    }

    fn answer(name: &str, millis: u64, result: Result<(), &str>) -> DatabaseAnswer {
        DatabaseAnswer { name: name.into(), took: Duration::from_millis(millis), result: result.map_err(str::to_owned) }
    }

    const HALF: Memory = Memory { used: 256 << 20, total: 512 << 20 };

    #[test]
    fn the_report_has_the_documents_shape() {
        // proves S4.4
        let report = judge(about(), vec![answer("main", 15, Ok(()))], HALF);
        let document = r#"{"status":"healthy","timestamp":"2024-12-04T10:30:00Z","version":"1.0.1","uptime":3600,"checks":{"database":{"status":"healthy","responseTime":15},"memory":{"used":256,"total":512,"percentage":50}}}"#;
        assert_eq!(serde_json::to_string(&report).unwrap(), document);
        assert_eq!(Report::find(document.as_bytes()), Some(report.clone()));
        assert_eq!(report.http_status(), 200);
        assert_eq!(report.why(), None);
    }

    #[test]
    fn an_unreachable_database_is_unhealthy_and_503() {
        // proves S4.P5
        let report = judge(about(), vec![answer("main", 7, Err("connection refused"))], HALF);
        assert_eq!((report.status, report.http_status()), (Status::Unhealthy, 503));
        let check = report.checks.database.as_ref().unwrap();
        assert_eq!((check.status, check.reason.as_deref()), (Status::Unhealthy, Some("connection refused")));
        assert_eq!(report.why().unwrap(), "database: connection refused");
    }

    #[test]
    fn more_than_ninety_percent_of_memory_is_degraded_and_200() {
        // proves S4.E8
        let status = |used, total| judge(about(), vec![], Memory { used, total }).status;
        assert_eq!(status(900, 1000), Status::Healthy);
        assert_eq!(status(901, 1000), Status::Degraded);
        assert_eq!(status(5, 0), Status::Healthy);
        assert_eq!(status(u64::MAX, u64::MAX), Status::Degraded);
        let report = judge(about(), vec![answer("main", 1, Ok(()))], Memory { used: 475 << 20, total: 500 << 20 });
        assert_eq!((report.status, report.http_status()), (Status::Degraded, 200));
        assert_eq!(report.why().unwrap(), "memory: 475 of 500 MB in use (95 %)");
    }

    #[test]
    fn unhealthy_outweighs_degraded_and_further_databases_have_their_own_entries() {
        let databases = vec![answer("main", 1, Ok(())), answer("events", 9, Err("gone"))];
        let report = judge(about(), databases, Memory { used: 99, total: 100 });
        assert_eq!(report.status, Status::Unhealthy);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["checks"]["database"]["status"], "healthy");
        assert_eq!(json["checks"]["database.events"]["reason"], "gone");
        assert_eq!(Report::find(json.to_string().as_bytes()), Some(report));
    }

    #[test]
    fn a_report_of_another_program_is_read_with_its_fractions_and_further_checks() {
        let body =
            br#"{"status":"degraded","timestamp":"2024-12-04T10:30:00.123+00:00","version":"2","uptime":12.75,"pid":3,
            "checks":{"database":{"status":"healthy","responseTime":1.5},"disk":{"free":"12G"}}}"#;
        let report = Report::find(body).unwrap();
        assert_eq!((report.uptime, report.checks.database.as_ref().unwrap().response_time), (12, 1));
        assert!(report.checks.more.is_empty());
        assert_eq!(report.why().unwrap(), "the application gives no reason");
        for other in [&b"ok"[..], b"{}", b"{\"status\":\"ok\"}", b""] {
            assert_eq!(Report::find(other), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_database_does_not_hold_the_report_up() {
        // proves S4.P4
        let checks: Vec<(String, Check)> = vec![
            ("main".into(), Box::pin(pending())),
            ("events".into(), Box::pin(async { Ok(()) })),
            ("archive".into(), Box::pin(async { panic!("a bug in the check") })),
        ];
        let began = Instant::now();
        let answers = collect(checks, Duration::from_hours(1)).await;
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(answers[0], answer("main", 1800, Err("no answer within 1800 ms")));
        assert_eq!(answers[1], answer("events", 0, Ok(())));
        assert_eq!(answers[2], answer("archive", 0, Err("the check itself broke down")));
        let report = judge(about(), answers, HALF);
        assert_eq!(report.http_status(), 503);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_check_that_blocks_its_thread_does_not_hold_the_report_up() {
        // proves S4.P4
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let check: Check = Box::pin(async move {
            let _ = blocked.recv();
            Ok(())
        });
        let began = Instant::now();
        let answers = collect(vec![("main".into(), check)], Duration::from_millis(50)).await;
        assert!(began.elapsed() < Duration::from_secs(2));
        assert!(answers[0].result.is_err());
        drop(release);
    }

    proptest! {
        #[test]
        fn the_status_is_the_worst_of_all_checks(
            used in 0u64..2000, results in prop::collection::vec(any::<bool>(), 0..5),
        ) {
            let databases = results.iter().enumerate().map(|(index, &ok)| {
                answer(&format!("d{index}"), 1, if ok { Ok(()) } else { Err("gone") })
            }).collect();
            let report = judge(about(), databases, Memory { used, total: 1000 });
            let expected = if results.contains(&false) { Status::Unhealthy }
                else if used > 900 { Status::Degraded } else { Status::Healthy };
            prop_assert_eq!(report.status, expected);
            prop_assert_eq!(report.checks.more.len(), results.len().saturating_sub(1));
            let json = serde_json::to_vec(&report).unwrap();
            prop_assert_eq!(Report::find(&json), Some(report));
        }
    }
}
