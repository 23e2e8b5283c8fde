//! `slipway deploy`: from the stack file to visitors, or nothing at all.

use std::{path::PathBuf, time::Duration};

use engine::{
    deployment::Report,
    gates::{Checked, Told},
    journal::{DeployKind, Step},
    plan::{nothing_to_do, plan},
    policy::Policy,
    record::committed,
    target::Target,
};
use release::{BuildError, BuildOptions, Built, Record};
use stack::{Gate, Period, ResourceName, Revision, gate::When};

use crate::{
    begin::{Deploying, begin},
    commands::{build::show, heal},
    context::{Place, Reach},
    draw,
    ending::{finish, make_room},
    exit::{Done, Exit, Failure},
    gates::{Gatekeeper, Subject, need_a_person},
    printer::{GOOD, Printer, STRONG, bytes, paint},
    progress::Progress,
    values::{Kept, keep, values},
};

/// Build, migrate, start, switch, watch.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Deploy {
    /// A release that was built before: its id, its number as `#12`, or its version
    #[arg(long, value_name = "RELEASE", conflicts_with = "rebuild")]
    release: Option<String>,
    /// Run every build command, also where nothing changed
    #[arg(long)]
    rebuild: bool,
    /// A variable's value, above all files; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// A further file of variables, above `.env` and `.env.<environment>`; may be repeated
    #[arg(long = "env-file", value_name = "PATH")]
    env_files: Vec<PathBuf>,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave this host out, as if the environment did not have it: for one that is gone; may be repeated
    #[arg(long, value_name = "HOST")]
    without: Vec<String>,
    /// Do not ask: approve, and answer what the gates ask of a person
    #[arg(long, short = 'y')]
    yes: bool,
    /// How long the lock lives without a sign of life from here
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = lease)]
    lease: Duration,
}

/// Parses the time of a lease: a second to an hour.
pub(crate) fn lease(text: &str) -> Result<Duration, String> {
    let period: Period = text.parse().map_err(|error| format!("{error}"))?;
    if (Duration::from_secs(1)..=Duration::from_hours(1)).contains(&period.0) {
        Ok(period.0)
    } else {
        Err("use 1s to 1h".to_owned())
    }
}

/// Deploys; exit code 4 when the release was unhealthy and the environment went back.
pub(crate) async fn run(command: &Deploy, place: &Place, printer: Printer) -> Done {
    let reach = place.reach_without(&command.without)?;
    check_target(&reach, printer)?;
    let values = values(&reach, &command.set, &command.env_files, printer)?;
    if !command.dry_run {
        need_a_person(&reach.resolved, command.yes, printer)?;
        if reach.resolved.environment.approve {
            printer.confirm(&format!("Deploy {} to {}?", reach.app(), reach.resolved.name), command.yes)?;
        }
    }
    reach.fleet.launch().await?;
    heal::before_a_deploy(&reach, printer).await?;
    let values = keep(&reach, values).await?;
    if command.dry_run {
        return dry_run(command, &reach, &values, printer).await;
    }
    if let Some(record) = already(command, &reach, &values).await? {
        return unchanged(&reach, &record, printer);
    }
    deploy(command, &reach, &values, &policy(&reach), Care::Gates, printer).await
}

/// A deploy of a development environment, without questions: nobody waits for the last visitor of the old release.
/// `None` when there was nothing to do.
pub(crate) async fn bring_up(reach: &Reach, printer: Printer) -> Result<Option<Exit>, Failure> {
    let command = Deploy { yes: true, lease: Duration::from_secs(10), ..Deploy::default() };
    check_target(reach, printer)?;
    let values = values(reach, &[], &[], printer)?;
    reach.fleet.launch().await?;
    let values = keep(reach, values).await?;
    if already(&command, reach, &values).await?.is_some() {
        return Ok(None);
    }
    let policy = Policy { drain: Duration::from_secs(2), ..policy(reach) };
    deploy(&command, reach, &values, &policy, Care::None, printer).await.map(Some)
}

/// What stands around a deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Nothing: somebody tries things out.
    None,
    /// The stack's gates, and the environment's approval.
    Gates,
}

/// From the lock to the last line.
async fn deploy(command: &Deploy, reach: &Reach, values: &Kept, policy: &Policy, care: Care, printer: Printer) -> Done {
    printer.say(format_args!("Deploying {} to {}", paint(STRONG, reach.app()), paint(STRONG, &reach.resolved.name)));
    let progress = Progress::new(printer);
    let _listening = progress.listen();
    let started = std::time::Instant::now();
    show_shipping(reach, &progress)?;
    let (report, built) = carry_out(command, reach, values, &progress, policy, care).await?;
    progress.end();
    make_room(reach, &report, printer).await;
    finish(reach, &report, built.as_ref(), started.elapsed(), printer).await
}

