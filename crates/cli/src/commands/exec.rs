//! `slipway exec`: a command beside an instance that runs.

use std::io::{Read, Write};

use agent::{Client, ExecOutput, ExecRequest, ExecTarget};
use engine::target::Target;
use tokio::sync::mpsc;

use crate::{
    context::{Place, Reach},
    exit::{Done, Exit, Failure},
    printer::Printer,
};

/// Run a command beside a running instance.
#[derive(Debug, clap::Args)]
pub(crate) struct Exec {
    /// A service, or one of its instances as `slipway status` names them
    name: String,
    /// Only on this host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs it where an instance is, passes everything on as it comes, and ends as it ends.
pub(crate) async fn run(command: &Exec, place: &Place, _: Printer) -> Done {
    let reach = place.reach()?;
    reach.answers().await?;
    let client = host_of(command, &reach).await?;
    pass_on(&client, &reach, ExecTarget::Beside(command.name.clone()), &command.command).await
}

/// The host that has such an instance; the first one when it is a service on several.
async fn host_of(command: &Exec, reach: &Reach) -> Result<Client, Failure> {
    let clients = reach.fleet.clients().await;
    let instances = reach.fleet.observe().await?.instances;
    let fits = |host: &str| command.host.as_deref().is_none_or(|wanted| wanted == host);
    let named = instances.iter().filter(|one| one.id == command.name || one.service.as_str() == command.name);
    let hosts: Vec<&str> = named.map(|one| one.host.as_str()).filter(|host| fits(host)).collect();
    if let Some(client) = clients.into_iter().find(|client| hosts.contains(&client.host())) {
        return Ok(client);
    }
    let failure = Failure::usage(match &command.host {
        Some(host) => format!("no instance of `{}` runs on {host}", command.name),
        None => format!("no instance of `{}` runs in {}", command.name, reach.resolved.name),
    });
    if reach.resolved.stack.services.keys().any(|name| name.as_str() == command.name) {
        return Err(failure.hint(format!("slipway status --env {} shows what runs", reach.resolved.name)));
    }
    let services: Vec<&str> = reach.resolved.stack.services.keys().map(stack::ResourceName::as_str).collect();
    Err(if services.is_empty() { failure } else { failure.hint(format!("there are: {}", services.join(", "))) })
}

/// Runs a command on a host: what is typed here it reads, what it writes is printed here, and this program ends with
/// its exit code.
pub(super) async fn pass_on(client: &Client, reach: &Reach, target: ExecTarget, command: &[String]) -> Done {
    let request = ExecRequest { scope: reach.fleet.scope().clone(), target, command: command.to_vec() };
    let (typed, input) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut piece = vec![0; 32 << 10];
        while let Ok(length) = std::io::stdin().read(&mut piece) {
            if length == 0 || typed.blocking_send(piece[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut exec = client.exec(&request, input).await?;
    loop {
        // A reader that closed the pipe has read enough: the command ends when this program does.
        let written = match exec.next().await? {
            ExecOutput::Out(bytes) => std::io::stdout().write_all(&bytes).and_then(|()| std::io::stdout().flush()),
            ExecOutput::Err(bytes) => std::io::stderr().write_all(&bytes),
            ExecOutput::End(0) => return Ok(Exit::Done),
            ExecOutput::End(code) => std::process::exit(code),
        };
        if written.is_err() {
            std::process::exit(128 + 13);
        }
    }
}
