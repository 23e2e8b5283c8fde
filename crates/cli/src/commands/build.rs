//! `slipway build`: a release, and only that.

use release::{BuildEvent, BuildOptions};

use crate::{
    context::Place,
    exit::{Done, Exit},
    printer::{DIM, GOOD, Printer, bytes, paint},
    progress::Progress,
};

/// Build a release.
#[derive(Debug, clap::Args)]
pub(crate) struct Build {
    /// Run every build command, also where nothing changed
    #[arg(long)]
    rebuild: bool,
}

/// Builds, verifies and packs.
pub(crate) fn run(command: &Build, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    let store = reach.store()?;
    let options = BuildOptions { rebuild: command.rebuild, ..BuildOptions::default() };
    let progress = Progress::new(printer);
    let built =
        release::build(&reach.resolved, &reach.project.text, &reach.project.folder, &store, &options, &mut |event| {
            show(&event, &progress);
        });
    progress.end();
    let built = built?;
    if printer.json {
        printer.document(&built.record)?;
    } else {
        let news =
            if built.is_new { format!("{} new", bytes(built.record.new_bytes)) } else { "was built before".to_owned() };
        printer.say(format_args!(
            "{} release {} (#{}, {}), {}, {news}",
            paint(GOOD, "ok"),
            built.release.short(),
            built.record.number,
            built.record.version,
            bytes(built.record.bytes),
        ));
    }
    Ok(Exit::Done)
}

/// Tells a person what a build does.
pub(crate) fn show(event: &BuildEvent, progress: &Progress) {
    match event {
        BuildEvent::Waiting { holder } => progress.say(format_args!("    waiting for another build ({holder})")),
        BuildEvent::Unchanged { wanted } => progress.say(paint(DIM, format_args!("    {wanted}: nothing changed"))),
        BuildEvent::Started { wanted, command, folder } => {
            progress.say(format_args!("    {wanted}: {command} {}", paint(DIM, format_args!("in {folder}"))));
        }
        BuildEvent::Output { wanted, line, .. } => progress.output(wanted, line),
        BuildEvent::Finished { .. } | BuildEvent::Packing { .. } => {}
    }
}
