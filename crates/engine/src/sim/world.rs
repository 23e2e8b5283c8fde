//! The world: virtual time, hosts with their leases, journals and desired states, and what a verb does to them.

use stack::ResourceName;

use super::{
    database::{Database, Work},
    host::{Host, Now},
    mutant::Mutant,
    random::Random,
    release::{Made, Script, releases, scripts},
};
use crate::{
    desired::{Desired, Observed},
    group::merge::{Holding, resting},
    journal::{DeployKind, Entry, Event, Outcome},
    record::{DeployRecord, records, unfinished},
    target::{Fence, Level, TargetError, Task, TaskEnd},
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
    /// The hosts, in order.
    pub hosts: Vec<Host>,
    /// What people were told: deploys and their outcomes.
    pub told: Vec<(u64, Outcome)>,
    /// Stages are held, and people promote them.
    pub holds: bool,
    /// The first law that was broken.
    pub violation: Option<String>,
    /// Faults happen; false once the story only has to come to rest.
    pub faulty: bool,
    pub(crate) service: ResourceName,
    pub(crate) next_process: u64,
    story: Option<Vec<String>>,
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
    Level(Level, Fence),
    Hold,
}

/// What comes back.
#[derive(Debug)]
pub(crate) enum Reply {
    Done,
    Fence(Fence),
    Observed(Box<Observed>),
    Journal(Vec<Entry>),
    Holding(Holding),
    End(TaskEnd),
    /// The task works; ask for its end.
    Working(u64),
}

