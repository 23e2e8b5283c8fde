//! One lease and everything that is done under it: verbs tried again, the lease renewed around them, the journal.

use std::{
    collections::BTreeSet,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use crate::{
    clock::{Clock, millis, since},
    desired::{Desired, Lost},
    error::EngineError,
    gates::Passing,
    journal::{Entry, Event, Step},
    policy::Policy,
    run::Why,
    target::{Fence, Target, TargetError},
    watcher::{Progress, Watcher},
};

/// The first wait before a verb is tried again; it doubles up to the second.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// A held lease.
pub(crate) struct Session<'a, T, C> {
    pub(crate) target: &'a T,
    pub(crate) clock: &'a C,
    pub(crate) watcher: &'a mut dyn Watcher,
    pub(crate) holder: String,
    pub(crate) fence: Fence,
    /// The deploy that entries belong to.
    pub(crate) number: u64,
    /// The desired state that was set last under this lease, once that is sure.
    pub(crate) held: Option<Desired>,
    /// Sentences for the report.
    pub(crate) notes: Vec<String>,
    /// Something was left undone.
    pub(crate) partial: bool,
    /// A lost host undoes what is being done, unless the policy allows it: no visitor has been moved for good.
    pub(crate) strict: bool,
    /// Hosts whose loss is noted.
    told_lost: BTreeSet<String>,
    /// What is being done may be stopped by a person, since there is a way back.
    pub(crate) stoppable: bool,
    /// What passes the gates of this deploy.
    pub(crate) passing: Option<Passing<'a>>,
    pub(crate) policy: Policy,
    ttl: Duration,
    renewed: jiff::Timestamp,
    last_entry: Option<jiff::Timestamp>,
    said: String,
}

