//! `slipway run`: a command with a service's files and environment.

use std::{os::unix::process::ExitStatusExt, process::Command};

use agent::ExecTarget;
use engine::{record::committed, target::Target};
use stack::ResourceName;

use crate::{
    commands::exec,
    context::{Place, Reach},
    exit::{Done, Exit, Failure},
    printer::Printer,
};

/// Run a command with a service's files and environment.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The service whose files, variables and addresses it gets
    service: ResourceName,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs it in the foreground, in the release that serves now, and ends as it ends. On hosts it runs on the first that
/// lives.
pub(crate) async fn run(command: &Run, place: &Place, _: Printer) -> Done {
    let reach = place.reach()?;
    reach.answers().await?;
    let journal = reach.fleet.journal().await?;
    let revision = committed(&journal)
        .ok_or_else(|| Failure::new(format!("{} is on no release", reach.resolved.name)).hint("slipway deploy"))?;
    if !reach.fleet.is_here() {
        let clients = reach.fleet.clients().await;
        let client = clients.first().ok_or_else(|| Failure::new("no host answers"))?;
        let target = ExecTarget::Release { revision, service: command.service.clone() };
        return exec::pass_on(client, &reach, target, &command.command).await;
    }
    let context = agent::context(reach.home(), reach.fleet.scope(), &revision, &command.service)
        .map_err(|error| unknown(&command.service, &reach).unwrap_or_else(|| Failure::new(error.to_string())))?;
    let [program, arguments @ ..] = command.command.as_slice() else {
        return Err(Failure::usage("no command was given"));
    };
    // Ctrl-C is for the command; this process waits for its end.
    let _signals = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
    let status =
        Command::new(program).args(arguments).current_dir(&context.folder).env_clear().envs(&context.env).status();
    let status = status.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let missing =
                Failure::new(format!("program `{program}` was not found in {} or in PATH", context.folder.display()));
            if program.contains(char::is_whitespace) {
                missing.hint(format!("for shell syntax: slipway run {} -- sh -c '...'", command.service))
            } else {
                missing.hint("name a program of the release by its path, or install it on this host")
            }
        }
        _ => Failure::new(format!("`{program}` cannot be started: {error}")),
    })?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(Exit::Done),
        (Some(code), _) => std::process::exit(code),
        (None, signal) => std::process::exit(128 + signal.unwrap_or_default()),
    }
}

/// That the stack has no such service, and which it has.
fn unknown(name: &ResourceName, reach: &Reach) -> Option<Failure> {
    let services = &reach.resolved.stack.services;
    if services.contains_key(name) {
        return None;
    }
    let names: Vec<&str> = services.keys().map(ResourceName::as_str).collect();
    Some(
        Failure::usage(format!("no service `{name}` in {}", reach.resolved.name))
            .hint(format!("there are: {}", names.join(", "))),
    )
}
