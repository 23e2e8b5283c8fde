//! A host that does at once what it is asked, or does not answer.

use std::{
    collections::BTreeMap,
    future::pending,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use engine::{
    clock::Clock,
    desired::{Desired, Instance, InstanceState, Observed, Traffic},
    group::Group,
    journal::Entry,
    target::{Fence, Level, Target, TargetError, Task, TaskEnd},
};
use stack::{ReleaseId, ResourceName, Revision, ValuesId};

/// A clock that jumps: whoever sleeps has slept.
#[derive(Clone, Default)]
pub(crate) struct Jumping(Arc<AtomicU64>);

impl Jumping {
    pub(crate) fn millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clock for Jumping {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(i64::try_from(self.millis()).expect("short")).expect("a time")
    }

    async fn sleep(&self, time: Duration) {
        // somebody else may be ready first
        let mut slept = false;
        std::future::poll_fn(
            move |_| if std::mem::replace(&mut slept, true) { Poll::Ready(()) } else { Poll::Pending },
        )
        .await;
        self.0.fetch_add(u64::try_from(time.as_millis()).expect("short"), Ordering::Relaxed);
    }
}

/// How a host answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Nobody listens.
    Off,
    /// The same, and it is known.
    Gone,
    /// The line is open and nothing comes.
    Mute,
    /// Nothing can be written.
    Full,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) mood: Mood,
    /// From this verb on it is off, counted down.
    pub(crate) dies_before: Option<&'static str>,
    pub(crate) fence: u64,
    pub(crate) floor: u64,
    /// Holder and when it lapses.
    pub(crate) lease: Option<(String, u64)>,
    pub(crate) journal: Vec<Entry>,
    pub(crate) desired: Desired,
    pub(crate) problem: Option<&'static str>,
    pub(crate) promoted: Option<u64>,
    /// Its visitors wait.
    pub(crate) slow: Option<Revision>,
    /// Verbs it did.
    pub(crate) did: Vec<&'static str>,
    pub(crate) levels: Vec<Level>,
}

/// One host.
#[derive(Clone)]
pub(crate) struct Toy {
    pub(crate) name: String,
    pub(crate) clock: Jumping,
    pub(crate) inner: Arc<Mutex<Inner>>,
}

impl Toy {
    async fn come_in(&self, verb: &'static str) -> Result<(), TargetError> {
        let mood = {
            let mut inner = self.inner.lock().expect("no panic");
            if inner.dies_before == Some(verb) {
                inner.mood = Mood::Off;
            }
            inner.mood
        };
        match mood {
            Mood::Off | Mood::Gone => {
                Err(TargetError::Unreachable { host: self.name.clone(), reason: "connection refused".to_owned() })
            }
            Mood::Mute => pending().await,
            Mood::Full if matches!(verb, "append" | "want" | "level") => {
                Err(TargetError::Failed { reason: "no space left on device".to_owned() })
            }
            _ => {
                self.inner.lock().expect("no panic").did.push(verb);
                Ok(())
            }
        }
    }

    fn fenced<V>(&self, fence: Fence, act: impl FnOnce(&mut Inner) -> V) -> Result<V, TargetError> {
        let mut inner = self.inner.lock().expect("no panic");
        if inner.fence != fence.0 || inner.lease.is_none() {
            return Err(TargetError::Fenced { given: fence.0, current: inner.fence });
        }
        Ok(act(&mut inner))
    }

    fn lapses(&self, ttl: Duration) -> u64 {
        self.clock.millis() + u64::try_from(ttl.as_millis()).expect("short")
    }
}

