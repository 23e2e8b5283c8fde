//! The host of the world: instances that start, get ready, fail, crash and end; edges that lag behind.

use std::collections::BTreeMap;

use stack::ResourceName;

use super::{release::Character, world::World};
use crate::desired::{Desired, Instance, InstanceState, Observed, Traffic};

/// One instance.
#[derive(Debug, Clone)]
pub struct Process {
    /// Rises.
    pub id: u64,
    /// Index of its revision.
    pub made: usize,
    /// How it is.
    pub life: Life,
    /// When its life goes on.
    pub due: u64,
    /// How often it was started again.
    pub restarts: u32,
}

/// The life of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Not ready yet.
    Starting,
    /// Answers.
    Ready,
    /// Answers, and says it is not well.
    Unready,
    /// Ended, to be started again.
    Waiting,
    /// Given up.
    Failed,
    /// On its way out.
    Draining,
}

/// What an observation held, without the words.
#[derive(Debug, Clone, Default)]
pub struct Glance {
    processes: Vec<Process>,
    serving: BTreeMap<usize, u8>,
    counters: [Traffic; 5],
    taken: Vec<usize>,
    troubled: bool,
}

const NEVER: u64 = u64::MAX;

impl World {
    /// Index of a revision.
    pub(crate) fn index(&self, revision: &stack::Revision) -> usize {
        self.made.iter().position(|made| made.revision == *revision).expect("only revisions of this seed exist")
    }

    /// The desired state by index.
    fn wanted_indices(&self, desired: &Desired) -> Vec<usize> {
        desired.running.iter().map(|revision| self.index(revision)).collect()
    }

    /// The desired state changed: hosts and edges take it up some time later.
    pub(crate) fn take_up_later(&mut self) {
        let slow = self.random.chance(50);
        self.take_up = Some(self.now + if slow { self.random.between(500, 1500) } else { self.random.between(0, 60) });
        let lag = if slow { self.random.between(500, 2500) } else { self.random.between(0, 300) };
        self.edges_due = Some(self.now + lag);
    }

    /// When something happens on the host next.
    pub(crate) fn next_host_event(&self) -> Option<u64> {
        let up = if self.agent_down_until > self.now { Some(self.agent_down_until) } else { self.take_up };
        let lives = self.processes.iter().map(|process| process.due).filter(|due| *due != NEVER);
        lives.chain(up).chain(self.edges_due).min()
    }

    /// Lets the host work until now. Returns whether anything changed.
    pub(crate) fn tick_host(&mut self) -> bool {
        let mut changed = false;
        self.count_visitors();
        if self.edges_due.is_some_and(|due| due <= self.now) {
            self.edges_due = None;
            let traffic = self.desired.traffic.clone();
            self.serving = traffic.iter().map(|(revision, share)| (self.index(revision), *share)).collect();
            changed = true;
            self.tell(|| "edges serve".to_owned());
        }
        if self.agent_down_until <= self.now && self.take_up.is_some_and(|due| due <= self.now) {
            self.take_up = None;
            self.reconcile();
            changed = true;
        }
        for place in 0..self.processes.len() {
            if self.processes[place].due <= self.now {
                self.live_on(place);
                changed = true;
            }
        }
        self.processes.retain(|process| !(process.life == Life::Draining && process.due == NEVER));
        changed
    }

    /// Makes the instances that are wanted and lets the others go.
    fn reconcile(&mut self) {
        let wanted = self.wanted_indices(&self.desired.clone());
        self.taken.clone_from(&wanted);
        for place in 0..self.processes.len() {
            let process = &self.processes[place];
            if !wanted.contains(&process.made) && process.life != Life::Draining {
                let time = if self.random.chance(30) { 9000 } else { self.random.between(1, 300) };
                self.processes[place].life = Life::Draining;
                self.processes[place].due = self.now + time;
            }
        }
        for made in wanted {
            let alive = |process: &&Process| process.made == made && process.life != Life::Draining;
            let there = self.processes.iter().filter(alive).count();
            for _ in there..usize::try_from(self.made[made].replicas).unwrap_or(0) {
                self.next_process += 1;
                let (id, due) = (self.next_process, self.now + self.start_time());
                self.processes.push(Process { id, made, life: Life::Starting, due, restarts: 0 });
            }
        }
    }

    fn start_time(&mut self) -> u64 {
        if self.random.chance(40) { self.random.between(1000, 3000) } else { self.random.between(5, 300) }
    }

