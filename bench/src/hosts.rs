//! A fleet of agents of this machine, each with a home of its own, reached without SSH.

use std::{net::IpAddr, process::Command, time::Duration};

use agent::{
    Client,
    home::Home,
    protocol::{Call, Scope},
};
use fleet::{Fleet, Place};

use crate::{
    fault::{Doing, Fault},
    process::Running,
    stand::slipway,
};

/// So many agents, and the folder of somebody who deploys to them.
#[derive(Debug)]
pub(crate) struct Hosts {
    folder: tempfile::TempDir,
    names: Vec<String>,
    net: u8,
    _agents: Vec<Running>,
}

impl Hosts {
    /// Agents that answer.
    pub(crate) fn start(count: u8) -> Result<Self, Fault> {
        // short, because unix sockets lie in it
        let folder = tempfile::Builder::new().prefix("sf").tempdir_in("/tmp").doing("no temporary folder")?;
        let names: Vec<String> = (1..=count).map(|number| format!("h{number}")).collect();
        let mut agents = Vec::new();
        for name in &names {
            let home = folder.path().join(name);
            let mut command = Command::new(slipway()?);
            command.args(["agent", "--home"]).arg(&home).env("SLIPWAY_LOG", "error");
            agents.push(Running::start("an agent", &mut command)?);
        }
        for (agent, name) in agents.iter_mut().zip(&names) {
            let socket = Home::at(folder.path().join(name)).agent_socket();
            agent.wait_until(|| std::os::unix::net::UnixStream::connect(&socket).is_ok())?;
        }
        Ok(Self { folder, names, net: rand::random(), _agents: agents })
    }

    /// The environment they are.
    pub(crate) fn fleet(&self) -> Result<Fleet, Fault> {
        let place = |(index, name): (usize, &String)| {
            let socket = Home::at(self.folder.path().join(name)).agent_socket();
            let last = u8::try_from(index + 1).unwrap_or(u8::MAX);
            let address = IpAddr::from([127, 77, self.net, last]);
            Place::Known { name: name.clone(), client: Client::over(socket, name.clone()), address }
        };
        let scope = Scope { app: "harbour".parse().doing("app")?, environment: "live".parse().doing("environment")? };
        let places = self.names.iter().enumerate().map(place).collect();
        Ok(Fleet::of_hosts(self.laptop(), scope, places))
    }

    fn laptop(&self) -> Home {
        Home::at(self.folder.path().join("laptop"))
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // an agent with nothing to look after ends its edge as well
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        for name in &self.names {
            let client = Client::over(Home::at(self.folder.path().join(name)).agent_socket(), name.clone());
            let ended = async { tokio::time::timeout(Duration::from_secs(5), client.call(None, Call::Shutdown)).await };
            drop(runtime.block_on(ended));
        }
    }
}
