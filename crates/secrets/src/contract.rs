//! The environment contract: what `[variable]` asks for, checked against the values there are (S4.6).

use std::{collections::BTreeMap, fmt};

use stack::{EnvironmentName, Problem, Problems, Variable, VariableForm};

use crate::form;

/// Longest part of a value that is shown.
const SHOWN: usize = 60;

/// Values that keep the contract.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// Every variable that has a value, defaults among them, by name.
    pub all: BTreeMap<String, String>,
    /// Names of those whose values are secret, in order.
    pub secrets: Vec<String>,
}

/// Shows names, and the values that are not secret.
impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.all.iter().map(|(name, value)| {
            (name, if self.secrets.contains(name) { "(hidden)".to_owned() } else { without_password(value) })
        });
        f.debug_map().entries(shown).finish()
    }
}

impl Values {
    /// The secret values themselves, for whoever redacts them from output.
    pub fn secret_values(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().filter_map(|name| self.all.get(name)).map(String::as_str)
    }
}

/// Checks `given` against `variables` and fills in defaults; every problem in one run (S4.P6).
///
/// An empty value is none, except where a text may be empty: a text that is optional or has a default keeps it.
/// Names in `given` that the contract does not know are left out: nothing reaches an application unasked. The values
/// of secrets appear in no message, and of others no password within a URL.
pub fn check(
    variables: &BTreeMap<String, Variable>,
    environment: &EnvironmentName,
    given: &BTreeMap<String, String>,
) -> Result<Values, Problems> {
    let (values, problems) = judge(variables, environment, given);
    if problems.has_errors() { Err(problems) } else { Ok(values) }
}

/// As [`check`], and hands out what is good even when something else is wrong.
pub(crate) fn judge(
    variables: &BTreeMap<String, Variable>,
    environment: &EnvironmentName,
    given: &BTreeMap<String, String>,
) -> (Values, Problems) {
    let mut problems = Problems::new();
    let mut values = Values::default();
    for (name, variable) in variables {
        let value = given.get(name).filter(|value| counts(variable, value));
        let Some(value) = value.or(variable.default.as_ref()) else {
            if !variable.optional {
                problems.push(missing(name, variable, environment, given.contains_key(name)));
            }
            continue;
        };
        let before = problems.len();
        check_value(name, variable, environment, value, &mut problems);
        if problems.len() == before {
            values.all.insert(name.clone(), value.clone());
            if variable.secret {
                values.secrets.push(name.clone());
            }
        }
    }
    (values, problems)
}

/// Whether a value is one: an empty one only where a text may be empty.
pub(crate) fn counts(variable: &Variable, value: &str) -> bool {
    let may_be_empty = variable.form == VariableForm::Text
        && !variable.secret
        && variable.min_length.unwrap_or(0) == 0
        && (variable.optional || variable.default.is_some());
    !value.is_empty() || may_be_empty
}

fn missing(name: &str, variable: &Variable, environment: &EnvironmentName, empty: bool) -> Problem {
    let state = if empty { "empty" } else { "missing" };
    let about = variable.about.as_deref().map(|about| format!(" ({about})")).unwrap_or_default();
    let mend = if variable.secret {
        // a command line can be read by every user of the machine
        let wanted = length_wanted(variable).map(|wanted| format!(" of {wanted}")).unwrap_or_default();
        format!("put a value{wanted} into `.env.{environment}`, or into the environment of this command")
    } else {
        format!("put it into `.env.{environment}`, or add `--set {name}=...`")
    };
    Problem::error(
        "missing-variable",
        name,
        format!("variable `{name}` is {state} in environment `{environment}`{about}"),
    )
    .with_mend(mend)
}

fn length_wanted(variable: &Variable) -> Option<String> {
    match (variable.min_length, variable.max_length) {
        (Some(min), Some(max)) => Some(format!("{min} to {max} characters")),
        (Some(min), None) => Some(format!("at least {min} characters")),
        (None, Some(max)) => Some(format!("at most {max} characters")),
        (None, None) => None,
    }
}

