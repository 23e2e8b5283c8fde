//! The world: virtual time, the lease, the journal, the desired state, and what a verb does to them.

use std::collections::BTreeMap;

use stack::ResourceName;

use super::{
    database::{Database, Work},
    host::{Glance, Process},
    mutant::Mutant,
    random::Random,
    release::{Made, Script, releases, scripts},
};
use crate::{
    desired::{Desired, Observed, Traffic},
    journal::{Entry, Event, Outcome},
    record::unfinished,
    target::{Fence, TargetError, Task, TaskEnd},
};

/// The whole world of one seed. Times are milliseconds since it began.
#[derive(Debug)]
pub struct World {
    /// Now.
    pub now: u64,
    /// Randomness of the world and of the faults.
    pub random: Random,
    /// What is broken.
    pub mutant: Mutant,
    /// The releases of the seed.
    pub made: Vec<Made>,
    /// Its migrations.
    pub scripts: Vec<Script>,
    /// The database.
    pub database: Database,
    /// The journal, durable.
    pub journal: Vec<Entry>,
    /// The newest token.
    pub fence: u64,
    /// Who holds it, and until when.
    pub lease: Option<(String, u64)>,
    /// The desired state, durable.
    pub desired: Desired,
    /// Instances.
    pub processes: Vec<Process>,
    /// Shares of visitors in effect, by index of the revision.
    pub serving: BTreeMap<usize, u8>,
    /// Fold of the last deploy of the journal.
    pub deploy: Now,
    /// A release has served and has not been stopped: visitors count on it.
    pub live: bool,
    /// The machine lost power once: visitors are not counted any more.
    pub powerless: bool,
    /// The first law that was broken.
    pub violation: Option<String>,
    /// Faults happen; false once the story only has to come to rest.
    pub faulty: bool,
    pub(crate) service: ResourceName,
    pub(crate) next_process: u64,
    pub(crate) take_up: Option<u64>,
    pub(crate) taken: Vec<usize>,
    pub(crate) edges_due: Option<u64>,
    pub(crate) agent_down_until: u64,
    pub(crate) disk_full_until: u64,
    pub(crate) counted: u64,
    pub(crate) counters: [Traffic; 5],
    pub(crate) glanced: (u64, Glance, Desired),
    story: Option<Vec<String>>,
}

/// The last deploy of the journal.
#[derive(Debug, Clone, Default)]
pub struct Now {
    /// What served before.
    pub previous: Option<usize>,
    /// What it wants.
    pub wanted: Option<usize>,
    /// Share its wanted revision may have.
    pub shifted: u8,
    /// Versions it may apply.
    pub planned: Vec<u64>,
}

/// A verb on its way.
#[derive(Debug, Clone)]
pub(crate) enum Verb {
    Lock(String, u64),
    Renew(Fence, u64),
    Unlock(Fence),
    Observe,
    Ship(Fence),
    Want(Desired, Fence),
    Task(Task, Fence),
    Journal,
    Append(Entry, Fence),
}

/// What comes back.
#[derive(Debug)]
pub(crate) enum Reply {
    Done,
    Fence(Fence),
    Observed(Box<Observed>),
    Journal(Vec<Entry>),
    End(TaskEnd),
    /// The task works; ask for its end.
    Working(u64),
}

impl World {
    /// A world in which nothing has happened.
    ///
    /// # Panics
    ///
    /// Never: its names are well formed.
    pub fn new(seed: u64, mutant: Mutant, tell: bool) -> Self {
        let mut random = Random::new(seed);
        let scripts = scripts(&mut random);
        let made = releases(&mut random, scripts.len());
        Self {
            now: 0,
            mutant,
            made,
            scripts,
            random,
            database: Database::default(),
            journal: Vec::new(),
            fence: 0,
            lease: None,
            desired: Desired::default(),
            processes: Vec::new(),
            serving: BTreeMap::new(),
            deploy: Now::default(),
            live: false,
            powerless: false,
            violation: None,
            faulty: true,
            service: ResourceName::new("api").expect("a name"),
            next_process: 0,
            take_up: None,
            taken: Vec::new(),
            edges_due: None,
            agent_down_until: 0,
            disk_full_until: 0,
            counted: 0,
            counters: [Traffic::default(); 5],
            glanced: (0, Glance::default(), Desired::default()),
            story: tell.then(Vec::new),
        }
    }

