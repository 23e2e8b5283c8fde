//! One host of a fleet: the way to its agent, and what it answers as a target.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use agent::{
    Client,
    asks::Asks,
    home::Home,
    protocol::{Call, Reply, Scope},
};
use engine::target::TargetError;
use stack::Revision;

use crate::{
    ship::Shipper,
    ssh::{Destination, Ssh, SshError},
    together::{grace, together},
};

/// From one sign of life to the next, while a host works at what it was asked.
const SIGN: Duration = Duration::from_millis(500);

/// A host whose agent gives no sign for so long is silent. It greets within milliseconds, whatever it works at.
const SILENCE: Duration = Duration::from_secs(3);

/// Home of the agent of a host that was added.
const HOME: &str = "/var/lib/slipway";

/// Where a host is.
#[derive(Debug, Clone)]
pub enum Place {
    /// Over SSH, as in the stack file's `hosts`.
    Ssh(String),
    /// An agent that is reached already.
    Known {
        /// The host's name.
        name: String,
        /// The way to its agent.
        client: Client,
        /// Where its peers reach it.
        address: IpAddr,
    },
}

impl Place {
    /// The host's name, unique in the environment: its destination without the user, without the port where it has none.
    pub fn name(&self) -> String {
        match self {
            Self::Ssh(text) => match Destination::parse(text) {
                Ok(destination) => {
                    let argument = destination.argument();
                    let rest = argument.strip_prefix("ssh://").unwrap_or(argument);
                    rest.rsplit_once('@').map_or(rest, |(_, host)| host).to_owned()
                }
                Err(_) => text.clone(),
            },
            Self::Known { name, .. } => name.clone(),
        }
    }

    /// Where it is, in a message.
    fn destination(&self) -> String {
        match self {
            Self::Ssh(text) => text.clone(),
            Self::Known { name, .. } => name.clone(),
        }
    }
}

/// Why a host cannot take part.
#[derive(Debug, Clone)]
pub(crate) enum Unusable {
    /// No way there.
    Unreachable(String),
    /// Nobody answers there.
    NoAgent(String),
    /// Somebody answers who speaks another language: an agent that is much older or newer.
    Strange(String),
}

impl Unusable {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Unreachable(reason) | Self::NoAgent(reason) | Self::Strange(reason) => reason,
        }
    }
}

/// A host that answers.
#[derive(Debug, Clone)]
pub(crate) struct Reached {
    pub(crate) client: Client,
    pub(crate) ssh: Option<Ssh>,
    /// Version of its agent.
    pub(crate) version: String,
    /// How busy the machine is; 1.0 for each core is busy.
    pub(crate) load: Option<f64>,
    /// Where its peers reach it, when it is known.
    pub(crate) address: Option<IpAddr>,
}

/// A host as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) name: String,
    /// As `slipway host add` takes it.
    pub(crate) destination: String,
    pub(crate) way: Result<Reached, Unusable>,
    /// Why it is not asked any more. It answered once, so it was lost meanwhile: a command waits for it once, not each time
    /// it asks something.
    silent: Arc<OnceLock<String>>,
}

impl Host {
    /// Connects to all of them at the same time. One that is silent while the others answer is given up early.
    pub(crate) async fn reach_all(places: &[Place]) -> Vec<Self> {
        let reached = together(places.iter().cloned().map(Self::reach), |host| host.way.is_ok()).await;
        let given_up = |place: &Place| {
            let (name, destination) = (place.name(), place.destination());
            let said = format!("no connection after {} s, while the others answered", grace());
            let why = SshError::Unreachable { host: name.clone(), said }.to_string();
            Self::new(name, destination, Err(Unusable::Unreachable(why)))
        };
        reached.into_iter().zip(places).map(|(host, place)| host.unwrap_or_else(|| given_up(place))).collect()
    }

    pub(crate) fn new(name: String, destination: String, way: Result<Reached, Unusable>) -> Self {
        Self { name, destination, way, silent: Arc::default() }
    }

    /// Connects to a host and greets its agent.
    pub(crate) async fn reach(place: Place) -> Self {
        let (name, destination) = (place.name(), place.destination());
        let way = match place {
            Place::Ssh(destination) => over_ssh(&destination, &name).await,
            Place::Known { client, address, .. } => greet(client, None, Some(address)).await,
        };
        Self::new(name, destination, way)
    }

