//! One seed from its first deploy to rest.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{
    agents::lines,
    link::{Actor, Link},
    mutant::Mutant,
    people::{Wish, fulfil},
    release::Character,
    world::{Verb, World},
};
use crate::{
    error::EngineError,
    journal::Outcome,
    policy::{Policy, Stage},
    record::records,
};

pub(super) const TTL: Duration = Duration::from_secs(3);
/// A story that has not come to rest after this time never will.
const TOO_LONG: u64 = 1_800_000;

/// How a seed ended.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Deploys that began.
    pub deploys: usize,
    /// Of those, by outcome: succeeded, failed, rolled back.
    pub outcomes: [usize; 3],
    /// Engines that were killed.
    pub killed: usize,
    /// Deploys that a host finished or undid.
    pub recovered: usize,
    /// Deploys that succeeded while a host was off.
    pub without_some: usize,
    /// Engines that found their lease lost.
    pub fenced: usize,
    /// The first law that was broken.
    pub violation: Option<String>,
    /// What happened, when it was asked for.
    pub story: Vec<String>,
}

/// Runs one seed in a world of so many hosts with `mutant`; keeps the story when `tell`.
pub fn run(seed: u64, hosts: usize, mutant: Mutant, tell: bool) -> Ending {
    let mut world = World::new(seed, hosts, mutant, tell);
    let policy = policy(&mut world);
    let wishes = wishes(&mut world);
    world.tell(|| format!("people want {wishes:?}"));
    let made: Vec<String> = world.made.iter().map(|made| format!("{:?} x{}", made.character, made.replicas)).collect();
    world.tell(|| format!("releases are {made:?}, hosts {hosts}"));
    let mut theatre = Theatre {
        next_recovery: vec![0; world.hosts.len()],
        world: Rc::new(RefCell::new(world)),
        policy,
        wishes,
        engines: Vec::new(),
        late: Vec::new(),
        ending: Ending::default(),
        deaths_left: 4,
        next_wish: Some(0),
        next_chaos: 0,
    };
    theatre.play();
    let mut world = theatre.world.borrow_mut();
    let mut ending = theatre.ending;
    for record in records(&world.hosts[0].journal) {
        ending.deploys += 1;
        match record.outcome() {
            Some(Outcome::Succeeded) => ending.outcomes[0] += 1,
            Some(Outcome::Failed { .. }) => ending.outcomes[1] += 1,
            Some(Outcome::RolledBack { .. }) => ending.outcomes[2] += 1,
            None => {}
        }
    }
    ending.violation = world.violation.take();
    ending.story = world.take_story();
    ending
}

fn policy(world: &mut World) -> Policy {
    let stage = |percent, millis| Stage { percent, bake: Duration::from_millis(millis), hold: false };
    let stages = match world.random.between(0, 4) {
        0 => vec![stage(100, 0)],
        1 => vec![stage(100, 1500)],
        2 => vec![stage(20, 0), stage(50, 600), stage(100, 0)],
        _ => vec![stage(10, 1000), stage(100, 800)],
    };
    world.holds = world.random.chance(100);
    let hold = |stage: &Stage| Stage { hold: world.holds && stage.percent < 100, ..*stage };
    let stages = stages.iter().map(hold).collect();
    let hosts = world.hosts.len();
    let minority = (hosts as u64 - 1) / 2;
    let max_fail = if minority > 0 { usize::try_from(world.random.between(0, minority + 1)).unwrap_or(0) } else { 0 };
    Policy {
        stages,
        by_host: (hosts > 1 && world.random.chance(300)).then_some(hosts),
        max_fail,
        start: Duration::from_secs(6),
        shift: Duration::from_secs(4),
        drain: Duration::from_secs(4),
        troubles: Duration::from_secs(1),
        patience: Duration::from_secs(4),
        poll: Duration::from_millis(world.random.between(100, 400)),
        ..Policy::default()
    }
}

fn wishes(world: &mut World) -> Vec<Wish> {
    // a rare and dangerous way: back, with the database, to a release that is not well any more
    if world.random.chance(80) && world.made[0].replicas > 0 {
        world.made[0].character = Character::Sickens;
        world.made[1].character = Character::Good;
        return vec![Wish::RollbackWithDatabase, Wish::Deploy(1), Wish::Deploy(0)];
    }
    let mut newest = 0;
    let count = world.random.between(1, 5);
    let mut wishes = vec![Wish::Deploy(0)];
    if world.random.chance(850) {
        newest = 1;
        wishes.push(Wish::Deploy(1));
    }
    for _ in 1..count {
        wishes.push(match world.random.between(0, 20) {
            0..3 => Wish::Rollback,
            3..5 => Wish::RollbackWithDatabase,
            5 => Wish::Stop,
            6..8 => Wish::Deploy(newest),
            _ => {
                newest = (newest + 1).min(4);
                Wish::Deploy(newest)
            }
        });
    }
    wishes.reverse();
    wishes
}

