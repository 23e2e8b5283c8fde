//! Calendar expressions of systemd as cron.

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// The schedule that an `OnCalendar` says, and its time zone when it names one; `None` when cron has no such schedule.
pub(crate) fn cron(text: &str) -> Option<(String, Option<String>)> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    // a zone is the last word: `UTC`, or a name with a slash that is no step of a field
    let zone =
        words.pop_if(|word| *word == "UTC" || word.starts_with(|c: char| c.is_ascii_uppercase()) && word.contains('/'));
    let zone = zone.map(str::to_owned);
    let alias = match words[..] {
        ["minutely"] => Some("* * * * *"),
        ["hourly"] => Some("@hourly"),
        ["daily"] => Some("@daily"),
        ["weekly"] => Some("0 0 * * 1"),
        ["monthly"] => Some("@monthly"),
        ["yearly" | "annually"] => Some("@yearly"),
        _ => None,
    };
    if let Some(alias) = alias {
        return Some((alias.to_owned(), zone));
    }
    let weekday = match words.first() {
        Some(word) if word.starts_with(|c: char| c.is_ascii_alphabetic()) => weekday(words.remove(0))?,
        _ => "*".to_owned(),
    };
    let (date, time) = match words[..] {
        [date, time] => (date, time),
        [time] if time.contains(':') => ("*-*-*", time),
        [date] => (date, "00:00"),
        _ => return None,
    };
    let date: Vec<&str> = date.split('-').collect();
    let (["*", month, day] | [month, day]) = date[..] else { return None };
    let time: Vec<&str> = time.split(':').collect();
    let ([hour, minute] | [hour, minute, "0" | "00"]) = time[..] else { return None };
    let line = [(minute, "0"), (hour, "0"), (day, "1"), (month, "1")]
        .into_iter()
        .map(|(field, first)| self::field(field, first))
        .collect::<Option<Vec<_>>>()?;
    Some((format!("{} {weekday}", line.join(" ")), zone))
}

/// One field: numbers, ranges and steps. A step from the first value on is a step of all.
fn field(text: &str, first: &str) -> Option<String> {
    let items = text.split(',').map(|item| {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let (from, to) = range.split_once("..").map_or((range, None), |(from, to)| (from, Some(to)));
        let from = number(from)?;
        let range = match to {
            Some(to) => format!("{from}-{}", number(to)?),
            None if step.is_some() && (from == first || from == "*") => "*".to_owned(),
            None if step.is_some() => return None,
            None => from,
        };
        Some(match step {
            Some(step) => format!("{range}/{}", number(step)?),
            None => range,
        })
    });
    Some(items.collect::<Option<Vec<_>>>()?.join(","))
}

fn number(text: &str) -> Option<String> {
    if text == "*" {
        return Some(text.to_owned());
    }
    text.parse::<u8>().ok().map(|number| number.to_string())
}

fn weekday(text: &str) -> Option<String> {
    let day = |text: &str| {
        let at = DAYS.iter().position(|day| text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(day)))?;
        Some(at.to_string())
    };
    let items = text.split(',').map(|item| match item.split_once("..") {
        // cron counts the last day of such a range as the seventh
        Some((from, to)) => {
            Some(format!("{}-{}", day(from)?, day(to).map(|at| if at == "0" { "7".to_owned() } else { at })?))
        }
        None => day(item),
    });
    Some(items.collect::<Option<Vec<_>>>()?.join(","))
}

#[cfg(test)]
mod tests {
    use super::cron;

    #[test]
    fn calendars_become_cron() {
        for (from, to) in [
            ("daily", "@daily"),
            ("*-*-* 02:30:00", "30 2 * * *"),
            ("Mon *-*-* 04:00", "0 4 * * 1"),
            ("*:0/15", "*/15 * * * *"),
            ("Sun 05:00", "0 5 * * 0"),
            ("Mon..Fri *-*-* 9..17:0:00", "0 9-17 * * 1-5"),
            ("Sat,Sun 10:00", "0 10 * * 6,0"),
            ("*-*-1,15 0:0:00", "0 0 1,15 * *"),
            ("*-1/3-1 00:00", "0 0 1 */3 *"),
        ] {
            assert_eq!(cron(from), Some((to.to_owned(), None)), "{from}");
        }
        let berlin = Some(("0 2 * * *".to_owned(), Some("Europe/Berlin".to_owned())));
        assert_eq!(cron("*-*-* 2:0:00 Europe/Berlin"), berlin);
        assert_eq!(cron("*-*-* 2:0:00 UTC"), Some(("0 2 * * *".to_owned(), Some("UTC".to_owned()))));
        for text in ["2026-01-01 00:00", "*-*-* 00:00:30", "someday", "*-*-* 3/2:00"] {
            assert_eq!(cron(text), None, "{text}");
        }
    }
}
