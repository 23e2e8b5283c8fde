//! `slipway logs`: the application's output.

use agent::{LogQuery, protocol::LogLine};
use anstyle::{AnsiColor, Style};

use crate::{
    context::Place,
    exit::{Done, Exit},
    printer::{DIM, Printer, paint},
};

/// Print the application's output.
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// Only of this service, job or function
    name: Option<String>,
    /// How many lines of the past
    #[arg(long, short = 'n', default_value_t = 100, value_name = "COUNT")]
    lines: usize,
    /// Go on with new lines as they come
    #[arg(long, short = 'F')]
    follow: bool,
}

/// Prints lines, oldest first.
pub(crate) async fn run(command: &Logs, place: &Place, printer: &Printer) -> Done {
    let reach = place.reach()?;
    reach.answers().await?;
    let query = LogQuery { service: command.name.clone(), lines: Some(command.lines), follow: command.follow };
    let mut lines = reach.fleet.client().logs(reach.fleet.scope(), &query).await?;
    while let Some(line) = lines.next().await {
        print(&line?, printer)?;
    }
    Ok(Exit::Done)
}

/// One line: as JSON, or with its time and its source in a colour of its own.
pub(crate) fn print(line: &LogLine, printer: &Printer) -> Result<(), crate::exit::Failure> {
    if printer.json {
        let text = serde_json::to_string(line).map_err(|error| crate::exit::Failure::new(error.to_string()))?;
        printer.data(text);
        return Ok(());
    }
    let time = line.at.strftime("%H:%M:%S%.3f");
    printer.data(format_args!(
        "{} {} {}",
        paint(DIM, time),
        paint(colour(&line.source), format_args!("{:<14}", line.source)),
        line.line
    ));
    Ok(())
}

/// The same source always has the same colour.
fn colour(source: &str) -> Style {
    const COLOURS: [AnsiColor; 6] = [
        AnsiColor::Cyan,
        AnsiColor::Magenta,
        AnsiColor::Blue,
        AnsiColor::Green,
        AnsiColor::Yellow,
        AnsiColor::BrightBlack,
    ];
    let sum = source.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    COLOURS[sum % COLOURS.len()].on_default()
}