/// An engine at work.
pub(super) struct Engine {
    pub(super) link: Link,
    pub(super) life: Pin<Box<dyn Future<Output = Result<bool, EngineError>>>>,
    /// It lives on this host.
    pub(super) home: Option<usize>,
}

/// The world and those who act in it.
pub(super) struct Theatre {
    pub(super) world: Rc<RefCell<World>>,
    pub(super) policy: Policy,
    /// Last first.
    wishes: Vec<Wish>,
    pub(super) engines: Vec<Engine>,
    /// Verbs that will arrive once more at a host, also after their sender's death.
    late: Vec<(u64, usize, Verb)>,
    ending: Ending,
    deaths_left: u32,
    next_wish: Option<u64>,
    next_chaos: u64,
    /// Of each host.
    pub(super) next_recovery: Vec<u64>,
}

impl Theatre {
    fn play(&mut self) {
        self.next_chaos = self.world.borrow_mut().random.between(100, 20_000);
        loop {
            self.begin_wish();
            self.tend();
            self.chaos();
            self.deliver_late();
            self.poll_engines();
            let done = {
                let mut world = self.world.borrow_mut();
                world.tick_database();
                world.tick_hosts();
                world.check_visitors();
                world.faulty = !(self.wishes.is_empty() && self.engines.iter().all(|engine| engine.home.is_some()));
                if world.now > TOO_LONG {
                    world.violate("the world does not come to rest".to_owned());
                    world.check_rest();
                }
                world.violation.is_some()
            };
            if done || !self.advance() {
                break;
            }
        }
        self.engines.clear();
    }

    /// Moves the clock to the next event; false when there is none: the world rests, and its laws are checked.
    fn advance(&mut self) -> bool {
        let mut world = self.world.borrow_mut();
        let wakes = self.engines.iter().map(|engine| engine.link.actor.borrow().wakes);
        let now = world.now;
        let leases = world.hosts.iter().filter(|host| !host.is_buried()).filter_map(|host| host.lease.as_ref());
        let lapse = leases.map(|(_, until)| *until).filter(|until| *until > now).min();
        let hosts = 0..world.hosts.len();
        let recovery = hosts.filter(|at| self.is_needed(&world, *at)).map(|at| self.next_recovery[at]).min();
        let chaos = world.faulty.then_some(self.next_chaos);
        let next = wakes
            .chain(world.next_host_event())
            .chain(world.next_database_event())
            .chain(self.late.iter().map(|(time, ..)| *time))
            .chain(self.next_wish.filter(|_| !self.wishes.is_empty()))
            .chain(lapse)
            .chain(recovery)
            .chain(chaos)
            .min();
        if let Some(next) = next {
            world.now = next.max(world.now + 1);
            return true;
        }
        if world.hosts.iter().any(super::host::Host::is_buried) {
            world.check_living();
            world.dig_up();
            return true;
        }
        world.check_rest();
        false
    }

    /// A person begins the next wish.
    fn begin_wish(&mut self) {
        let mut world = self.world.borrow_mut();
        if self.wishes.is_empty() {
            return;
        }
        if self.next_wish.is_none() && self.engines.iter().all(|engine| engine.home.is_some()) {
            self.next_wish = Some(world.now + world.random.between(0, 3000));
        }
        if self.next_wish.is_none_or(|time| time > world.now) {
            return;
        }
        let Some(wish) = self.wishes.pop() else { return };
        let race = world.random.chance(150);
        self.next_wish = race.then(|| world.now + world.random.between(0, 6000));
        let name = if race { "ada" } else { "bob" };
        let few = world.mutant == Mutant::LockByFew;
        let hosts = if few { world.hosts.len() / 2 } else { world.hosts.len() };
        drop(world);
        let link = self.link(name, None, 300);
        let (lines, life, policy) = (lines(&link, 0..hosts), link.clone(), self.policy.clone());
        let life = Box::pin(async move { fulfil(lines, life, wish, policy, TTL).await.map(|()| false) });
        self.engines.push(Engine { link, life, home: None });
    }

