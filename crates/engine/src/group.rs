//! Many targets as one: an environment whose hosts are each a [`Target`], driven as if they were a single one.
//!
//! - A lease is held when more than half of the hosts gave it (of two hosts, both). Its token is the largest of the
//!   hosts' own tokens, and each host is asked with its own.
//! - Taking the lease makes the hosts level: one that was away gets the entries it lacks, and loses those that the group
//!   never had.
//! - A host that does not answer within the patience, or that cannot take an entry or a desired state, is left out for
//!   the rest of the lease, as long as more than half are left. [`Observed::lost`] names it.
//! - An entry is durable on every host that is not left out before `append` returns, so on more than half, so whoever
//!   takes the lease next finds it.
//!
//! Why this is safe: two leases have a host in common, so their tokens rise; each entry says under which token it was
//! written; of two journals that differ the one that ends with the newer token counts, then the longer. A lease writes an
//! entry of its own before it does anything else (a deploy its start, a recovery a note), so what was acted on is never
//! dropped for something older. Nothing here waits for a host that is left out.
//!
//! - [`merge`]: many journals, many observations, one; what a host that was away should hold
//! - [`asking`](self): every host at the same time, each with patience

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use jiff::Timestamp;
use stack::Revision;

use crate::{
    clock::{Clock, since},
    desired::{Desired, Lost, Observed},
    journal::Entry,
    target::{Fence, Level, Target, TargetError, Task, TaskEnd},
};

mod ask;
mod lease;
pub mod merge;

use ask::{Manner, Refusal};
use merge::Expected;

/// Many targets as one. With one member it is that member.
#[derive(Debug)]
pub struct Group<T, C> {
    members: Vec<(String, T)>,
    clock: C,
    patience: Duration,
    state: Mutex<State>,
    /// Who waits for an answer, or for the host to be left out.
    waiting: Mutex<Vec<Waker>>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// As of the last lease, or the last look without one.
    lost: Vec<Lost>,
    /// Those of them that did not answer.
    silent: Vec<String>,
}

/// The lease of the group.
#[derive(Debug)]
struct Held {
    fence: Fence,
    ttl: Duration,
    /// One for each member.
    hosts: Vec<Standing>,
    /// The journal of this lease, with what is being written.
    journal: Vec<Entry>,
    /// So many of its entries are on every host that is not left out.
    settled: usize,
    /// What was wanted last.
    wanted: Option<Desired>,
}

/// How a host takes part in a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// It gave its lease.
    In {
        /// Its own token.
        fence: Fence,
        /// When it was last asked for more time and gave it.
        renewed: Timestamp,
    },
    /// It is left out.
    Out {
        /// Why.
        why: String,
        /// It did not answer; otherwise it refused.
        silent: bool,
        /// When whatever lease it gave has lapsed.
        lapses: Timestamp,
    },
}

impl<T: Target, C: Clock> Group<T, C> {
    /// Hosts in order, each with its unique name. `patience` is how long a host may be silent within one verb before
    /// it is left out; while a lease is kept, at most a quarter of the lease.
    pub fn new(members: Vec<(String, T)>, clock: C, patience: Duration) -> Self {
        Self { members, clock, patience, state: Mutex::default(), waiting: Mutex::default() }
    }

    /// Names and targets, in order.
    pub fn members(&self) -> &[(String, T)] {
        &self.members
    }

    /// Hosts that are left out of the lease, or that did not answer the last look without a lease.
    pub fn lost(&self) -> Vec<Lost> {
        self.state().lost.clone()
    }

    /// Names of those that are lost because they did not answer: there is no use in asking them again soon.
    pub fn unheard(&self) -> Vec<String> {
        self.state().silent.clone()
    }

