//! Takes the lease of a group: by majority, then level.

use std::time::Duration;

use jiff::Timestamp;

use super::{Group, Held, Standing, ask::Manner, merge};
use crate::{
    clock::{Clock, since},
    desired::Desired,
    journal::Entry,
    target::{Fence, Level, Target, TargetError},
};

/// Between two tries of a lock whose reply did not come.
const WAIT: Duration = Duration::from_millis(200);

/// Which time a host is asked for its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// To find the first host that lives.
    First,
    /// It did not answer in the first round.
    Again,
    /// It was not asked in the first round.
    Others,
}

/// The lease of one host.
#[derive(Debug, Clone, Copy)]
struct Given {
    place: usize,
    fence: Fence,
    asked: Timestamp,
}

impl<T: Target, C: Clock> Group<T, C> {
    /// Takes the lease of more than half of the hosts and makes them level, or gives back what it got.
    ///
    /// The first host that lives decides between two callers: it is asked alone, the others together after it.
    pub(super) async fn take(&self, holder: &str, ttl: Duration) -> Result<Fence, TargetError> {
        self.state().held = None;
        let (mut given, mut refused) = (Vec::new(), Vec::new());
        for place in 0..self.members.len() {
            match self.lock_one(place, holder, ttl, Round::First).await {
                Ok(one) => {
                    given.push(one);
                    break;
                }
                Err(error @ TargetError::Locked { .. }) => return Err(error),
                Err(error) => refused.push((place, error)),
            }
        }
        let first = given.first().map_or(self.members.len(), |one| one.place);
        let others = refused.drain(..).map(|(place, _)| (place, Round::Again)).collect::<Vec<_>>().into_iter();
        let others = others.chain((first..self.members.len()).skip(1).map(|place| (place, Round::Others)));
        let ask = |(place, round)| async move { (place, self.lock_one(place, holder, ttl, round).await) };
        for (place, answer) in super::ask::join(others.map(ask)).await {
            match answer {
                Ok(one) => given.push(one),
                Err(error) => refused.push((place, error)),
            }
        }
        if given.len() < self.majority() {
            self.give_back(&given).await;
            let locked = refused.iter().find(|(_, error)| matches!(error, TargetError::Locked { .. }));
            return Err(match locked {
                Some((_, error)) => error.clone(),
                None => self.unreachable(&refused),
            });
        }
        self.level_all(given, refused, ttl).await
    }

    /// Makes those that gave their lease level and holds the lease of the group.
    async fn level_all(
        &self,
        mut given: Vec<Given>,
        mut refused: Vec<(usize, TargetError)>,
        ttl: Duration,
    ) -> Result<Fence, TargetError> {
        given.sort_by_key(|one| one.place);
        let fence = given.iter().map(|one| one.fence).max().unwrap_or_default();
        let manner = Manner::Again(self.short(ttl));
        let who: Vec<(usize, Fence)> = given.iter().map(|one| (one.place, one.fence)).collect();
        let mut journals: Vec<(usize, Vec<Entry>)> = Vec::new();
        for (place, answer) in self.everywhere(who, manner, |target, _| target.journal()).await {
            match answer {
                Ok(journal) => journals.push((place, journal)),
                Err(error) => refused.push((place, error)),
            }
        }
        let journal = merge::journals(journals.iter().map(|(_, journal)| journal.clone()));
        if journals.len() >= self.majority() {
            let desired = self.desired_of(&journals, &journal, manner).await;
            if desired.is_none() {
                let behind = journals.extract_if(.., |(_, own)| *own != journal);
                refused.extend(behind.map(|(place, _)| {
                    (place, TargetError::Failed { reason: "what it should hold could not be read".to_owned() })
                }));
            }
            let lacking = |(place, own): &(usize, Vec<Entry>)| {
                let token = given.iter().find(|one| one.place == *place)?.fence;
                Some((*place, token, level(own, &journal, fence, token, desired.as_ref())?))
            };
            let lacking: Vec<(usize, Fence, Level)> = journals.iter().filter_map(lacking).collect();
            let bring = |(place, token, level): (usize, Fence, Level)| async move {
                let level = &level;
                (place, self.ask(place, manner, |target| target.level(level, token)).await)
            };
            for (place, answer) in super::ask::join(lacking.into_iter().map(bring)).await {
                if let Err(error) = answer {
                    journals.retain(|(other, _)| *other != place);
                    refused.push((place, error));
                }
            }
        }
        if journals.len() < self.majority() {
            self.give_back(&given).await;
            return Err(self.unreachable(&refused));
        }
        let level = |place: usize| journals.iter().any(|(other, _)| *other == place);
        let (now, lease) = (self.clock.now(), jiff::SignedDuration::try_from(ttl).unwrap_or_default());
        let standing = |place: usize| {
            let one = given.iter().find(|one| one.place == place);
            if let Some(one) = one.filter(|_| level(place)) {
                return Standing::In { fence: one.fence, renewed: one.asked };
            }
            let error = refused.iter().rev().find(|(other, _)| *other == place);
            let why = error.map_or_else(String::new, |(_, error)| super::ask::reason(error));
            let silent = error.is_some_and(|(_, error)| matches!(error, TargetError::Unreachable { .. }));
            Standing::Out { why, silent, lapses: now.checked_add(lease).unwrap_or(Timestamp::MAX) }
        };
        let hosts: Vec<Standing> = (0..self.members.len()).map(standing).collect();
        let held = Held { fence, ttl, hosts, settled: journal.len(), journal, wanted: None };
        let mut state = self.state();
        let names = || self.members.iter().map(|(name, _)| name.clone());
        (state.lost, state.silent) = (held.lost(names()), held.silent(names()));
        state.held = Some(held);
        Ok(fence)
    }

