//! `slipway trigger`: starts a job or a function now.

use std::{path::PathBuf, time::Duration};

use agent::{
    Client,
    protocol::{Call, Reply, Run},
};
use serde::Serialize;
use stack::{Kind, Resolved, ResourceName, ResourceRef};

use crate::{
    commands::runs::unexpected,
    context::{Place, Reach},
    exit::{Done, Exit, Failure},
    printer::{GOOD, Printer, ago, paint},
};

/// How often the end of a run is asked for.
const LOOK: Duration = Duration::from_millis(200);

/// Start a job or a function now.
#[derive(Debug, clap::Args)]
pub(crate) struct Trigger {
    /// The job or function
    name: String,
    /// The data of its event, as JSON or text
    #[arg(long, value_name = "DATA", conflicts_with = "event")]
    data: Option<String>,
    /// A file with its event, in the JSON form of `CloudEvents` 1.0
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// Instead: try the events again that it failed to take
    #[arg(long, conflicts_with_all = ["data", "event", "wait"])]
    dead: bool,
    /// Wait for its end, and end as it ends
    #[arg(long, short = 'w')]
    wait: bool,
}

/// What was begun.
#[derive(Serialize)]
struct Begun<'a> {
    name: String,
    run: &'a str,
    host: &'a str,
}

/// Starts it on the first host that lives.
pub(crate) async fn run(command: &Trigger, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    reach.answers().await?;
    if command.dead {
        let name = find(&reach.resolved, &command.name, takes_events(&reach.resolved))?;
        return try_again(&name, &reach, printer).await;
    }
    let name = find(&reach.resolved, &command.name, Vec::new())?;
    let event = read_event(command)?;
    let Some(client) = reach.fleet.clients().await.into_iter().next() else {
        return Err(Failure::new("no host answers"));
    };
    let call = Call::Start { name: name.clone(), event };
    let Reply::Started { id } = client.call(Some(reach.fleet.scope()), call).await? else { return Err(unexpected()) };
    if printer.json && !command.wait {
        let begun = Begun { name: name.to_string(), run: &id, host: client.host() };
        return printer.document(&begun).map(|()| Exit::Done);
    }
    printer.say(format_args!("{} {name} began", paint(GOOD, "ok")));
    if !command.wait {
        printer.hint(format_args!("slipway logs {} --follow", name.name));
        return Ok(Exit::Done);
    }
    let run = wait_for(&client, &reach, &id).await?;
    if printer.json {
        printer.document(&run)?;
    }
    let took = ago(Duration::from_millis(run.millis.unwrap_or_default()).as_secs_f64());
    match run.code {
        Some(0) => {
            printer.say(format_args!("{} {name} took {took}", paint(GOOD, "ok")));
            Ok(Exit::Done)
        }
        code => Err(Failure::new(format!("{name} ended with exit code {} after {took}", code.unwrap_or(255)))
            .hint(format!("slipway logs {}", name.name))),
    }
}

/// The services and queues that topics go to: they may have failed to take events as well.
fn takes_events(resolved: &Resolved) -> Vec<ResourceRef> {
    let services = resolved.stack.services.keys().map(|name| (Kind::Service, name));
    let all = services.chain(resolved.stack.queues.keys().map(|name| (Kind::Queue, name)));
    let all: Vec<ResourceRef> = all.map(|(kind, name)| ResourceRef { kind, name: name.clone() }).collect();
    let topics = resolved.stack.extras.values();
    let named: Vec<&str> = topics
        .filter_map(|topic| topic.settings.get("to")?.as_array())
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .collect();
    all.into_iter().filter(|one| named.contains(&one.to_string().as_str())).collect()
}

/// The job or function of this name, or one of `others`, with or without its kind.
fn find(resolved: &Resolved, text: &str, others: Vec<ResourceRef>) -> Result<ResourceRef, Failure> {
    let stack = &resolved.stack;
    let jobs = stack.jobs.keys().map(|name| (Kind::Job, name));
    let all = jobs.chain(stack.functions.keys().map(|name| (Kind::Function, name)));
    let all: Vec<ResourceRef> =
        all.map(|(kind, name): (Kind, &ResourceName)| ResourceRef { kind, name: name.clone() }).chain(others).collect();
    let mut fitting = all.iter().filter(|one| one.to_string() == text || one.name.as_str() == text);
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one.clone()),
        (Some(one), Some(other)) => {
            Err(Failure::usage(format!("`{text}` is `{one}` and `{other}`")).hint("write it with its kind"))
        }
        (None, _) => {
            let names: Vec<String> = all.iter().map(ToString::to_string).collect();
            let failure = Failure::usage(format!("no job or function `{text}` in {}", resolved.name));
            Err(if names.is_empty() { failure } else { failure.hint(format!("there are: {}", names.join(", "))) })
        }
    }
}

fn read_event(command: &Trigger) -> Result<Option<serde_json::Value>, Failure> {
    if let Some(path) = &command.event {
        let text =
            std::fs::read(path).map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
        let event = serde_json::from_slice(&text)
            .map_err(|error| Failure::usage(format!("{} is not JSON: {error}", path.display())))?;
        return Ok(Some(event));
    }
    Ok(command.data.as_ref().map(|text| serde_json::from_str(text).unwrap_or_else(|_| text.clone().into())))
}

/// On every host, as each keeps its own.
async fn try_again(name: &ResourceRef, reach: &Reach, printer: Printer) -> Done {
    if name.kind == Kind::Job {
        return Err(Failure::usage(format!("`{name}` takes no events; functions do, and what a topic goes to")));
    }
    for client in reach.fleet.clients().await {
        let call = Call::Redeliver { to: name.clone() };
        client.call(Some(reach.fleet.scope()), call).await?;
    }
    printer.say(format_args!("{} the events that {name} failed to take are tried again", paint(GOOD, "ok")));
    match name.kind {
        Kind::Function => printer.hint(format_args!("slipway runs {name}")),
        _ => printer.hint(format_args!("slipway runs {name} --dead")),
    }
    Ok(Exit::Done)
}

/// The last attempt of what was begun, once it is over.
async fn wait_for(client: &Client, reach: &Reach, id: &str) -> Result<Run, Failure> {
    loop {
        let reply = client.call(Some(reach.fleet.scope()), Call::Runs).await?;
        let Reply::Runs { runs } = reply else { return Err(unexpected()) };
        if let Some(run) = runs.into_iter().find(|run| run.id == id && run.code.is_some()) {
            return Ok(run);
        }
        tokio::time::sleep(LOOK).await;
    }
}