impl<'a, T: Target, C: Clock> Session<'a, T, C> {
    /// Takes the lease.
    pub(crate) async fn open(
        target: &'a T,
        clock: &'a C,
        holder: &str,
        ttl: Duration,
        policy: Policy,
        watcher: &'a mut dyn Watcher,
    ) -> Result<Self, EngineError> {
        let (began, mut wait, mut tries, mut unsure) = (clock.now(), FIRST_WAIT, 0, false);
        loop {
            let asked = clock.now();
            tries += 1;
            let error = match target.lock(holder, ttl).await {
                Ok(fence) => {
                    let (holder, number, notes, said) = (holder.to_owned(), 0, Vec::new(), String::new());
                    let (partial, stoppable, renewed, last_entry) = (false, false, asked, None);
                    return Ok(Self {
                        target,
                        clock,
                        watcher,
                        holder,
                        fence,
                        number,
                        held: None,
                        notes,
                        partial,
                        strict: false,
                        told_lost: BTreeSet::new(),
                        stoppable,
                        passing: None,
                        policy,
                        ttl,
                        renewed,
                        last_entry,
                        said,
                    });
                }
                Err(error) => error,
            };
            // a lock whose reply was lost is our own: it lapses, since nobody renews it
            let ours = matches!(&error, TargetError::Locked { holder: other, .. } if unsure && other == holder);
            unsure |= matches!(&error, TargetError::Unreachable { .. });
            let spent = since(clock.now(), began);
            let (again, limit) = match &error {
                TargetError::Unreachable { .. } => (true, policy.patience.max(ttl + ttl / 2)),
                TargetError::Locked { .. } if ours => (true, policy.patience.max(ttl + ttl / 2)),
                TargetError::Locked { .. } => (spent < policy.lock_wait, policy.lock_wait + wait),
                _ => (false, Duration::ZERO),
            };
            if !again || spent + wait > limit {
                return Err(EngineError::of(error, "take the lock", tries, millis(spent)));
            }
            if let TargetError::Locked { holder, .. } = &error {
                watcher.see(&Progress::Note { text: &format!("waiting for the lock of {holder}") });
            }
            clock.sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Does `verb`, again while its host does not answer, with the lease renewed meanwhile.
    pub(crate) async fn call<V, F>(&mut self, doing: &str, verb: impl Fn() -> F) -> Result<V, EngineError>
    where
        F: Future<Output = Result<V, TargetError>>,
    {
        let (began, mut wait, mut tries) = (self.clock.now(), FIRST_WAIT, 0);
        loop {
            tries += 1;
            let error = match self.keeping(doing, verb()).await? {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let spent = since(self.clock.now(), began);
            if !matches!(error, TargetError::Unreachable { .. }) || spent + wait > self.policy.patience {
                return Err(EngineError::of(error, doing, tries, millis(spent)));
            }
            self.say(&format!("could not {doing}: {error}; trying again"));
            self.pause(wait).await?;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Waits for `work` and renews the lease every third of its time meanwhile.
    pub(crate) async fn keeping<V>(&mut self, doing: &str, work: impl Future<Output = V>) -> Result<V, EngineError> {
        let (target, clock, fence, ttl) = (self.target, self.clock, self.fence, self.ttl);
        let overdue = since(clock.now(), self.renewed) >= ttl / 3;
        let renewed = &mut self.renewed;
        // many short verbs would each cut a renewal short, so one that is due goes first
        if overdue {
            let asked = clock.now();
            match target.renew(fence, ttl).await {
                Ok(()) => *renewed = asked,
                Err(error @ TargetError::Fenced { .. }) => return Err(EngineError::of(error, doing, 1, 0)),
                Err(_) => {} // the work itself will tell whether the host is gone
            }
        }
        let keeper = async {
            loop {
                let age = since(clock.now(), *renewed);
                let due = (ttl / 3).saturating_sub(age);
                clock.sleep(due.max(ttl / 12)).await;
                let asked = clock.now();
                match target.renew(fence, ttl).await {
                    Ok(()) => *renewed = asked,
                    Err(error @ TargetError::Fenced { .. }) => return error,
                    Err(_) => {} // next time, soon
                }
            }
        };
        match either(work, keeper).await {
            Either::Work(value) => Ok(value),
            Either::Keeper(error) => Err(EngineError::of(error, doing, 1, 0)),
        }
    }

    /// Waits, holding the lease.
    pub(crate) async fn pause(&mut self, time: Duration) -> Result<(), EngineError> {
        let clock = self.clock;
        self.keeping("wait", clock.sleep(time)).await
    }

    /// The journal as it is.
    pub(crate) async fn journal(&mut self) -> Result<Vec<Entry>, EngineError> {
        let target = self.target;
        let entries = self.call("read the journal", || target.journal()).await?;
        self.last_entry = self.last_entry.max(entries.iter().map(|entry| entry.at).max());
        Ok(entries)
    }

    /// Writes to the journal, later than everything in it.
    pub(crate) async fn append(&mut self, event: Event) -> Result<(), EngineError> {
        let now = self.clock.now();
        let after = self.last_entry.and_then(|last| last.checked_add(jiff::SignedDuration::from_micros(1)).ok());
        let at = after.map_or(now, |after| after.max(now));
        self.last_entry = Some(at);
        let entry = Entry { at, deploy: self.number, event, fence: self.fence };
        let (target, fence) = (self.target, self.fence);
        self.call("write the journal", || target.append(&entry, fence)).await
    }

    /// Journals the start of a step.
    pub(crate) async fn step_started(&mut self, step: Step) -> Result<jiff::Timestamp, EngineError> {
        self.watcher.see(&Progress::StepStarted { step });
        let began = self.clock.now();
        self.append(Event::StepStarted { step }).await?;
        Ok(began)
    }

    /// Journals the good end of a step.
    pub(crate) async fn step_ended(&mut self, step: Step, began: jiff::Timestamp) -> Result<(), EngineError> {
        let millis = millis(since(self.clock.now(), began));
        self.append(Event::StepEnded { step, millis }).await?;
        self.watcher.see(&Progress::StepEnded { step, millis });
        Ok(())
    }

    /// A person asked to stop, and it can be done.
    pub(crate) fn asked_to_stop(&self) -> bool {
        self.stoppable && self.watcher.asked_to_stop()
    }

    /// Takes note of hosts that are lost: too many undo a deploy that still has an easy way back, the others are left for
    /// a person to read about.
    pub(crate) async fn heed(&mut self, lost: &[Lost]) -> Result<(), Why> {
        if self.strict && lost.len() > self.policy.max_fail {
            let lost: Vec<String> = lost.iter().map(|Lost { host, why }| format!("{host} is lost ({why})")).collect();
            let mend = "bring it back, take it out of `hosts`, or allow it with `max_fail`, and deploy again";
            return Err(Why::Bad(format!("{}; {mend}", lost.join(", "))));
        }
        for lost in lost {
            if self.told_lost.insert(lost.host.clone()) {
                self.partial = true;
                self.note(is_left_out(lost)).await.map_err(Why::Engine)?;
            }
        }
        Ok(())
    }

    /// Tells the watcher, once until it changes.
    pub(crate) fn say(&mut self, text: &str) {
        if self.said != text {
            text.clone_into(&mut self.said);
            self.watcher.see(&Progress::Note { text });
        }
    }

    /// Tells the watcher, the report and the journal.
    pub(crate) async fn note(&mut self, text: String) -> Result<(), EngineError> {
        self.watcher.see(&Progress::Note { text: &text });
        self.notes.push(text.clone());
        self.append(Event::Noted { text }).await
    }

    /// Gives the lease back; if that does not succeed it lapses by itself.
    pub(crate) async fn close(&mut self) {
        let (target, fence) = (self.target, self.fence);
        if let Err(error) = self.call("give the lock back", || target.unlock(fence)).await
            && !error.is_lease_lost()
        {
            self.say(&format!("{error}; it lapses by itself"));
        }
    }

    /// Tells of hosts that were lost too late for the journal.
    pub(crate) fn tell_late_losses(&mut self) {
        for lost in self.target.left_out() {
            if self.told_lost.insert(lost.host.clone()) {
                self.partial = true;
                let text = is_left_out(&lost);
                self.watcher.see(&Progress::Note { text: &text });
                self.notes.push(text);
            }
        }
    }
}

fn is_left_out(Lost { host, why }: &Lost) -> String {
    format!("{host} is lost ({why}) and left out; it is brought level when it returns")
}

pub(crate) enum Either<W, K> {
    Work(W),
    Keeper(K),
}

/// Whichever is done first; the work when both are.
pub(crate) async fn either<W, K>(work: impl Future<Output = W>, keeper: impl Future<Output = K>) -> Either<W, K> {
    let (mut work, mut keeper) = (pin!(work), pin!(keeper));
    poll_fn(|context| {
        if let Poll::Ready(value) = work.as_mut().poll(context) {
            return Poll::Ready(Either::Work(value));
        }
        keeper.as_mut().poll(context).map(Either::Keeper)
    })
    .await
}