    /// What hosts that lack entries should want: the environment's last committed release, or while visitors are being
    /// moved what a host wants that took part to the end. What they want themselves is of an earlier step or deploy, and
    /// other hosts may have let go what it needs.
    async fn desired_of(&self, journals: &[(usize, Vec<Entry>)], journal: &[Entry], manner: Manner) -> Option<Desired> {
        if let Some(resting) = merge::resting(journal) {
            return Some(resting);
        }
        let (level, behind): (Vec<_>, Vec<_>) = journals.iter().partition(|(_, own)| own == journal);
        for (place, _) in level.iter().filter(|_| !behind.is_empty()) {
            if let Ok(observed) = self.ask(*place, manner, T::observe).await {
                return Some(observed.desired);
            }
        }
        None
    }

    /// Locks one host. In the `first` round, which looks for the first host that lives, it is asked once; later again
    /// while it does not answer, and when the lease of somebody who is gone lapses there in a moment: leases of one
    /// holder do not lapse everywhere in the same moment.
    ///
    /// When it was asked before and the answer is not known, a lock of the same holder is our own: it lapses by itself.
    async fn lock_one(&self, place: usize, holder: &str, ttl: Duration, round: Round) -> Result<Given, TargetError> {
        let (began, limit) = (self.clock.now(), self.short(ttl));
        let mut unsure = round == Round::Again;
        loop {
            let asked = self.clock.now();
            let error = match self.ask(place, Manner::Once(limit), |target| target.lock(holder, ttl)).await {
                Ok(fence) => return Ok(Given { place, fence, asked }),
                Err(error) => error,
            };
            let wait = match &error {
                TargetError::Locked { holder: other, .. } if unsure && other == holder => {
                    let reason = "its lock was given and the reply was lost; it lapses by itself".to_owned();
                    return Err(TargetError::Unreachable { host: self.members[place].0.clone(), reason });
                }
                TargetError::Locked { expires_in_ms, .. } => Duration::from_millis(*expires_in_ms).max(WAIT / 4),
                TargetError::Unreachable { .. } => WAIT,
                _ => return Err(error),
            };
            let once = round == Round::First || self.members[place].1.is_gone();
            if once || since(self.clock.now(), began) + wait >= limit {
                return Err(error);
            }
            unsure |= matches!(error, TargetError::Unreachable { .. });
            self.clock.sleep(wait).await;
        }
    }

    /// Gives back leases that are of no use. Those whose hosts do not answer lapse by themselves.
    async fn give_back(&self, given: &[Given]) {
        let who = given.iter().map(|one| (one.place, one.fence)).collect();
        let manner = Manner::Once(self.patience);
        self.everywhere(who, manner, T::unlock).await;
    }
}

/// What a host with the journal `own` and the token `token` needs to be level; `None` when it is.
fn level(own: &[Entry], journal: &[Entry], fence: Fence, token: Fence, desired: Option<&Desired>) -> Option<Level> {
    let keep = own.iter().zip(journal).take_while(|(own, entry)| own == entry).count();
    let same = keep == own.len() && keep == journal.len();
    if same && token == fence {
        return None;
    }
    let desired = desired.filter(|_| !same).cloned();
    Some(Level { floor: fence, keep, entries: journal[keep..].to_vec(), desired })
}
