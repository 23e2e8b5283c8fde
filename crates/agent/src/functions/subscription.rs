//! Brings the events of one source to one function: each at least once, several at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use stack::{Period, ResourceRef};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    cursor::Cursor,
    delivery::{Receiver, wants, why},
    sources::{RECORDED, Source},
};
use crate::{
    error::Error,
    jobs::{self, Cause, Ended, Left},
    revision::Loaded,
};

/// Deliveries of one function that are begun at the same time, those that wait for their next attempt included.
const WINDOW: usize = 100;

/// How long an event may wait when its topic says nothing.
const KEEP: Period = Period(Duration::from_hours(4 * 24));

/// How soon something that failed (a full disk) is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// A function and a source of its events.
pub(crate) struct Subscription {
    /// The function.
    pub(crate) receiver: Receiver,
    /// As in `topic.orders`.
    pub(crate) name: ResourceRef,
    /// Runs that an earlier agent began, by the number of their event.
    pub(crate) left: BTreeMap<u64, Left>,
    /// Cancelled once the function subscribes no more.
    pub(crate) leave: CancellationToken,
}

/// What the deliveries of a subscription share.
#[derive(Clone)]
struct Course {
    receiver: Receiver,
    name: ResourceRef,
    source: Arc<Source>,
    cursor: Arc<Mutex<Cursor>>,
    leave: CancellationToken,
}

impl Subscription {
    /// Delivers for as long as the function subscribes; those that run then come to their end.
    pub(crate) async fn run(self) {
        let Self { receiver, name, mut left, leave } = self;
        let about = format!("events of {name} for {}", receiver.function);
        let environment = receiver.environment.clone();
        let opened = loop {
            let source = environment.functions.sources.get(&name);
            let opened = source.and_then(|source| Ok((source.subscribe(&receiver.function)?, source)));
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
        let course = Course { receiver, name, source, cursor, leave };
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
        let room = if in_order { 1 } else { WINDOW }.max(flying.len()) - flying.len();
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
        let about = format!("place of {} in {}", self.receiver.function, self.name);
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
            if left.is_none() && !wants(&loaded, &self.receiver.function, &self.name, &event) {
                self.cursor().done(number);
                return number;
            }
            let tries = self.cursor().tries(number);
            if let Some(why) = expired(&loaded, &self.name, &event) {
                self.receiver.give_up(event, why, tries).await;
                self.keep(|cursor| cursor.done(number)).await;
                return number;
            }
            let cause = Cause::Delivery { source: self.name.clone(), number };
            let job = self.receiver.job(loaded.clone(), cause, Some(Arc::new(event.clone())));
            let prune = job.clone();
            let done = self.receiver.attempt(job, tries + 1, left.take()).await;
            if matches!(done, Ok(Ended { code: 0, .. })) {
                self.keep(|cursor| cursor.done(number)).await;
                prune.prune();
                return number;
            }
            if matches!(done, Ok(Ended { lost: true, .. })) {
                // Not its fault: it did not count as a try.
                continue;
            }
            self.keep(|cursor| cursor.tried(number)).await;
            if tries + 1 > self.receiver.retries(&loaded, Some(&self.name)) {
                self.receiver.give_up(event, why(&done), tries + 1).await;
                self.keep(|cursor| cursor.done(number)).await;
                prune.prune();
                return number;
            }
            tokio::select! {
                () = tokio::time::sleep(jobs::wait_before(tries + 2)) => {}
                () = self.leave.cancelled() => return number,
            }
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
