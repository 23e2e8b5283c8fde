//! The hosts of an environment as one target: this machine alone, or many over SSH.

use std::{path::PathBuf, sync::Arc, time::Duration};

use agent::{SystemClock, asks::Asked, home::Home, protocol::Scope};
use engine::{
    desired::{Desired, Lost, Observed},
    group::Group,
    journal::Entry,
    target::{Fence, Target, TargetError, Task, TaskEnd},
};
use release::Store;
use stack::{AppName, Problems, Revision};
use tokio::sync::OnceCell;

use crate::{
    Local, Turn,
    host::{Host, HostTarget, Place},
    ship::Shipper,
};

mod asks;
mod care;
mod ready;

/// How long a host may be silent within one verb before it is left out.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many releases stay on a host after a deploy, beside those that run or may be gone back to.
pub const KEPT_RELEASES: usize = 5;

/// Why a fleet cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Hosts that cannot take part: every one of them, with its mend. Nothing was changed.
    #[error("{0}")]
    Hosts(Problems),
    /// A host failed.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The releases of this machine cannot be read.
    #[error(transparent)]
    Store(#[from] release::StoreError),
}

/// One environment of an app on its hosts.
///
/// Nothing is asked and nobody is connected to before the first call.
#[derive(Debug)]
pub struct Fleet {
    scope: Scope,
    home: Home,
    ways: Ways,
}

#[derive(Debug)]
enum Ways {
    /// This machine, without SSH.
    Here(Asked<Local>),
    /// Hosts with agents of their own.
    Hosts(Box<Hosts>),
}

#[derive(Debug)]
struct Hosts {
    places: Vec<Place>,
    /// So many hosts may be lost when a deploy begins.
    max_fail: usize,
    /// Connected to once, shared by all environments that are looked at.
    found: Arc<OnceCell<Vec<Host>>>,
    shipper: OnceCell<Shipper>,
    group: OnceCell<Group<Asked<HostTarget>, SystemClock>>,
}

/// A host of a fleet as it was found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where it is, as in the stack file; nothing for this machine.
    pub destination: Option<String>,
    /// Whether its agent answers.
    pub alive: bool,
    /// Why it does not.
    pub why: Option<String>,
    /// Version of its agent.
    pub version: Option<String>,
    /// No instances are to run on it.
    pub drained: bool,
    /// Processes that want to run, over the last minute, for each core: 1.0 is busy.
    pub load: Option<f64>,
}

/// What was done for a host that lagged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Healed {
    /// Which.
    pub host: String,
    /// In words; nothing when it was level already.
    pub done: Vec<String>,
    /// Why it is not level.
    pub failed: Option<String>,
}

impl Fleet {
    /// This machine: the environment `scope` of the agent of `home`, which is `binary` and is started when needed.
    pub fn here(binary: PathBuf, home: Home, scope: Scope) -> Self {
        let local = Local::new(binary, home.clone(), scope.clone());
        Self { scope, home, ways: Ways::Here(Asked(local)) }
    }

    /// Hosts, in order. Releases are sent from the store of `home`, this machine's own folder.
    pub fn of_hosts(home: Home, scope: Scope, places: Vec<Place>) -> Self {
        Self::over(home, scope, places, 0, Arc::default())
    }

    /// Lets a deploy begin while so many hosts do not answer, as long as more than half do.
    #[must_use]
    pub fn allow_lost(mut self, max_fail: usize) -> Self {
        if let Ways::Hosts(hosts) = &mut self.ways {
            hosts.max_fail = max_fail;
        }
        self
    }

    fn over(home: Home, scope: Scope, places: Vec<Place>, max_fail: usize, found: Arc<OnceCell<Vec<Host>>>) -> Self {
        let hosts = Hosts { places, max_fail, found, shipper: OnceCell::new(), group: OnceCell::new() };
        Self { scope, home, ways: Ways::Hosts(Box::new(hosts)) }
    }

    /// Another environment of the same agents, over the same connections.
    #[must_use]
    pub fn of(&self, scope: Scope) -> Self {
        match &self.ways {
            Ways::Here(local) => {
                let ways = Ways::Here(Asked(local.0.of(scope.clone())));
                Self { scope, home: self.home.clone(), ways }
            }
            Ways::Hosts(hosts) => {
                Self::over(self.home.clone(), scope, hosts.places.clone(), hosts.max_fail, hosts.found.clone())
            }
        }
    }

    /// Which environment.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether it is this machine alone, without SSH.
    pub fn is_here(&self) -> bool {
        matches!(self.ways, Ways::Here(_))
    }

    /// This machine, when the fleet is it.
    pub fn local(&self) -> Option<&Local> {
        match &self.ways {
            Ways::Here(local) => Some(&local.0),
            Ways::Hosts(_) => None,
        }
    }

