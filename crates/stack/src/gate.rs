//! Gates: what must be so before a deploy changes anything, and of a release once all visitors are on it.
//!
//! A check is a sentence. Some sentences can be found out by looking; every other is for a person to answer.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{AlarmRule, BadQuantity, Comparison, Kind, MetricUnit, Period, ResourceName, Stack, suggest};

/// One gate that a deploy passes.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Its name.
    pub name: ResourceName,
    /// When it is passed.
    pub when: When,
    /// A shell command that must succeed, run beside the stack file.
    pub run: Option<String>,
    /// What must be so, in the order of the file.
    pub checks: Vec<Check>,
    /// How long the command may run, and a person may take to answer. Default 10 m.
    pub timeout: Period,
}

/// When a gate is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// The release is built, and nothing has changed.
    Before,
    /// All visitors are on the release, and the old one still runs.
    After,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if *self == When::Before { "before" } else { "after" })
    }
}

/// One thing that must be so.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// As the stack file says it.
    pub text: String,
    /// How it is found out.
    pub rule: Rule,
}

/// How a check is found out.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// `https://shop.example/health answers`, `/health answers within 2s`: with a status below 400.
    Answers {
        /// An address, or a path of the environment's own.
        url: String,
        /// A slower answer is none. Default 5 s.
        within: Period,
    },
    /// `instances are ready`, `pods are ready`: all that run.
    Ready,
    /// `databases answer`, `the database is up`: what the health report says of them.
    Databases,
    /// `migrations are applied`: all of the release's. Only after.
    Migrated,
    /// `http.errors < 5%`, as an alarm is written: `http.errors`, `http.latency` and `backup.age` can be looked at.
    Holds(AlarmRule),
    /// Anything else: a person answers.
    Person,
}

/// What conditions can be looked at during a deploy.
const LOOKED_AT: [&str; 4] = ["http.errors", "http.latency", "http.latency.p95", "backup.age"];

/// How long a gate may take when it does not say.
const TIMEOUT: u64 = 10 * 60 * 1000;

/// How long an address may take to answer when a check does not say.
const ANSWER: u64 = 5 * 1000;

impl Check {
    /// Whether only a person can answer it.
    pub fn asks(&self) -> bool {
        self.rule == Rule::Person
    }
}

impl FromStr for Check {
    type Err = BadQuantity;

    /// Fails for what looks like a condition or an address and is none that can be looked at.
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let lower = text.to_lowercase();
        let words: Vec<&str> = lower.split_whitespace().filter(|word| *word != "the" && *word != "all").collect();
        let rule = match words[..] {
            ["instances" | "pods", "are", "ready"] => Rule::Ready,
            ["database", "is", "up"]
            | ["databases", "are", "up"]
            | ["database", "answers"]
            | ["databases", "answer"] => Rule::Databases,
            ["migrations", "are", "applied"] => Rule::Migrated,
            ["backup" | "backups", "is" | "are", "younger", "than", age] => {
                Rule::Holds(format!("backup.age < {age}").parse()?)
            }
            [url, "answers", ..] if url.starts_with('/') || url.contains("://") => answers(text)?,
            _ if compares(text) => condition(text)?,
            _ => Rule::Person,
        };
        Ok(Self { text: text.to_owned(), rule })
    }
}

/// `https://shop.example/health answers within 2s`.
fn answers(text: &str) -> Result<Rule, BadQuantity> {
    let bad = |mend: &str| BadQuantity::new("a check of an address", text, mend.to_owned());
    let words: Vec<&str> = text.split_whitespace().collect();
    let (url, within) = match words[..] {
        ["the" | "The", url, _] | [url, _] => (url, Period::from(ANSWER)),
        [url, _, "within", time] => (url, time.parse()?),
        _ => return Err(bad("write it as `/health answers` or `https://shop.example/health answers within 2s`")),
    };
    let known = url.starts_with('/') || url.starts_with("http://") || url.starts_with("https://");
    if !known || url.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(bad("begin the address with `http://`, `https://`, or with `/` for the environment's own"));
    }
    Ok(Rule::Answers { url: url.to_owned(), within })
}

/// Whether it is one word, compared.
fn compares(text: &str) -> bool {
    let name = text.find(['<', '>']).map(|at| text[..at].trim());
    name.is_some_and(|name| !name.is_empty() && !name.contains(' '))
}

