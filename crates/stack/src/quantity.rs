//! Quantities with their units: durations, byte sizes, CPU shares and ranges.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// A number of bytes. Written with a binary (`512Mi`) or decimal (`500M`) suffix, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// A share of CPU time in thousandths of one core. Written `250m` or `0.25` or `1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millicpu(pub u32);

/// From `min` to `max`, both included. Written `min..max`, or one value for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span<T> {
    /// Smallest (what is asked for).
    pub min: T,
    /// Largest (where it is capped).
    pub max: T,
}

/// A length of time. Written as a number with `ms`, `s`, `m`, `h`, `d`, `w` or `y`, for example `90s` or `1h30m`.
///
/// Serialised as milliseconds. A day is 24 hours, a year 365 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Period(pub Duration);

impl From<u64> for Period {
    fn from(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl From<Period> for u64 {
    fn from(period: Period) -> u64 {
        u64::try_from(period.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Period {
    /// `seconds` seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("Ti", 1u64 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        write!(f, "{}", self.0)
    }
}
