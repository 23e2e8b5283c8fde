//! Which backups stay, as text: `30d 12w 12m`.

use std::{fmt, str::FromStr};

use crate::{BadQuantity, Retention};

impl FromStr for Retention {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let bad = |mend: &str| BadQuantity::new("a retention", text, mend);
        let mut counts = [None::<u32>; 3];
        for word in text.split_whitespace() {
            let slot = ["d", "w", "m"].iter().position(|unit| word.ends_with(unit));
            let slot = slot.ok_or_else(|| bad("write daily, weekly and monthly copies as `30d 12w 12m`"))?;
            let number = &word[..word.len() - 1];
            let count = number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok()).flatten();
            let count =
                count.filter(|n| *n <= 10_000).ok_or_else(|| bad("each number is a whole number up to 10000"))?;
            if counts[slot].replace(count).is_some() {
                return Err(bad("write each of d, w and m once"));
            }
        }
        let [days, weeks, months] = counts.map(Option::unwrap_or_default);
        if days + weeks + months == 0 {
            return Err(bad("it keeps nothing; write for example `30d 12w 12m`"));
        }
        Ok(Self { days, weeks, months })
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.days, "d"), (self.weeks, "w"), (self.months, "m")];
        let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
        f.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wrong_retentions_are_refused() {
        for bad in ["", "0d", "30", "30d 30d", "d", "-1d", "30y", "30d,12w"] {
            assert!(bad.parse::<Retention>().is_err(), "{bad} was accepted");
        }
    }

    proptest! {
        #[test]
        fn retentions_round_trip(days in 1..10_000u32, weeks in 0..10_000u32, months in 0..10_000u32) {
            let retention = Retention { days, weeks, months };
            prop_assert_eq!(retention.to_string().parse(), Ok(retention));
        }
    }
}
