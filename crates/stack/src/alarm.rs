//! Alarms: conditions that wake somebody, as text: `http.errors > 5% for 5m`.

use std::{fmt, str::FromStr};

use crate::{BadQuantity, ByteSize, Period, suggest::suggest};

/// What a metric's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricUnit {
    /// A share of a whole, 0 to 100.
    Percent,
    /// A length of time.
    Duration,
    /// A number of bytes.
    Bytes,
    /// A plain number.
    Count,
    /// A number per second.
    Rate,
}

/// Every metric an alarm can watch: name, what its values may be written in, what it is.
pub const METRICS: [(&str, &[MetricUnit], &str); 30] = {
    use MetricUnit::{Bytes, Count, Duration, Percent, Rate};
    [
        ("http.requests", &[Rate], "requests per second"),
        ("http.errors", &[Percent, Rate], "answers with status 500 and above, of all answers"),
        ("http.latency", &[Duration], "time to the whole answer, 95th percentile"),
        ("http.latency.p50", &[Duration], "time to the whole answer, median"),
        ("http.latency.p95", &[Duration], "time to the whole answer, 95th percentile"),
        ("http.latency.p99", &[Duration], "time to the whole answer, 99th percentile"),
        ("http.limited", &[Percent, Rate], "requests refused by a rate limit"),
        ("cpu", &[Percent], "CPU time used, of what is allowed"),
        ("memory", &[Percent, Bytes], "memory used, of what is allowed"),
        ("disk", &[Percent, Bytes], "disk used"),
        ("restarts", &[Count], "restarts of instances within the time watched"),
        ("unhealthy", &[Count], "instances that fail their health check"),
        ("backup.age", &[Duration], "time since the last good backup"),
        ("drill.age", &[Duration], "time since the last restore rehearsal"),
        ("queue.depth", &[Count], "messages waiting"),
        ("queue.age", &[Duration], "age of the oldest message waiting"),
        ("db.connections", &[Percent, Count], "connections to a database, of the most it allows"),
        ("db.lag", &[Duration, Bytes], "how far a replica is behind"),
        ("db.size", &[Bytes], "size of a database"),
        ("db.latency", &[Duration], "time a query takes, 95th percentile"),
        ("cache.hits", &[Percent], "reads a cache could answer"),
        ("cache.memory", &[Percent, Bytes], "memory a cache uses"),
        ("bucket.size", &[Bytes], "bytes in a bucket"),
        ("function.errors", &[Percent, Count], "failed runs of functions"),
        ("function.concurrency", &[Count], "functions running at once"),
        ("job.failures", &[Count], "failed runs of jobs"),
        ("job.duration", &[Duration], "how long a job runs"),
        ("certificate.expires", &[Duration], "time until a certificate runs out"),
        ("deploy.failures", &[Count], "failed deploys in a row"),
        ("logs.errors", &[Count, Rate], "lines logged as errors"),
    ]
};

/// How a metric is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
}

const COMPARISONS: [(&str, Comparison); 4] =
    [(">=", Comparison::AtLeast), ("<=", Comparison::AtMost), (">", Comparison::Above), ("<", Comparison::Below)];

impl Comparison {
    /// Whether `seen` compares so with `limit`.
    pub fn holds(self, seen: f64, limit: f64) -> bool {
        match self {
            Comparison::Above => seen > limit,
            Comparison::AtLeast => seen >= limit,
            Comparison::Below => seen < limit,
            Comparison::AtMost => seen <= limit,
        }
    }
}

/// One alarm's condition, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmRule {
    /// One of [`METRICS`].
    pub metric: &'static str,
    /// How it is compared.
    pub comparison: Comparison,
    /// The limit: percent, milliseconds, bytes, a count, or a number per second, as `unit` says.
    pub limit: f64,
    /// What `limit` is.
    pub unit: MetricUnit,
    /// How long the condition must hold; zero: at once.
    pub hold: Period,
}

impl FromStr for AlarmRule {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let bad = |mend: String| BadQuantity::new("an alarm", text, mend);
        let shape = || bad("write it as `http.errors > 5% for 5m`: metric, comparison, limit, and how long".to_owned());
        let at = text.find(['<', '>']).ok_or_else(shape)?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let (sign, comparison) = *COMPARISONS.iter().find(|(sign, _)| rest.starts_with(sign)).ok_or_else(shape)?;
        let words: Vec<&str> = rest[sign.len()..].split_whitespace().collect();
        let (limit, hold) = match words[..] {
            [limit] => (limit, Period::from(0)),
            [limit, "for", hold] => (limit, hold.parse()?),
            _ => return Err(shape()),
        };
        let found = METRICS.iter().find(|(metric, ..)| *metric == name);
        let (metric, units, _) = found.ok_or_else(|| {
            bad(match suggest(name, METRICS.iter().map(|(metric, ..)| *metric)) {
                Some(near) => format!("there is no metric of that name; did you mean `{near}`?"),
                None => format!(
                    "there is no metric of that name; known are {}",
                    METRICS.map(|(metric, ..)| metric).join(", ")
                ),
            })
        })?;
        let parsed = units.iter().find_map(|unit| Some((*unit, parse_limit(limit, *unit)?)));
        let (unit, limit) = parsed.ok_or_else(|| {
            let examples: Vec<&str> = units.iter().map(|unit| example(*unit)).collect();
            bad(format!("the limit of `{metric}` is written like {}", examples.join(" or ")))
        })?;
        Ok(Self { metric, comparison, limit, unit, hold })
    }
}