impl World {
    /// A world of so many hosts in which nothing has happened.
    ///
    /// # Panics
    ///
    /// Never: its names are well formed.
    pub fn new(seed: u64, hosts: usize, mutant: Mutant, tell: bool) -> Self {
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
            hosts: (0..hosts.max(1)).map(|_| Host::default()).collect(),
            told: Vec::new(),
            holds: false,
            violation: None,
            faulty: true,
            service: ResourceName::new("api").expect("a name"),
            next_process: 0,
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

    /// The lease of a host is held now.
    pub fn is_locked(&self, at: usize) -> bool {
        let held = |(_, until): &(String, u64)| *until > self.now || self.mutant == Mutant::EternalLease;
        self.hosts[at].lease.as_ref().is_some_and(held)
    }

    /// On this host a deploy waits for somebody to finish it, and nobody holds the lease.
    pub fn is_abandoned(&self, at: usize) -> bool {
        !self.is_locked(at) && self.hosts[at].unfinished
    }

    /// Whether a verb with `fence` may do anything.
    pub(crate) fn admit(&mut self, at: usize, fence: Fence) -> Result<(), TargetError> {
        let current = self.hosts[at].fence;
        let good = fence.0 == current && self.hosts[at].lease.is_some();
        match (good, self.mutant) {
            (true, _) => Ok(()),
            (false, Mutant::IgnoresFences) => {
                self.violate(format!("a verb with token {} had an effect, the newest is {current}", fence.0));
                Ok(())
            }
            (false, _) => Err(TargetError::Fenced { given: fence.0, current }),
        }
    }

    /// Does a verb on a host, at once and whole.
    pub(crate) fn effect(&mut self, at: usize, verb: &Verb) -> Result<Reply, TargetError> {
        match verb {
            Verb::Lock(holder, ttl) => self.lock(at, holder, *ttl).map(Reply::Fence),
            Verb::Renew(fence, ttl) => {
                self.admit(at, *fence)?;
                let until = self.now + ttl;
                if let Some((_, end)) = &mut self.hosts[at].lease {
                    *end = until;
                }
                Ok(Reply::Done)
            }
            Verb::Unlock(fence) => {
                if fence.0 == self.hosts[at].fence {
                    self.hosts[at].lease = None;
                    self.tell(|| format!("lease {} of host {at} given back", fence.0));
                }
                Ok(Reply::Done)
            }
            Verb::Observe => Ok(Reply::Observed(Box::new(self.observed(at)))),
            Verb::Ship(fence) => self.admit(at, *fence).map(|()| Reply::Done),
            Verb::Want(desired, fence) => {
                self.admit(at, *fence)?;
                self.want(at, desired);
                Ok(Reply::Done)
            }
            Verb::Task(task, fence) => self.task(at, task, *fence),
            Verb::Journal => Ok(Reply::Journal(self.hosts[at].journal.clone())),
            Verb::Hold => {
                let host = &self.hosts[at];
                Ok(Reply::Holding(Holding { journal: host.journal.clone(), desired: host.desired.clone() }))
            }
            Verb::Append(entry, fence) => {
                self.admit(at, *fence)?;
                self.append(at, entry)?;
                Ok(Reply::Done)
            }
            Verb::Level(level, fence) => {
                self.admit(at, *fence)?;
                self.check_disk(at)?;
                let mut journal = self.hosts[at].journal[..level.keep.min(self.hosts[at].journal.len())].to_vec();
                journal.extend(level.entries.iter().cloned());
                let desired = level.desired.clone().unwrap_or_else(|| self.hosts[at].desired.clone());
                self.tell(|| format!("host {at} is made level: {} entries kept of {}", level.keep, journal.len()));
                if self.mutant != Mutant::NoFloor {
                    self.hosts[at].floor = self.hosts[at].floor.max(level.floor.0);
                }
                if self.mutant != Mutant::NoLevel {
                    self.replace(at, Holding { journal, desired });
                }
                Ok(Reply::Done)
            }
        }
    }

    /// A verb that its caller gave up arrives in the same lease only if it changes nothing then: a line keeps its
    /// order. After a newer lease it may arrive whenever it likes.
    pub(crate) fn may_arrive_late(&self, at: usize, verb: &Verb) -> bool {
        let host = &self.hosts[at];
        match verb {
            Verb::Want(_, fence) | Verb::Task(_, fence) | Verb::Level(_, fence) => {
                fence.0 != host.fence || host.lease.is_none()
            }
            Verb::Append(entry, fence) => fence.0 != host.fence || host.journal.contains(entry),
            _ => true,
        }
    }

    fn lock(&mut self, at: usize, holder: &str, ttl: u64) -> Result<Fence, TargetError> {
        if let Some((other, until)) = self.hosts[at].lease.as_ref().filter(|_| self.is_locked(at)) {
            let expires_in_ms = until.saturating_sub(self.now);
            return Err(TargetError::Locked { holder: other.clone(), expires_in_ms });
        }
        let until = self.now + ttl;
        let host = &mut self.hosts[at];
        host.fence = host.fence.max(host.floor) + 1;
        host.lease = Some((holder.to_owned(), until));
        let fence = host.fence;
        self.tell(|| format!("lease {fence} of host {at} taken by {holder}"));
        Ok(Fence(fence))
    }

    fn want(&mut self, at: usize, desired: &Desired) {
        let deploy = self.hosts[at].deploy.clone();
        for (revision, share) in &desired.traffic {
            let made = self.index(revision);
            let had = self.hosts[at].desired.traffic.get(revision).copied().unwrap_or_default();
            // hosts that differ when visitors are moved back are brought to one of their shares first
            let back = self.hosts.len() > 1 && deploy.automatic && deploy.wanted == Some(made) && had > 0;
            let more = *share > had && Some(made) != deploy.previous && !back;
            // a host may be about to be left out, but the entry must be on more than half of them
            if more && !self.is_announced(deploy.number, |now| now.wanted == Some(made) && now.shifted >= *share) {
                let release = made + 1;
                let announced = if Some(made) == deploy.wanted { deploy.shifted } else { 0 };
                self.violate(format!("{share} % of visitors for release {release}, announced were {announced} %"));
            }
        }
        if *desired != self.hosts[at].desired {
            self.say_wanted(at, desired);
            self.hosts[at].desired = desired.clone();
            self.take_up_later(at);
        }
    }

    fn say_wanted(&mut self, at: usize, desired: &Desired) {
        if self.story.is_some() {
            let traffic: Vec<String> =
                desired.traffic.iter().map(|(one, share)| format!("{} {share} %", self.index(one) + 1)).collect();
            let running: Vec<usize> = desired.running.iter().map(|one| self.index(one) + 1).collect();
            self.tell(|| format!("host {at} is to run {running:?}, visitors {traffic:?}"));
        }
    }

    fn task(&mut self, at: usize, task: &Task, fence: Fence) -> Result<Reply, TargetError> {
        self.admit(at, fence)?;
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
                Ok(Reply::Working(self.begin_task(at, Work::Up(count), fence)))
            }
            Task::MigrateDown { migrations, .. } => {
                Ok(Reply::Working(self.begin_task(at, Work::Down(migrations.clone()), fence)))
            }
            Task::Run { .. } => Ok(Reply::End(TaskEnd::Exited { code: 0, output: String::new() })),
        }
    }

    fn check_disk(&self, at: usize) -> Result<(), TargetError> {
        if self.hosts[at].disk_full_until > self.now {
            let reason = "the journal cannot be written: no space left on device".to_owned();
            return Err(TargetError::Failed { reason });
        }
        Ok(())
    }

    fn append(&mut self, at: usize, entry: &Entry) -> Result<(), TargetError> {
        self.check_disk(at)?;
        if self.hosts[at].journal.iter().rev().any(|old| old == entry) {
            return Ok(());
        }
        if self.hosts[at].journal.last().is_some_and(|last| last.at >= entry.at) {
            self.violate("the journal's times do not rise".to_owned());
        }
        self.tell(|| format!("journal of host {at}: {} {:?}", entry.deploy, entry.event));
        self.hosts[at].journal.push(entry.clone());
        self.follow(at, entry);
        self.read_journal(at);
        Ok(())
    }

    /// Keeps the fold of the last deploy.
    fn follow(&mut self, at: usize, entry: &Entry) {
        let find = |revision: &Option<stack::Revision>| revision.as_ref().map(|revision| self.index(revision));
        let (previous, wanted) = match &entry.event {
            Event::Started(start) => (find(&start.previous), None),
            Event::Wanted { revision, .. } => (None, find(revision)),
            _ => (None, None),
        };
        let host = &mut self.hosts[at];
        match &entry.event {
            Event::Started(start) => {
                let automatic = start.kind == DeployKind::AutomaticRollback;
                host.deploy = Now { number: entry.deploy, automatic, previous, ..Now::default() };
            }
            Event::Wanted { .. } => host.deploy.wanted = wanted,
            Event::MigrationsPlanned { migrations } => {
                host.deploy.planned = migrations.iter().map(|migration| migration.version).collect();
            }
            Event::Shifting { percent } => {
                host.deploy.shifted = host.deploy.shifted.max(*percent);
                // a stop takes the visitors away on purpose
                host.live &= host.deploy.wanted.is_some();
            }
            Event::Ended(Outcome::Succeeded) if host.deploy.wanted.is_some() => host.live = true,
            _ => {}
        }
    }

    fn fold_again(&mut self, at: usize) {
        self.hosts[at].deploy = Now::default();
        for entry in self.hosts[at].journal.clone() {
            self.follow(at, &entry);
        }
        self.read_journal(at);
    }

    /// What the whole journal says; remembered, since it is asked at every moment.
    fn read_journal(&mut self, at: usize) {
        let journal = &self.hosts[at].journal;
        let announced =
            |record: &DeployRecord| record.trail.shifted.is_some() || record.outcome() == Some(&Outcome::Succeeded);
        let served = records(journal).into_iter().filter(announced).filter_map(|record| record.revision);
        let served = served.map(|revision| self.index(&revision)).collect();
        let (unfinished, resting) = (unfinished(journal), resting(journal));
        let host = &mut self.hosts[at];
        (host.unfinished, host.resting, host.served) = (unfinished, resting, served);
    }

    /// A host that was away takes over what the others hold.
    pub(crate) fn replace(&mut self, at: usize, holding: Holding) {
        if self.hosts[at].journal != holding.journal {
            self.hosts[at].journal = holding.journal;
            self.hosts[at].away = true;
            self.hosts[at].live = false;
            self.fold_again(at);
        }
        if self.hosts[at].desired != holding.desired {
            self.say_wanted(at, &holding.desired);
            self.hosts[at].away = true;
            self.hosts[at].desired = holding.desired;
            self.take_up_later(at);
        }
    }

    /// What a host that adopts takes over, unless somebody took its lease meanwhile.
    pub(crate) fn adopt(&mut self, at: usize, token: u64, holding: Holding) {
        if self.hosts[at].fence == token && !self.is_locked(at) && self.check_disk(at).is_ok() {
            self.tell(|| format!("host {at} adopts {} entries", holding.journal.len()));
            self.replace(at, holding);
        }
    }

    /// The last entry was never written (a broken world).
    pub(crate) fn forget_last_entry(&mut self, at: usize) {
        if let Some(entry) = self.hosts[at].journal.pop() {
            self.tell(|| format!("journal forgets {:?}", entry.event));
            self.fold_again(at);
        }
    }
}
