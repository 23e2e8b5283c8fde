//! A host of the world: instances that start, get ready, fail, crash and end; an edge that lags behind.

use std::collections::{BTreeMap, BTreeSet};

use stack::ResourceName;

use super::{release::Character, world::World};
use crate::{
    desired::{Desired, Instance, InstanceState, Observed, Traffic},
    journal::Entry,
};

/// One host.
#[derive(Debug, Default)]
pub struct Host {
    /// The journal, durable.
    pub journal: Vec<Entry>,
    /// The newest token.
    pub fence: u64,
    /// The next token is larger than this.
    pub floor: u64,
    /// Who holds the lease, and until when.
    pub lease: Option<(String, u64)>,
    /// The desired state, durable.
    pub desired: Desired,
    /// The deploy whose present stage a person promoted.
    pub promoted: Option<u64>,
    /// Instances.
    pub processes: Vec<Process>,
    /// Shares of visitors in effect, by index of the revision.
    pub serving: BTreeMap<usize, u8>,
    /// Fold of the last deploy of the journal.
    pub deploy: Now,
    /// Its last deploy waits to be finished or undone.
    pub unfinished: bool,
    /// What it should hold while nobody deploys.
    pub resting: Option<Desired>,
    /// Revisions whose visitors were announced in the journal, by index.
    pub served: BTreeSet<usize>,
    /// A release has served here and has not been stopped: visitors count on it.
    pub live: bool,
    /// The host was lost and is not what it should be yet: its edge sends visitors to the other hosts.
    pub away: bool,
    /// The machine is off until then; the largest number: until the others have come to rest.
    pub dead_until: u64,
    /// Nobody reaches it, and it reaches nobody, from and until.
    pub isolated: (u64, u64),
    pub(crate) promotes_at: Option<u64>,
    pub(crate) take_up: Option<u64>,
    pub(crate) taken: Vec<usize>,
    pub(crate) edges_due: Option<u64>,
    pub(crate) agent_down_until: u64,
    pub(crate) disk_full_until: u64,
    pub(crate) counted: u64,
    pub(crate) counters: [Traffic; 5],
    pub(crate) glanced: (u64, Glance, Desired, Option<u64>),
}

/// The last deploy of a journal.
#[derive(Debug, Clone, Default)]
pub struct Now {
    /// Its number.
    pub number: u64,
    /// It moves visitors back by itself.
    pub automatic: bool,
    /// What served before.
    pub previous: Option<usize>,
    /// What it wants.
    pub wanted: Option<usize>,
    /// Share its wanted revision may have.
    pub shifted: u8,
    /// Versions it may apply.
    pub planned: Vec<u64>,
}

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

impl Host {
    /// When something happens here next.
    fn next_event(&self, now: u64) -> Option<u64> {
        if self.is_buried() {
            return None;
        }
        if self.dead_until > now {
            return Some(self.dead_until);
        }
        let up = if self.agent_down_until > now { Some(self.agent_down_until) } else { self.take_up };
        let lives = self.processes.iter().map(|process| process.due).filter(|due| *due != NEVER);
        lives.chain(up).chain(self.edges_due).chain(self.promotes_at).min()
    }

    /// Whether it is off until the others have come to rest.
    pub(crate) fn is_buried(&self) -> bool {
        self.dead_until == NEVER
    }

    /// Whether its agent answers.
    pub(crate) fn is_up(&self, now: u64) -> bool {
        self.dead_until.max(self.agent_down_until) <= now
    }

    /// Whether nobody reaches it from another machine.
    pub(crate) fn is_isolated(&self, now: u64) -> bool {
        (self.isolated.0..self.isolated.1).contains(&now)
    }
}

impl World {
    /// Index of a revision.
    pub(crate) fn index(&self, revision: &stack::Revision) -> usize {
        self.made.iter().position(|made| made.revision == *revision).expect("only revisions of this seed exist")
    }

    /// The desired state by index.
    fn wanted_indices(&self, desired: &Desired) -> Vec<usize> {
        desired.running.iter().map(|revision| self.index(revision)).collect()
    }

    /// The desired state changed: the host and its edge take it up some time later.
    pub(crate) fn take_up_later(&mut self, at: usize) {
        let slow = self.random.chance(50);
        let take_up = self.now + if slow { self.random.between(500, 1500) } else { self.random.between(0, 60) };
        let lag = if slow { self.random.between(500, 2500) } else { self.random.between(0, 300) };
        let promotes = self.holds.then(|| self.now + self.random.between(200, 4000));
        let host = &mut self.hosts[at];
        host.take_up = Some(take_up);
        host.edges_due = Some(self.now + lag);
        (host.promoted, host.promotes_at) = (None, promotes);
    }

