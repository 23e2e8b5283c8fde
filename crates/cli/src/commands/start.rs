//! `slipway start`: what was deployed runs again, without building anything: after a reboot, for example.

use std::time::Instant;

use engine::{plan::nothing_to_do, record::committed, target::Target};

use crate::{
    addresses::urls,
    commands::deploy::policy,
    context::Place,
    exit::{Done, Exit, Failure},
    printer::{GOOD, Printer, paint},
};

/// Run what was deployed again.
#[derive(Debug, clap::Args)]
pub(crate) struct Start {}

/// Starts the agent, which brings every environment of this machine to what it should be, and waits for this one.
pub(crate) async fn run(_: &Start, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    let name = &reach.resolved.name;
    reach.fleet.launch().await?;
    let journal = reach.fleet.journal().await?;
    let revision = committed(&journal).ok_or_else(|| {
        Failure::new(format!("{name} is on no release: it was never deployed, or it was stopped"))
            .hint("slipway deploy")
    })?;
    let (began, policy) = (Instant::now(), policy(&reach));
    loop {
        let observed = reach.fleet.observe().await?;
        if nothing_to_do(&journal, &observed, &revision) {
            printer.say(format_args!("{} {name} serves release {}", paint(GOOD, "ok"), revision.release));
            for url in urls(&reach) {
                printer.say(format_args!("   {url}"));
            }
            return Ok(Exit::Done);
        }
        if began.elapsed() > policy.start {
            return Err(Failure::new(format!("{name} was started, and not all of it is well"))
                .hint("slipway status tells what, slipway logs tells why"));
        }
        tokio::time::sleep(policy.poll).await;
    }
}
