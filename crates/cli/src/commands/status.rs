//! `slipway status`: what runs, which release, how it is, what was deployed last.

use agent::protocol::Run;
use comfy_table::{Table, presets};
use engine::{
    desired::{InstanceState, Observed},
    journal::{Entry, Event, Step},
    record::{DeployRecord, Status as Standing, committed, records},
    target::{Target, TargetError},
};
use fleet::Member;
use serde_json::{Value, json};

use crate::{
    addresses::urls,
    context::{Place, Reach},
    exit::{Done, Exit},
    printer::{BAD, DIM, GOOD, Printer, STRONG, WARN, ago, bytes, paint},
    row::deploy_row,
};

/// Show what runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// How many of the last deploys
    #[arg(long, short = 'n', default_value_t = 5, value_name = "COUNT")]
    deploys: usize,
}

/// Prints the state; exit code 5 when what runs is not what was deployed.
pub(crate) async fn run(command: &Status, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    reach.answers().await?;
    let fleet = &reach.fleet;
    let (members, journal, observed, runs, health) =
        tokio::join!(fleet.members(), fleet.journal(), fleet.observe(), fleet.runs(), fleet.health());
    let (members, journal, observed, runs) = (members?, journal?, observed?, runs?);
    // an environment on no release has no health
    let health = match health {
        Ok((_, report)) => report,
        Err(TargetError::Failed { .. }) => Value::Null,
        Err(error) => return Err(error.into()),
    };
    let mut deploys = records(&journal);
    deploys.reverse();
    let current = committed(&journal);
    let release =
        current.as_ref().and_then(|revision| reach.store().ok()?.find(reach.app(), revision.release.as_str()).ok());
    let drift = drift(&observed, deploys.first());
    let stage = deploys.first().and_then(|deploy| stage(&journal, &observed, deploy));
    if printer.json {
        let lock = deploys.first().filter(|deploy| deploy.status == Standing::Running).map(|deploy| &deploy.by);
        printer.document(&json!({
            "app": reach.app(),
            "environment": reach.resolved.name,
            "revision": current,
            "release": release,
            "hosts": members,
            "lost": observed.lost,
            "stage": stage,
            "traffic": observed.serving,
            "urls": urls(&reach),
            "instances": observed.instances,
            "services": observed.services,
            "troubles": observed.troubles,
            "health": health,
            "lock": lock,
            "drift": drift,
            "deploys": deploys.iter().take(command.deploys).map(deploy_row).collect::<Vec<_>>(),
            "runs": runs,
        }))?;
        return Ok(if drift.is_some() { Exit::Drift } else { Exit::Done });
    }
    header(&reach, release.as_ref(), &health, printer);
    if !reach.fleet.is_here() {
        hosts(&members, &observed, printer);
    }
    if let Some(stage) = &stage {
        at_stage(stage, printer);
    }
    instances(&observed, reach.fleet.is_here(), printer);
    services(&observed, printer);
    for trouble in &observed.troubles {
        printer.data(format_args!("{} {trouble}", paint(BAD, "!")));
    }
    last_deploys(&deploys, command.deploys, printer);
    last_runs(&runs, printer);
    if let Some(drift) = &drift {
        printer.say(format_args!("{} {drift}", paint(WARN, "drift:")));
        let failed = observed.instances.iter().any(|one| matches!(one.state, InstanceState::Failed { .. }));
        printer.hint(if failed {
            "slipway logs shows what it wrote last; slipway rollback goes back to the release before"
        } else {
            "slipway deploy repairs it"
        });
        return Ok(Exit::Drift);
    }
    Ok(Exit::Done)
}

/// Why what runs is not what was deployed; `None` when it is, or while a deploy runs.
fn drift(observed: &Observed, last: Option<&DeployRecord>) -> Option<String> {
    let running = last.is_some_and(|deploy| deploy.status == Standing::Running);
    if running {
        return None;
    }
    if let Some(instance) =
        observed.instances.iter().find(|instance| matches!(instance.state, InstanceState::Failed { .. }))
    {
        return Some(format!("instance {} does not stay up", instance.id));
    }
    let stray = observed.serving.keys().find(|revision| !observed.desired.traffic.contains_key(*revision))?;
    Some(format!("visitors are sent to release {}, which is not wanted", stray.release))
}

