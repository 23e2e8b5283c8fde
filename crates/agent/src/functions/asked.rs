//! What a person asks for: a run now, or another try of what could not be delivered.

use std::sync::Arc;

use serde_json::Value;
use stack::{Kind, ResourceRef};
use tokio_util::sync::CancellationToken;

use super::{delivery::Receiver, event::CloudEvent};
use crate::{
    environment::Environment,
    error::Error,
    history,
    host::Host,
    jobs::{self, Cause, Job},
};

/// What happened, to a function that a person starts with nothing but data.
const ASKED: &str = "slipway.asked";

/// Starts a job or a function of the release whose schedules are in effect, now. Returns the id of its first run.
///
/// `event` is a `CloudEvent`, or the data of one. Fails when there is no such job or function, and when the job runs
/// already.
pub(crate) fn start(
    host: &Arc<Host>,
    environment: &Arc<Environment>,
    name: &ResourceRef,
    event: Option<Value>,
) -> Result<String, Error> {
    let revision = environment.desired().schedules.ok_or_else(|| {
        Error::failed(format!("{} runs no jobs and functions now; deploy it first", environment.scope))
    })?;
    let loaded = environment.revisions.get(&host.store, &environment.scope, &environment.folder, &revision)?;
    if loaded.command(name).is_none() {
        let stack = &loaded.resolved.stack;
        let jobs = stack.jobs.keys().map(|name| format!("job.{name}"));
        let all: Vec<String> = jobs.chain(stack.functions.keys().map(|name| format!("function.{name}"))).collect();
        let all = if all.is_empty() { "it has none".to_owned() } else { format!("there are: {}", all.join(", ")) };
        return Err(Error::failed(format!("the release has no `{name}`; {all}")));
    }
    let runs = history::runs(environment);
    let going = runs.iter().find(|run| run.code.is_none() && run.name == name.to_string());
    if let Some(going) = going.filter(|_| name.kind == Kind::Job) {
        return Err(Error::failed(format!(
            "`{name}` runs already, since {}; wait for its end (`slipway runs {name}`)",
            going.started_at
        )));
    }
    let event = event.map(|value| {
        serde_json::to_vec(&value)
            .ok()
            .and_then(|text| CloudEvent::parse(&text).ok())
            .unwrap_or_else(|| CloudEvent::new(format!("/{}/{name}", environment.scope), ASKED, value))
    });
    let id = jobs::id(name);
    let job = Job {
        host: host.clone(),
        environment: environment.clone(),
        loaded,
        name: name.clone(),
        replaced: CancellationToken::new(),
        cause: Cause::Asked,
        event: event.map(Arc::new),
        answers: false,
        claim: None,
    };
    tokio::spawn(job.run(id.clone(), None));
    Ok(id)
}

/// Tries the dead letters of a function, a service or a queue again, in the background.
pub(crate) fn redeliver(host: &Arc<Host>, environment: &Arc<Environment>, to: ResourceRef) -> Result<(), Error> {
    let receiver = Receiver { host: host.clone(), environment: environment.clone(), to };
    if receiver.release().is_none() {
        return Err(Error::failed(format!(
            "what runs has no `{}` that takes events; deploy a release that has it, or name another",
            receiver.to
        )));
    }
    tokio::spawn(receiver.redeliver());
    Ok(())
}
