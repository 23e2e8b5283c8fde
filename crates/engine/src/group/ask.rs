//! Asks hosts: every one at the same time, each with patience, and what the answers mean for the lease.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::{Pin, pin},
    sync::PoisonError,
    task::{Poll, Waker},
    time::Duration,
};

use super::{Group, Standing, State};
use crate::{
    clock::{Clock, since},
    desired::Lost,
    session::{Either, either},
    target::{Fence, Target, TargetError},
};

/// Between two tries of one verb; doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How a host is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    /// One try, for so long.
    Once(Duration),
    /// Again and again while it does not answer, for so long in all.
    Again(Duration),
    /// It may work for as long as it likes; again and again once it does not answer, for so long.
    Long(Duration),
}

/// What it means that a host refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is left out, as if it did not answer: the others go on.
    LeavesOut,
    /// The verb fails, with the reasons of every host.
    IsTold,
}

impl<T: Target, C: Clock> Group<T, C> {
    /// Asks one host.
    pub(super) async fn ask<'a, V, F>(
        &'a self,
        place: usize,
        manner: Manner,
        verb: impl Fn(&'a T) -> F,
    ) -> Result<V, TargetError>
    where
        F: Future<Output = Result<V, TargetError>>,
    {
        let target = &self.members[place].1;
        let (mut silent_since, mut wait) = (self.clock.now(), FIRST_WAIT);
        loop {
            let asked = self.clock.now();
            let (answer, limit) = match manner {
                Manner::Once(time) => return self.within(place, time, verb(target)).await,
                Manner::Again(limit) => {
                    let left = limit.saturating_sub(since(asked, silent_since)).max(FIRST_WAIT);
                    (self.within(place, left, self.unless_out(place, verb(target))).await, limit)
                }
                Manner::Long(limit) => (self.unless_out(place, verb(target)).await, limit),
            };
            let now = self.clock.now();
            if matches!(manner, Manner::Long(_)) && since(now, asked) > limit {
                silent_since = now; // it answered until now
            }
            let again = matches!(answer, Err(TargetError::Unreachable { .. }));
            let again = again && !self.is_out(place) && !target.is_gone();
            if !again || since(now, silent_since) + wait >= limit {
                return answer;
            }
            self.clock.sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Asks all of `who`.
    pub(super) async fn everywhere<'a, V, F>(
        &'a self,
        who: Vec<(usize, Fence)>,
        manner: Manner,
        verb: impl Fn(&'a T, Fence) -> F,
    ) -> Vec<(usize, Result<V, TargetError>)>
    where
        F: Future<Output = Result<V, TargetError>>,
    {
        let verb = &verb;
        let ask = |(place, fence)| async move { (place, self.ask(place, manner, |target| verb(target, fence)).await) };
        join(who.into_iter().map(ask)).await
    }

    /// Asks every host once, without a lease. Fails only when none answers.
    pub(super) async fn look<'a, V, F>(&'a self, verb: impl Fn(&'a T) -> F) -> Result<Vec<(usize, V)>, TargetError>
    where
        F: Future<Output = Result<V, TargetError>>,
    {
        let who = (0..self.members.len()).map(|place| (place, Fence::default())).collect();
        let answers = self.everywhere(who, Manner::Once(self.patience), |target, _| verb(target)).await;
        let (mut seen, mut lost, mut silent, mut first) = (Vec::new(), Vec::new(), Vec::new(), None);
        for (place, answer) in answers {
            match answer {
                Ok(value) => seen.push((place, value)),
                Err(error) => {
                    if matches!(error, TargetError::Unreachable { .. }) {
                        silent.push(self.members[place].0.clone());
                    }
                    lost.push(Lost { host: self.members[place].0.clone(), why: reason(&error) });
                    first.get_or_insert(error);
                }
            }
        }
        let mut state = self.state();
        (state.lost, state.silent) = (lost, silent);
        drop(state);
        match first.filter(|_| seen.is_empty()) {
            Some(error) => Err(error),
            None => Ok(seen),
        }
    }

    /// What the answers of hosts of the lease mean: those of the hosts that are still part of it, or why there are not
    /// enough. Who did not answer is left out while more than half are left.
    pub(super) fn settle<V>(
        &self,
        fence: Fence,
        answers: Vec<(usize, Result<V, TargetError>)>,
        refusal: Refusal,
    ) -> Result<Vec<(usize, V)>, TargetError> {
        let mut state = self.state();
        let State { held, lost, silent: out_of_hearing } = &mut *state;
        let current = held.as_ref().map_or(0, |held| held.fence.0);
        let Some(holding) = held.as_mut().filter(|held| held.fence == fence) else {
            return Err(TargetError::Fenced { given: fence.0, current });
        };
        let (mut good, mut silent, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (place, answer) in answers {
            match answer {
                // meanwhile left out
                _ if matches!(holding.hosts[place], Standing::Out { .. }) => {}
                Ok(value) => good.push((place, value)),
                Err(TargetError::Fenced { current, .. }) => {
                    *held = None;
                    return Err(TargetError::Fenced { given: fence.0, current });
                }
                Err(error @ TargetError::Unreachable { .. }) => silent.push((place, error)),
                Err(error) => refused.push((place, error)),
            }
        }
        let left = holding.hosts_in().len();
        if refusal == Refusal::IsTold && left - silent.len() < self.majority() {
            return Err(self.unreachable(&silent));
        }
        if refusal == Refusal::LeavesOut && left - silent.len() - refused.len() < self.majority() {
            return Err(if refused.is_empty() { self.unreachable(&silent) } else { self.failed(&refused) });
        }
        let leaves = |silent: bool| move |(place, error): (usize, TargetError)| (place, reason(&error), silent);
        let mut leaving: Vec<(usize, String, bool)> = silent.into_iter().map(leaves(true)).collect();
        if refusal == Refusal::LeavesOut {
            leaving.extend(refused.drain(..).map(leaves(false)));
        }
        let some_leave = !leaving.is_empty();
        for (place, why, silent) in leaving {
            let Standing::In { renewed, .. } = &holding.hosts[place] else { continue };
            let ttl = jiff::SignedDuration::try_from(holding.ttl).unwrap_or(jiff::SignedDuration::MAX);
            let lapses = renewed.checked_add(ttl).unwrap_or(jiff::Timestamp::MAX);
            holding.hosts[place] = Standing::Out { why, silent, lapses };
        }
        let names = || self.members.iter().map(|(name, _)| name.clone());
        (*lost, *out_of_hearing) = (holding.lost(names()), holding.silent(names()));
        drop(state);
        if some_leave {
            self.tell_waiting();
        }
        if refused.is_empty() { Ok(good) } else { Err(self.failed(&refused)) }
    }

    /// One error for many hosts that do not answer.
    pub(super) fn unreachable(&self, silent: &[(usize, TargetError)]) -> TargetError {
        let names: Vec<&str> = silent.iter().map(|(place, _)| self.members[*place].0.as_str()).collect();
        let why = silent.first().map_or_else(String::new, |(_, error)| reason(error));
        let host = if names.is_empty() { "the fleet".to_owned() } else { names.join(", ") };
        let reason = format!("{why} (more than half of the {} hosts are needed)", self.members.len());
        TargetError::Unreachable { host, reason }
    }

    /// One error for many hosts that refuse: `web1, web2: variable TOKEN is missing`.
    fn failed(&self, refused: &[(usize, TargetError)]) -> TargetError {
        let mut hosts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (place, error) in refused {
            hosts.entry(reason(error)).or_default().push(&self.members[*place].0);
        }
        let lines: Vec<String> =
            hosts.iter().map(|(reason, names)| format!("{}: {reason}", names.join(", "))).collect();
        TargetError::Failed { reason: lines.join("; ") }
    }

    fn is_out(&self, place: usize) -> bool {
        let state = self.state();
        state.held.as_ref().is_some_and(|held| matches!(held.hosts[place], Standing::Out { .. }))
    }

    /// An answer within `time`.
    async fn within<V>(
        &self,
        place: usize,
        time: Duration,
        answer: impl Future<Output = Result<V, TargetError>>,
    ) -> Result<V, TargetError> {
        match either(answer, self.clock.sleep(time)).await {
            Either::Work(answer) => answer,
            Either::Keeper(()) => Err(TargetError::Unreachable {
                host: self.members[place].0.clone(),
                reason: format!("no answer within {:#}", in_millis(time)),
            }),
        }
    }

    /// An answer, for as long as the host is not left out: whoever renews the lease meanwhile finds that out.
    async fn unless_out<V>(
        &self,
        place: usize,
        answer: impl Future<Output = Result<V, TargetError>>,
    ) -> Result<V, TargetError> {
        let mut answer = pin!(answer);
        poll_fn(|context| {
            if self.is_out(place) {
                let host = self.members[place].0.clone();
                return Poll::Ready(Err(TargetError::Unreachable { host, reason: "it is left out".to_owned() }));
            }
            let polled = answer.as_mut().poll(context);
            if polled.is_pending() {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                    waiting.push(context.waker().clone());
                }
            }
            polled
        })
        .await
    }

    /// Some host was left out: nobody waits for it any longer.
    fn tell_waiting(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// The reason of an error, without the host's name.
pub(super) fn reason(error: &TargetError) -> String {
    match error {
        TargetError::Unreachable { reason, .. } | TargetError::Failed { reason } => reason.clone(),
        TargetError::Locked { .. } | TargetError::Fenced { .. } => error.to_string(),
    }
}

/// One of many that are asked at the same time.
enum Asked<F: Future> {
    Waits(Pin<Box<F>>),
    Answered(F::Output),
}

/// All of them at the same time.
pub(super) async fn join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<Asked<F>> = futures.map(|future| Asked::Waits(Box::pin(future))).collect();
    poll_fn(|context| {
        for one in &mut all {
            if let Asked::Waits(future) = one
                && let Poll::Ready(answer) = future.as_mut().poll(context)
            {
                *one = Asked::Answered(answer);
            }
        }
        if all.iter().all(|one| matches!(one, Asked::Answered(_))) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let answer = |one| match one {
        Asked::Answered(answer) => Some(answer),
        Asked::Waits(_) => None,
    };
    all.into_iter().filter_map(answer).collect()
}

/// For a person: a share of what is left of a lease has more digits than anybody reads.
fn in_millis(time: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::from_millis(i64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX))
}
