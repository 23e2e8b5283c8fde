//! All hosts of an environment as one target, driven by one of them.

use std::time::Duration;

use engine::{
    desired::{Desired, Observed},
    group::Group,
    journal::Entry,
    target::{Fence, Level, Target, TargetError, Task, TaskEnd},
};
use stack::Revision;

use crate::{
    client::Client,
    clock::SystemClock,
    membership::Membership,
    protocol::{Call, Reply, Scope},
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
    There(Client, Scope),
}

/// The hosts of an environment, in the order of their list.
pub(crate) fn of_fleet(target: &HostTarget, membership: &Membership) -> Fleet {
    let scope = &target.environment.scope;
    let clients = target.environment.peers.clients();
    let host = |name: &str| {
        if name == membership.me {
            return Some(OneHost::Here(target.clone()));
        }
        let client = clients.iter().find(|client| client.host() == name)?;
        Some(OneHost::There(client.clone(), scope.clone()))
    };
    let hosts = membership.members.hosts.iter().filter_map(|one| Some((one.name.clone(), host(&one.name)?)));
    Group::new(hosts.collect(), SystemClock, PATIENCE)
}

impl OneHost {
    /// Asks a host behind the link.
    async fn ask(client: &Client, scope: &Scope, call: Call) -> Result<Reply, TargetError> {
        client.call(Some(scope), call).await
    }

    async fn tell(client: &Client, scope: &Scope, call: Call) -> Result<(), TargetError> {
        match Self::ask(client, scope, call).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(client, &other)),
        }
    }
}

impl Target for OneHost {
    async fn lock(&self, holder: &str, ttl: Duration) -> Result<Fence, TargetError> {
        match self {
            Self::Here(target) => target.lock(holder, ttl).await,
            Self::There(client, scope) => {
                match Self::ask(client, scope, Call::Lock { holder: holder.to_owned(), ttl_ms: millis(ttl) }).await? {
                    Reply::Fence { fence } => Ok(fence),
                    other => Err(unexpected(client, &other)),
                }
            }
        }
    }

    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), TargetError> {
        match self {
            Self::Here(target) => target.renew(fence, ttl).await,
            Self::There(client, scope) => Self::tell(client, scope, Call::Renew { fence, ttl_ms: millis(ttl) }).await,
        }
    }

    async fn unlock(&self, fence: Fence) -> Result<(), TargetError> {
        match self {
            Self::Here(target) => target.unlock(fence).await,
            Self::There(client, scope) => Self::tell(client, scope, Call::Unlock { fence }).await,
        }
    }

    async fn observe(&self) -> Result<Observed, TargetError> {
        match self {
            Self::Here(target) => Box::pin(target.observe()).await,
            Self::There(client, scope) => match Self::ask(client, scope, Call::Observe).await? {
                Reply::Observed { observed } => Ok(*observed),
                other => Err(unexpected(client, &other)),
            },
        }
    }

    async fn ship(&self, revision: &Revision, fence: Fence) -> Result<(), TargetError> {
        match self {
            Self::Here(target) => target.ship(revision, fence).await,
            Self::There(client, scope) => {
                Self::tell(client, scope, Call::Ship { revision: revision.clone(), fence }).await
            }
        }
    }

    async fn want(&self, desired: &Desired, fence: Fence) -> Result<(), TargetError> {
        match self {
            Self::Here(target) => target.want(desired, fence).await,
            Self::There(client, scope) => {
                Self::tell(client, scope, Call::Want { desired: desired.clone(), fence }).await
            }
        }
    }

    async fn task(&self, task: &Task, fence: Fence) -> Result<TaskEnd, TargetError> {
        match self {
            Self::Here(target) => target.task(task, fence).await,
            Self::There(client, scope) => {
                match Self::ask(client, scope, Call::Task { task: task.clone(), fence }).await? {
                    Reply::Task { end } => Ok(end),
                    other => Err(unexpected(client, &other)),
                }
            }
        }
    }

    async fn journal(&self) -> Result<Vec<Entry>, TargetError> {
        match self {
            Self::Here(target) => target.journal().await,
            Self::There(client, scope) => match Self::ask(client, scope, Call::Journal).await? {
                Reply::Journal { entries } => Ok(entries),
                other => Err(unexpected(client, &other)),
            },
        }
    }

    async fn level(&self, level: &Level, fence: Fence) -> Result<(), TargetError> {
        match self {
            Self::Here(target) => target.level(level, fence).await,
            Self::There(client, scope) => {
                Self::tell(client, scope, Call::Adopt { level: Box::new(level.clone()), fence }).await
            }
        }
    }

    async fn append(&self, entry: &Entry, fence: Fence) -> Result<(), TargetError> {
        match self {
            Self::Here(target) => target.append(entry, fence).await,
            Self::There(client, scope) => Self::tell(client, scope, Call::Append { entry: entry.clone(), fence }).await,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn unexpected(client: &Client, reply: &Reply) -> TargetError {
    let reason = format!("the agent of {} answered something else than was asked: {reply:?}", client.host());
    TargetError::Failed { reason }
}
