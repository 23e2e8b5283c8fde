//! `slipway deploy`: from the stack file to visitors, or nothing at all.

use std::{path::PathBuf, time::Duration};

use engine::{
    deployment::Report,
    journal::{DeployKind, Outcome, Step},
    plan::{nothing_to_do, plan},
    policy::Policy,
    record::committed,
    target::Target,
};
use release::{BuildError, BuildOptions, Built, Record};
use stack::{Period, Revision, ValuesId};

use crate::{
    begin::{Deploying, begin},
    commands::{build::show, heal},
    context::{Place, Reach},
    draw,
    exit::{Done, Exit, Failure},
    printer::{DIM, GOOD, Printer, STRONG, ago, bytes, paint},
    progress::Progress,
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
    /// Do not ask, also where the environment wants a person's approval
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
    if reach.resolved.environment.approve && !command.dry_run {
        printer.confirm(&format!("Deploy {} to {}?", reach.app(), reach.resolved.name), command.yes)?;
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
    deploy(command, &reach, &values, &policy(&reach), printer).await
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
    deploy(&command, reach, &values, &policy, printer).await.map(Some)
}

/// From the lock to the last line.
async fn deploy(command: &Deploy, reach: &Reach, values: &Kept, policy: &Policy, printer: Printer) -> Done {
    printer.say(format_args!("Deploying {} to {}", paint(STRONG, reach.app()), paint(STRONG, &reach.resolved.name)));
    let progress = Progress::new(printer);
    let _listening = progress.listen();
    let started = std::time::Instant::now();
    show_shipping(reach, &progress)?;
    let (report, built) = carry_out(command, reach, values, &progress, policy).await?;
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

/// Old releases leave the hosts once a newer one serves. What could not be removed is for the next time.
async fn make_room(reach: &Reach, report: &Report, printer: Printer) {
    let sent = reach.fleet.sent();
    let travelled: u64 = sent.iter().map(|sent| sent.bytes).sum();
    if travelled > 0 {
        let hosts: std::collections::BTreeSet<&str> =
            sent.iter().filter(|sent| sent.bytes > 0).map(|sent| sent.host.as_str()).collect();
        printer.say(paint(DIM, format_args!("    sent {} to {} hosts", bytes(travelled), hosts.len())));
    }
    if report.outcome != Outcome::Succeeded {
        return;
    }
    for (host, removed) in reach.fleet.prune(fleet::KEPT_RELEASES).await {
        if let Err(error) = removed {
            printer.say(paint(DIM, format_args!("    old releases stay on {host} for now: {error}")));
        }
    }
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

/// The values of the contract's variables; every problem at once with exit code 3 (S4.P6).
pub(crate) fn values(
    reach: &Reach,
    set: &[String],
    files: &[PathBuf],
    printer: Printer,
) -> Result<secrets::Values, Failure> {
    let contract = |problems| Failure::Problems(problems, Exit::Contract);
    let set = secrets::sources::parse_set(set.iter().map(String::as_str))
        .map_err(|problems| Failure::Problems(problems, Exit::Usage))?;
    let sources = secrets::Sources { files: files.to_vec(), set, ..secrets::Sources::around(&reach.project.folder) };
    let found = secrets::gather(&reach.resolved, &sources).map_err(contract)?;
    if !found.warnings.is_empty() {
        draw::problems(&found.warnings, printer);
    }
    if !found.made_up.is_empty() {
        let names = found.made_up.join(", ");
        printer.say(format_args!("    made up {names} for {} and kept it below .slipway", reach.resolved.name));
    }
    Ok(found.values)
}

/// Values that the host keeps.
struct Kept {
    /// Their name.
    id: ValuesId,
    /// The secret ones themselves: no build may show them.
    secrets: Vec<String>,
}

/// Gives the values to the host.
async fn keep(reach: &Reach, values: secrets::Values) -> Result<Kept, Failure> {
    let secrets = values.secret_values().map(ToOwned::to_owned).collect();
    Ok(Kept { id: reach.fleet.put_values(values.all, values.secrets).await?, secrets })
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
    deployment.wanted(Some(revision), &record.version, record.number, record.commit.as_deref()).await?;
    let report = deployment.run(policy).await?;
    Ok((report, Some(record)))
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

/// What a person reads at the end, and the exit code.
pub(crate) async fn finish(
    reach: &Reach,
    report: &Report,
    record: Option<&Record>,
    took: Duration,
    printer: Printer,
) -> Done {
    if printer.json {
        let records = engine::record::records(&reach.fleet.journal().await?);
        let record = records.iter().find(|record| record.number == report.deploy);
        printer.document(
            &serde_json::json!({ "deploy": record, "rollback": report.rollback.as_ref().map(|(number, _)| number) }),
        )?;
    }
    // a moving line has wiped them away
    for note in report.notes.iter().filter(|_| printer.interactive) {
        printer.say(paint(DIM, format_args!("    {note}")));
    }
    match &report.outcome {
        Outcome::Succeeded => {
            if let Some(record) = record {
                printer.say(format_args!(
                    "{} {} serves release {} (#{}, {}) after {}",
                    paint(GOOD, "ok"),
                    reach.resolved.name,
                    record.release.short(),
                    record.number,
                    record.version,
                    ago(took.as_secs_f64()),
                ));
            }
            for url in urls(reach) {
                printer.say(format_args!("   {url}"));
            }
            Ok(if report.partial { Exit::Partial } else { Exit::Done })
        }
        Outcome::Failed { .. } => {
            printer.say(format_args!("deploy #{} failed; visitors saw nothing of it", report.deploy));
            Ok(Exit::Failed)
        }
        Outcome::RolledBack { .. } => {
            printer.say(format_args!("deploy #{} was rolled back; the release before serves again", report.deploy));
            Ok(Exit::RolledBack)
        }
    }
}

/// Where visitors come in.
pub(crate) fn urls(reach: &Reach) -> Vec<String> {
    let Some(listen) = reach.resolved.environment.listen.first() else { return Vec::new() };
    let port = if listen.port() == 80 { String::new() } else { format!(":{}", listen.port()) };
    let any = match listen.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        std::net::IpAddr::V4(ip) => ip.to_string(),
    };
    if !reach.fleet.is_here() {
        return hosts_urls(reach, &port);
    }
    let local = |host: &str| {
        if host == "localhost" || host.ends_with(".localhost") { host.to_owned() } else { format!("{host}.localhost") }
    };
    reach
        .resolved
        .stack
        .routes
        .iter()
        .filter(|route| !route.host.starts_with("*."))
        .map(|route| if route.host == "*" { any.clone() } else { local(&route.host) })
        .map(|host| format!("http://{host}{port}/"))
        .collect()
}

/// Where visitors of hosts come in: the names of the routes; any host's own name where a route takes every name.
fn hosts_urls(reach: &Reach, port: &str) -> Vec<String> {
    let hosts = || reach.resolved.environment.hosts.iter().map(|host| fleet::Place::Ssh(host.clone()).name());
    let bare = |host: String| host.rsplit_once(':').map_or(host.clone(), |(name, _)| name.to_owned());
    let mut urls = Vec::new();
    for route in reach.resolved.stack.routes.iter().filter(|route| !route.host.starts_with("*.")) {
        if route.host == "*" {
            urls.extend(hosts().map(|host| format!("http://{}{port}/", bare(host))));
        } else {
            urls.push(format!("http://{}{port}/", route.host));
        }
    }
    urls
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
    let plan = plan(Some(&revision), committed(&journal).as_ref(), &observed, &[], &policy(reach), DeployKind::Deploy);
    if printer.json {
        printer.document(&plan)?;
    } else {
        printer.data(&plan);
        printer
            .hint("pending migrations are looked up when the release has been shipped; see `slipway migrate status`");
    }
    Ok(Exit::Done)
}
