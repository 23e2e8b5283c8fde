//! `slipway run`: a command with a service's files and environment.

use std::{os::unix::process::ExitStatusExt, process::Command, time::Duration};

use engine::{
    record::committed,
    target::{Target, Task, TaskEnd},
};
use stack::{ResourceName, Revision};

use crate::{
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
/// lives, and its output is printed when it ended.
pub(crate) async fn run(command: &Run, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    reach.answers().await?;
    let journal = reach.fleet.journal().await?;
    let revision = committed(&journal)
        .ok_or_else(|| Failure::new(format!("{} is on no release", reach.resolved.name)).hint("slipway deploy"))?;
    if !reach.fleet.is_here() {
        return on_a_host(command, &reach, revision, printer).await;
    }
    let context = agent::context(reach.home(), reach.fleet.scope(), &revision, &command.service)
        .map_err(|error| Failure::new(error.to_string()))?;
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

/// How long the lease of a command lives without a sign of life from here.
const LEASE: Duration = Duration::from_secs(15);

/// Under the lease, so that no deploy takes the release away meanwhile.
async fn on_a_host(command: &Run, reach: &Reach, revision: Revision, printer: Printer) -> Done {
    let fleet = &reach.fleet;
    let fence = fleet.lock(&release::who(), LEASE).await?;
    let task = Task::Run { revision, service: command.service.clone(), command: command.command.clone() };
    let renewing = async {
        loop {
            tokio::time::sleep(LEASE / 3).await;
            if let Err(error) = fleet.renew(fence, LEASE).await {
                return error;
            }
        }
    };
    let ended = tokio::select! {
        ended = fleet.task(&task, fence) => ended,
        error = renewing => Err(error),
    };
    let unlocked = fleet.unlock(fence).await;
    let ended = ended?;
    unlocked?;
    match ended {
        TaskEnd::Exited { code: 0, output } => {
            printer.data(output.trim_end());
            Ok(Exit::Done)
        }
        TaskEnd::Exited { code, output } => {
            printer.data(output.trim_end());
            std::process::exit(code)
        }
        TaskEnd::Done | TaskEnd::Migrations { .. } => Err(Failure::new("the host ran something else than was asked")),
    }
}
