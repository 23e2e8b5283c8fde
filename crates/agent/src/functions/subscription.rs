//! Brings the events of one source to one function, service or queue: each at least once, several at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use stack::{Kind, Period, ResourceRef};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    cursor::Cursor,
    delivery::{Receiver, wants, why},
    event::CloudEvent,
    passing::{Passed, Passing},
    sources::{RECORDED, Source},
};
use crate::{
    error::Error,
    jobs::{self, Cause, Ended, Left},
    revision::Loaded,
};

/// Deliveries of one function that are begun at the same time, those that wait for their next attempt included.
const WINDOW: usize = 100;

/// The same of a service or a queue, which nothing else limits.
const PASSED_AT_ONCE: usize = 16;

/// How long an event may wait when its topic says nothing.
const KEEP: Period = Period(Duration::from_hours(4 * 24));

/// How soon something that failed (a full disk) is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// A receiver and a source of its events.
pub(crate) struct Subscription {
    /// Who gets them.
    pub(crate) receiver: Receiver,
    /// As in `topic.orders`.
    pub(crate) name: ResourceRef,
    /// Runs that an earlier agent began, by the number of their event.
    pub(crate) left: BTreeMap<u64, Left>,
    /// Cancelled once it subscribes no more.
    pub(crate) leave: CancellationToken,
}

/// What the deliveries of a subscription share.
#[derive(Clone)]
struct Course {
    receiver: Receiver,
    name: ResourceRef,
    source: Arc<Source>,
    cursor: Arc<Mutex<Cursor>>,
    passing: Arc<Passing>,
    leave: CancellationToken,
}

/// What came of one attempt.
enum Attempt {
    Taken,
    /// Nobody knows: not its fault, and at once begun again.
    Lost,
    /// It cannot be reached: not its fault, and begun again a while later.
    Away(String),
    Failed(String),
}

impl Subscription {
    /// Delivers for as long as the receiver subscribes; those that run then come to their end.
    pub(crate) async fn run(self) {
        let Self { receiver, name, mut left, leave } = self;
        let about = self::about(&name, &receiver);
        let environment = receiver.environment.clone();
        let opened = loop {
            let source = environment.functions.sources.get(&name);
            let opened = source.and_then(|source| Ok((source.subscribe(&receiver.to)?, source)));
            environment.trouble(&about, opened.as_ref().err().map(ToString::to_string));
            if let Ok(opened) = opened {
                break opened;
            }
            tokio::select! {
                () = leave.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        };
        let (cursor, source) = opened;
        let course = Course { receiver, name, source, cursor, passing: Arc::default(), leave };
        let stopping = course.receiver.host.stopping.clone();
        let (mut added, mut changes) = (course.source.log.watch(), environment.watch());
        let (mut lives, mut flying) = (JoinSet::new(), BTreeSet::new());
        for (number, left) in std::mem::take(&mut left) {
            flying.insert(number);
            lives.spawn(course.clone().deliver(number, Some(left)));
        }
        loop {
            added.mark_unchanged();
            changes.mark_unchanged();
            if !course.leave.is_cancelled()
                && let Some(loaded) = course.receiver.release()
            {
                for number in course.next(&loaded, &flying) {
                    flying.insert(number);
                    lives.spawn(course.clone().deliver(number, None));
                }
            }
            tokio::select! {
                // Runs go on without an agent.
                () = stopping.cancelled() => return,
                () = course.leave.cancelled(), if lives.is_empty() => return,
                told = added.changed() => if told.is_err() { return },
                told = changes.changed() => if told.is_err() { return },
                Some(ended) = lives.join_next() => match ended {
                    Ok(number) => drop(flying.remove(&number)),
                    // It is begun again by the next agent, as nobody knows how far it was.
                    Err(error) => tracing::error!(scope = %environment.scope, "a delivery broke down: {error}"),
                },
            }
        }
    }
}

impl Course {
    /// The events whose delivery may begin now.
    fn next(&self, loaded: &Loaded, flying: &BTreeSet<u64>) -> Vec<u64> {
        let in_order = setting(loaded, &self.name, "fifo").and_then(serde_json::Value::as_bool) == Some(true);
        let window = if self.receiver.to.kind == Kind::Function { WINDOW } else { PASSED_AT_ONCE };
        let room = if in_order { 1 } else { window }.max(flying.len()) - flying.len();
        let log = &self.source.log;
        let mut cursor = self.cursor();
        let first = log.numbers(cursor.next(), 1, |_| true).first().copied().unwrap_or_else(|| log.next());
        cursor.skip_to(first);
        log.numbers(cursor.next(), room, |number| cursor.wants(number) && !flying.contains(&number))
    }

