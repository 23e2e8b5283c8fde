//! `slipway stop`: an environment comes to rest; its data and releases stay.

use std::time::{Duration, Instant};

use agent::protocol::Scope;
use engine::{
    journal::{DeployKind, Outcome},
    policy::Policy,
    record::committed,
    target::Target,
};
use fleet::Fleet;

use crate::{
    begin::begin,
    commands::deploy::lease,
    context::{Place, Reach},
    exit::{Done, Exit, Failure},
    printer::{GOOD, Printer, paint},
    progress::Progress,
};

/// How long databases, caches and queues may take to write down what they hold: a little more than the host gives them.
const SERVICES: Duration = Duration::from_secs(90);

/// Stop an environment.
#[derive(Debug, clap::Args)]
pub(crate) struct Stop {
    /// Stop every environment of this machine's agent, and the agent and the edge as well
    #[arg(long)]
    everything: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// How long the lock lives without a sign of life from here
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = lease)]
    lease: Duration,
}

/// Stops, under the lock like every deploy.
pub(crate) async fn run(command: &Stop, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    if !reach.fleet.answers().await {
        printer.say("nothing runs here");
        return Ok(Exit::Done);
    }
    if command.everything && !reach.fleet.is_here() {
        return Err(
            Failure::usage("--everything is for this machine").hint("slipway host remove takes Slipway off a host")
        );
    }
    if command.everything {
        printer.confirm("Stop every environment on this machine, and its agent?", command.yes)?;
        return stop_everything(command, &reach, printer).await;
    }
    let what = format!("{} of {}", reach.resolved.name, reach.app());
    printer.confirm(&format!("Stop {what}? Visitors will find nobody."), command.yes)?;
    stop_one(&reach.fleet, command.lease, printer).await?;
    printer.say(format_args!("{} {what} is stopped; slipway deploy starts it again", paint(GOOD, "ok")));
    Ok(Exit::Done)
}

async fn stop_everything(command: &Stop, reach: &Reach, printer: Printer) -> Done {
    let mut exit = Exit::Done;
    for scope in reach.fleet.scopes().await? {
        let fleet = reach.fleet.of(scope.clone());
        // one environment that cannot be stopped must not keep the others
        if let Err(failure) = stop_one(&fleet, command.lease, printer).await {
            crate::draw::failure(&failure, printer);
            exit = Exit::Failed;
            continue;
        }
        let Scope { app, environment } = scope;
        printer.say(format_args!("{} {environment} of {app} is stopped", paint(GOOD, "ok")));
    }
    if exit == Exit::Done {
        reach.fleet.shut_down().await?;
    } else {
        printer.hint("what still runs is looked after; mend what is said above and stop again");
    }
    Ok(exit)
}

/// Waits until the servers that kept the application's data have ended: they go after the last instance.
async fn at_rest(fleet: &Fleet) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let Some(service) = fleet.observe().await?.services.into_iter().next() else { return Ok(()) };
        if began.elapsed() > SERVICES {
            return Err(Failure::new(format!("{} does not end", service.name))
                .hint(format!("slipway logs {} tells what it does", service.name)));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Brings one environment to rest, unless it is already.
pub(crate) async fn stop_one(fleet: &Fleet, ttl: Duration, printer: Printer) -> Result<(), Failure> {
    let (journal, observed) = (fleet.journal().await?, fleet.observe().await?);
    if committed(&journal).is_none() && observed.desired.running.is_empty() && observed.instances.is_empty() {
        return Ok(());
    }
    let progress = Progress::new(printer);
    let mut watcher = progress.clone();
    let (_turn, mut deployment) = begin(fleet, DeployKind::Stop, ttl, &Policy::default(), &mut watcher).await?;
    deployment.wanted(None, "", 0, None).await?;
    let report = deployment.run(&Policy::default()).await?;
    progress.end();
    match report.outcome {
        Outcome::Succeeded => at_rest(fleet).await,
        Outcome::Failed { reason, .. } | Outcome::RolledBack { reason } => Err(Failure::new(reason)),
    }
}
