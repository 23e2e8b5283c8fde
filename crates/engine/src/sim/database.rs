//! The database of the world, and the tasks that change it. A task runs on the host: it goes on when its caller dies.

use std::collections::BTreeSet;

use super::{mutant::Mutant, world::World};
use crate::{
    journal::Migration,
    target::{Fence, TargetError, TaskEnd},
};

/// What is in the database, and what is at work on it.
#[derive(Debug, Default)]
pub struct Database {
    /// Versions whose effect is there.
    pub effects: BTreeSet<u64>,
    /// Versions that are written down as applied, in order.
    pub applied: Vec<u64>,
    /// Tasks, the first at work, the others waiting for the database's lock.
    queue: Vec<Job>,
    ended: Vec<(u64, Result<TaskEnd, TargetError>)>,
    next: u64,
}

#[derive(Debug)]
struct Job {
    id: u64,
    /// The host that runs it.
    host: usize,
    fence: Fence,
    work: Work,
    /// Done with the next migration at this time.
    due: Option<u64>,
    done: Vec<Migration>,
}

/// What a task does.
#[derive(Debug, Clone)]
pub enum Work {
    /// Applies what is pending among the first so many scripts.
    Up(usize),
    /// Runs these down, those that are applied.
    Down(Vec<Migration>),
}

impl World {
    /// Gives a host a task; its end is [`ended`](Self::task_ended).
    pub(crate) fn begin_task(&mut self, host: usize, work: Work, fence: Fence) -> u64 {
        self.database.next += 1;
        let id = self.database.next;
        self.database.queue.push(Job { id, host, fence, work, due: None, done: Vec::new() });
        id
    }

    /// How a task ended, once it did.
    pub(crate) fn task_ended(&mut self, id: u64) -> Option<Result<TaskEnd, TargetError>> {
        let place = self.database.ended.iter().position(|(ended, _)| *ended == id)?;
        Some(self.database.ended.swap_remove(place).1)
    }

    /// The agent of a host is gone: what it ran is rolled back and nobody gets an answer.
    pub(crate) fn drop_tasks(&mut self, host: usize) {
        let (gone, left) = std::mem::take(&mut self.database.queue).into_iter().partition(|job| job.host == host);
        self.database.queue = left;
        for job in gone {
            let reason = "the agent was restarted".to_owned();
            self.database.ended.push((job.id, Err(TargetError::Unreachable { host: "host".to_owned(), reason })));
        }
    }

    /// When something happens in the database next.
    pub(crate) fn next_database_event(&self) -> Option<u64> {
        self.database.queue.first().map(|job| job.due.unwrap_or(self.now))
    }

    /// Lets the tasks work until now.
    pub(crate) fn tick_database(&mut self) {
        while let Some(job) = self.database.queue.first() {
            let (host, fence, due) = (job.host, job.fence, job.due);
            let end = match due {
                None => match self.admit_task(host, fence) {
                    Err(refused) => Some(Err(refused)),
                    Ok(()) => self.schedule_next(),
                },
                Some(due) if due > self.now => return,
                Some(_) => self.do_next().or_else(|| self.schedule_next()),
            };
            let Some(end) = end else { continue };
            let job = self.database.queue.remove(0);
            self.tell(|| format!("task {} ends: {end:?}", job.id));
            self.database.ended.push((job.id, end));
        }
    }

    /// Whether a task that waited may begin. One of many hosts refuses also when its lease has lapsed: the group may have
    /// left it out and given the task to the next host.
    fn admit_task(&mut self, host: usize, fence: Fence) -> Result<(), TargetError> {
        self.admit(host, fence)?;
        let lapsed = self.hosts[host].lease.as_ref().is_none_or(|(_, until)| *until <= self.now);
        if self.hosts.len() > 1 && lapsed {
            return Err(TargetError::Fenced { given: fence.0, current: fence.0 });
        }
        Ok(())
    }

    /// The next migration of the first job and the way it goes.
    fn upcoming(&self) -> Option<(Migration, bool)> {
        let job = self.database.queue.first()?;
        let applied = |version: &u64| self.database.applied.contains(version);
        match &job.work {
            Work::Up(count) => {
                let pending = self.scripts.iter().take(*count).map(|script| &script.migration);
                pending.clone().find(|one| !applied(&one.version)).map(|one| (one.clone(), true))
            }
            Work::Down(migrations) => {
                let mut newest_first = migrations.iter().rev();
                newest_first.find(|one| one.reversible && applied(&one.version)).map(|one| (one.clone(), false))
            }
        }
    }

    /// Sets the time of the next migration, or ends the job.
    fn schedule_next(&mut self) -> Option<Result<TaskEnd, TargetError>> {
        let more = self.upcoming().is_some();
        let time = if self.random.chance(30) { self.random.between(2000, 8000) } else { self.random.between(1, 80) };
        let now = self.now;
        let job = self.database.queue.first_mut()?;
        if more && !(self.mutant == Mutant::NoWayDown && matches!(job.work, Work::Down(_))) {
            job.due = Some(now + time);
            return None;
        }
        Some(Ok(TaskEnd::Migrations { migrations: std::mem::take(&mut job.done) }))
    }

    /// One migration in one transaction.
    fn do_next(&mut self) -> Option<Result<TaskEnd, TargetError>> {
        let (migration, up) = self.upcoming()?;
        let version = migration.version;
        if up {
            let index = self.scripts.iter().position(|script| script.migration.version == version)?;
            if self.scripts[index].fails {
                if self.mutant == Mutant::HalfMigration {
                    self.database.effects.insert(version);
                }
                let reason = format!("migration {version} failed: syntax error; mend the file and deploy again");
                return Some(Err(TargetError::Failed { reason }));
            }
            let host = self.database.queue.first()?.host;
            let number = self.hosts[host].deploy.number;
            if !self.is_announced(number, |now| now.planned.contains(&version)) {
                self.violate(format!("migration {version} is applied and the journal does not say that it was to be"));
            }
            self.database.applied.push(version);
            self.database.effects.insert(version);
        } else {
            self.database.applied.retain(|applied| *applied != version);
            self.database.effects.remove(&version);
        }
        let way = if up { "up" } else { "down" };
        self.tell(|| format!("migration {version} {way}"));
        self.database.queue.first_mut()?.done.push(migration);
        None
    }
}
