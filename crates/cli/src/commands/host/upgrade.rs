//! `slipway host upgrade`: this version on hosts, one after another.

use std::path::PathBuf;

use fleet::hosting::{Wish, plan::plan};

use super::{
    add::make,
    way::{meant, program, reach_all, refuse, show},
};
use crate::{
    context::Place,
    exit::{Done, Exit, Failure},
    printer::Printer,
};

/// Upgrade hosts.
#[derive(Debug, clap::Args)]
pub(crate) struct Upgrade {
    /// Which; by default those of the environment
    #[arg(value_name = "USER@HOST")]
    hosts: Vec<String>,
    /// The program for the hosts, where they are of another kind than this machine
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Also where a newer version is
    #[arg(long)]
    force: bool,
    /// Show every step with its script, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Upgrades one host after another, and stops at the first that fails: the others go on with what they have.
pub(crate) async fn run(command: &Upgrade, place: &Place, printer: Printer) -> Done {
    let program = program(command.binary.as_deref())?;
    let wish = Wish { force: command.force, ..Wish::default() };
    let (mut ready, mut problems) = (Vec::new(), Vec::new());
    for machine in reach_all(&meant(&command.hosts, place)?, Some(&program), printer).await? {
        let destination = machine.destination.clone();
        if machine.facts.program.is_none() {
            problems.push((destination.clone(), format!("it is no host yet; slipway host add {destination}")));
            continue;
        }
        match plan(&machine.facts, &wish, &program, machine.ssh.host()) {
            Ok(plan) => ready.push((machine, plan)),
            Err(list) => problems.extend(list.into_iter().map(|problem| (destination.clone(), problem))),
        }
    }
    if !problems.is_empty() {
        return Err(refuse(&problems, printer));
    }
    let count = ready.len();
    for (index, (machine, plan)) in ready.into_iter().enumerate() {
        if command.dry_run {
            show(machine.ssh.host(), &plan.steps, true, printer);
            continue;
        }
        make(&machine, &plan, &program, printer).await.map_err(|failure| match failure {
            Failure::Message { message, hint, .. } => Failure::Message {
                exit: if index == 0 { Exit::Failed } else { Exit::Partial },
                message: format!("{}: {message}; {} of {count} hosts are upgraded", machine.destination, index),
                hint,
            },
            problems @ Failure::Problems(..) => problems,
        })?;
    }
    Ok(Exit::Done)
}
