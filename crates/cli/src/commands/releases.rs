//! `slipway releases`: what was built, and which of it runs where.

use comfy_table::{Table, presets};
use release::Record;
use stack::ReleaseId;

use crate::{
    context::Place,
    exit::{Done, Exit},
    printer::{GOOD, Printer, WARN, bytes, paint},
};

/// List the releases.
#[derive(Debug, clap::Args)]
pub(crate) struct Releases {
    #[command(subcommand)]
    action: Option<Action>,
    /// How many, newest first
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT")]
    lines: usize,
}

/// What to do with them.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Remove old releases; what runs, and what a rollback would go to, stays
    Prune {
        /// How many of the newest stay
        #[arg(long, default_value_t = 10, value_name = "COUNT")]
        keep: usize,
        /// Do not ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
}

/// Prints or prunes.
pub(crate) async fn run(command: &Releases, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    let store = reach.store()?;
    match &command.action {
        None => {
            // no agent, nothing runs
            let running = if reach.fleet.answers().await { reach.fleet.pinned().await? } else { Vec::new() };
            list(command.lines, &running, &store.records(reach.app())?, printer)
        }
        Some(Action::Prune { keep, yes }) => {
            reach.fleet.launch().await?;
            let pinned = reach.fleet.pinned().await?;
            let count = store.records(reach.app())?.len();
            if count <= *keep {
                printer.say(format_args!("{} nothing to remove: there are {count} releases", paint(GOOD, "ok")));
                return Ok(Exit::Done);
            }
            printer
                .confirm(&format!("Remove all but the newest {keep} of {count} releases of {}?", reach.app()), *yes)?;
            let pruned = store.prune(reach.app(), *keep, &pinned)?;
            for (host, removed) in reach.fleet.prune(*keep).await {
                match removed {
                    Ok(removed) => printer.say(format_args!(
                        "{} {host}: removed {} releases, {} freed",
                        paint(GOOD, "ok"),
                        removed.releases.len(),
                        bytes(removed.bytes)
                    )),
                    Err(error) => printer.say(format_args!("{} {host}: {error}", paint(WARN, "!"))),
                }
            }
            printer.say(format_args!(
                "{} removed {} releases, {} freed",
                paint(GOOD, "ok"),
                pruned.releases.len(),
                bytes(pruned.bytes)
            ));
            Ok(Exit::Done)
        }
    }
}

fn list(lines: usize, running: &[ReleaseId], records: &[Record], printer: Printer) -> Done {
    if printer.json {
        printer.document(&records)?;
        return Ok(Exit::Done);
    }
    if records.is_empty() {
        printer.say("no releases yet");
        printer.hint("slipway build, or slipway deploy");
        return Ok(Exit::Done);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "release", "version", "commit", "built", "by", "size", "new"]);
    for record in records.iter().take(lines) {
        let mark = if running.contains(&record.release) { "●" } else { " " };
        table.add_row([
            format!("{mark} #{}", record.number),
            record.release.short().to_owned(),
            record.version.clone(),
            record.commit.as_deref().map_or("", |commit| &commit[..commit.len().min(12)]).to_owned(),
            record.built_at.strftime("%Y-%m-%d %H:%M").to_string(),
            record.built_by.clone(),
            bytes(record.bytes),
            bytes(record.new_bytes),
        ]);
    }
    printer.data(table);
    Ok(Exit::Done)
}
