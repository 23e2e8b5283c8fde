//! Quantities with their units: durations, byte sizes, CPU shares and ranges.

use std::{fmt, str::FromStr, time::Duration};

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

/// Why a quantity was refused; the message says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not {what}: {mend}")]
pub struct BadQuantity {
    /// What was expected, as in "a duration".
    pub what: &'static str,
    /// The text that was refused.
    pub value: String,
    /// What to write instead.
    pub mend: String,
}

impl BadQuantity {
    pub(crate) fn new(what: &'static str, value: &str, mend: impl Into<String>) -> Self {
        Self { what, value: value.to_owned(), mend: mend.into() }
    }

    /// The stable code of the problem this makes.
    pub(crate) fn code(&self) -> &'static str {
        match self.what {
            "a duration" => "bad-duration",
            "a size" => "bad-size",
            "a CPU share" => "bad-cpu",
            "a range" => "bad-range",
            "a number of replicas" => "bad-replicas",
            "a rollout" => "bad-rollout",
            "a rate limit" => "bad-limit",
            "a retention" => "bad-retention",
            "a schedule" => "bad-schedule",
            "a time zone" => "bad-time-zone",
            "a time of day" => "bad-time",
            "a recurrence" => "bad-recurrence",
            "an alarm" => "bad-alarm",
            "a check of a gate" | "a check of an address" => "bad-check",
            _ => "bad-value",
        }
    }
}

/// Splits digits (with at most one decimal point) from the unit that follows.
fn number_and_unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()))
}

/// `whole.part` times `scale`, exactly; `None` when it is no number, not a whole result, or too large.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || (number.contains('.') && !digits(part)) || part.len() > 9 {
        return None;
    }
    let tenths = 10u128.pow(u32::try_from(part.len()).ok()?);
    let part: u128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let total = whole.parse::<u64>().ok()?;
    let total = (u128::from(total).checked_mul(tenths)? + part).checked_mul(u128::from(scale))?;
    if total % tenths != 0 {
        return None;
    }
    u64::try_from(total / tenths).ok()
}

impl FromStr for ByteSize {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        const MEND: &str = "write a number with Ki, Mi, Gi, Ti (1024) or k, M, G, T (1000), for example `512Mi`";
        let (number, unit) = number_and_unit(text);
        let scale = match unit.strip_suffix('B').unwrap_or(unit) {
            "" => 1,
            "k" | "K" => 1000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            _ => return Err(BadQuantity::new("a size", text, MEND)),
        };
        scaled(number, scale).map(ByteSize).ok_or_else(|| BadQuantity::new("a size", text, MEND))
    }
}

impl FromStr for Millicpu {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let bad = || {
            BadQuantity::new(
                "a CPU share",
                text,
                "write thousandths such as `250m`, or cores such as `0.5`, at most 4096",
            )
        };
        let thousandths = match text.strip_suffix('m') {
            Some(number) if !number.contains('.') => scaled(number, 1),
            Some(_) => None,
            None => scaled(text, 1000),
        };
        thousandths.and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= 4_096_000).map(Millicpu).ok_or_else(bad)
    }
}

impl fmt::Display for Millicpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

/// Units of a [`Period`] in milliseconds, longest first.
const PERIOD_UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Longest period that can be written: a thousand years. Adding a handful of them never overflows.
const LONGEST_PERIOD: u64 = 1000 * 365 * 86_400_000;

impl FromStr for Period {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        const MEND: &str = "write a number with ms, s, m, h, d, w or y, for example `90s` or `1h30m`";
        let bad = || BadQuantity::new("a duration", text, MEND);
        let (mut rest, mut total, mut smaller_than) = (text, 0u64, u64::MAX);
        loop {
            let (number, tail) = number_and_unit(rest);
            let unit = &tail[..tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len())];
            let scale = PERIOD_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale).ok_or_else(bad)?;
            if scale >= smaller_than {
                return Err(BadQuantity::new(
                    "a duration",
                    text,
                    "write each unit once, longest first, for example `1h30m`",
                ));
            }
            total = scaled(number, scale).and_then(|part| total.checked_add(part)).ok_or_else(bad)?;
            (rest, smaller_than) = (&tail[unit.len()..], scale);
            if rest.is_empty() {
                break;
            }
        }
        if total > LONGEST_PERIOD {
            return Err(BadQuantity::new("a duration", text, "write at most a thousand years"));
        }
        Ok(Self::from(total))
    }
}