    /// Adds a line to the story, if anybody reads it.
    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(story) = &mut self.story {
            story.push(format!("{:>9.3} s  {}", std::time::Duration::from_millis(now).as_secs_f64(), line()));
        }
    }

    /// The story so far.
    pub fn take_story(&mut self) -> Vec<String> {
        self.story.take().unwrap_or_default()
    }

    /// A law is broken; the first counts.
    pub(crate) fn violate(&mut self, what: String) {
        self.tell(|| format!("LAW BROKEN: {what}"));
        self.violation.get_or_insert(what);
    }

    /// The lease is held now.
    pub fn is_locked(&self) -> bool {
        self.lease.as_ref().is_some_and(|(_, until)| *until > self.now || self.mutant == Mutant::EternalLease)
    }

    /// A deploy waits for somebody to finish it, and nobody holds the lease.
    pub fn is_abandoned(&self) -> bool {
        !self.is_locked() && unfinished(&self.journal)
    }

    /// Whether a verb with `fence` may do anything.
    pub(crate) fn admit(&mut self, fence: Fence) -> Result<(), TargetError> {
        let good = fence.0 == self.fence && self.lease.is_some();
        match (good, self.mutant) {
            (true, _) => Ok(()),
            (false, Mutant::IgnoresFences) => {
                self.violate(format!("a verb with token {} had an effect, the newest is {}", fence.0, self.fence));
                Ok(())
            }
            (false, _) => Err(TargetError::Fenced { given: fence.0, current: self.fence }),
        }
    }

    /// Does a verb, at once and whole.
    pub(crate) fn effect(&mut self, verb: &Verb) -> Result<Reply, TargetError> {
        match verb {
            Verb::Lock(holder, ttl) => self.lock(holder, *ttl).map(Reply::Fence),
            Verb::Renew(fence, ttl) => {
                self.admit(*fence)?;
                let until = self.now + ttl;
                if let Some((_, end)) = &mut self.lease {
                    *end = until;
                }
                Ok(Reply::Done)
            }
            Verb::Unlock(fence) => {
                if fence.0 == self.fence {
                    self.lease = None;
                    self.tell(|| format!("lease {} given back", fence.0));
                }
                Ok(Reply::Done)
            }
            Verb::Observe => Ok(Reply::Observed(Box::new(self.observed()))),
            Verb::Ship(fence) => self.admit(*fence).map(|()| Reply::Done),
            Verb::Want(desired, fence) => {
                self.admit(*fence)?;
                self.want(desired);
                Ok(Reply::Done)
            }
            Verb::Task(task, fence) => self.task(task, *fence),
            Verb::Journal => Ok(Reply::Journal(self.journal.clone())),
            Verb::Append(entry, fence) => {
                self.admit(*fence)?;
                self.append(entry)?;
                Ok(Reply::Done)
            }
        }
    }

    /// A verb that its caller gave up arrives in the same lease only if it changes nothing then: a line keeps its
    /// order. After a newer lease it may arrive whenever it likes.
    pub(crate) fn may_arrive_late(&self, verb: &Verb) -> bool {
        match verb {
            Verb::Want(_, fence) | Verb::Task(_, fence) => fence.0 != self.fence || self.lease.is_none(),
            Verb::Append(entry, fence) => fence.0 != self.fence || self.journal.contains(entry),
            _ => true,
        }
    }

    fn lock(&mut self, holder: &str, ttl: u64) -> Result<Fence, TargetError> {
        if let Some((other, until)) = self.lease.as_ref().filter(|_| self.is_locked()) {
            let expires_in_ms = until.saturating_sub(self.now);
            return Err(TargetError::Locked { holder: other.clone(), expires_in_ms });
        }
        self.fence += 1;
        self.lease = Some((holder.to_owned(), self.now + ttl));
        let fence = self.fence;
        self.tell(|| format!("lease {fence} taken by {holder}"));
        Ok(Fence(fence))
    }

    fn want(&mut self, desired: &Desired) {
        for (revision, share) in &desired.traffic {
            let made = self.index(revision);
            let had = self.desired.traffic.get(revision).copied().unwrap_or_default();
            let announced = if Some(made) == self.deploy.wanted { self.deploy.shifted } else { 0 };
            if *share > had.max(announced) && Some(made) != self.deploy.previous {
                let release = made + 1;
                self.violate(format!("{share} % of visitors for release {release}, announced were {announced} %"));
            }
        }
        if *desired != self.desired {
            let words = |world: &World| {
                let traffic: Vec<String> =
                    desired.traffic.iter().map(|(one, share)| format!("{} {share} %", world.index(one) + 1)).collect();
                let running: Vec<usize> = desired.running.iter().map(|one| world.index(one) + 1).collect();
                format!("wanted: running {running:?}, visitors {traffic:?}")
            };
            let words = if self.story.is_some() { words(self) } else { String::new() };
            self.tell(|| words);
            self.desired = desired.clone();
            self.take_up_later();
        }
    }

    fn task(&mut self, task: &Task, fence: Fence) -> Result<Reply, TargetError> {
        self.admit(fence)?;
        match task {
            Task::Preflight { revision } => {
                let made = self.index(revision);
                if self.made[made].preflight_fails {
                    let reason = "variable TOKEN is missing; add it".to_owned();
                    return Err(TargetError::Failed { reason });
                }
                Ok(Reply::End(TaskEnd::Done))
            }
            Task::PendingMigrations { revision } => {
                let count = self.made[self.index(revision)].migrations;
                let known = self.scripts.iter().take(count).map(|script| &script.migration);
                let pending = known.filter(|one| !self.database.applied.contains(&one.version)).cloned();
                Ok(Reply::End(TaskEnd::Migrations { migrations: pending.collect() }))
            }
            Task::Backup { .. } => Ok(Reply::End(TaskEnd::Done)),
            Task::Migrate { revision } => {
                let count = self.made[self.index(revision)].migrations;
                Ok(Reply::Working(self.begin_task(Work::Up(count), fence)))
            }
            Task::MigrateDown { migrations, .. } => {
                Ok(Reply::Working(self.begin_task(Work::Down(migrations.clone()), fence)))
            }
            Task::Run { .. } => Ok(Reply::End(TaskEnd::Exited { code: 0, output: String::new() })),
        }
    }

    fn append(&mut self, entry: &Entry) -> Result<(), TargetError> {
        if self.disk_full_until > self.now {
            let reason = "the journal cannot be written: no space left on device".to_owned();
            return Err(TargetError::Failed { reason });
        }
        if self.journal.iter().rev().any(|old| old == entry) {
            return Ok(());
        }
        if self.journal.last().is_some_and(|last| last.at >= entry.at) {
            self.violate("the journal's times do not rise".to_owned());
        }
        self.tell(|| format!("journal {}: {:?}", entry.deploy, entry.event));
        self.journal.push(entry.clone());
        self.follow(&entry.event);
        Ok(())
    }

    /// Keeps the fold of the last deploy.
    fn follow(&mut self, event: &Event) {
        match event {
            Event::Started(start) => {
                let previous = start.previous.as_ref().map(|revision| self.index(revision));
                self.deploy = Now { previous, ..Now::default() };
            }
            Event::Wanted { revision, .. } => {
                self.deploy.wanted = revision.as_ref().map(|revision| self.index(revision));
            }
            Event::MigrationsPlanned { migrations } => {
                self.deploy.planned = migrations.iter().map(|migration| migration.version).collect();
            }
            Event::Shifting { percent } => {
                self.deploy.shifted = self.deploy.shifted.max(*percent);
                // a stop takes the visitors away on purpose
                self.live &= self.deploy.wanted.is_some();
            }
            Event::Ended(Outcome::Succeeded) if self.deploy.wanted.is_some() => self.live = true,
            _ => {}
        }
    }

    /// The last entry was never written (a broken world).
    pub(crate) fn forget_last_entry(&mut self) {
        if let Some(entry) = self.journal.pop() {
            self.tell(|| format!("journal forgets {:?}", entry.event));
            self.deploy = Now::default();
            for entry in self.journal.clone() {
                self.follow(&entry.event);
            }
        }
    }
}
