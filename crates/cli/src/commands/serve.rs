//! The processes Slipway starts itself: `slipway agent` and `slipway edge`.

use std::{path::PathBuf, process::ExitCode};

use crate::{context::Place, draw, exit::Exit, printer::Printer};

/// The host's agent, in the foreground.
pub(crate) fn agent(place: &Place) -> ExitCode {
    match place.home() {
        Ok(home) => agent::main(agent::Options::at(agent::home::Home::at(home))),
        Err(failure) => {
            draw::failure(&failure, Printer::new(false));
            Exit::Usage.into()
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
