//! The processes Slipway starts itself: `slipway agent` and `slipway edge`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use fleet::hosting::Program;

use crate::{
    context::Place,
    draw,
    exit::{Exit, Failure},
    printer::Printer,
};

/// The host's side.
#[derive(Debug, clap::Args)]
pub(crate) struct Agent {
    /// Let it run in the background, under a keeper that starts it again: where there is no systemd
    #[arg(long, conflicts_with = "digest")]
    keep: bool,
    /// Only print the digest of this program
    #[arg(long)]
    digest: bool,
}

/// The host's agent, in the foreground unless it is to be kept.
pub(crate) fn agent(command: &Agent, place: &Place) -> ExitCode {
    if command.digest {
        return ended(own_digest());
    }
    let home = match place.home() {
        Ok(home) => agent::home::Home::at(home),
        Err(failure) => return ended(Err(failure)),
    };
    if command.keep {
        return ended(keep(&home));
    }
    agent::main(agent::Options::at(home))
}

/// Prints BLAKE3 of this program's own file.
fn own_digest() -> Result<(), Failure> {
    let program = Program::read(Path::new("/proc/self/exe"), env!("CARGO_PKG_VERSION"))
        .map_err(|error| Failure::new(format!("cannot read this program: {error}")))?;
    Printer::new(false).data(program.digest);
    Ok(())
}

fn keep(home: &agent::home::Home) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("cannot start the agent: {error}"));
    let program = std::env::current_exe().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(agent::launch(&program, home)).map_err(|error| Failure::new(error.to_string()))
}

fn ended(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            draw::failure(&failure, Printer::new(false));
            failure.exit().into()
        }
    }
}

/// The reverse proxy, in the foreground.
pub(crate) fn edge(folder: PathBuf, workers: Option<usize>) -> ExitCode {
    let mut options = edge::Options::default();
    if let Some(workers) = workers {
        options.workers = workers;
    }
    edge::main(folder, options)
}