fn header(reach: &Reach, release: Option<&release::Record>, health: &Value, printer: Printer) {
    let on = release.map_or_else(
        || "no release".to_owned(),
        |record| format!("release {} (#{}, {})", record.release.short(), record.number, record.version),
    );
    let verdict = health["status"].as_str().unwrap_or("at rest");
    let style = match verdict {
        "healthy" => GOOD,
        "degraded" | "at rest" => WARN,
        _ => BAD,
    };
    printer.data(format_args!(
        "{} in {}: {on}, {}",
        paint(STRONG, reach.app()),
        paint(STRONG, &reach.resolved.name),
        paint(style, verdict)
    ));
    for url in urls(reach) {
        printer.data(format_args!("  {url}"));
    }
}

/// The hosts in order.
fn hosts(members: &[Member], observed: &Observed, printer: Printer) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["host", "agent", "state", "instances", "load"]);
    for member in members {
        let lost = observed.lost.iter().find(|lost| lost.host == member.name);
        let count = observed.instances.iter().filter(|instance| instance.host == member.name).count();
        let state = match (&member.why, lost) {
            (Some(why), _) => paint(BAD, format_args!("lost: {}", why.lines().next().unwrap_or_default())),
            (None, Some(lost)) => paint(BAD, format_args!("lost: {}", lost.why)),
            (None, None) if member.drained => paint(WARN, "drained"),
            (None, None) => paint(GOOD, "alive"),
        };
        table.add_row([
            member.name.clone(),
            member.version.clone().unwrap_or_default(),
            state,
            count.to_string(),
            member.load.map_or_else(String::new, |load| format!("{load:.2}")),
        ]);
    }
    printer.data(table);
}

/// Where the deploy that is going on stands: the share of visitors it moved, and whether a person let it go on.
fn stage(journal: &[Entry], observed: &Observed, deploy: &DeployRecord) -> Option<Value> {
    if deploy.status != Standing::Running {
        return None;
    }
    let own = journal.iter().rev().take_while(|entry| entry.deploy == deploy.number);
    let percent = own.into_iter().find_map(|entry| match entry.event {
        Event::Shifting { percent } => Some(percent),
        _ => None,
    })?;
    let baking = deploy.steps.last().is_some_and(|step| step.step == Step::Bake && step.millis.is_none());
    Some(json!({
        "deploy": deploy.number,
        "percent": percent,
        "baking": baking,
        "promoted": observed.promoted == Some(deploy.number),
    }))
}

fn at_stage(stage: &Value, printer: Printer) {
    let waits = match (stage["promoted"].as_bool(), stage["baking"].as_bool()) {
        (Some(true), _) => ", promoted",
        (_, Some(true)) => ", watched; slipway promote lets one that waits go on",
        _ => "",
    };
    printer.data(format_args!("deploy #{} is at {} % of the visitors{waits}", stage["deploy"], stage["percent"]));
}

fn instances(observed: &Observed, is_here: bool, printer: Printer) {
    if observed.instances.is_empty() {
        printer.data("  nothing runs");
        return;
    }
    let now = jiff::Timestamp::now();
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["instance", "release", "visitors", "state", "up", "memory", "restarts"]);
    if !is_here {
        table.set_header(["instance", "release", "visitors", "state", "up", "memory", "restarts", "host"]);
    }
    for instance in &observed.instances {
        let share = observed.serving.get(&instance.revision).map_or_else(String::new, |share| format!("{share} %"));
        let up = instance.started_at.map_or_else(String::new, |at| ago(now.duration_since(at).as_secs_f64()));
        let mut row = vec![
            instance.id.clone(),
            instance.revision.release.to_string(),
            share,
            state(&instance.state),
            up,
            instance.memory.map_or_else(String::new, bytes),
            instance.restarts.to_string(),
        ];
        if !is_here {
            row.push(instance.host.clone());
        }
        table.add_row(row);
    }
    printer.data(table);
}

