//! `slipway host add`: machines become hosts.

use std::{net::IpAddr, path::PathBuf};

use fleet::hosting::{Package, Plan, Program, Wish, plan::plan};

use super::way::{Machine, greet, overall, program, reach, refuse, show, take};
use crate::{
    exit::{Done, Exit, Failure},
    printer::{GOOD, Printer, paint},
};

/// Make machines hosts.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Add {
    /// Machines, as `ssh` takes them
    #[arg(required = true, value_name = "USER@HOST")]
    hosts: Vec<String>,
    /// Its name among the hosts; by default as in USER@HOST
    #[arg(long)]
    name: Option<String>,
    /// Where other hosts reach it; by default where you do
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Also install: docker, postgresql, redis, rabbitmq
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = Package::parse)]
    install: Vec<Package>,
    /// Also let sshd take keys only
    #[arg(long)]
    harden: bool,
    /// Also let nothing in but SSH, visitors and other hosts
    #[arg(long)]
    firewall: bool,
    /// The program for the hosts, where they are of another kind than this machine
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Also in place of a newer version
    #[arg(long)]
    force: bool,
    /// Show every step with its script, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Looks at all machines first; does nothing to any of them while one has a problem.
pub(crate) async fn run(command: &Add, printer: Printer) -> Done {
    if command.hosts.len() > 1 && (command.name.is_some() || command.address.is_some()) {
        return Err(Failure::usage("--name and --address are of one host").hint("add the hosts one by one"));
    }
    let program = program(command.binary.as_deref())?;
    let wish = Wish {
        name: command.name.clone(),
        address: command.address,
        install: command.install.clone(),
        harden: command.harden,
        firewall: command.firewall,
        force: command.force,
    };
    let (mut ready, mut problems) = (Vec::new(), Vec::new());
    for (destination, machine) in reach(&command.hosts, Some(&program)).await {
        match machine {
            Err(error) => problems.push((destination, error.to_string())),
            Ok(machine) => match plan(&machine.facts, &wish, &program, machine.ssh.host()) {
                Ok(plan) => ready.push((machine, plan)),
                Err(list) => problems.extend(list.into_iter().map(|problem| (destination.clone(), problem))),
            },
        }
    }
    if !problems.is_empty() {
        return Err(refuse(&problems, printer));
    }
    if command.dry_run {
        for (machine, plan) in &ready {
            show(machine.ssh.host(), &plan.steps, true, printer);
            if plan.steps.is_empty() {
                printer.say(format_args!("{} is a host as you want it: nothing to do", machine.ssh.host()));
            }
        }
        return Ok(Exit::Done);
    }
    let new: Vec<&(Machine, Plan)> = ready.iter().filter(|(_, plan)| !plan.steps.is_empty()).collect();
    if !new.is_empty() && !command.yes {
        for (machine, plan) in &new {
            show(machine.ssh.host(), &plan.steps, false, printer);
        }
        let question =
            if new.len() == 1 { "Do this?".to_owned() } else { format!("Do this on {} machines?", new.len()) };
        printer.confirm(&question, command.yes)?;
    }
    apply(ready, &program, printer).await
}

/// Does the plans, all machines at the same time.
pub(super) async fn apply(ready: Vec<(Machine, Plan)>, program: &Program, printer: Printer) -> Done {
    let mut tasks = Vec::new();
    for (machine, plan) in ready {
        let (destination, program) = (machine.destination.clone(), program.clone());
        tasks.push((destination, tokio::spawn(async move { make(&machine, &plan, &program, printer).await })));
    }
    let (mut done, mut failures) = (0, Vec::new());
    for (destination, task) in tasks {
        match task.await {
            Ok(Ok(())) => done += 1,
            Ok(Err(failure)) => failures.push((destination, failure)),
            Err(error) => failures.push((destination, Failure::new(error.to_string()))),
        }
    }
    overall(done, &failures, printer)
}

/// Makes one machine a host, and asks its agent whether it is.
pub(super) async fn make(machine: &Machine, plan: &Plan, program: &Program, printer: Printer) -> Result<(), Failure> {
    let host = machine.ssh.host();
    take(machine, &plan.steps, Some(program), printer).await?;
    let greeting = greet(&machine.ssh).await?;
    if greeting.digest != program.digest {
        return Err(Failure::new(format!("its agent still is another program: {}", greeting.version))
            .hint("systemctl restart slipway, on the host"));
    }
    if plan.steps.is_empty() {
        printer.say(format_args!("{} {host} is a host as you want it: nothing was changed", paint(GOOD, "ok")));
    } else {
        let (version, name, address) = (greeting.version, &plan.host.name, plan.host.address);
        printer.say(format_args!(
            "{} {host} is the host `{name}` at {address}, with Slipway {version}",
            paint(GOOD, "ok")
        ));
    }
    Ok(())
}
