//! `slipway check`: every problem of the stack file at once.

use crate::{
    context::Place,
    draw,
    exit::{Done, Exit},
    printer::{GOOD, Printer, paint},
};

/// Check the stack file.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Warnings count as problems
    #[arg(long)]
    strict: bool,
}

/// Prints the problems; exit code 2 when there is one.
pub(crate) fn run(command: &Check, place: &Place, printer: Printer) -> Done {
    let project = place.project()?;
    let problems = stack::check(&project.name, &project.text);
    let bad = problems.has_errors() || command.strict && !problems.is_empty();
    if printer.json {
        printer.document(&problems)?;
    } else if problems.is_empty() {
        let environments = stack::environments(&project.text).len();
        printer.say(format_args!(
            "{} {} is right{}",
            paint(GOOD, "ok"),
            project.name,
            if environments > 1 { format!(", in each of its {environments} environments") } else { String::new() }
        ));
    } else {
        draw::problems(&problems, printer);
    }
    Ok(if bad { Exit::Usage } else { Exit::Done })
}
