//! `slipway host drain` and `undrain`: a host's work goes to the others, and comes back.

use std::time::{Duration, Instant};

use agent::{
    Client,
    members::Members,
    protocol::{Call, Reply, Scope},
};
use jiff::Timestamp;

use super::way::{greet, reach_all};
use crate::{
    exit::{Done, Exit, Failure},
    printer::{GOOD, Printer, paint},
};

/// How long instances may take to leave once they need not be there: they are given their own time to drain and stop.
const PATIENCE: Duration = Duration::from_mins(5);

/// Drain a host, or take it back.
#[derive(Debug, clap::Args)]
pub(crate) struct Drain {
    /// Which
    #[arg(required = true, value_name = "USER@HOST")]
    host: String,
}

/// Tells the host, which tells the others, and waits until its instances have left.
pub(crate) async fn run(command: &Drain, drained: bool, printer: Printer) -> Done {
    let machine = reach_all(std::slice::from_ref(&command.host), None, printer).await?.remove(0);
    let client = greet(&machine.ssh).await?.client;
    if drained {
        keeps_no_data(&client).await?;
    }
    let changed = set(&client, drained).await?;
    let host = machine.ssh.host();
    let word = if drained { "drained" } else { "taken back" };
    if drained {
        wait_until_empty(&client, printer).await?;
    }
    if changed.is_empty() {
        let said = if drained { "is drained already" } else { "was not drained" };
        printer.say(format_args!("{} {host} {said}: nothing was changed", paint(GOOD, "ok")));
    } else {
        let names: Vec<String> = changed.iter().map(ToString::to_string).collect();
        printer.say(format_args!("{} {host} is {word} in {}", paint(GOOD, "ok"), names.join(", ")));
    }
    Ok(Exit::Done)
}

/// Every environment of the agent that knows several hosts: this host's name in the list, and the list.
pub(super) async fn memberships(client: &Client) -> Result<Vec<(Scope, String, Members)>, Failure> {
    let mut found = Vec::new();
    let Reply::Scopes { scopes } = client.call(None, Call::Scopes).await? else { return Ok(found) };
    for scope in scopes {
        if let Reply::Members { me: Some(me), members: Some(members) } =
            client.call(Some(&scope), Call::Members).await?
        {
            found.push((scope, me, *members));
        }
    }
    Ok(found)
}

/// Fails where the host has an environment's data: its servers and buckets would stop, and no other host has what is in
/// them.
async fn keeps_no_data(client: &Client) -> Result<(), Failure> {
    for (scope, me, members) in memberships(client).await? {
        if members.hosts.iter().find(|host| !host.drained).is_none_or(|host| host.name != me) {
            continue;
        }
        let (_, report) = client.health(&scope).await?;
        let kept =
            |name: &&String| ["database.", "cache.", "queue.", "bucket."].iter().any(|kind| name.starts_with(kind));
        let checks = report["checks"].as_object();
        let names: Vec<String> = checks.into_iter().flat_map(|checks| checks.keys()).filter(kept).cloned().collect();
        if !names.is_empty() {
            return Err(Failure::new(format!(
                "{me} keeps the data of {scope}: {}; drained, they would stop, and no other host has them",
                names.join(", ")
            ))
            .hint("drain another host, or give them a `url` of a server elsewhere and deploy first"));
        }
    }
    Ok(())
}

/// Marks the host in every environment of its agent; the newest list wins, and travels to the others. Returns the
/// environments where it was not so yet. Fails where no other host would be left.
pub(super) async fn set(client: &Client, drained: bool) -> Result<Vec<Scope>, Failure> {
    let known = memberships(client).await?;
    for (scope, me, members) in &known {
        if drained && members.hosts.iter().all(|host| host.name == *me || host.drained) {
            return Err(Failure::new(format!(
                "{me} is the only host of {scope} that is not drained: nothing would be left to serve it"
            ))
            .hint("add another host to the environment and deploy, or stop it with slipway stop"));
        }
    }
    let mut changed = Vec::new();
    for (scope, me, mut members) in known {
        let Some(own) = members.hosts.iter_mut().find(|host| host.name == me && host.drained != drained) else {
            continue;
        };
        own.drained = drained;
        members.changed_at = Timestamp::now();
        client.call(Some(&scope), Call::PutMembers { me, members: Box::new(members) }).await?;
        changed.push(scope);
    }
    Ok(changed)
}

/// Waits until no instance is left in any environment of several hosts.
pub(super) async fn wait_until_empty(client: &Client, printer: Printer) -> Result<(), Failure> {
    let began = Instant::now();
    let mut said = usize::MAX;
    loop {
        let mut left = 0;
        for (scope, ..) in memberships(client).await? {
            if let Reply::Observed { observed } = client.call(Some(&scope), Call::Observe).await? {
                left += observed.instances.len();
            }
        }
        if left == 0 {
            return Ok(());
        }
        if left != said {
            printer.say(format_args!("{}: {left} instances are leaving", client.host()));
            said = left;
        }
        if began.elapsed() > PATIENCE {
            return Err(Failure::new(format!(
                "{left} instances did not leave within {} minutes",
                PATIENCE.as_secs() / 60
            ))
            .hint("slipway status tells which"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
