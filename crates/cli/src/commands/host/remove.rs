//! `slipway host remove`: a host leaves its environments, and Slipway leaves the host.

use agent::{
    Client,
    members::Members,
    protocol::{Call, Reply, Scope},
};
use fleet::{
    hosting::{harden, removal},
    ssh::Ssh,
};
use jiff::Timestamp;

use super::{
    drain,
    way::{Machine, greet, reach_all, take},
};
use crate::{
    exit::{Done, Exit, Failure},
    printer::{GOOD, Printer, WARN, paint},
};

/// Remove a host.
#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    /// Which
    #[arg(value_name = "USER@HOST")]
    host: String,
    /// Also remove its data: databases, uploads, logs, values
    #[arg(long)]
    purge: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Says what will be lost, asks, drains, tells the other hosts, stops and removes.
pub(crate) async fn run(command: &Remove, printer: Printer) -> Done {
    let machine = reach_all(std::slice::from_ref(&command.host), None, printer).await?.remove(0);
    let host = machine.ssh.host().to_owned();
    let walled = machine.facts.ufw_file.is_some() || machine.facts.nft_file.is_some();
    if machine.facts.program.is_none() && !walled && !(command.purge && machine.facts.home) {
        printer.say(format_args!("{} {host} is no host: nothing was changed", paint(GOOD, "ok")));
        return Ok(Exit::Done);
    }
    // Without an agent there is nobody to drain; what lies there can be removed all the same.
    let client = greet(&machine.ssh).await.ok().map(|greeting| greeting.client);
    let losses = match &client {
        Some(client) => losses(client, &machine, command.purge).await?,
        None => vec![format!("no agent answers on {host}; what runs there is stopped without being drained")],
    };
    for loss in &losses {
        printer.say(format_args!("{} {loss}", paint(WARN, "!")));
    }
    printer.confirm(&format!("Remove the host {host}?"), command.yes)?;
    if let Some(client) = &client {
        let known = drain::memberships(client).await?;
        let several: Vec<_> = known.into_iter().filter(|(_, _, members)| members.hosts.len() > 1).collect();
        if !several.is_empty() {
            drain::set(client, true).await?;
            drain::wait_until_empty(client, printer).await?;
        }
        for (scope, me, members) in several {
            leave(&machine, &scope, &me, members).await?;
            printer.say(format_args!("{host} is no host of {scope} any more"));
        }
    }
    take(&machine, &removal::steps(command.purge), None, printer).await?;
    let kept = if command.purge { "" } else { "; its data are in /var/lib/slipway" };
    printer.say(format_args!("{} Slipway is removed from {host}{kept}", paint(GOOD, "ok")));
    if machine.facts.sshd_file.is_some() {
        printer.say(format_args!("its sshd still takes keys only; that is in {}", harden::SSHD_FILE));
    }
    printer.hint(format_args!("take \"{}\" out of `hosts` in slipway.toml", command.host));
    Ok(Exit::Done)
}

/// What a person should know before saying yes.
async fn losses(client: &Client, machine: &Machine, purge: bool) -> Result<Vec<String>, Failure> {
    let mut losses = Vec::new();
    let known = drain::memberships(client).await?;
    let Reply::Scopes { scopes } = client.call(None, Call::Scopes).await? else { return Ok(losses) };
    for scope in scopes {
        let others =
            known.iter().find(|(other, ..)| *other == scope).map_or(0, |(_, _, members)| members.hosts.len() - 1);
        let Reply::Observed { observed } = client.call(Some(&scope), Call::Observe).await? else { continue };
        if others == 0 && !observed.instances.is_empty() {
            losses.push(format!("{scope} runs here alone, and will be served by nobody"));
        }
        for service in &observed.services {
            let kept = if purge { "its data are lost" } else { "its data stay in /var/lib/slipway" };
            losses.push(format!("`{}` of {scope} is served here, and by no other host; {kept}", service.name));
        }
    }
    if purge {
        let script = format!("du -sh {} 2>/dev/null | cut -f1", fleet::hosting::HOME);
        let output = machine.ssh.run_as(fleet::ssh::Rights::Root, &script).await;
        let size =
            output.and_then(|output| output.text(&machine.ssh)).map_err(|error| Failure::new(error.to_string()))?;
        losses.push(format!("{size} in {} are removed: databases, uploads, logs, values", fleet::hosting::HOME));
    }
    Ok(losses)
}

/// Tells another host of the environment that this one is gone; that one tells the rest.
async fn leave(machine: &Machine, scope: &Scope, me: &str, mut members: Members) -> Result<(), Failure> {
    members.hosts.retain(|host| host.name != me);
    members.changed_at = Timestamp::now();
    let mut last = None;
    for other in members.hosts.clone() {
        let destination = match machine.ssh.destination().user() {
            Some(user) => format!("{user}@{}", other.name),
            None => other.name.clone(),
        };
        let told = async {
            let ssh = Ssh::connect(&destination).await.map_err(|error| Failure::new(error.to_string()))?;
            let client = greet(&ssh).await?.client;
            let call = Call::PutMembers { me: other.name.clone(), members: Box::new(members.clone()) };
            client.call(Some(scope), call).await?;
            Ok(())
        };
        match told.await {
            Ok(()) => return Ok(()),
            Err(failure) => last = Some(failure),
        }
    }
    last.map_or(Ok(()), Err)
}