/// Shows how far a release is on its way to the hosts.
pub(crate) fn show_shipping(reach: &Reach, progress: &Progress) -> Result<(), Failure> {
    let (progress, scope) = (progress.clone(), reach.fleet.scope().environment.to_string());
    let tell = move |host: &str, sent: u64, all: u64| {
        progress.passing(&scope, &format!("{host}: {} of {}", bytes(sent), bytes(all)));
    };
    Ok(reach.fleet.on_shipping(std::sync::Arc::new(tell))?)
}

/// What the environment's target cannot honour: errors stop, warnings are said.
pub(crate) fn check_target(reach: &Reach, printer: Printer) -> Result<(), Failure> {
    let problems = fleet::honours(&reach.resolved);
    if problems.has_errors() {
        return Err(Failure::Problems(problems, Exit::Usage));
    }
    if !problems.is_empty() {
        draw::problems(&problems, printer);
    }
    Ok(())
}

/// How careful this environment's deploys are.
pub(crate) fn policy(reach: &Reach) -> Policy {
    let services = || reach.resolved.stack.services.values();
    let longest = |period: fn(&stack::Service) -> Duration| services().map(period).max();
    let mut policy = Policy::from(&reach.resolved.environment);
    policy.start = longest(|service| service.start.0).unwrap_or(policy.start) + Duration::from_secs(5);
    policy.drain = longest(|service| service.drain.0 + service.stop.0).unwrap_or(policy.drain) + Duration::from_secs(5);
    policy
}

/// The release this deploy would lead to, when the environment is on it already and well: then there is nothing to
/// lock, to build or to record. Only looked for where no build command would have to run.
async fn already(command: &Deploy, reach: &Reach, values: &Kept) -> Result<Option<Record>, Failure> {
    let record = match (&command.release, command.rebuild) {
        (_, true) => None,
        (Some(text), false) => Some(reach.store()?.find(reach.app(), text)?),
        (None, false) => release::peek(&reach.resolved, &reach.project.text, &reach.project.folder, &reach.store()?),
    };
    let Some(record) = record else { return Ok(None) };
    let wanted = Revision { release: record.release.clone(), values: values.id.clone() };
    let (journal, observed) = (reach.fleet.journal().await?, reach.fleet.observe().await?);
    Ok(nothing_to_do(&journal, &observed, &wanted).then_some(record))
}

fn unchanged(reach: &Reach, record: &Record, printer: Printer) -> Done {
    if printer.json {
        printer.document(&serde_json::json!({ "unchanged": true, "release": record }))?;
    } else {
        let name = &reach.resolved.name;
        printer.say(format_args!(
            "{} {name} is on release {} (#{}) already",
            paint(GOOD, "ok"),
            record.release.short(),
            record.number
        ));
    }
    Ok(Exit::Done)
}

/// The lock, the build, and everything after it.
async fn carry_out(
    command: &Deploy,
    reach: &Reach,
    values: &Kept,
    progress: &Progress,
    policy: &Policy,
    care: Care,
) -> Result<(Report, Option<Record>), Failure> {
    let mut watcher = progress.clone();
    let (_turn, mut deployment) = begin(&reach.fleet, DeployKind::Deploy, command.lease, policy, &mut watcher).await?;
    let record = match &command.release {
        Some(text) => match reach.store()?.find(reach.app(), text) {
            Ok(record) => record,
            Err(error) => {
                let report = deployment.fail(None, &error.to_string()).await?;
                return Ok((report, None));
            }
        },
        None => match build(command, reach, values, &mut deployment, progress).await? {
            Ok(built) => built.record,
            Err((step, error)) => {
                progress.end();
                if let BuildError::Problems(problems) = &error {
                    draw::problems(problems, progress.printer());
                }
                let report = deployment.fail(Some(step), &error.to_string()).await?;
                return Ok((report, None));
            }
        },
    };
    let revision = Revision { release: record.release.clone(), values: values.id.clone() };
    deployment.wanted(Some(revision.clone()), &record.version, record.number, record.commit.as_deref()).await?;
    if care == Care::None {
        return Ok((deployment.run(policy).await?, Some(record)));
    }
    let gates = Gatekeeper::new(reach, command.yes, progress, &values.secrets);
    if let Err(reason) = before(&gates, &mut deployment, reach, &record).await? {
        return Ok((deployment.fail(Some(Step::Gate), &reason).await?, None));
    }
    let policy = Policy { gates: gates.names(When::After), ..policy.clone() };
    let watch = policy.stages.last().map(|stage| stage.bake).unwrap_or_default();
    deployment.passing(gates.passing(Subject { on: Some(revision), watch, ..subject(&record) }));
    let report = deployment.run(&policy).await?;
    Ok((report, Some(record)))
}

/// What the gates are told of a release.
fn subject(record: &Record) -> Subject {
    let (release, version) = (record.release.to_string(), record.version.clone());
    Subject { on: None, release, version, watch: Duration::ZERO }
}