fn check_value(name: &str, variable: &Variable, environment: &EnvironmentName, value: &str, problems: &mut Problems) {
    let length = value.chars().count();
    let characters = if length == 1 { "1 character".to_owned() } else { format!("{length} characters") };
    let mut wrong_length = |code, bound: &str, limit: usize| {
        let message =
            format!("variable `{name}` is {characters} in environment `{environment}`, expected {bound} {limit}");
        let mend = match code {
            "variable-too-short" if variable.secret => {
                format!("`openssl rand -base64 {}` makes a value that is long enough", (limit * 3).div_ceil(4).max(32))
            }
            "variable-too-short" => format!("set a longer value for `{name}`"),
            _ => format!("set a shorter value for `{name}`"),
        };
        problems.push(Problem::error(code, name, message).with_mend(mend));
    };
    if let Some(min) = variable.min_length.filter(|min| length < *min) {
        wrong_length("variable-too-short", "at least", min);
    }
    if let Some(max) = variable.max_length.filter(|max| length > *max) {
        wrong_length("variable-too-long", "at most", max);
    }
    if value.contains('\0') {
        let message =
            format!("variable `{name}` has a zero byte in environment `{environment}`, which no process can be given");
        problems
            .push(Problem::error("variable-form", name, message).with_mend("encode the value, for example as base64"));
    }
    if !variable.form.accepts(value) {
        let expected = variable.form.expected();
        let message = if variable.secret {
            format!(
                "variable `{name}` does not have the right form in environment `{environment}`, expected {expected}"
            )
        } else {
            let shown = shown(value);
            format!("variable `{name}` is `{shown}` in environment `{environment}`, expected {expected}")
        };
        let mend = match form::suggestion(&variable.form, value).filter(|_| !variable.secret) {
            Some(suggestion) => format!("did you mean `{suggestion}`?"),
            None => format!("correct the value of `{name}`"),
        };
        problems.push(Problem::error("variable-form", name, message).with_mend(mend));
    }
}

/// A value that is not secret, for a message: one line, not too long, without a password.
fn shown(value: &str) -> String {
    let line: String = without_password(value).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if line.chars().count() <= SHOWN {
        return line;
    }
    line.chars().take(SHOWN - 3).chain("...".chars()).collect()
}