    /// More than half of the hosts.
    pub fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// The member that is the whole group.
    fn single(&self) -> Option<&T> {
        match &self.members[..] {
            [(_, target)] => Some(target),
            _ => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // nothing below panics half way through a change
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hosts of the lease `fence`, each with its own token.
    fn hosts_of(&self, fence: Fence) -> Result<Vec<(usize, Fence)>, TargetError> {
        let state = self.state();
        let current = state.held.as_ref().map_or(0, |held| held.fence.0);
        let held = state.held.as_ref().filter(|held| held.fence == fence);
        held.map(Held::hosts_in).ok_or(TargetError::Fenced { given: fence.0, current })
    }

    /// How long a host may be silent while the lease of `ttl` is kept.
    fn short(&self, ttl: Duration) -> Duration {
        self.patience.min(ttl / 4)
    }

    /// Writes what this lease's journal has and the hosts may lack.
    async fn flush(&self, fence: Fence) -> Result<(), TargetError> {
        let who = self.hosts_of(fence)?;
        let pending = match &self.state().held {
            Some(held) => held.journal[held.settled..].to_vec(),
            None => Vec::new(),
        };
        if pending.is_empty() {
            return Ok(());
        }
        let pending = &pending;
        let answers = self
            .everywhere(who, Manner::Again(self.patience), |target, fence| async move {
                for entry in pending {
                    target.append(entry, fence).await?;
                }
                Ok(())
            })
            .await;
        self.settle(fence, answers, Refusal::LeavesOut)?;
        if let Some(held) = &mut self.state().held {
            held.settled += pending.len();
        }
        Ok(())
    }

    /// A task that is done once, by the first host that lives.
    async fn task_once(&self, task: &Task, fence: Fence) -> Result<TaskEnd, TargetError> {
        loop {
            let Some((place, own)) = self.hosts_of(fence)?.into_iter().next() else {
                return Err(self.silent("no host is left".to_owned()));
            };
            let answer = self.ask(place, Manner::Long(self.patience), |target| target.task(task, own)).await;
            if let Err(TargetError::Unreachable { .. }) = answer {
                self.settle(fence, vec![(place, answer)], Refusal::IsTold)?;
                // a task that waits on the lost host must not begin after the one on the next host: there it is refused
                // once the lease has lapsed
                let lapses = match self.state().held.as_ref().map(|held| &held.hosts[place]) {
                    Some(Standing::Out { lapses, .. }) => *lapses,
                    _ => continue,
                };
                let left = since(lapses, self.clock.now());
                if !left.is_zero() {
                    self.clock.sleep(left).await;
                }
                continue;
            }
            return self.settle(fence, vec![(place, answer)], Refusal::IsTold).and_then(|ended| {
                ended.into_iter().next().map(|(_, end)| end).ok_or_else(|| self.silent("no host is left".to_owned()))
            });
        }
    }

    fn silent(&self, reason: String) -> TargetError {
        let host = self.members.first().map_or_else(String::new, |(name, _)| name.clone());
        TargetError::Unreachable { host, reason }
    }
}

impl Held {
    fn hosts_in(&self) -> Vec<(usize, Fence)> {
        let fence = |(place, standing): (usize, &Standing)| match standing {
            Standing::In { fence, .. } => Some((place, *fence)),
            Standing::Out { .. } => None,
        };
        self.hosts.iter().enumerate().filter_map(fence).collect()
    }

    fn lost(&self, names: impl Iterator<Item = String>) -> Vec<Lost> {
        let lost = |(host, standing): (String, &Standing)| match standing {
            Standing::In { .. } => None,
            Standing::Out { why, .. } => Some(Lost { host, why: why.clone() }),
        };
        names.zip(&self.hosts).filter_map(lost).collect()
    }

    fn silent(&self, names: impl Iterator<Item = String>) -> Vec<String> {
        let silent = |standing: &Standing| matches!(standing, Standing::Out { silent: true, .. });
        names.zip(&self.hosts).filter(|(_, standing)| silent(standing)).map(|(host, _)| host).collect()
    }
}

impl<T: Target, C: Clock> Target for Group<T, C> {
    async fn lock(&self, holder: &str, ttl: Duration) -> Result<Fence, TargetError> {
        match self.single() {
            Some(target) => target.lock(holder, ttl).await,
            None => Box::pin(self.take(holder, ttl)).await,
        }
    }

    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), TargetError> {
        if let Some(target) = self.single() {
            return target.renew(fence, ttl).await;
        }
        let (who, asked) = (self.hosts_of(fence)?, self.clock.now());
        let manner = Manner::Again(self.short(ttl));
        let answers = self.everywhere(who, manner, |target, fence| target.renew(fence, ttl)).await;
        // also those of a majority that is not there any more: their leases live on
        if let Some(held) = self.state().held.as_mut().filter(|held| held.fence == fence) {
            held.ttl = ttl;
            for (place, answer) in &answers {
                if let (Ok(()), Standing::In { renewed, .. }) = (answer, &mut held.hosts[*place]) {
                    *renewed = asked;
                }
            }
        }
        self.settle(fence, answers, Refusal::IsTold).map(drop)
    }

    async fn unlock(&self, fence: Fence) -> Result<(), TargetError> {
        if let Some(target) = self.single() {
            return target.unlock(fence).await;
        }
        let Ok(who) = self.hosts_of(fence) else { return Ok(()) };
        let manner = Manner::Again(self.patience);
        let answers = self.everywhere(who, manner, T::unlock).await;
        self.settle(fence, answers, Refusal::LeavesOut)?;
        self.state().held = None;
        Ok(())
    }

    async fn observe(&self) -> Result<Observed, TargetError> {
        if let Some(target) = self.single() {
            return target.observe().await;
        }
        let fence = self.state().held.as_ref().map(|held| held.fence);
        let names = |place: usize| self.members[place].0.clone();
        let Some(fence) = fence else {
            let seen = self.look(T::observe).await?;
            let seen = seen.into_iter().map(|(place, seen)| (names(place), seen)).collect();
            return Ok(merge::observations(seen, self.lost(), &Expected::Nothing));
        };
        let who = self.hosts_of(fence)?;
        let answers = self.everywhere(who, Manner::Again(self.patience), |target, _| target.observe()).await;
        let seen = self.settle(fence, answers, Refusal::IsTold)?;
        let seen = seen.into_iter().map(|(place, seen)| (names(place), seen)).collect();
        let expected = self.state().held.as_ref().map_or(Expected::Nothing, |held| match &held.wanted {
            Some(wanted) => Expected::This(wanted.clone()),
            None => Expected::of(&held.journal),
        });
        Ok(merge::observations(seen, self.lost(), &expected))
    }

    async fn ship(&self, revision: &Revision, fence: Fence) -> Result<(), TargetError> {
        if let Some(target) = self.single() {
            return target.ship(revision, fence).await;
        }
        let (who, manner) = (self.hosts_of(fence)?, Manner::Long(self.patience));
        let answers = self.everywhere(who, manner, |target, fence| target.ship(revision, fence)).await;
        self.settle(fence, answers, Refusal::IsTold).map(drop)
    }

    async fn want(&self, desired: &Desired, fence: Fence) -> Result<(), TargetError> {
        if let Some(target) = self.single() {
            return target.want(desired, fence).await;
        }
        let who = self.hosts_of(fence)?;
        if let Some(held) = &mut self.state().held {
            held.wanted = Some(desired.clone());
        }
        let manner = Manner::Again(self.patience);
        let answers = self.everywhere(who, manner, |target, fence| target.want(desired, fence)).await;
        self.settle(fence, answers, Refusal::LeavesOut).map(drop)
    }

    async fn task(&self, task: &Task, fence: Fence) -> Result<TaskEnd, TargetError> {
        if let Some(target) = self.single() {
            return target.task(task, fence).await;
        }
        if !matches!(task, Task::Preflight { .. }) {
            return Box::pin(self.task_once(task, fence)).await;
        }
        let (who, manner) = (self.hosts_of(fence)?, Manner::Long(self.patience));
        let answers = self.everywhere(who, manner, |target, fence| target.task(task, fence)).await;
        self.settle(fence, answers, Refusal::IsTold).map(|_| TaskEnd::Done)
    }

    async fn journal(&self) -> Result<Vec<Entry>, TargetError> {
        if let Some(target) = self.single() {
            return target.journal().await;
        }
        let fence = self.state().held.as_ref().map(|held| held.fence);
        if let Some(fence) = fence {
            // what was being written may be on some host already, so it counts, and must be on all
            self.flush(fence).await?;
            if let Some(held) = &self.state().held {
                return Ok(held.journal.clone());
            }
        }
        let seen = self.look(T::journal).await?;
        Ok(merge::journals(seen.into_iter().map(|(_, journal)| journal)))
    }

    async fn append(&self, entry: &Entry, fence: Fence) -> Result<(), TargetError> {
        if let Some(target) = self.single() {
            return target.append(entry, fence).await;
        }
        self.hosts_of(fence)?;
        if let Some(held) = &mut self.state().held
            && !held.journal.iter().rev().any(|old| old == entry)
        {
            held.journal.push(entry.clone());
        }
        self.flush(fence).await
    }

    fn left_out(&self) -> Vec<Lost> {
        self.lost()
    }

    async fn level(&self, level: &Level, fence: Fence) -> Result<(), TargetError> {
        match self.single() {
            Some(target) => target.level(level, fence).await,
            None => Err(TargetError::Failed { reason: "a group of hosts is no host of a group".to_owned() }),
        }
    }
}