    /// When something happens on a host next.
    pub(crate) fn next_host_event(&self) -> Option<u64> {
        self.hosts.iter().filter_map(|host| host.next_event(self.now)).min()
    }

    /// Lets the hosts work until now.
    pub(crate) fn tick_hosts(&mut self) {
        for at in 0..self.hosts.len() {
            if self.hosts[at].dead_until <= self.now {
                self.tick_host(at);
            }
        }
    }

    fn tick_host(&mut self, at: usize) {
        let now = self.now;
        self.count_visitors(at);
        let host = &mut self.hosts[at];
        if host.promotes_at.is_some_and(|due| due <= now) {
            (host.promotes_at, host.promoted) = (None, Some(host.deploy.number));
        }
        if self.hosts[at].edges_due.is_some_and(|due| due <= now) {
            let traffic = self.hosts[at].desired.traffic.clone();
            let serving = traffic.iter().map(|(revision, share)| (self.index(revision), *share)).collect();
            (self.hosts[at].edges_due, self.hosts[at].serving) = (None, serving);
            self.tell(|| format!("edge of host {at} serves"));
        }
        if self.hosts[at].agent_down_until <= now && self.hosts[at].take_up.is_some_and(|due| due <= now) {
            self.hosts[at].take_up = None;
            self.reconcile(at);
        }
        for place in 0..self.hosts[at].processes.len() {
            if self.hosts[at].processes[place].due <= now {
                self.live_on(at, place);
            }
        }
        let host = &mut self.hosts[at];
        host.processes.retain(|process| !(process.life == Life::Draining && process.due == NEVER));
        if self.hosts[at].away && self.is_back(at) {
            self.hosts[at].away = false;
            self.tell(|| format!("host {at} takes visitors again"));
        }
    }

    /// A host that was away is what it should be.
    fn is_back(&self, at: usize) -> bool {
        let host = &self.hosts[at];
        let shares = host.desired.traffic.iter().map(|(revision, share)| (self.index(revision), *share));
        let ready = |made: usize| {
            let ready = |process: &&Process| process.made == made && process.life == Life::Ready;
            host.processes.iter().filter(ready).count() >= self.made[made].replicas as usize
        };
        let serves = host.serving.iter().map(|(made, share)| (*made, *share)).eq(shares);
        serves && host.take_up.is_none() && host.serving.keys().all(|made| ready(*made)) && !self.is_behind(at)
    }

    /// Others know more than this host.
    pub(crate) fn is_behind(&self, at: usize) -> bool {
        let rank = |host: &Host| (host.journal.last().map(|last| last.fence), host.journal.len());
        self.hosts.iter().any(|other| rank(other) > rank(&self.hosts[at]))
    }

    /// Makes the instances that are wanted and lets the others go.
    fn reconcile(&mut self, at: usize) {
        let wanted = self.wanted_indices(&self.hosts[at].desired.clone());
        self.hosts[at].taken.clone_from(&wanted);
        for place in 0..self.hosts[at].processes.len() {
            let process = &self.hosts[at].processes[place];
            if !wanted.contains(&process.made) && process.life != Life::Draining {
                let time = if self.random.chance(30) { 9000 } else { self.random.between(1, 300) };
                let process = &mut self.hosts[at].processes[place];
                (process.life, process.due) = (Life::Draining, self.now + time);
            }
        }
        for made in wanted {
            let alive = |process: &&Process| process.made == made && process.life != Life::Draining;
            let there = self.hosts[at].processes.iter().filter(alive).count();
            for _ in there..usize::try_from(self.made[made].replicas).unwrap_or(0) {
                self.next_process += 1;
                let (id, due) = (self.next_process, self.now + self.start_time());
                self.hosts[at].processes.push(Process { id, made, life: Life::Starting, due, restarts: 0 });
            }
        }
    }

    fn start_time(&mut self) -> u64 {
        if self.random.chance(40) { self.random.between(1000, 3000) } else { self.random.between(5, 300) }
    }