/// Replaces what stands between `://` and `@`: where a URL carries its password, also one that is not quite a URL.
fn without_password(value: &str) -> String {
    let mut result = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        result.push_str(before);
        // a password may itself hold any character, so that everything up to the last `@` of this URL counts
        let end = after.find([',', ' ', '\n']).unwrap_or(after.len());
        rest = match after[..end].rfind('@').or_else(|| after.rfind('@').filter(|_| !after.contains("://"))) {
            Some(at) => {
                result.push_str("***");
                &after[at..]
            }
            None => after,
        };
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> Variable {
        Variable {
            secret: false,
            form: VariableForm::Text,
            default: None,
            optional: false,
            min_length: None,
            max_length: None,
            rotate: None,
            about: None,
        }
    }

    fn map<V: Clone>(pairs: &[(&str, V)]) -> BTreeMap<String, V> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn production() -> EnvironmentName {
        EnvironmentName::new("production").unwrap()
    }

    #[test]
    fn a_short_secret_is_named_in_the_words_of_the_style() {
        let variables = map(&[("JWT_SECRET", Variable { secret: true, min_length: Some(64), ..text() })]);
        let problems = check(&variables, &production(), &given(&[("JWT_SECRET", "hunter2hunter")])).unwrap_err();
        let problem = problems.iter().next().unwrap();
        assert_eq!(
            problem.message,
            "variable `JWT_SECRET` is 13 characters in environment `production`, expected at least 64"
        );
        assert_eq!((problem.code, problem.key.as_str()), ("variable-too-short", "JWT_SECRET"));
        assert_eq!(problem.mend.as_deref(), Some("`openssl rand -base64 48` makes a value that is long enough"));
        assert!(!format!("{problems}{problems:?}").contains("hunter2"));
    }

    /// The 22 variables of the document (S4.6), none of them given.
    #[test]
    fn every_missing_variable_is_named_in_one_run() {
        // proves S4.P6
        let names = "NODE_ENV PORT APP_URL PG_HOST PG_PORT PG_DATABASE PG_USER PG_PASSWORD PG_SSL JWT_SECRET \
            JWT_EXPIRES_IN AWS_REGION AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY S3_BUCKET EMAIL_FROM SMTP_HOST SMTP_PORT \
            SMTP_USER SMTP_PASS CLOUDWATCH_LOG_GROUP CLOUDWATCH_LOG_STREAM";
        let about = Some("signs sessions".to_owned());
        let variables: BTreeMap<String, Variable> = names
            .split_whitespace()
            .map(|name| match name {
                "PORT" => (name, Variable { form: VariableForm::Port, default: Some("5000".into()), ..text() }),
                "SMTP_PORT" => (name, Variable { form: VariableForm::Port, default: Some("587".into()), ..text() }),
                "JWT_EXPIRES_IN" => {
                    (name, Variable { form: VariableForm::Duration, default: Some("7d".into()), ..text() })
                }
                "JWT_SECRET" => (name, Variable { secret: true, min_length: Some(64), about: about.clone(), ..text() }),
                _ => (name, text()),
            })
            .map(|(name, variable)| (name.to_owned(), variable))
            .collect();
        assert_eq!(variables.len(), 22);
        let problems = check(&variables, &production(), &BTreeMap::new()).unwrap_err();
        assert_eq!(problems.errors(), 19);
        let shown = problems.to_string();
        for name in names.split_whitespace() {
            let has_default = variables[name].default.is_some();
            assert_eq!(shown.contains(&format!("variable `{name}` is missing")), !has_default, "{name} in {shown}");
        }
        assert!(shown.contains("`JWT_SECRET` is missing in environment `production` (signs sessions)\n  put a value of at least 64 characters into `.env.production`"), "{shown}");
        assert!(shown.contains("add `--set S3_BUCKET=...`"), "{shown}");
    }

    #[test]
    fn different_problems_come_together() {
        let levels = VariableForm::OneOf(["debug", "info", "warn"].map(str::to_owned).to_vec());
        let variables = map(&[
            ("API_KEY", Variable { secret: true, form: VariableForm::Url, ..text() }),
            ("DB", Variable { form: VariableForm::Port, ..text() }),
            ("LOG_LEVEL", Variable { form: levels, default: Some("info".into()), ..text() }),
            ("NAME", Variable { max_length: Some(3), ..text() }),
            ("TOKEN", Variable { secret: true, ..text() }),
        ]);
        let values = given(&[
            ("API_KEY", "sk-very-secret"),
            ("DB", "postgres://me:p@ss@db/x"),
            ("LOG_LEVEL", "wran"),
            ("NAME", "long"),
            ("TOKEN", ""),
        ]);
        let problems = check(&variables, &production(), &values).unwrap_err();
        let lines: Vec<String> =
            problems.iter().map(|p| format!("{} / {}", p.message, p.mend.as_deref().unwrap())).collect();
        assert_eq!(
            lines,
            [
                "variable `API_KEY` does not have the right form in environment `production`, expected a URL such as `https://example.com` / correct the value of `API_KEY`",
                "variable `DB` is `postgres://***@db/x` in environment `production`, expected a port from 1 to 65535 / correct the value of `DB`",
                "variable `LOG_LEVEL` is `wran` in environment `production`, expected `debug`, `info` or `warn` / did you mean `warn`?",
                "variable `NAME` is 4 characters in environment `production`, expected at most 3 / set a shorter value for `NAME`",
                "variable `TOKEN` is empty in environment `production` / put a value into `.env.production`, or into the environment of this command",
            ]
        );
    }

    #[test]
    fn defaults_are_filled_in_and_strangers_left_out() {
        let variables = map(&[
            ("LEVEL", Variable { default: Some("info".into()), ..text() }),
            ("PREFIX", Variable { default: Some("a".into()), ..text() }),
            ("NOTE", Variable { optional: true, ..text() }),
            ("KEY", Variable { secret: true, ..text() }),
        ]);
        let values =
            check(&variables, &production(), &given(&[("KEY", "k-1"), ("PREFIX", ""), ("HOME", "/root")])).unwrap();
        assert_eq!(values.all, given(&[("KEY", "k-1"), ("LEVEL", "info"), ("PREFIX", "")]));
        assert_eq!(values.secrets, ["KEY"]);
        assert_eq!(values.secret_values().collect::<Vec<_>>(), ["k-1"]);
        assert_eq!(format!("{values:?}"), r#"{"KEY": "(hidden)", "LEVEL": "info", "PREFIX": ""}"#);
    }

    #[test]
    fn a_password_within_a_url_is_hidden() {
        for (value, shown) in [
            ("postgres://me:pw@db/x", "postgres://***@db/x"),
            ("postgres://me:p@w/@db/x", "postgres://***@db/x"),
            ("postgres://me:p,w@db/x", "postgres://***@db/x"),
            ("http://a:b@x,http://c:d@y", "http://***@x,http://***@y"),
            ("https://plain.example/a@b", "https://***@b"),
            ("no url", "no url"),
        ] {
            assert_eq!(without_password(value), shown, "{value}");
        }
    }

    proptest! {
        /// No form and no value brings a secret into a message or into what `Debug` shows.
        #[test]
        fn a_secret_is_never_shown(secret in "[a-z]{8,20}[0-9]{4,8}", min in 0usize..40, which in 0usize..10) {
            let form = [
                VariableForm::Text, VariableForm::Url, VariableForm::UrlList, VariableForm::Integer, VariableForm::Port,
                VariableForm::Boolean, VariableForm::Email, VariableForm::Duration, VariableForm::Host,
                VariableForm::OneOf(vec!["a".into()]),
            ][which].clone();
            let variables = map(&[("X", Variable { secret: true, form, min_length: Some(min), ..text() })]);
            let shown = match check(&variables, &production(), &given(&[("X", &secret)])) {
                Ok(values) => format!("{values:?}"),
                Err(problems) => format!("{problems}{problems:?}"),
            };
            prop_assert!(!shown.contains(&secret), "{}", shown);
        }

        /// A checked set of values passes again unchanged.
        #[test]
        fn checking_is_idempotent(value in "[a-z]{0,9}", optional: bool, has_default: bool) {
            let variable = Variable { optional, default: has_default.then(|| "d".to_owned()), ..text() };
            let variables = map(&[("X", variable)]);
            if let Ok(values) = check(&variables, &production(), &given(&[("X", &value)])) {
                prop_assert_eq!(check(&variables, &production(), &values.all).ok(), Some(values));
            }
        }
    }
}
