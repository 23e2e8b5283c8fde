//! `slipway health`: the health report of an environment.

use crate::{
    context::Place,
    exit::{Done, Exit},
    printer::Printer,
};

/// Print the health report.
#[derive(Debug, clap::Args)]
pub(crate) struct Health {}

/// Prints the report as JSON (S4.4); exit code 1 when the environment is unhealthy.
pub(crate) async fn run(_: &Health, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    reach.answers().await?;
    let (well, report) = reach.fleet.health().await?;
    printer.document(&report)?;
    if !well && !printer.json {
        printer.hint("slipway status tells which instance it is, and why");
    }
    Ok(if well { Exit::Done } else { Exit::Failed })
}