pub(crate) fn example(unit: MetricUnit) -> &'static str {
    match unit {
        MetricUnit::Percent => "`5%` (at most 100%)",
        MetricUnit::Duration => "`26h`",
        MetricUnit::Bytes => "`1Gi`",
        MetricUnit::Count => "`3`",
        MetricUnit::Rate => "`100/s`",
    }
}

fn number(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then(|| text.parse::<f64>().ok()).flatten().filter(|n| n.is_finite())
}

#[expect(clippy::cast_precision_loss, reason = "a limit needs no more than 53 bits")]
fn parse_limit(text: &str, unit: MetricUnit) -> Option<f64> {
    match unit {
        MetricUnit::Percent => number(text.strip_suffix('%')?).filter(|n| *n <= 100.0),
        MetricUnit::Duration => text.parse::<Period>().ok().map(|period| u64::from(period) as f64),
        // a size has a unit: a bare number would be taken for a count
        MetricUnit::Bytes if text.ends_with(|c: char| c.is_ascii_digit()) => None,
        MetricUnit::Bytes => text.parse::<ByteSize>().ok().map(|size| size.0 as f64),
        MetricUnit::Count => number(text),
        MetricUnit::Rate => number(text.strip_suffix("/s")?),
    }
}

impl fmt::Display for AlarmRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = COMPARISONS.iter().find(|(_, c)| *c == self.comparison).map_or(">", |(sign, _)| *sign);
        write!(f, "{} {sign} ", self.metric)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "limits of time and size are whole and not negative"
        )]
        let whole = self.limit as u64;
        match self.unit {
            MetricUnit::Percent => write!(f, "{}%", self.limit)?,
            MetricUnit::Duration => write!(f, "{}", Period::from(whole))?,
            MetricUnit::Bytes => {
                let text = ByteSize(whole).to_string();
                let bare = text.ends_with(|c: char| c.is_ascii_digit());
                write!(f, "{text}{}", if bare { "B" } else { "" })?;
            }
            MetricUnit::Count => write!(f, "{}", self.limit)?,
            MetricUnit::Rate => write!(f, "{}/s", self.limit)?,
        }
        if self.hold > Period::from(0) { write!(f, " for {}", self.hold) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn alarms_are_read_as_people_write_them() {
        for good in [
            "http.errors > 5% for 5m",
            "memory > 90% for 5m",
            "backup.age > 26h",
            "restarts >= 3 for 10m",
            "http.latency.p99>500ms",
            "bucket.size > 1T",
            "db.connections > 80%",
            "function.concurrency > 900",
            "cache.hits < 50% for 1h",
            "certificate.expires < 14d",
        ] {
            let rule: AlarmRule = good.parse().unwrap_or_else(|e| panic!("{good} was refused: {e}"));
            assert_eq!(rule.to_string().parse(), Ok(rule));
        }
        let cases = [
            ("", "write it as"),
            ("http.errors", "write it as"),
            ("http.erors > 5%", "did you mean `http.errors`"),
            ("http.errors > 500%", "at most 100%"),
            ("http.errors > 5% during 5m", "write it as"),
            ("backup.age > 5%", "`26h`"),
            ("cpu > nan%", "`5%`"),
            ("nonsense > 1", "known are"),
            ("restarts > -1", "`3`"),
        ];
        for (bad, mend) in cases {
            let refused = bad.parse::<AlarmRule>().expect_err(bad);
            assert!(refused.to_string().contains(mend), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn alarms_round_trip(which in 0..METRICS.len(), unit in 0..2usize, limit in 0..=100u32, hold in 0..1_000_000u64) {
            let (metric, units, _) = METRICS[which];
            let unit = units[unit % units.len()];
            let rule = AlarmRule { metric, comparison: Comparison::Above, limit: f64::from(limit), unit, hold: Period::from(hold) };
            prop_assert_eq!(rule.to_string().parse(), Ok(rule));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-z.]{0,12} ?[<>=]{0,2} ?[0-9.%a-zA-Z/]{0,8}( for [0-9a-z]{0,4})?") {
            let _ = text.parse::<AlarmRule>();
        }
    }
}