    /// A line for a new engine, with what will happen to it.
    pub(super) fn link(&mut self, name: &str, home: Option<usize>, dies_per_mille: u64) -> Link {
        let mut world = self.world.borrow_mut();
        let hosts = world.hosts.len();
        let mut actor = Actor::default();
        (actor.home, actor.cuts) = (home, vec![(0, 0); hosts]);
        name.clone_into(&mut actor.name);
        if self.deaths_left > 0 && world.random.chance(dies_per_mille) {
            self.deaths_left -= 1;
            let longest = if world.random.chance(500) { 60 } else { 240 };
            actor.dies_at = Some(world.random.between(2, longest * hosts as u64));
        }
        if world.faulty && world.random.chance(100) && (home.is_none() || hosts > 1) {
            let from = world.now + world.random.between(0, 8000);
            let cut = (from, from + world.random.between(500, 9000));
            let all = hosts == 1 || world.random.chance(200);
            let one = usize::try_from(world.random.between(0, hosts as u64)).unwrap_or(0);
            for (at, line) in actor.cuts.iter_mut().enumerate() {
                if all || at == one {
                    *line = cut;
                }
            }
        }
        Link { host: 0, world: Rc::clone(&self.world), actor: Rc::new(RefCell::new(actor)) }
    }

    /// Machines misbehave.
    fn chaos(&mut self) {
        let mut world = self.world.borrow_mut();
        if !world.faulty || world.now < self.next_chaos {
            return;
        }
        let hosts = world.hosts.len() as u64;
        self.next_chaos = world.now + world.random.between(2000, 40_000 / hosts);
        let now = world.now;
        let at = usize::try_from(world.random.between(0, hosts)).unwrap_or(0);
        if world.hosts[at].dead_until > now {
            return;
        }
        let gone = match world.random.between(0, if hosts > 1 { 30 } else { 20 }) {
            0..8 => {
                world.crash_an_instance(at);
                false
            }
            8..14 => {
                world.hosts[at].agent_down_until = now + world.random.between(50, 1500);
                world.tell(|| format!("the agent of host {at} restarts"));
                world.drop_tasks(at);
                true
            }
            14..18 => {
                world.hosts[at].disk_full_until = now + world.random.between(100, 6000);
                world.tell(|| format!("the disk of host {at} is full for a while"));
                false
            }
            18 => {
                world.lose_power(at);
                hosts > 1
            }
            20..24 => {
                let buried = world.hosts.iter().filter(|host| host.is_buried()).count() as u64;
                let forever = (buried + 1) * 2 < hosts && world.random.chance(300);
                let time = (!forever).then(|| world.random.between(500, 20_000));
                world.die(at, time);
                true
            }
            24..28 => {
                world.hosts[at].isolated = (now, now + world.random.between(500, 20_000));
                world.tell(|| format!("host {at} is cut off"));
                false
            }
            _ => false,
        };
        drop(world);
        if gone {
            self.engines.retain(|engine| engine.home != Some(at));
        }
    }

    /// Verbs arrive a second time.
    fn deliver_late(&mut self) {
        let mut world = self.world.borrow_mut();
        for engine in &self.engines {
            self.late.append(&mut engine.link.actor.borrow_mut().late);
        }
        let now = world.now;
        let mut due = Vec::new();
        self.late.retain(|(time, at, verb)| {
            let is_due = *time <= now;
            if is_due {
                due.push((*at, verb.clone()));
            }
            !is_due
        });
        for (at, verb) in due {
            if world.hosts[at].is_up(now) && world.may_arrive_late(at, &verb) {
                let reply = world.effect(at, &verb);
                world.tell(|| format!("late at host {at}: {verb:?} -> {reply:?}"));
            }
        }
    }

    fn poll_engines(&mut self) {
        let now = self.world.borrow().now;
        let mut place = 0;
        while place < self.engines.len() {
            let engine = &mut self.engines[place];
            if engine.link.actor.borrow().wakes > now {
                place += 1;
                continue;
            }
            engine.link.actor.borrow_mut().wakes = u64::MAX;
            let told = self.world.borrow().told.len();
            let polled = engine.life.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let dead = engine.link.actor.borrow().dead;
            if let (Poll::Pending, false) = (&polled, dead) {
                place += 1;
                continue;
            }
            let engine = self.engines.remove(place);
            self.late.append(&mut engine.link.actor.borrow_mut().late);
            let name = engine.link.actor.borrow().name.clone();
            let mut world = self.world.borrow_mut();
            world.tell(|| match &polled {
                Poll::Pending => format!("{name} is gone"),
                Poll::Ready(Ok(_)) => format!("{name} is done"),
                Poll::Ready(Err(error)) => format!("{name} stops: {error}"),
            });
            let off = world.hosts.iter().any(|host| host.dead_until > now);
            let succeeded = world.told[told..].iter().any(|(_, outcome)| *outcome == Outcome::Succeeded);
            self.ending.without_some += usize::from(off && succeeded);
            self.ending.killed += usize::from(dead);
            self.ending.recovered += usize::from(matches!(polled, Poll::Ready(Ok(true))));
            self.ending.fenced += usize::from(matches!(&polled, Poll::Ready(Err(error)) if error.is_lease_lost()));
        }
    }
}
