//! `slipway runs`: what jobs and functions did.

use agent::protocol::{Call, DeadLetter, Reply, Run};
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::{
    context::{Place, Reach},
    exit::{Done, Exit, Failure},
    printer::{BAD, DIM, GOOD, Printer, WARN, ago, paint},
};

/// List the runs of jobs and functions, newest first.
#[derive(Debug, clap::Args)]
pub(crate) struct Runs {
    /// Only of this job or function
    name: Option<String>,
    /// How many
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT")]
    lines: usize,
    /// Only those that failed
    #[arg(long)]
    failed: bool,
    /// Instead: the events that functions failed to take
    #[arg(long)]
    dead: bool,
}

/// Prints them.
pub(crate) async fn run(command: &Runs, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    reach.answers().await?;
    if command.dead {
        return print_dead(command, &reach, printer).await;
    }
    let mut runs = Vec::new();
    for client in reach.fleet.clients().await {
        let reply = client.call(Some(reach.fleet.scope()), Call::Runs).await?;
        let Reply::Runs { runs: more } = reply else { return Err(unexpected()) };
        let here = reach.fleet.is_here();
        runs.extend(more.into_iter().map(|run| {
            let host = run.host.clone().or_else(|| (!here).then(|| client.host().to_owned()));
            Run { host, ..run }
        }));
    }
    runs.sort_by_key(|run| std::cmp::Reverse(run.started_at));
    runs.retain(|run| is_of(&run.name, command.name.as_deref()));
    runs.retain(|run| !command.failed || run.code.is_some_and(|code| code != 0));
    runs.truncate(command.lines);
    if printer.json {
        return printer.document(&runs).map(|()| Exit::Done);
    }
    if runs.is_empty() {
        printer.say("nothing has run");
        return Ok(Exit::Done);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let many = !reach.fleet.is_here();
    let heads = ["run", "began", "took", "end", "attempt"].into_iter().chain(many.then_some("host"));
    table.set_header(heads.map(|head| paint(DIM, head)));
    for run in &runs {
        let began = run.started_at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        let took =
            run.millis.map_or_else(String::new, |millis| ago(std::time::Duration::from_millis(millis).as_secs_f64()));
        let end = match run.code {
            None => paint(WARN, "runs"),
            Some(0) => paint(GOOD, "ok"),
            Some(124) => paint(BAD, "past its timeout"),
            Some(code) => paint(BAD, format_args!("exit code {code}")),
        };
        let mut row = vec![run.name.clone(), began, took, end, run.attempt.to_string()];
        row.extend(many.then(|| run.host.clone().unwrap_or_default()));
        table.add_row(row);
    }
    printer.data(table);
    Ok(Exit::Done)
}

/// A dead letter and where it lies.
#[derive(Serialize)]
struct Lying {
    #[serde(flatten)]
    letter: DeadLetter,
    host: String,
}

async fn print_dead(command: &Runs, reach: &Reach, printer: Printer) -> Done {
    let mut letters = Vec::new();
    for client in reach.fleet.clients().await {
        let reply = client.call(Some(reach.fleet.scope()), Call::DeadLetters).await?;
        let Reply::DeadLetters { letters: more } = reply else { return Err(unexpected()) };
        let host = client.host().to_owned();
        letters.extend(more.into_iter().map(|letter| Lying { letter, host: host.clone() }));
    }
    let name = |letter: &DeadLetter| {
        if letter.function.contains('.') { letter.function.clone() } else { format!("function.{}", letter.function) }
    };
    letters.retain(|lying| is_of(&name(&lying.letter), command.name.as_deref()));
    letters.sort_by_key(|lying| std::cmp::Reverse(lying.letter.at));
    letters.truncate(command.lines);
    if printer.json {
        return printer.document(&letters).map(|()| Exit::Done);
    }
    for Lying { letter, .. } in &letters {
        let text = |key: &str| letter.event.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        printer.data(format_args!(
            "{} {} {} {} {}",
            paint(DIM, letter.at.strftime("%Y-%m-%d %H:%M:%S UTC")),
            name(letter),
            text("type"),
            text("id"),
            paint(BAD, format_args!("{} after {} attempts", letter.why, letter.attempts)),
        ));
    }
    match letters.first() {
        Some(first) => printer.hint(format_args!("slipway trigger {} --dead tries them again", first.letter.function)),
        None => printer.say("every event was taken"),
    }
    Ok(Exit::Done)
}

/// Whether a run of `name` is one of `wanted`: a name, with or without its kind.
fn is_of(name: &str, wanted: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| name == wanted || name.split_once('.').is_some_and(|(_, name)| name == wanted))
}

pub(super) fn unexpected() -> Failure {
    Failure::new("the agent answered something else than was asked").hint("slipway host upgrade")
}
