//! All hosts of an environment as one target, driven by one of them.

use std::{sync::Arc, time::Duration};

use engine::{
    desired::{Desired, Observed},
    group::Group,
    journal::Entry,
    target::{Fence, Level, Target, TargetError, Task, TaskEnd},
};
use stack::Revision;

use crate::{
    asks::{Asked, Asks},
    client::Client,
    clock::SystemClock,
    environment::Environment,
    membership::Membership,
    protocol::{Call, Reply},
    target::HostTarget,
};

/// All hosts of an environment.
pub(crate) type Fleet = Group<OneHost, SystemClock>;

/// How long a host may take to answer a verb before it is left out.
const PATIENCE: Duration = Duration::from_secs(5);

/// One host of an environment, as another one of them drives it.
pub(crate) enum OneHost {
    /// This one.
    Here(HostTarget),
    /// One behind the link.
    There(Asked<There>),
}

/// The way to a host behind the link.
pub(crate) struct There {
    client: Client,
    environment: Arc<Environment>,
}

/// The hosts of an environment, in the order of their list.
pub(crate) fn of_fleet(target: &HostTarget, membership: &Membership) -> Fleet {
    let environment = &target.environment;
    let clients = environment.peers.clients();
    let host = |name: &str| {
        if name == membership.me {
            return Some(OneHost::Here(target.clone()));
        }
        let client = clients.iter().find(|client| client.host() == name)?;
        Some(OneHost::There(Asked(There { client: client.clone(), environment: environment.clone() })))
    };
    let hosts = membership.members.hosts.iter().filter_map(|one| Some((one.name.clone(), host(&one.name)?)));
    Group::new(hosts.collect(), SystemClock, PATIENCE)
}

impl Asks for There {
    /// Nobody waits for a host that was silent at the last looks.
    fn is_gone(&self) -> bool {
        self.environment.peers.is_silent(self.client.host())
    }

    async fn ask(&self, call: Call) -> Result<Reply, TargetError> {
        if self.is_gone() {
            let (host, reason) = (self.client.host().to_owned(), "it has not answered lately".to_owned());
            return Err(TargetError::Unreachable { host, reason });
        }
        self.client.call(Some(&self.environment.scope), call).await
    }
}

impl Target for OneHost {
    async fn lock(&self, holder: &str, ttl: Duration) -> Result<Fence, TargetError> {
        match self {
            Self::Here(target) => target.lock(holder, ttl).await,
            Self::There(target) => target.lock(holder, ttl).await,
        }
    }

    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), TargetError> {
        match self {
            Self::Here(target) => target.renew(fence, ttl).await,
            Self::There(target) => target.renew(fence, ttl).await,
        }
    }

    async fn unlock(&self, fence: Fence) -> Result<(), TargetError> {
        match self {
            Self::Here(target) => target.unlock(fence).await,
            Self::There(target) => target.unlock(fence).await,
        }
    }

    async fn observe(&self) -> Result<Observed, TargetError> {
        match self {
            Self::Here(target) => Box::pin(target.observe()).await,
            Self::There(target) => target.observe().await,
        }
    }

    async fn ship(&self, revision: &Revision, fence: Fence) -> Result<(), TargetError> {
        match self {
            Self::Here(target) => target.ship(revision, fence).await,
            Self::There(target) => target.ship(revision, fence).await,
        }
    }

    async fn want(&self, desired: &Desired, fence: Fence) -> Result<(), TargetError> {
        match self {
            Self::Here(target) => target.want(desired, fence).await,
            Self::There(target) => target.want(desired, fence).await,
        }
    }

    async fn task(&self, task: &Task, fence: Fence) -> Result<TaskEnd, TargetError> {
        match self {
            Self::Here(target) => target.task(task, fence).await,
            Self::There(target) => target.task(task, fence).await,
        }
    }

    async fn journal(&self) -> Result<Vec<Entry>, TargetError> {
        match self {
            Self::Here(target) => target.journal().await,
            Self::There(target) => target.journal().await,
        }
    }

    fn is_gone(&self) -> bool {
        match self {
            Self::Here(_) => false,
            Self::There(target) => Target::is_gone(target),
        }
    }

    async fn level(&self, level: &Level, fence: Fence) -> Result<(), TargetError> {
        match self {
            Self::Here(target) => target.level(level, fence).await,
            Self::There(target) => target.level(level, fence).await,
        }
    }

    async fn append(&self, entry: &Entry, fence: Fence) -> Result<(), TargetError> {
        match self {
            Self::Here(target) => target.append(entry, fence).await,
            Self::There(target) => target.append(entry, fence).await,
        }
    }
}
