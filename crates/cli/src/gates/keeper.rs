//! The gates of one deploy, and what each of them found.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use engine::gates::{Checked, Passing, Told};
use secrets::redact::Redactor;
use stack::{
    Gate, Resolved, ResourceName, Revision,
    gate::{Check, Rule, When},
};

use super::{ask::ask, look::look, shell::Shell};
use crate::{
    addresses::{edge, urls},
    context::Reach,
    exit::Failure,
    printer::{BAD, DIM, GOOD, Printer, paint},
    progress::Progress,
};

/// How long what can be looked at may take until it is so.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Passes the gates of one deploy. Clones are of the same deploy.
#[derive(Clone)]
pub(crate) struct Gatekeeper<'a> {
    reach: &'a Reach,
    gates: Arc<Vec<Gate>>,
    /// A person has answered everything beforehand.
    yes: bool,
    progress: Progress,
    redactor: Arc<Redactor>,
}

/// What the gates are about.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// What is looked at: before a deploy what serves, after it the new release.
    pub(crate) on: Option<Revision>,
    /// The release that is deployed.
    pub(crate) release: String,
    /// Its version.
    pub(crate) version: String,
    /// How long visitors are watched before what they got is judged.
    pub(crate) watch: Duration,
}

/// All gates of an environment, those before a deploy first.
fn gates(resolved: &Resolved) -> Vec<Gate> {
    [When::Before, When::After].into_iter().flat_map(|when| resolved.stack.gates(when)).collect()
}

/// Fails when a gate asks what only a person can answer, and nobody is here to be asked.
pub(crate) fn need_a_person(resolved: &Resolved, yes: bool, printer: Printer) -> Result<(), Failure> {
    if yes || printer.interactive {
        return Ok(());
    }
    let questions: Vec<String> = gates(resolved)
        .iter()
        .flat_map(|gate| {
            let asks = gate.checks.iter().filter(|check| check.asks());
            asks.map(|check| format!("\n  {} (gate `{}`)", check.text, gate.name)).collect::<Vec<_>>()
        })
        .collect();
    if questions.is_empty() {
        return Ok(());
    }
    let message = format!(
        "a person must say of this deploy to {} that it is so, and nobody is here:{}",
        resolved.name,
        questions.concat()
    );
    Err(Failure::usage(message)
        .hint("add --yes to answer for all of it, which is recorded under your name, or deploy from a terminal"))
}

impl<'a> Gatekeeper<'a> {
    /// Of all gates of the environment.
    pub(crate) fn new(reach: &'a Reach, yes: bool, progress: &Progress, secrets: &[String]) -> Self {
        let redactor = Arc::new(Redactor::new(secrets.iter().cloned()));
        Self { reach, gates: Arc::new(gates(&reach.resolved)), yes, progress: progress.clone(), redactor }
    }

    /// The names of those that stand `when`.
    pub(crate) fn names(&self, when: When) -> Vec<ResourceName> {
        self.at(when).map(|gate| gate.name.clone()).collect()
    }

    fn at(&self, when: When) -> impl Iterator<Item = &Gate> {
        self.gates.iter().filter(move |gate| gate.when == when)
    }