/// The servers the hosts run for the application.
fn services(observed: &Observed, printer: Printer) {
    if observed.services.is_empty() {
        return;
    }
    let now = jiff::Timestamp::now();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["service", "engine", "state", "up", "memory", "restarts"]);
    for service in &observed.services {
        let up = service.started_at.map_or_else(String::new, |at| ago(now.duration_since(at).as_secs_f64()));
        table.add_row([
            service.name.to_string(),
            service.engine.clone(),
            state(&service.state),
            up,
            service.memory.map_or_else(String::new, bytes),
            service.restarts.to_string(),
        ]);
    }
    printer.data(table);
}

fn state(state: &InstanceState) -> String {
    match state {
        InstanceState::Starting => "starting".to_owned(),
        InstanceState::Ready => "ready".to_owned(),
        InstanceState::Unready { why } => format!("unready: {why}"),
        InstanceState::Waiting { why } => format!("waits for its next start: {why}"),
        InstanceState::Failed { why } => {
            let why = why.lines().next().unwrap_or_default();
            format!("failed: {}", why.strip_suffix("; its last output:").unwrap_or(why))
        }
        InstanceState::Draining => "finishes its visitors".to_owned(),
        InstanceState::Stopping => "stops".to_owned(),
    }
}

fn last_deploys(deploys: &[DeployRecord], count: usize, printer: Printer) {
    if deploys.is_empty() || count == 0 {
        return;
    }
    printer.data(paint(STRONG, "last deploys"));
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for deploy in deploys.iter().take(count) {
        let row = deploy_row(deploy);
        let took =
            deploy.ended_at.map_or_else(String::new, |end| ago(end.duration_since(deploy.started_at).as_secs_f64()));
        let release = deploy.revision.as_ref().map_or_else(String::new, |revision| revision.release.to_string());
        table.add_row([
            format!("#{}", deploy.number),
            deploy.kind.to_string(),
            row["status"].as_str().unwrap_or_default().to_owned(),
            release,
            deploy.version.clone().unwrap_or_default(),
            deploy.started_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            took,
            deploy.by.clone(),
        ]);
    }
    printer.data(table);
    if let Some(reason) = deploy_row(&deploys[0])["reason"].as_str() {
        printer.data(paint(DIM, format_args!("  {reason}")));
    }
    last_checks(&deploys[0], printer);
}

/// What the gates of a deploy found, and who answered.
fn last_checks(deploy: &DeployRecord, printer: Printer) {
    if !deploy.checks.is_empty() {
        printer.data(paint(STRONG, format_args!("gates of #{}", deploy.number)));
    }
    for checked in &deploy.checks {
        let mark = if checked.passed { paint(GOOD, "✓") } else { paint(BAD, "✗") };
        let who = checked.by.as_ref().map_or_else(String::new, |by| format!("  {by}"));
        printer.data(format_args!("  {mark} {}: {}{}", checked.gate, checked.check, paint(DIM, who)));
    }
}

fn last_runs(runs: &[Run], printer: Printer) {
    if runs.is_empty() {
        return;
    }
    printer.data(paint(STRONG, "last runs"));
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for run in runs.iter().take(5) {
        let end = match run.code {
            None => "runs".to_owned(),
            Some(0) => "done".to_owned(),
            Some(124) => "exit code 124: past its time limit".to_owned(),
            Some(code) => format!("exit code {code}"),
        };
        let took =
            run.millis.map_or_else(String::new, |millis| ago(std::time::Duration::from_millis(millis).as_secs_f64()));
        table.add_row([run.name.clone(), end, run.started_at.strftime("%Y-%m-%d %H:%M:%S").to_string(), took]);
    }
    printer.data(table);
}