    fn cursor(&self) -> std::sync::MutexGuard<'_, Cursor> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the place and makes that durable, however long the disk takes.
    async fn keep(&self, change: impl FnOnce(&mut Cursor)) {
        change(&mut self.cursor());
        let about = format!("place of {} in {}", self.receiver.to, self.name);
        loop {
            let cursor = self.cursor.clone();
            let kept = tokio::task::spawn_blocking(move || {
                cursor.lock().unwrap_or_else(PoisonError::into_inner).keep().map_err(|error| error.to_string())
            });
            let kept = kept.await.unwrap_or_else(|error| Err(error.to_string()));
            self.receiver.environment.trouble(&about, kept.as_ref().err().cloned());
            if kept.is_ok() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Tries until the event is taken or given up, or nobody wants it any more. Returns its number.
    async fn deliver(self, number: u64, mut left: Option<Left>) -> u64 {
        let scope = self.receiver.environment.scope.clone();
        let mut waits = 1;
        loop {
            let loaded = match &left {
                Some(left) => self.of_left(left),
                None if self.leave.is_cancelled() => return number,
                None => self.receiver.release(),
            };
            let Some(loaded) = loaded else { return self.put_off(number).await };
            let event = match self.source.log.read(number) {
                Ok(Some(event)) => event,
                Ok(None) => {
                    self.cursor().done(number);
                    return number;
                }
                Err(error) => {
                    tracing::error!(%scope, source = %self.name, number, "left out: {error}");
                    self.cursor().done(number);
                    return number;
                }
            };
            if left.is_none() && !wants(&loaded, &self.receiver.to, &self.name, &event) {
                self.cursor().done(number);
                return number;
            }
            let tries = self.cursor().tries(number);
            if let Some(why) = expired(&loaded, &self.name, &event) {
                self.receiver.give_up(event, why, tries).await;
                self.keep(|cursor| cursor.done(number)).await;
                return number;
            }
            let pause = match self.attempt(&loaded, number, &event, tries + 1, left.take()).await {
                Attempt::Taken => {
                    self.keep(|cursor| cursor.done(number)).await;
                    self.prune(loaded);
                    return number;
                }
                Attempt::Lost => continue,
                Attempt::Away(reason) => {
                    let reason = format!("`{}` waits for events of `{}`: {reason}", self.receiver.to, self.name);
                    let environment = &self.receiver.environment;
                    environment.trouble(&self.away(), Some(format!("{reason}; it is tried again all the time")));
                    waits += 1;
                    jobs::wait_before(waits)
                }
                Attempt::Failed(why) => {
                    self.keep(|cursor| cursor.tried(number)).await;
                    if tries + 1 > self.receiver.retries(&loaded, Some(&self.name)) {
                        self.receiver.give_up(event, why, tries + 1).await;
                        self.keep(|cursor| cursor.done(number)).await;
                        self.prune(loaded);
                        return number;
                    }
                    jobs::wait_before(tries + 2)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.leave.cancelled() => return number,
            }
        }
    }

    /// Runs the function once, or passes the event on once.
    async fn attempt(
        &self,
        loaded: &Arc<Loaded>,
        number: u64,
        event: &CloudEvent,
        attempt: u32,
        left: Option<Left>,
    ) -> Attempt {
        if self.receiver.to.kind != Kind::Function {
            let passed = self.passing.pass(&self.receiver, loaded, event).await;
            if !matches!(passed, Passed::Away(_)) {
                self.receiver.environment.trouble(&self.away(), None);
            }
            return match passed {
                Passed::Taken => Attempt::Taken,
                Passed::Away(reason) => Attempt::Away(reason),
                Passed::Refused(why) => Attempt::Failed(why),
            };
        }
        let cause = Cause::Delivery { source: self.name.clone(), number };
        let job = self.receiver.job(loaded.clone(), cause, Some(Arc::new(event.clone())));
        match self.receiver.attempt(job, attempt, left).await {
            Ok(Ended { code: 0, .. }) => Attempt::Taken,
            Ok(Ended { lost: true, .. }) => Attempt::Lost,
            done => Attempt::Failed(why(&done)),
        }
    }

    /// What is wrong while the receiver cannot be reached.
    fn away(&self) -> String {
        format!("deliveries of {} to {}", self.name, self.receiver.to)
    }

    /// Forgets runs of the function that are old.
    fn prune(&self, loaded: Arc<Loaded>) {
        if self.receiver.to.kind == Kind::Function {
            self.receiver.job(loaded, Cause::Asked, None).prune();
        }
    }

    /// Nothing of the environment runs functions now.
    async fn put_off(&self, number: u64) -> u64 {
        let mut changes = self.receiver.environment.watch();
        while self.receiver.release().is_none() && !self.leave.is_cancelled() {
            tokio::select! {
                told = changes.changed() => if told.is_err() { break },
                () = self.leave.cancelled() => break,
            }
        }
        number
    }

    /// The release that a run was begun in.
    fn of_left(&self, left: &Left) -> Option<Arc<Loaded>> {
        let (host, environment) = (&self.receiver.host, &self.receiver.environment);
        let read: Result<Arc<Loaded>, Error> =
            environment.revisions.get(&host.store, &environment.scope, &environment.folder, left.revision());
        read.inspect_err(|error| tracing::warn!(scope = %environment.scope, "{error}")).ok()
    }
}

fn about(source: &ResourceRef, receiver: &Receiver) -> String {
    format!("events of {source} for {}", receiver.to)
}

fn setting<'l>(loaded: &'l Loaded, source: &ResourceRef, key: &str) -> Option<&'l serde_json::Value> {
    loaded.resolved.stack.extras.get(source)?.settings.get(key)
}

/// Why an event is too old to be delivered.
fn expired(loaded: &Loaded, source: &ResourceRef, event: &super::CloudEvent) -> Option<String> {
    let keep = setting(loaded, source, "keep").and_then(|keep| keep.as_str()?.parse::<Period>().ok()).unwrap_or(KEEP);
    let since: jiff::Timestamp = event.attribute(RECORDED)?.parse().ok()?;
    let age = Duration::try_from(jiff::Timestamp::now().duration_since(since)).ok()?;
    (age > keep.0).then(|| format!("it waited longer than {keep}"))
}