    /// The next thing in an instance's life.
    fn live_on(&mut self, place: usize) {
        let (made, life) = (self.processes[place].made, self.processes[place].life);
        let character = self.made[made].character;
        let (life, due) = match (life, character) {
            (Life::Starting, Character::FailsToStart) => (Life::Failed, NEVER),
            (Life::Starting, Character::NeverReady | Character::Troubled) => (Life::Starting, NEVER),
            (Life::Starting, _) if self.random.chance(20) => (Life::Waiting, self.now + self.random.between(50, 400)),
            (Life::Starting, Character::Sickens) => (Life::Ready, self.now + self.random.between(500, 4000)),
            (Life::Starting | Life::Unready, _) => (Life::Ready, NEVER),
            (Life::Ready, Character::Sickens) => (Life::Unready, NEVER),
            (Life::Waiting, _) => {
                self.processes[place].restarts += 1;
                (Life::Starting, self.now + self.start_time())
            }
            (life, _) => (life, NEVER),
        };
        let process = &mut self.processes[place];
        (process.life, process.due) = (life, due);
        let id = process.id;
        self.tell(|| format!("instance {id} of release {} is {life:?}", made + 1));
    }

    /// An instance ends by itself, if its revision has another that answers.
    pub(crate) fn crash_an_instance(&mut self) {
        let ready = |world: &World, made| {
            world.processes.iter().filter(|process| process.made == made && process.life == Life::Ready).count()
        };
        let victims: Vec<usize> = (0..self.processes.len())
            .filter(|place| {
                let process = &self.processes[*place];
                process.life == Life::Ready && ready(self, process.made) > 1
            })
            .collect();
        if !victims.is_empty() {
            let pick = usize::try_from(self.random.between(0, victims.len() as u64)).unwrap_or(0);
            let due = self.now + self.random.between(50, 600);
            let process = &mut self.processes[victims[pick]];
            (process.life, process.due) = (Life::Waiting, due);
            let id = process.id;
            self.tell(|| format!("instance {id} crashes"));
        }
    }

    /// The machine loses power: every instance starts again. Visitors are out of luck from here on.
    pub(crate) fn lose_power(&mut self) {
        self.tell(|| "the machine loses power".to_owned());
        self.powerless = true;
        self.drop_tasks();
        for place in 0..self.processes.len() {
            let due = self.now + self.start_time();
            let process = &mut self.processes[place];
            if process.life != Life::Draining {
                (process.life, process.due) = (Life::Starting, due);
            }
        }
    }

    /// Visitors since the last look.
    fn count_visitors(&mut self) {
        let time = self.now - self.counted;
        self.counted = self.now;
        for (made, share) in &self.serving {
            let requests = time * u64::from(*share) / 100;
            let (errors, p95_ms) = match self.made[*made].character {
                Character::Errors => (requests / 3, 20.0),
                Character::Slow => (0, 400.0),
                _ => (0, 20.0),
            };
            let counter = &mut self.counters[*made];
            counter.requests += requests;
            counter.errors += errors;
            counter.p95_ms = p95_ms;
        }
    }

    /// What an observer sees now, or saw a moment ago.
    pub(crate) fn observed(&mut self) -> Observed {
        let troubled = |made: &usize| self.made[*made].character == Character::Troubled;
        let fresh = Glance {
            processes: self.processes.clone(),
            serving: self.serving.clone(),
            counters: self.counters,
            troubled: self.taken.iter().any(troubled),
            taken: self.taken.clone(),
        };
        let old = self.now - self.glanced.0 < 300 && self.random.chance(100);
        if !old {
            self.glanced = (self.now, fresh, self.desired.clone());
        }
        let (_, glance, desired) = &self.glanced;
        let service = &self.service;
        let named = |made: &usize| self.made[*made].revision.clone();
        Observed {
            lost: Vec::new(),
            promoted: None,
            scaled: Vec::new(),
            desired: desired.clone(),
            expected: glance.taken.iter().map(|made| (named(made), self.made[*made].replicas)).collect(),
            instances: glance
                .processes
                .iter()
                .map(|process| instance(process, named(&process.made), service))
                .collect(),
            serving: glance.serving.iter().map(|(made, share)| (named(made), *share)).collect(),
            traffic: glance.taken.iter().map(|made| (named(made), glance.counters[*made])).collect(),
            services: Vec::new(),
            troubles: if glance.troubled { vec!["port 4000 is taken".to_owned()] } else { vec![] },
        }
    }
}

fn instance(process: &Process, revision: stack::Revision, service: &ResourceName) -> Instance {
    let why = String::new;
    Instance {
        id: process.id.to_string(),
        host: String::new(),
        revision,
        service: service.clone(),
        state: match process.life {
            Life::Starting => InstanceState::Starting,
            Life::Ready => InstanceState::Ready,
            Life::Unready => InstanceState::Unready { why: why() },
            Life::Waiting => InstanceState::Waiting { why: why() },
            Life::Failed => InstanceState::Failed { why: why() },
            Life::Draining => InstanceState::Draining,
        },
        restarts: process.restarts,
        pid: None,
        port: None,
        started_at: None,
        memory: None,
    }
}