    /// The work of passing the gates after a deploy.
    pub(crate) fn passing(self, subject: Subject) -> Passing<'a> {
        let told = Told::default();
        let tell = told.clone();
        Passing { work: Box::pin(async move { self.pass(When::After, &subject, &tell).await }), told }
    }

    /// Passes all that stand `when`, and tells of each check. Fails with everything that a gate found not to be so.
    pub(crate) async fn pass(&self, when: When, subject: &Subject, told: &Told) -> Result<(), String> {
        let began = Instant::now();
        for gate in self.at(when) {
            if let Some(command) = &gate.run {
                let check = format!("`{}` succeeds", self.redactor.redact(command));
                let found = async { self.command(gate, command, subject).await.map(|()| String::new()) };
                self.make(gate, &check, None, told, found)
                    .await
                    .map_err(|why| format!("gate `{}`: {why}", gate.name))?;
            }
            // of what visitors got, the longest is known when the watch ends; a person is not asked in vain
            let (judged, looked): (Vec<&Check>, Vec<&Check>) = gate
                .checks
                .iter()
                .filter(|check| !check.asks())
                .partition(|check| matches!(check.rule, Rule::Holds(_)));
            self.look(gate, &looked, subject, told).await?;
            for check in gate.checks.iter().filter(|check| check.asks()) {
                self.person(gate, check, told).await.map_err(|why| not_so(gate, [(check, why)]))?;
            }
            if !judged.is_empty() {
                tokio::time::sleep(subject.watch.saturating_sub(began.elapsed())).await;
                self.look(gate, &judged, subject, told).await?;
            }
        }
        Ok(())
    }

    /// Looks at each for a while, and fails with all that are not so.
    async fn look(&self, gate: &Gate, checks: &[&Check], subject: &Subject, told: &Told) -> Result<(), String> {
        let mut bad = Vec::new();
        for check in checks {
            let found = async {
                let until = Instant::now() + PATIENCE.min(gate.timeout.0);
                loop {
                    let found = look(self.reach, &check.rule, subject.on.as_ref()).await;
                    if found.is_ok() || Instant::now() + LOOK > until {
                        return found;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(LOOK) => {}
                        () = self.progress.stop_asked() => return Err("stopped, as was asked".to_owned()),
                    }
                }
            };
            if let Err(why) = self.make(gate, &check.text, None, told, found).await {
                bad.push((*check, why));
            }
        }
        if bad.is_empty() { Ok(()) } else { Err(not_so(gate, bad)) }
    }

    /// What only a person can know.
    async fn person(&self, gate: &Gate, check: &Check, told: &Told) -> Result<(), String> {
        let question = format!("{} {}", paint(DIM, format_args!("{}:", gate.name)), check.text);
        let found = async {
            if self.yes {
                return Ok("by --yes".to_owned());
            }
            ask(&question, gate.timeout.0, &self.progress).await.map(|()| String::new())
        };
        self.make(gate, &check.text, Some(release::who()), told, found).await
    }

    async fn command(&self, gate: &Gate, command: &str, subject: &Subject) -> Result<(), String> {
        let Subject { release, version, .. } = subject;
        let urls = urls(self.reach);
        let env = BTreeMap::from([
            ("SLIPWAY_APP", self.reach.app().to_string()),
            ("SLIPWAY_ENVIRONMENT", self.reach.resolved.name.to_string()),
            ("SLIPWAY_GATE", gate.name.to_string()),
            ("SLIPWAY_RELEASE", release.clone()),
            ("SLIPWAY_VERSION", version.clone()),
            ("SLIPWAY_URL", urls.first().cloned().unwrap_or_default()),
            ("SLIPWAY_URLS", urls.join(" ")),
            ("SLIPWAY_EDGE", edge(self.reach).unwrap_or_default()),
        ]);
        let shell = Shell {
            gate: gate.name.as_str(),
            command,
            folder: &self.reach.project.folder,
            env: &env,
            timeout: gate.timeout.0,
            redactor: &self.redactor,
            progress: &self.progress,
        };
        shell.run().await
    }

    /// Makes one check and tells of it.
    async fn make(
        &self,
        gate: &Gate,
        check: &str,
        by: Option<String>,
        told: &Told,
        found: impl Future<Output = Result<String, String>>,
    ) -> Result<(), String> {
        let began = Instant::now();
        let found = found.await;
        let (mark, detail) = match &found {
            Ok(seen) => (paint(GOOD, "✓"), seen.clone()),
            Err(why) => (paint(BAD, "✗"), why.clone()),
        };
        let first = detail.lines().next().unwrap_or_default();
        let separator = if first.is_empty() { "" } else { ", " };
        let note = match &by {
            Some(by) => format!("{by}{separator}{first}"),
            None => first.to_owned(),
        };
        self.progress.say(format_args!("    {mark} {}: {check}  {}", gate.name, paint(DIM, note)));
        told.tell(Checked {
            gate: gate.name.clone(),
            check: check.to_owned(),
            passed: found.is_ok(),
            by,
            detail,
            millis: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        found.map(drop)
    }
}

impl fmt::Debug for Gatekeeper<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gatekeeper").field("gates", &self.gates).finish_non_exhaustive()
    }
}

/// ``gate `smoke`: "/health answers" is not so: answered 503``.
fn not_so<'c>(gate: &Gate, bad: impl IntoIterator<Item = (&'c Check, String)>) -> String {
    let said: Vec<String> =
        bad.into_iter().map(|(check, why)| format!("\"{}\" is not so: {why}", check.text)).collect();
    format!("gate `{}`: {}", gate.name, said.join("; "))
}
