//! Rate limits as text: `100/s per ip`.

use std::{fmt, str::FromStr};

use crate::{BadQuantity, Limit, LimitKey, Period};

const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];

impl FromStr for Limit {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let bad = |mend: &str| BadQuantity::new("a rate limit", text, mend);
        let (rate, per) = match text.split_whitespace().collect::<Vec<_>>()[..] {
            [rate] | [rate, "per", "ip"] => (rate, LimitKey::Ip),
            [rate, "per", "all"] => (rate, LimitKey::All),
            _ => return Err(bad("write it as `100/s per ip` or `1000/m per all`")),
        };
        let (requests, period) = rate.split_once('/').ok_or_else(|| bad("write it as `100/s per ip`"))?;
        let requests = requests.bytes().all(|b| b.is_ascii_digit()).then(|| requests.parse::<u32>().ok()).flatten();
        let requests =
            requests.filter(|n| *n > 0).ok_or_else(|| bad("the number of requests is a whole number from 1"))?;
        let unit = period.strip_suffix("in").filter(|unit| *unit == "m").unwrap_or(period);
        let period = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, seconds)) => Period::from_secs(*seconds),
            None => period.parse()?,
        };
        if period == Period::from(0) {
            return Err(bad("the time after `/` must be longer than nothing"));
        }
        Ok(Self { requests, period, per })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.requests)?;
        match UNITS.iter().find(|(_, seconds)| Period::from_secs(*seconds) == self.period) {
            Some((unit, _)) => f.write_str(unit)?,
            None => write!(f, "{}", self.period)?,
        }
        f.write_str(match self.per {
            LimitKey::Ip => " per ip",
            LimitKey::All => " per all",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_read_as_people_write_them() {
        let limit: Limit = "100/s per ip".parse().expect("well formed");
        assert_eq!((limit.requests, limit.period, limit.per), (100, Period::from_secs(1), LimitKey::Ip));
        assert_eq!("10000/min per all".parse::<Limit>().map(|l| l.period), Ok(Period::from_secs(60)));
        for bad in ["", "100", "0/s", "100/0s", "-1/s", "100/s per user", "1e3/s", "100 / s"] {
            assert!(bad.parse::<Limit>().is_err(), "{bad} was accepted");
        }
    }

    proptest! {
        #[test]
        fn limits_round_trip(requests in 1..u32::MAX, millis in 1..100_000_000u64, ip: bool) {
            let per = if ip { LimitKey::Ip } else { LimitKey::All };
            let limit = Limit { requests, period: Period::from(millis), per };
            prop_assert_eq!(limit.to_string().parse(), Ok(limit));
        }
    }
}
