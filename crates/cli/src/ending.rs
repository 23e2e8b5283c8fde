//! How a deploy ended: what a person reads, the exit code, and the room that is made for the next one.

use std::time::Duration;

use engine::{
    deployment::Report,
    journal::{Outcome, Step},
    target::Target,
};
use release::Record;

use crate::{
    addresses::urls,
    context::Reach,
    exit::{Done, Exit},
    printer::{DIM, GOOD, Printer, ago, bytes, paint},
    row::deploy_row,
};

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
        let row = |number: u64| records.iter().find(|record| record.number == number).map(deploy_row);
        let rollback = report.rollback.as_ref().and_then(|(number, _)| row(*number));
        printer.document(&serde_json::json!({ "deploy": row(report.deploy), "rollback": rollback }))?;
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
        Outcome::Failed { step: Some(Step::Shift | Step::Bake), .. } => {
            printer.say(format_args!(
                "deploy #{} failed when visitors were on it already; nothing runs now",
                report.deploy
            ));
            Ok(Exit::RolledBack)
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

/// Old releases leave the hosts once a newer one serves. What could not be removed is for the next time.
pub(crate) async fn make_room(reach: &Reach, report: &Report, printer: Printer) {
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