    /// The way to its agent, as long as it answers.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.way.as_ref().ok().filter(|_| self.silent.get().is_none()).map(|reached| &reached.client)
    }

    /// Why it has no part in anything.
    pub(crate) fn why_not(&self) -> Option<String> {
        let unusable = self.way.as_ref().err().map(|why| why.reason().to_owned());
        unusable.or_else(|| self.silent.get().cloned())
    }

    /// Nobody asks it any more.
    pub(crate) fn give_up(&self, why: String) {
        let _known_already = self.silent.set(why);
    }

    /// What its agent answers, which may take its time as long as it gives signs of life. One that gives none is given up.
    pub(crate) async fn ask<V, F>(&self, ask: impl FnOnce(Client) -> F) -> Result<V, TargetError>
    where
        F: Future<Output = Result<V, TargetError>>,
    {
        self.is_asked()?;
        let reached = self.way.as_ref().map_err(|why| self.error(why))?;
        let silence = async {
            loop {
                tokio::time::sleep(SIGN).await;
                if tokio::time::timeout(SILENCE, reached.client.call(None, Call::Info)).await.is_err() {
                    return format!("it said nothing for {} s", SILENCE.as_secs());
                }
            }
        };
        tokio::select! {
            biased;
            answer = ask(reached.client.clone()) => answer,
            why = silence => {
                self.give_up(why.clone());
                Err(TargetError::Unreachable { host: self.name.clone(), reason: why })
            }
        }
    }

    /// Fails when it was given up.
    fn is_asked(&self) -> Result<(), TargetError> {
        let Some(why) = self.silent.get() else { return Ok(()) };
        Err(TargetError::Unreachable { host: self.name.clone(), reason: why.clone() })
    }

    pub(crate) fn error(&self, why: &Unusable) -> TargetError {
        TargetError::Unreachable { host: self.name.clone(), reason: why.reason().to_owned() }
    }
}

async fn over_ssh(destination: &str, name: &str) -> Result<Reached, Unusable> {
    let unreachable = |error: SshError| Unusable::Unreachable(error.to_string());
    let ssh = Ssh::connect(destination).await.map_err(unreachable)?;
    let socket = ssh.forward(&Home::at(HOME).agent_socket()).await.map_err(unreachable)?;
    let host = ssh.host().to_owned();
    let mut reached = greet(Client::over(socket, name.to_owned()), Some(ssh), None).await?;
    if reached.address.is_none() {
        reached.address = resolve(&host).await;
    }
    Ok(reached)
}

/// The address a name stands for here.
async fn resolve(host: &str) -> Option<IpAddr> {
    let found = tokio::net::lookup_host((host, 0)).await.ok()?;
    found.map(|address| address.ip()).min_by_key(IpAddr::is_ipv6)
}

async fn greet(client: Client, ssh: Option<Ssh>, address: Option<IpAddr>) -> Result<Reached, Unusable> {
    match client.call(None, Call::Info).await {
        Ok(Reply::Info { version, host, load, .. }) => {
            let address = address.or(host.map(|host| host.address));
            Ok(Reached { client, ssh, version, load, address })
        }
        Ok(other) => Err(Unusable::Strange(format!("it answered something else than was asked: {other:?}"))),
        Err(TargetError::Unreachable { reason, .. }) => Err(Unusable::NoAgent(reason)),
        Err(error) => Err(Unusable::Strange(error.to_string())),
    }
}

/// One host of an environment, as the engine drives it.
#[derive(Debug, Clone)]
pub(crate) struct HostTarget {
    pub(crate) host: Host,
    pub(crate) scope: Scope,
    pub(crate) shipper: Shipper,
}

impl Asks for HostTarget {
    /// Asks the agent. A connection that broke is made again for the next call.
    async fn ask(&self, call: Call) -> Result<Reply, TargetError> {
        self.host.is_asked()?;
        let reached = self.host.way.as_ref().map_err(|why| self.host.error(why))?;
        let answer = reached.client.call(Some(&self.scope), call).await;
        if let (Err(TargetError::Unreachable { .. }), Some(ssh)) = (&answer, &reached.ssh)
            && let Err(error) = ssh.ensure().await
        {
            return Err(TargetError::Unreachable { host: self.host.name.clone(), reason: error.to_string() });
        }
        answer
    }

    fn is_gone(&self) -> bool {
        self.host.client().is_none()
    }

    async fn bring(&self, revision: &Revision) -> Result<(), TargetError> {
        let reached = self.host.way.as_ref().map_err(|why| self.host.error(why))?;
        self.shipper.send(&reached.client, &revision.release).await.map(drop)
    }
}