/// The approval that was given, and the gates that stand before anything changes, as a step of the deploy. The inner
/// error is why they are not passed.
async fn before(
    gates: &Gatekeeper<'_>,
    deployment: &mut Deploying<'_>,
    reach: &Reach,
    record: &Record,
) -> Result<Result<(), String>, Failure> {
    if reach.resolved.environment.approve {
        deployment.checked(approval()?).await?;
    }
    if gates.names(When::Before).is_empty() {
        return Ok(Ok(()));
    }
    let (told, subject) = (Told::default(), Subject { on: deployment.previous().cloned(), ..subject(record) });
    let passed = deployment.step(Step::Gate, gates.pass(When::Before, &subject, &told)).await?;
    for checked in told.take() {
        deployment.checked(checked).await?;
    }
    Ok(passed)
}

/// What the record says of the yes that an environment with `approve` asks for.
fn approval() -> Result<Checked, Failure> {
    let gate = ResourceName::new("approve").map_err(|error| Failure::new(error.to_string()))?;
    let (check, detail) = ("the environment's approval".to_owned(), String::new());
    Ok(Checked { gate, check, passed: true, by: Some(release::who()), detail, millis: 0 })
}

/// Builds, verifies and packs as steps of the deploy. Ctrl-C ends the build, and the deploy fails in an orderly way.
async fn build(
    command: &Deploy,
    reach: &Reach,
    values: &Kept,
    deployment: &mut Deploying<'_>,
    progress: &Progress,
) -> Result<Result<Built, (Step, BuildError)>, Failure> {
    let store = reach.store()?;
    let secrets = values.secrets.clone();
    let options = BuildOptions { rebuild: command.rebuild, secrets, ..BuildOptions::default() };
    let pressed = progress.when_asked_to_stop(options.stop.clone());
    let compile = {
        let (resolved, project, options, progress) = (
            reach.resolved.clone(),
            (reach.project.text.clone(), reach.project.folder.clone()),
            options.clone(),
            progress.clone(),
        );
        let store = store.clone();
        blocking(move || {
            release::compile(&resolved, &project.0, &project.1, &store, &options, &mut |event| show(&event, &progress))
        })
    };
    let compiled = match deployment.step(Step::Build, compile).await? {
        Ok(compiled) => compiled,
        Err(error) => return Ok(Err((Step::Build, error))),
    };
    let progress = progress.clone();
    let pack = blocking(move || {
        release::verify(&compiled)?;
        release::pack(compiled, &store, &options, &mut |event| show(&event, &progress))
    });
    let packed = deployment.step(Step::Verify, pack).await?;
    pressed.abort();
    Ok(packed.map_err(|error| (Step::Verify, error)))
}

/// Runs work that blocks beside the lease's renewals.
async fn blocking<V: Send + 'static>(
    work: impl FnOnce() -> Result<V, BuildError> + Send + 'static,
) -> Result<V, BuildError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(BuildError::Stopped))
}

/// What a deploy would do.
async fn dry_run(command: &Deploy, reach: &Reach, values: &Kept, printer: Printer) -> Done {
    let store = reach.store()?;
    let record = if let Some(text) = &command.release {
        store.find(reach.app(), text)?
    } else {
        let progress = Progress::new(printer);
        let secrets = values.secrets.clone();
        let options = BuildOptions { rebuild: command.rebuild, secrets, ..BuildOptions::default() };
        let built = release::build(
            &reach.resolved,
            &reach.project.text,
            &reach.project.folder,
            &store,
            &options,
            &mut |event| show(&event, &progress),
        );
        progress.end();
        built?.record
    };
    let revision = Revision { release: record.release.clone(), values: values.id.clone() };
    let (journal, observed) = (reach.fleet.journal().await?, reach.fleet.observe().await?);
    let gates = |when| reach.resolved.stack.gates(when);
    let names = gates(When::After).into_iter().map(|gate| gate.name).collect();
    let policy = Policy { gates: names, ..policy(reach) };
    let plan = plan(Some(&revision), committed(&journal).as_ref(), &observed, &[], &policy, DeployKind::Deploy);
    if printer.json {
        printer.document(&plan)?;
    } else {
        printer.data(&plan);
        if plan.steps.is_empty() {
            return Ok(Exit::Done);
        }
        for gate in [When::Before, When::After].into_iter().flat_map(gates) {
            show_gate(&gate, printer);
        }
        printer
            .hint("pending migrations are looked up when the release has been shipped; see `slipway migrate status`");
    }
    Ok(Exit::Done)
}

/// Who finds out what, for a gate.
fn show_gate(gate: &Gate, printer: Printer) {
    printer.data(format_args!("gate {}, {} the deploy", paint(STRONG, &gate.name), gate.when));
    if let Some(run) = &gate.run {
        printer.data(format_args!("  run   {run}"));
    }
    for check in &gate.checks {
        printer.data(format_args!("  {}  {}", if check.asks() { "ask " } else { "look" }, check.text));
    }
}
