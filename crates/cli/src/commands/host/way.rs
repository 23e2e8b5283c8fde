//! What the commands about hosts share: who is meant, the way there, doing the steps of a plan.

use std::path::{Path, PathBuf};

use agent::{
    Client,
    home::Home,
    host_file::HostFile,
    protocol::{Call, Reply},
};
use fleet::{
    Place as HostPlace,
    hosting::{Facts, HOME, Program, Step, plan::Act, run},
    ssh::{Ssh, SshError},
};

use crate::{
    context::Place,
    exit::{Exit, Failure},
    printer::{BAD, DIM, Printer, STRONG, paint},
};

/// A machine that was reached.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// As it was named.
    pub(super) destination: String,
    /// The way there.
    pub(super) ssh: Ssh,
    /// What it is.
    pub(super) facts: Facts,
}

/// An agent that answers.
#[derive(Debug, Clone)]
pub(super) struct Greeting {
    pub(super) client: Client,
    pub(super) version: String,
    pub(super) digest: String,
    pub(super) host: Option<HostFile>,
}

/// The hosts that are named, or those of the environment.
pub(super) fn meant(named: &[String], place: &Place) -> Result<Vec<String>, Failure> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let project = place.project()?;
    let resolved = place.resolve(&project)?;
    if resolved.environment.hosts.is_empty() {
        return Err(Failure::usage(format!("the environment `{}` has no hosts: it runs here", resolved.name))
            .hint("name a host, or add --env with an environment whose target is `hosts`"));
    }
    Ok(resolved.environment.hosts)
}

/// The program that is put on hosts: this one, or the one that is named.
pub(super) fn program(named: Option<&Path>) -> Result<Program, Failure> {
    let own = || std::env::current_exe();
    let path: PathBuf = match named {
        Some(path) => path.to_owned(),
        None => own().map_err(|error| Failure::new(format!("cannot find this program's own file: {error}")))?,
    };
    Program::read(&path, env!("CARGO_PKG_VERSION"))
        .map_err(|error| Failure::usage(format!("cannot put {} on a host: {error}", path.display())))
}

/// Connects to all of them at the same time; in the order they were named. One that is silent while the others answer is
/// given up within seconds.
pub(super) async fn reach(
    destinations: &[String],
    program: Option<&Program>,
) -> Vec<(String, Result<Machine, SshError>)> {
    let asked = destinations.iter().map(|destination| look(destination, program));
    let machines = fleet::together(asked, Result::is_ok).await;
    let given_up = |destination: &str| {
        let host = HostPlace::Ssh(destination.to_owned()).name();
        Err(SshError::Unreachable { host, said: "it was silent while the others answered".to_owned() })
    };
    let named = destinations.iter().zip(machines);
    named.map(|(name, machine)| (name.clone(), machine.unwrap_or_else(|| given_up(name)))).collect()
}

/// As [`reach`], and every problem at once where one of them cannot be reached.
pub(super) async fn reach_all(
    destinations: &[String],
    program: Option<&Program>,
    printer: Printer,
) -> Result<Vec<Machine>, Failure> {
    let (mut machines, mut problems) = (Vec::new(), Vec::new());
    for (destination, machine) in reach(destinations, program).await {
        match machine {
            Ok(machine) => machines.push(machine),
            Err(error) => problems.push((destination, error.to_string())),
        }
    }
    if problems.is_empty() { Ok(machines) } else { Err(refuse(&problems, printer)) }
}

async fn look(destination: &str, program: Option<&Program>) -> Result<Machine, SshError> {
    let ssh = Ssh::connect(destination).await?;
    let facts = Facts::ask(&ssh, program).await?;
    Ok(Machine { destination: destination.to_owned(), ssh, facts })
}

/// Prints problems, each with its host, and says that nothing was done.
pub(super) fn refuse(problems: &[(String, String)], printer: Printer) -> Failure {
    for (host, problem) in problems {
        printer.say(format_args!("{} {host}: {problem}", paint(BAD, "!")));
    }
    let count = problems.len();
    Failure::new(format!("{count} problem{}; nothing was changed", if count == 1 { "" } else { "s" }))
}

/// Prints the steps; with their scripts when they are shown for reading.
pub(super) fn show(name: &str, steps: &[Step], scripts: bool, printer: Printer) {
    for step in steps {
        printer.data(format_args!("{} {}", paint(STRONG, format_args!("{name}:")), step.title));
        let shown = match &step.act {
            Act::Script(script) | Act::Guarded { change: script, .. } => script.clone(),
            Act::Rehearsed { change, apply, .. } => format!("{change}\n{apply}"),
            Act::Send { .. } | Act::Login => continue,
        };
        for line in shown.lines().filter(|_| scripts) {
            printer.data(format_args!("    {line}"));
        }
    }
}

/// Does the steps, telling each before it begins.
pub(super) async fn take(
    machine: &Machine,
    steps: &[Step],
    program: Option<&Program>,
    printer: Printer,
) -> Result<(), Failure> {
    for step in steps {
        printer.say(format_args!("{} {}", paint(DIM, format_args!("{}:", machine.ssh.host())), step.title));
        run::step(&machine.ssh, step, program).await.map_err(|error| {
            Failure::new(format!("cannot {}: {error}", step.title))
                .hint("what was done is kept; run the same again to go on")
        })?;
    }
    Ok(())
}

/// Asks a host's agent who it is.
pub(super) async fn greet(ssh: &Ssh) -> Result<Greeting, Failure> {
    let socket = ssh.forward(&Home::at(HOME).agent_socket()).await.map_err(|error| Failure::new(error.to_string()))?;
    let client = Client::over(socket, ssh.host().to_owned());
    match client.call(None, Call::Info).await? {
        Reply::Info { version, binary: digest, host, .. } => Ok(Greeting { client, version, digest, host }),
        other => Err(Failure::new(format!("{} answered something else than was asked: {other:?}", ssh.host()))),
    }
}

/// Several hosts fared differently: exit 7 when some are done and others are not.
pub(super) fn overall(done: usize, failures: &[(String, Failure)], printer: Printer) -> Result<Exit, Failure> {
    let Some((_, last)) = failures.last() else { return Ok(Exit::Done) };
    let exit = if done > 0 { Exit::Partial } else { last.exit() };
    let mut hint = None;
    for (host, failure) in failures {
        if let Failure::Message { message, hint: other, .. } = failure {
            printer.say(format_args!("{} {host}: {message}", paint(BAD, "!")));
            hint.clone_from(other);
        }
    }
    let names: Vec<&str> = failures.iter().map(|(host, _)| host.as_str()).collect();
    Err(Failure::Message { exit, message: format!("not done: {}", names.join(", ")), hint })
}
