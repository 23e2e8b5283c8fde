//! `slipway logs`: the application's output.

use agent::{LogQuery, protocol::LogLine};
use anstyle::{AnsiColor, Style};
use stack::Kind;

use crate::{
    context::{Place, Reach},
    exit::{Done, Exit, Failure},
    printer::{BAD, DIM, Printer, paint},
};

/// Print the application's output.
#[derive(Debug, clap::Args)]
pub(crate) struct Logs {
    /// Only of this service, job or function, or of a server, as in `database.main`
    name: Option<String>,
    /// How many lines of the past
    #[arg(long, short = 'n', default_value_t = 100, value_name = "COUNT")]
    lines: usize,
    /// Go on with new lines as they come
    #[arg(long, short = 'f', short_alias = 'F')]
    follow: bool,
}

/// Prints lines, oldest first.
pub(crate) async fn run(command: &Logs, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    reach.answers().await?;
    let query = LogQuery { service: command.name.clone(), lines: Some(command.lines), follow: command.follow };
    let mut unknown = command.name.as_deref().and_then(|name| unknown(&reach, name));
    if command.follow
        && let Some(unknown) = unknown
    {
        return Err(unknown);
    }
    let mut lines = reach.fleet.logs(&query).await?;
    for (host, why) in reach.fleet.absent().await {
        printer.say(format_args!("{} {host}: {why}", paint(BAD, "!")));
    }
    let many = !reach.fleet.is_here();
    while let Some(line) = lines.next().await {
        let (host, line) = line?;
        print(many.then_some(host.as_str()), &line, printer)?;
        // what an earlier release had is no mistake
        unknown = None;
    }
    unknown.map_or(Ok(Exit::Done), Err)
}

/// Why nothing of this name will ever come.
fn unknown(reach: &Reach, name: &str) -> Option<Failure> {
    let stack = &reach.resolved.stack;
    let names: Vec<&str> = stack
        .services
        .keys()
        .chain(stack.functions.keys())
        .chain(stack.jobs.keys())
        .map(stack::ResourceName::as_str)
        .collect();
    let servers = stack.databases.keys().map(|name| (Kind::Database, name));
    let servers = servers.chain(stack.caches.keys().map(|name| (Kind::Cache, name)));
    let mut servers = servers.chain(stack.queues.keys().map(|name| (Kind::Queue, name)));
    if names.contains(&name) || servers.any(|(kind, server)| name == format!("{kind}.{server}")) {
        return None;
    }
    let failure = Failure::usage(format!("no service, job or function `{name}` in {}", reach.resolved.name));
    Some(if names.is_empty() { failure } else { failure.hint(format!("there are: {}", names.join(", "))) })
}

/// One line: as JSON, or with its time and its source in a colour of its own; `host` is where it was written, when there
/// is more than this machine.
pub(crate) fn print(host: Option<&str>, line: &LogLine, printer: Printer) -> Result<(), Failure> {
    if printer.json {
        let mut document = serde_json::to_value(line).map_err(|error| Failure::new(error.to_string()))?;
        if let Some(host) = host {
            document["host"] = host.into();
        }
        printer.data(document);
        return Ok(());
    }
    let time = line.at.strftime("%H:%M:%S%.3f");
    let host = host.map(|host| paint(colour(host), format_args!("{host:<10} "))).unwrap_or_default();
    printer.data(format_args!(
        "{} {host}{} {}",
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
