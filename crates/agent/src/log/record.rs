//! One record: `2026-11-25T16:12:13.123456Z out the line`.

use std::{fmt::Write, time::SystemTime};

use crate::protocol::LogLine;

/// Which of a program's outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Stream::Out => "out",
            Stream::Err => "err",
        }
    }
}

/// Writes times. The date changes once a second, so only then is it worked out.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: u64,
    text: String,
}

impl Clock {
    /// Appends the time as RFC 3339 with microseconds.
    pub(super) fn write(&mut self, now: SystemTime, to: &mut Vec<u8>) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if self.text.is_empty() || self.second != since.as_secs() {
            self.second = since.as_secs();
            self.text.clear();
            let second = i64::try_from(self.second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
            let text = second.unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S").to_string();
            let _infallible = self.text.write_str(&text);
        }
        to.extend_from_slice(self.text.as_bytes());
        let mut digits = *b".000000Z";
        let mut micros = since.subsec_micros();
        for digit in digits[1..7].iter_mut().rev() {
            *digit += u8::try_from(micros % 10).unwrap_or(0);
            micros /= 10;
        }
        to.extend_from_slice(&digits);
    }
}

/// Reads a record without its line end; `None` when it is torn or no record at all.
pub(super) fn parse(record: &[u8], source: &str, instance: &str) -> Option<LogLine> {
    let text = String::from_utf8_lossy(record);
    let (at, rest) = text.split_once(' ')?;
    let (stream, line) = rest.split_once(' ')?;
    if !matches!(stream, "out" | "err") {
        return None;
    }
    Some(LogLine {
        at: at.parse().ok()?,
        source: source.to_owned(),
        instance: instance.to_owned(),
        stream: stream.to_owned(),
        line: line.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_written_as_it_is_read() {
        let mut clock = Clock::default();
        for micros in [0, 1, 999_999, 1_000_000, 1_764_087_133_123_456, 1_764_087_133_000_007] {
            let mut record = Vec::new();
            clock.write(SystemTime::UNIX_EPOCH + Duration::from_micros(micros), &mut record);
            record.extend_from_slice(b" err  two  spaces ");
            let line = parse(&record, "service.api", "api-1").unwrap();
            assert_eq!(line.at, jiff::Timestamp::from_microsecond(i64::try_from(micros).unwrap()).unwrap());
            assert_eq!((line.stream.as_str(), line.line.as_str()), ("err", " two  spaces "));
        }
    }

    #[test]
    fn what_is_no_record_is_none() {
        for torn in ["", "2026-11-25T16:12:13.123456Z", "2026-11-25T16:12:13.123456Z ou", "hello out there"] {
            assert_eq!(parse(torn.as_bytes(), "s", "i"), None, "{torn}");
        }
    }
}
