//! When something runs: cron expressions and their time zones, and the simple times of day beside them.

use std::{fmt, str::FromStr};

use croner::parser::{CronParser, Seconds, Year};

use crate::{BadQuantity, Schedule};

const ALIASES: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

impl Schedule {
    /// Checks and pairs a five-field cron expression (or an alias such as `@daily`) with an IANA time zone.
    pub fn new(cron: &str, time_zone: &str) -> Result<Self, BadQuantity> {
        check_cron(cron)?;
        check_time_zone(time_zone)?;
        let cron = cron.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Self { cron, time_zone: time_zone.to_owned() })
    }
}

/// Five fields or an alias, with at least one date that matches.
pub(crate) fn check_cron(cron: &str) -> Result<(), BadQuantity> {
    let bad = |mend: String| BadQuantity::new("a schedule", cron, mend);
    let fields = cron.split_whitespace().count();
    let alias = cron.trim().starts_with('@');
    if alias && !ALIASES.contains(&cron.trim()) {
        return Err(bad(format!("use one of {}", ALIASES.join(", "))));
    }
    if (!alias && fields != 5) || cron.len() > 200 || !cron.is_ascii() {
        return Err(bad("write five fields: minute hour day month weekday, for example `0 2 * * *`".to_owned()));
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser.parse(cron.trim()).map_err(|error| {
        let reason = error.to_string().to_lowercase();
        let ranges = "write minute (0-59), hour (0-23), day (1-31), month (1-12) and weekday (0-7)";
        bad(format!("{ranges}; {}", reason.trim_end_matches('.')))
    })?;
    Ok(())
}

/// An IANA name this machine knows; without a time zone database only its shape is checked.
pub(crate) fn check_time_zone(name: &str) -> Result<(), BadQuantity> {
    let shape = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b));
    let database = jiff::tz::db();
    if name == "UTC" || (shape && (database.is_definitively_empty() || database.get(name).is_ok())) {
        return Ok(());
    }
    Err(BadQuantity::new("a time zone", name, "write an IANA name such as `Europe/Berlin` or `UTC`"))
}

/// `0 2 * * *`, followed by the time zone when it is not UTC.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cron)?;
        if self.time_zone == "UTC" { Ok(()) } else { write!(f, " {}", self.time_zone) }
    }
}

impl FromStr for Schedule {
    type Err = BadQuantity;
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let fields = if text.trim_start().starts_with('@') { 1 } else { 5 };
        let zone = if words.len() == fields + 1 { words[fields] } else { "UTC" };
        let cron = if words.len() == fields + 1 { words[..fields].join(" ") } else { text.to_owned() };
        Self::new(&cron, zone)
    }
}

/// A time of day, `HH:MM` from 00:00 to 23:59.
pub(crate) fn check_time_of_day(text: &str) -> Result<(), BadQuantity> {
    let two = |part: &str, most: u8| {
        part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) && part.parse().is_ok_and(|n: u8| n <= most)
    };
    match text.split_once(':') {
        Some((hour, minute)) if two(hour, 23) && two(minute, 59) => Ok(()),
        _ => Err(BadQuantity::new("a time of day", text, "write it as `HH:MM`, from `00:00` to `23:59`")),
    }
}

/// How often something recurs: a word, or a weekday with a time as in `sun 04:00`.
pub(crate) fn check_recurrence(text: &str) -> Result<(), BadQuantity> {
    const WORDS: [&str; 5] = ["daily", "weekly", "monthly", "quarterly", "yearly"];
    const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    if WORDS.contains(&text) {
        return Ok(());
    }
    match text.split_once(' ') {
        Some((day, time)) if WEEKDAYS.contains(&day) => check_time_of_day(time),
        _ => {
            let mend =
                "write daily, weekly, monthly, quarterly or yearly, or a weekday with a time such as `sun 04:00`";
            Err(BadQuantity::new("a recurrence", text, mend))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn schedules_are_checked() {
        for good in ["0 2 * * *", "*/5 * * * *", "@daily", "0 9 * * MON-FRI", "0 2 * * * Europe/Berlin"] {
            assert!(good.parse::<Schedule>().is_ok(), "{good} was refused: {:?}", good.parse::<Schedule>());
        }
        for bad in
            ["", "daily", "@never", "61 * * * *", "* * * *", "* * * * * *", "0 2 * * * Mars/Olympus", "0 25 * * *"]
        {
            assert!(bad.parse::<Schedule>().is_err(), "{bad} was accepted");
        }
        assert!(check_time_of_day("03:00").is_ok() && check_time_of_day("23:59").is_ok());
        assert!(["24:00", "3:00", "03:60", "0300", "", "aa:bb", "+1:00"].iter().all(|t| check_time_of_day(t).is_err()));
        assert!(check_recurrence("weekly").is_ok() && check_recurrence("sun 04:00").is_ok());
        assert!(check_recurrence("sometimes").is_err() && check_recurrence("sun 4").is_err());
    }

    proptest! {
        #[test]
        fn schedules_round_trip(minute in 0..60u8, hour in 0..24u8, zone in prop_oneof!["UTC", "Europe/Berlin"]) {
            let schedule = Schedule::new(&format!("{minute} {hour} * * *"), &zone).expect("well formed");
            prop_assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}", cron in "[0-9*/,A-Z# -]{0,24}") {
            let _ = text.parse::<Schedule>();
            let _ = cron.parse::<Schedule>();
        }
    }
}
