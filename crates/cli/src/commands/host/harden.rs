//! `slipway host harden`: only what is asked for, and shown first.

use fleet::hosting::{Access, firewall, harden};

use super::way::{reach_all, refuse, show, take};
use crate::{
    exit::{Done, Exit, Failure},
    printer::{GOOD, Printer, paint},
};

/// Harden hosts.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Harden {
    /// Which
    #[arg(required = true, value_name = "USER@HOST")]
    hosts: Vec<String>,
    /// Let sshd take keys only, no passwords
    #[arg(long)]
    ssh: bool,
    /// Let nothing in but SSH, visitors and other hosts
    #[arg(long)]
    firewall: bool,
    /// Show the scripts and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Shows, asks, changes; whoever cannot get in afterwards finds everything put back.
pub(crate) async fn run(command: &Harden, printer: Printer) -> Done {
    if !command.ssh && !command.firewall {
        return Err(Failure::usage("say what is to be hardened").hint("add --ssh, --firewall or both"));
    }
    let (mut todo, mut problems) = (Vec::new(), Vec::new());
    for machine in reach_all(&command.hosts, None, printer).await? {
        let facts = &machine.facts;
        if let Access::None(said) = &facts.access {
            problems.push((machine.destination.clone(), format!("`{}` may not become root: {said}", facts.user)));
        }
        if let Some(problem) = firewall::problem(facts).filter(|_| command.firewall) {
            problems.push((machine.destination.clone(), problem));
        }
        let ssh = harden::sshd(facts).filter(|_| command.ssh);
        let firewall = command.firewall.then(|| firewall::step(facts)).flatten();
        let steps: Vec<_> = ssh.into_iter().chain(firewall).collect();
        todo.push((machine, steps));
    }
    if !problems.is_empty() {
        return Err(refuse(&problems, printer));
    }
    for (machine, steps) in &todo {
        show(machine.ssh.host(), steps, true, printer);
    }
    if command.dry_run {
        return Ok(Exit::Done);
    }
    if todo.iter().any(|(_, steps)| !steps.is_empty()) {
        printer.confirm("Run these scripts as root?", command.yes)?;
    }
    for (machine, steps) in &todo {
        take(machine, steps, None, printer).await?;
        let said = if steps.is_empty() {
            "was hardened before: nothing was changed"
        } else {
            "is hardened, and still lets you in"
        };
        printer.say(format_args!("{} {} {said}", paint(GOOD, "ok"), machine.ssh.host()));
    }
    Ok(Exit::Done)
}