/// `http.errors < 5%`.
fn condition(text: &str) -> Result<Rule, BadQuantity> {
    let bad = |mend: String| BadQuantity::new("a check of a gate", text, mend);
    let name = text.split(['<', '>']).next().unwrap_or_default().trim();
    if !LOOKED_AT.contains(&name) {
        let known = || {
            let known = LOOKED_AT.map(|metric| format!("`{metric}`")).join(", ");
            format!("a deploy can look at {known}; let the gate's `run` find out anything else")
        };
        return Err(bad(suggest(name, LOOKED_AT).map_or_else(known, |near| format!("did you mean `{near}`?"))));
    }
    let rule: AlarmRule = text.parse().map_err(|wrong: BadQuantity| bad(wrong.mend))?;
    if rule.unit == MetricUnit::Rate {
        return Err(bad("write a share of all answers, as in `http.errors < 5%`".to_owned()));
    }
    if rule.hold > Period::from(0) {
        return Err(bad("leave `for` out: the rollout says how long a deploy is watched".to_owned()));
    }
    if !matches!(rule.comparison, Comparison::Below | Comparison::AtMost) {
        return Err(bad(
            "a gate says what is well, not what is wrong: turn it around, as in `http.errors < 5%`".to_owned()
        ));
    }
    Ok(Rule::Holds(rule))
}

impl Stack {
    /// The gates that stand `when`, by name. What only describes a deploy (`order`, or `when = "during"`) is none.
    pub fn gates(&self, when: When) -> Vec<Gate> {
        let gates = self.extras.iter().filter(|(reference, _)| reference.kind == Kind::Gate);
        let gates = gates.filter_map(|(reference, extra)| {
            let text = |key: &str| extra.settings.get(key).and_then(serde_json::Value::as_str);
            let checks = extra.settings.get("checks").and_then(serde_json::Value::as_array).into_iter().flatten();
            let gate = Gate {
                name: reference.name.clone(),
                when,
                run: text("run").map(str::to_owned),
                checks: checks.filter_map(|check| check.as_str()?.parse().ok()).collect(),
                timeout: text("timeout").and_then(|time| time.parse().ok()).unwrap_or(Period::from(TIMEOUT)),
            };
            (text("when") == Some(&when.to_string()) && (gate.run.is_some() || !gate.checks.is_empty())).then_some(gate)
        });
        gates.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse::<Check>().unwrap_or_else(|error| panic!("{text}: {error}")).rule
    }

    #[test]
    fn sentences_that_can_be_found_out() {
        // proves S3.13 S0.22 S4.14
        let answers = |url: &str, millis: u64| Rule::Answers { url: url.to_owned(), within: Period::from(millis) };
        assert_eq!(rule("https://jobsprint.io/health answers"), answers("https://jobsprint.io/health", 5000));
        assert_eq!(rule("/Health answers within 2s"), answers("/Health", 2000));
        for ready in ["pods are ready", "all instances are ready", "The instances are ready"] {
            assert_eq!(rule(ready), Rule::Ready);
        }
        assert_eq!(rule("the database is up"), Rule::Databases);
        assert_eq!(rule("all migrations are applied"), Rule::Migrated);
        assert!(matches!(rule("the backup is younger than 26h"), Rule::Holds(rule) if rule.metric == "backup.age"));
        assert!(matches!(rule("http.errors < 5%"), Rule::Holds(_)));
        for person in ["tests pass", "the plan was read", "sign-in with Google", "errors", "the database is backed up"]
        {
            assert_eq!(rule(person), Rule::Person);
        }
    }

    #[test]
    fn near_misses_are_not_left_to_a_person() {
        for (bad, mend) in [
            ("cpu < 80%", "let the gate's `run`"),
            ("http.erors < 5%", "did you mean `http.errors`"),
            ("pages < 5", "a deploy can look at `http.errors`"),
            ("http.errors>5%", "turn it around"),
            ("http.errors < 5% for 5m", "leave `for` out"),
            ("http.errors < 5/s", "a share of all answers"),
            ("ftp://x.example/ answers", "begin the address"),
            ("/health answers soon", "write it as"),
            ("/health answers within soon", "soon"),
            ("backups are younger than old", "`26h`"),
        ] {
            let refused = bad.parse::<Check>().expect_err(bad);
            assert!(refused.to_string().contains(mend), "{refused}");
        }
    }
}