    /// The next thing in an instance's life.
    fn live_on(&mut self, at: usize, place: usize) {
        let (made, life) = (self.hosts[at].processes[place].made, self.hosts[at].processes[place].life);
        let character = self.made[made].character;
        let (life, due) = match (life, character) {
            (Life::Starting, Character::FailsToStart) => (Life::Failed, NEVER),
            (Life::Starting, Character::NeverReady | Character::Troubled) => (Life::Starting, NEVER),
            (Life::Starting, _) if self.random.chance(20) => (Life::Waiting, self.now + self.random.between(50, 400)),
            (Life::Starting, Character::Sickens) => (Life::Ready, self.now + self.random.between(500, 4000)),
            (Life::Starting | Life::Unready, _) => (Life::Ready, NEVER),
            (Life::Ready, Character::Sickens) => (Life::Unready, NEVER),
            (Life::Waiting, _) => {
                self.hosts[at].processes[place].restarts += 1;
                (Life::Starting, self.now + self.start_time())
            }
            (life, _) => (life, NEVER),
        };
        let process = &mut self.hosts[at].processes[place];
        (process.life, process.due) = (life, due);
        let id = process.id;
        self.tell(|| format!("instance {id} of release {} on host {at} is {life:?}", made + 1));
    }

    /// An instance ends by itself, if its revision has another that answers.
    pub(crate) fn crash_an_instance(&mut self, at: usize) {
        let processes = &self.hosts[at].processes;
        let ready =
            |made| processes.iter().filter(|process| process.made == made && process.life == Life::Ready).count();
        let victim = |place: &usize| processes[*place].life == Life::Ready && ready(processes[*place].made) > 1;
        let victims: Vec<usize> = (0..processes.len()).filter(victim).collect();
        if !victims.is_empty() {
            let pick = usize::try_from(self.random.between(0, victims.len() as u64)).unwrap_or(0);
            let due = self.now + self.random.between(50, 600);
            let process = &mut self.hosts[at].processes[victims[pick]];
            (process.life, process.due) = (Life::Waiting, due);
            let id = process.id;
            self.tell(|| format!("instance {id} crashes"));
        }
    }

    /// The machine loses power for a moment: every instance starts again.
    pub(crate) fn lose_power(&mut self, at: usize) {
        self.tell(|| format!("host {at} loses power"));
        self.hosts[at].away = true;
        self.drop_tasks(at);
        for place in 0..self.hosts[at].processes.len() {
            let due = self.now + self.start_time();
            let process = &mut self.hosts[at].processes[place];
            if process.life != Life::Draining {
                (process.life, process.due) = (Life::Starting, due);
            }
        }
    }

    /// The machine is off for so long, or until the others have come to rest.
    pub(crate) fn die(&mut self, at: usize, time: Option<u64>) {
        self.tell(|| format!("host {at} dies for {time:?} ms"));
        self.drop_tasks(at);
        let back = time.map_or(NEVER, |time| self.now + time);
        let host = &mut self.hosts[at];
        (host.away, host.dead_until) = (true, back);
        host.processes.clear();
        host.serving.clear();
        host.taken.clear();
        (host.take_up, host.edges_due) = (Some(back), Some(back));
    }

    /// Hosts that were off until the others came to rest return.
    pub(crate) fn dig_up(&mut self) {
        let now = self.now;
        for at in 0..self.hosts.len() {
            if self.hosts[at].is_buried() {
                let host = &mut self.hosts[at];
                host.dead_until = now;
                (host.take_up, host.edges_due) = (Some(now + 1), Some(now + 1));
                self.tell(|| format!("host {at} returns"));
            }
        }
    }

    /// Visitors since the last look.
    fn count_visitors(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        let time = self.now - host.counted;
        host.counted = self.now;
        for (made, share) in &host.serving {
            let requests = time * u64::from(*share) / 100;
            let (errors, p95_ms) = match self.made[*made].character {
                Character::Errors => (requests / 3, 20.0),
                Character::Slow => (0, 400.0),
                _ => (0, 20.0),
            };
            let counter = &mut host.counters[*made];
            counter.requests += requests;
            counter.errors += errors;
            counter.p95_ms = p95_ms;
        }
    }

    /// What an observer sees now, or saw a moment ago.
    pub(crate) fn observed(&mut self, at: usize) -> Observed {
        let troubled = |made: &usize| self.made[*made].character == Character::Troubled;
        let host = &self.hosts[at];
        let fresh = Glance {
            processes: host.processes.clone(),
            serving: host.serving.clone(),
            counters: host.counters,
            troubled: host.taken.iter().any(troubled),
            taken: host.taken.clone(),
        };
        let old = self.now - host.glanced.0 < 300 && self.random.chance(100);
        if !old {
            let host = &mut self.hosts[at];
            host.glanced = (self.now, fresh, host.desired.clone(), host.promoted);
        }
        let (_, glance, desired, promoted) = &self.hosts[at].glanced;
        let service = &self.service;
        let named = |made: &usize| self.made[*made].revision.clone();
        Observed {
            lost: Vec::new(),
            promoted: *promoted,
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
