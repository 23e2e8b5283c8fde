//! An agent as the engine's target, however it is reached.

use std::time::Duration;

use engine::{
    desired::{Desired, Observed},
    journal::Entry,
    target::{Fence, Level, Target, TargetError, Task, TaskEnd},
};
use stack::Revision;

use crate::protocol::{Call, Reply};

/// A way to one environment of one agent.
#[expect(async_fn_in_trait, reason = "callers name the way's type, so no bound on the future is ever needed")]
pub trait Asks {
    /// Asks once. Fails with `Unreachable` when no answer comes; the call may or may not have been done.
    async fn ask(&self, call: Call) -> Result<Reply, TargetError>;

    /// Whether the host is known not to answer.
    fn is_gone(&self) -> bool {
        false
    }

    /// Brings what the host lacks of a revision, before the agent is told to verify it. By default there is nothing
    /// to bring.
    async fn bring(&self, _revision: &Revision) -> Result<(), TargetError> {
        Ok(())
    }
}

/// The target behind a way to an agent.
#[derive(Debug, Clone)]
pub struct Asked<A>(pub A);

impl<A> std::ops::Deref for Asked<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.0
    }
}

impl<A: Asks> Asked<A> {
    async fn tell(&self, call: Call) -> Result<(), TargetError> {
        match self.0.ask(call).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

impl<A: Asks> Target for Asked<A> {
    async fn lock(&self, holder: &str, ttl: Duration) -> Result<Fence, TargetError> {
        match self.0.ask(Call::Lock { holder: holder.to_owned(), ttl_ms: millis(ttl) }).await? {
            Reply::Fence { fence } => Ok(fence),
            other => Err(unexpected(&other)),
        }
    }

    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), TargetError> {
        self.tell(Call::Renew { fence, ttl_ms: millis(ttl) }).await
    }

    async fn unlock(&self, fence: Fence) -> Result<(), TargetError> {
        self.tell(Call::Unlock { fence }).await
    }

    async fn observe(&self) -> Result<Observed, TargetError> {
        match self.0.ask(Call::Observe).await? {
            Reply::Observed { observed } => Ok(*observed),
            other => Err(unexpected(&other)),
        }
    }

    async fn ship(&self, revision: &Revision, fence: Fence) -> Result<(), TargetError> {
        self.0.bring(revision).await?;
        self.tell(Call::Ship { revision: revision.clone(), fence }).await
    }

    async fn want(&self, desired: &Desired, fence: Fence) -> Result<(), TargetError> {
        self.tell(Call::Want { desired: desired.clone(), fence }).await
    }

    async fn task(&self, task: &Task, fence: Fence) -> Result<TaskEnd, TargetError> {
        match self.0.ask(Call::Task { task: task.clone(), fence }).await? {
            Reply::Task { end } => Ok(end),
            other => Err(unexpected(&other)),
        }
    }

    async fn journal(&self) -> Result<Vec<Entry>, TargetError> {
        match self.0.ask(Call::Journal).await? {
            Reply::Journal { entries } => Ok(entries),
            other => Err(unexpected(&other)),
        }
    }

    async fn append(&self, entry: &Entry, fence: Fence) -> Result<(), TargetError> {
        self.tell(Call::Append { entry: entry.clone(), fence }).await
    }

    fn is_gone(&self) -> bool {
        self.0.is_gone()
    }

    async fn level(&self, level: &Level, fence: Fence) -> Result<(), TargetError> {
        self.tell(Call::Adopt { level: Box::new(level.clone()), fence }).await
    }
}

/// A reply that does not belong to the call.
pub fn unexpected(reply: &Reply) -> TargetError {
    TargetError::Failed { reason: format!("the agent answered something else than was asked: {reply:?}") }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