    /// Takes this machine's turn at deploying the environment; `None` while another command here has it.
    pub fn turn(&self) -> std::io::Result<Option<Turn>> {
        Turn::take(&self.home.environment(&self.scope))
    }

    async fn group(&self) -> Result<&Group<Asked<HostTarget>, SystemClock>, TargetError> {
        let Ways::Hosts(hosts) = &self.ways else {
            return Err(TargetError::Failed { reason: "this machine is no group of hosts".to_owned() });
        };
        hosts.group(&self.home, &self.scope).await
    }
}

impl Hosts {
    async fn found(&self) -> &Vec<Host> {
        self.found.get_or_init(|| Host::reach_all(&self.places)).await
    }

    /// Hosts that were asked as a group and did not answer are not asked again.
    async fn give_up_silent(&self) {
        let Some(group) = self.group.get() else { return };
        for host in self.found().await.iter().filter(|host| group.unheard().contains(&host.name)) {
            host.give_up("it did not answer a moment ago".to_owned());
        }
    }

    fn shipper(&self, home: &Home, app: &AppName) -> Result<Shipper, release::StoreError> {
        if let Some(shipper) = self.shipper.get() {
            return Ok(shipper.clone());
        }
        let made = Shipper::new(Store::open(home.store())?, app.clone());
        // of two that were made at once the first counts
        drop(self.shipper.set(made.clone()));
        Ok(self.shipper.get().cloned().unwrap_or(made))
    }

    async fn group(&self, home: &Home, scope: &Scope) -> Result<&Group<Asked<HostTarget>, SystemClock>, TargetError> {
        let make = || async {
            let failed = |error: release::StoreError| TargetError::Failed { reason: error.to_string() };
            let shipper = self.shipper(home, &scope.app).map_err(failed)?;
            let target = |host: &Host| {
                let target = HostTarget { host: host.clone(), scope: scope.clone(), shipper: shipper.clone() };
                (host.name.clone(), Asked(target))
            };
            Ok(Group::new(self.found().await.iter().map(target).collect(), SystemClock, PATIENCE))
        };
        self.group.get_or_try_init(make).await
    }
}

impl Target for Fleet {
    async fn lock(&self, holder: &str, ttl: Duration) -> Result<Fence, TargetError> {
        match &self.ways {
            Ways::Here(local) => local.lock(holder, ttl).await,
            Ways::Hosts(_) => self.group().await?.lock(holder, ttl).await,
        }
    }

    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), TargetError> {
        match &self.ways {
            Ways::Here(local) => local.renew(fence, ttl).await,
            Ways::Hosts(_) => self.group().await?.renew(fence, ttl).await,
        }
    }

    async fn unlock(&self, fence: Fence) -> Result<(), TargetError> {
        match &self.ways {
            Ways::Here(local) => local.unlock(fence).await,
            Ways::Hosts(_) => self.group().await?.unlock(fence).await,
        }
    }

    async fn observe(&self) -> Result<Observed, TargetError> {
        match &self.ways {
            Ways::Here(local) => local.observe().await,
            Ways::Hosts(_) => self.group().await?.observe().await,
        }
    }

    async fn ship(&self, revision: &Revision, fence: Fence) -> Result<(), TargetError> {
        match &self.ways {
            Ways::Here(local) => local.ship(revision, fence).await,
            Ways::Hosts(_) => self.group().await?.ship(revision, fence).await,
        }
    }

    async fn want(&self, desired: &Desired, fence: Fence) -> Result<(), TargetError> {
        match &self.ways {
            Ways::Here(local) => local.want(desired, fence).await,
            Ways::Hosts(_) => self.group().await?.want(desired, fence).await,
        }
    }

    async fn task(&self, task: &Task, fence: Fence) -> Result<TaskEnd, TargetError> {
        match &self.ways {
            Ways::Here(local) => local.task(task, fence).await,
            Ways::Hosts(_) => self.group().await?.task(task, fence).await,
        }
    }

    async fn journal(&self) -> Result<Vec<Entry>, TargetError> {
        match &self.ways {
            Ways::Here(local) => local.journal().await,
            Ways::Hosts(_) => self.group().await?.journal().await,
        }
    }

    async fn append(&self, entry: &Entry, fence: Fence) -> Result<(), TargetError> {
        match &self.ways {
            Ways::Here(local) => local.append(entry, fence).await,
            Ways::Hosts(_) => self.group().await?.append(entry, fence).await,
        }
    }

    fn left_out(&self) -> Vec<Lost> {
        match &self.ways {
            Ways::Here(_) => Vec::new(),
            Ways::Hosts(hosts) => hosts.group.get().map(Group::lost).unwrap_or_default(),
        }
    }
}
