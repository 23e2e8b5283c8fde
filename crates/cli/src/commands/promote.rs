//! `slipway promote`: a deploy that waits at a stage goes on.

use engine::{
    record::{Status, records},
    target::Target,
};

use crate::{
    context::Place,
    exit::{Done, Exit, Failure},
    printer::{GOOD, Printer, paint},
};

/// Release a deploy that waits at a stage.
#[derive(Debug, clap::Args)]
pub(crate) struct Promote {
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Promotes the present stage of the deploy that is going on.
pub(crate) async fn run(command: &Promote, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    reach.answers().await?;
    let deploys = records(&reach.fleet.journal().await?);
    let Some(running) = deploys.last().filter(|deploy| deploy.status == Status::Running) else {
        return Err(Failure::new(format!("no deploy of {} is going on, so none waits", reach.resolved.name))
            .hint("slipway status shows the last ones"));
    };
    let version = running.version.clone().unwrap_or_default();
    printer.confirm(&format!("Let deploy #{} ({version}) go on to its next stage?", running.number), command.yes)?;
    reach.fleet.promote(running.number).await?;
    printer.say(format_args!("{} deploy #{} goes on", paint(GOOD, "ok"), running.number));
    Ok(Exit::Done)
}