impl Target for Toy {
    async fn lock(&self, holder: &str, ttl: Duration) -> Result<Fence, TargetError> {
        self.come_in("lock").await?;
        let until = self.lapses(ttl);
        let mut inner = self.inner.lock().expect("no panic");
        if let Some((holder, until)) = inner.lease.clone().filter(|(_, until)| *until > self.clock.millis()) {
            return Err(TargetError::Locked { holder, expires_in_ms: until - self.clock.millis() });
        }
        inner.fence = inner.fence.max(inner.floor) + 1;
        inner.lease = Some((holder.to_owned(), until));
        Ok(Fence(inner.fence))
    }

    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), TargetError> {
        self.come_in("renew").await?;
        let until = self.lapses(ttl);
        self.fenced(fence, |inner| inner.lease.as_mut().map(|lease| lease.1 = until)).map(drop)
    }

    async fn unlock(&self, fence: Fence) -> Result<(), TargetError> {
        self.come_in("unlock").await?;
        let mut inner = self.inner.lock().expect("no panic");
        if inner.fence == fence.0 {
            inner.lease = None;
        }
        Ok(())
    }

    async fn observe(&self) -> Result<Observed, TargetError> {
        self.come_in("observe").await?;
        let inner = self.inner.lock().expect("no panic");
        let running = inner.desired.running.iter().cloned();
        Ok(Observed {
            desired: inner.desired.clone(),
            expected: running.clone().map(|revision| (revision, 2)).collect(),
            instances: running.clone().flat_map(|one| [instance(&one, 1), instance(&one, 2)]).collect(),
            serving: inner.desired.traffic.clone(),
            traffic: running
                .map(|one| {
                    let p95_ms = if inner.slow.as_ref() == Some(&one) { 2000.0 } else { 20.0 };
                    (one, Traffic { requests: 100, errors: 1, p95_ms })
                })
                .collect(),
            promoted: inner.promoted,
            ..Observed::default()
        })
    }

    async fn ship(&self, _: &Revision, fence: Fence) -> Result<(), TargetError> {
        self.come_in("ship").await?;
        self.fenced(fence, |_| ())
    }

    async fn want(&self, desired: &Desired, fence: Fence) -> Result<(), TargetError> {
        self.come_in("want").await?;
        self.fenced(fence, |inner| {
            if inner.desired != *desired {
                (inner.desired, inner.promoted) = (desired.clone(), None);
            }
        })
    }

    async fn task(&self, task: &Task, fence: Fence) -> Result<TaskEnd, TargetError> {
        self.come_in(match task {
            Task::Preflight { .. } => "preflight",
            Task::PendingMigrations { .. } => "pending",
            Task::Migrate { .. } => "migrate",
            _ => "task",
        })
        .await?;
        let problem = self.fenced(fence, |inner| inner.problem.filter(|_| matches!(task, Task::Preflight { .. })))?;
        match (problem, task) {
            (Some(reason), _) => Err(TargetError::Failed { reason: reason.to_owned() }),
            (None, Task::Preflight { .. } | Task::Backup { .. } | Task::Run { .. }) => Ok(TaskEnd::Done),
            (None, _) => Ok(TaskEnd::Migrations { migrations: vec![] }),
        }
    }

    async fn journal(&self) -> Result<Vec<Entry>, TargetError> {
        self.come_in("journal").await?;
        Ok(self.inner.lock().expect("no panic").journal.clone())
    }

    async fn append(&self, entry: &Entry, fence: Fence) -> Result<(), TargetError> {
        self.come_in("append").await?;
        self.fenced(fence, |inner| {
            if !inner.journal.contains(entry) {
                inner.journal.push(entry.clone());
            }
        })
    }

    fn is_gone(&self) -> bool {
        self.inner.lock().expect("no panic").mood == Mood::Gone
    }

    async fn level(&self, level: &Level, fence: Fence) -> Result<(), TargetError> {
        self.come_in("level").await?;
        self.fenced(fence, |inner| {
            inner.floor = inner.floor.max(level.floor.0);
            inner.journal.truncate(level.keep);
            inner.journal.extend(level.entries.iter().cloned());
            inner.desired = level.desired.clone().unwrap_or_else(|| inner.desired.clone());
            inner.levels.push(level.clone());
        })
    }
}

fn instance(revision: &Revision, number: u32) -> Instance {
    Instance {
        id: format!("api-{}-{number}", revision.release.short()),
        host: "this machine".to_owned(),
        revision: revision.clone(),
        service: ResourceName::new("api").expect("a name"),
        state: InstanceState::Ready,
        restarts: 0,
        pid: None,
        port: None,
        started_at: None,
        memory: None,
    }
}

/// Hosts `a`, `b`, `c`, ... and the group they make.
pub(crate) struct Hosts {
    pub(crate) all: Vec<Toy>,
    pub(crate) clock: Jumping,
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
pub(crate) const TTL: Duration = Duration::from_secs(15);

impl Hosts {
    pub(crate) fn new(count: usize) -> Self {
        let clock = Jumping::default();
        let toy = |name: &str| Toy { name: name.to_owned(), clock: clock.clone(), inner: Arc::default() };
        Self { all: ["a", "b", "c", "d", "e"][..count].iter().map(|name| toy(name)).collect(), clock }
    }

    pub(crate) fn group(&self) -> Group<Toy, Jumping> {
        let members = self.all.iter().map(|toy| (toy.name.clone(), toy.clone())).collect();
        Group::new(members, self.clock.clone(), PATIENCE)
    }

    pub(crate) fn at<V>(&self, place: usize, act: impl FnOnce(&mut Inner) -> V) -> V {
        act(&mut self.all[place].inner.lock().expect("no panic"))
    }

    pub(crate) fn mood(&self, place: usize, mood: Mood) {
        self.at(place, |inner| inner.mood = mood);
    }

    /// Which hosts have a lease that has not lapsed.
    pub(crate) fn locked(&self) -> Vec<bool> {
        let now = self.clock.millis();
        let held = |inner: &mut Inner| inner.lease.as_ref().is_some_and(|(_, until)| *until > now);
        (0..self.all.len()).map(|place| self.at(place, held)).collect()
    }

    /// How often each host did a verb.
    pub(crate) fn did(&self, verb: &str) -> Vec<usize> {
        let count = |inner: &mut Inner| inner.did.iter().filter(|did| **did == verb).count();
        (0..self.all.len()).map(|place| self.at(place, count)).collect()
    }
}

/// Runs a future whose waits are all of the jumping clock.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..1_000_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
    panic!("it waits for ever");
}

pub(crate) fn revision(digit: char) -> Revision {
    let text = |length: usize| digit.to_string().repeat(length);
    Revision {
        release: ReleaseId::new(text(64)).expect("a digest"),
        values: ValuesId::new(text(16)).expect("a digest"),
    }
}

pub(crate) fn shares(of: &[(char, u8)]) -> BTreeMap<Revision, u8> {
    of.iter().map(|(digit, share)| (revision(*digit), *share)).collect()
}