/// The longest unit that divides it exactly, from days up; below that hours, minutes, seconds and milliseconds.
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::from(*self);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, scale) in &PERIOD_UNITS[..3] {
            if rest.is_multiple_of(*scale) {
                return write!(f, "{}{unit}", rest / scale);
            }
        }
        for (unit, scale) in &PERIOD_UNITS[3..] {
            if rest >= *scale {
                write!(f, "{}{unit}", rest / scale)?;
                rest %= scale;
            }
        }
        Ok(())
    }
}

impl<T: FromStr<Err = BadQuantity> + PartialOrd> FromStr for Span<T> {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let (min, max) = text.split_once("..").unwrap_or((text, text));
        let (min, max) = (min.trim().parse::<T>()?, max.trim().parse::<T>()?);
        if min > max {
            let mend = "the first value is larger than the second; write the smaller one first";
            return Err(BadQuantity::new("a range", text, mend));
        }
        Ok(Self { min, max })
    }
}

impl<T> Span<T> {
    /// `value` for both ends.
    pub fn exactly(value: T) -> Self
    where
        T: Copy,
    {
        Self { min: value, max: value }
    }
}

impl<T: fmt::Display + PartialEq> fmt::Display for Span<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{}..{}", self.min, self.max) }
    }
}

/// A number of replicas, only to parse a [`Span`] of them.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Count(u32);

impl FromStr for Count {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let count = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        count.filter(|n| *n <= 10_000).map(Count).ok_or_else(|| {
            BadQuantity::new("a number of replicas", text, "write a whole number up to 10000, or `2..10`")
        })
    }
}

impl Span<u32> {
    /// Parses a number of replicas: `3` or `2..10`.
    pub fn parse_replicas(text: &str) -> Result<Self, BadQuantity> {
        let span = text.parse::<Span<Count>>()?;
        Ok(Self { min: span.min.0, max: span.max.0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn periods_are_read_as_people_write_them() {
        let millis = |text: &str| text.parse::<Period>().map(u64::from).map_err(|e| e.to_string());
        assert_eq!(millis("250ms"), Ok(250));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("2w"), Ok(1_209_600_000));
        assert_eq!(millis("1.5s"), Ok(1500));
        for bad in
            ["", "10", "s", "1m1h", "1m1m", "-1s", "1x", "1.s", "99999999999999999999y", "2000y", "1 s", "0.0001ms"]
        {
            assert!(millis(bad).is_err(), "{bad} was accepted");
        }
        assert_eq!(Period::from(5_400_000).to_string(), "1h30m");
        assert_eq!("400d".parse::<Period>().map(|p| p.to_string()), Ok("400d".to_owned()));
    }

    #[test]
    fn sizes_and_shares_are_read_as_people_write_them() {
        assert_eq!("512Mi".parse(), Ok(ByteSize(512 << 20)));
        assert_eq!("1.5GiB".parse(), Ok(ByteSize(3 << 29)));
        assert_eq!("500M".parse(), Ok(ByteSize(500_000_000)));
        assert_eq!("1024".parse(), Ok(ByteSize(1024)));
        for bad in ["", "Mi", "1m", "1.1", "512mb", "99999999999Ti", "-1", "1e3"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad} was accepted");
        }
        assert_eq!("250m".parse(), Ok(Millicpu(250)));
        assert_eq!("0.5".parse(), Ok(Millicpu(500)));
        assert_eq!("2".parse(), Ok(Millicpu(2000)));
        for bad in ["", "m", "0.0001", "1.5m", "-1", "5000", "nan", "inf"] {
            assert!(bad.parse::<Millicpu>().is_err(), "{bad} was accepted");
        }
        assert_eq!("250m..1".parse(), Ok(Span { min: Millicpu(250), max: Millicpu(1000) }));
        assert!("2..1".parse::<Span<Millicpu>>().is_err());
        assert_eq!(Span::parse_replicas("2..10"), Ok(Span { min: 2, max: 10 }));
        assert!(Span::parse_replicas("10..2").is_err());
    }

    proptest! {
        #[test]
        fn periods_round_trip(millis in 0..=LONGEST_PERIOD) {
            let period = Period::from(millis);
            prop_assert_eq!(period.to_string().parse(), Ok(period));
        }

        #[test]
        fn sizes_round_trip(bytes: u64) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }

        #[test]
        fn ranges_of_shares_round_trip(a in 0..=4_096_000u32, b in 0..=4_096_000u32) {
            let span = Span { min: Millicpu(a.min(b)), max: Millicpu(a.max(b)) };
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,24}", number in "[0-9.]{0,30}[a-zA-Z]{0,3}") {
            for text in [text, number] {
                let _ = text.parse::<Period>();
                let _ = text.parse::<ByteSize>();
                let _ = text.parse::<Millicpu>();
                let _ = text.parse::<Span<Millicpu>>();
            }
        }
    }
}
