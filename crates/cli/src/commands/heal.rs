//! `slipway heal`: hosts that were away come level with the others.

use fleet::Healed;

use crate::{
    context::{Place, Reach},
    exit::{Done, Exit, Failure},
    printer::{BAD, DIM, GOOD, Printer, paint},
};

/// Bring every host level.
#[derive(Debug, clap::Args)]
pub(crate) struct Heal {}

/// Heals, and says what was done for each host; exit code 7 when one could not be brought level.
pub(crate) async fn run(_: &Heal, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    if reach.fleet.is_here() {
        reach.fleet.launch().await?;
        printer.say(format_args!("{} this machine is a fleet of its own: its agent keeps it level", paint(GOOD, "ok")));
        return Ok(Exit::Done);
    }
    reach.answers().await?;
    reach.fleet.acquaint().await?;
    let healed = reach.fleet.heal().await?;
    if printer.json {
        printer.document(&healed)?;
    } else {
        for host in &healed {
            show(host, printer);
        }
    }
    if healed.iter().all(|host| host.failed.is_none()) {
        return Ok(Exit::Done);
    }
    printer.hint("mend the hosts that are named and heal again; slipway host check tells more about one");
    Ok(Exit::Partial)
}

fn show(host: &Healed, printer: Printer) {
    match &host.failed {
        Some(reason) => printer.say(format_args!("{} {}: {reason}", paint(BAD, "✗"), host.host)),
        None if host.done.is_empty() => printer.say(format_args!("{} {}: level", paint(GOOD, "ok"), host.host)),
        None => printer.say(format_args!("{} {}: {}", paint(GOOD, "ok"), host.host, host.done.join("; "))),
    }
}

/// Hosts that lag are brought level before a deploy begins; says so only where something was done.
pub(crate) async fn before_a_deploy(reach: &Reach, printer: Printer) -> Result<(), Failure> {
    for host in reach.fleet.heal().await? {
        if let Some(reason) = &host.failed {
            // the deploy itself tells whether it can do without this host
            printer.say(paint(DIM, format_args!("    {} is not level: {reason}", host.host)));
        } else if !host.done.is_empty() {
            printer.say(format_args!("    brought {} level: {}", host.host, host.done.join("; ")));
        }
    }
    Ok(())
}
