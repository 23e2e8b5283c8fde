//! What an engine gets of the world: a target and a clock, both through a line that loses, delays and repeats, and
//! with a death that comes before or after any verb.

use std::{
    cell::RefCell,
    future::{pending, poll_fn},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use stack::Revision;

use super::{
    mutant::Mutant,
    world::{Reply, Verb, World},
};
use crate::{
    clock::Clock,
    desired::{Desired, InstanceState, Observed},
    group::merge::Holding,
    journal::{DeployKind, Entry, Event},
    target::{Fence, Level, Target, TargetError, Task, TaskEnd},
};

/// One engine's line to a host of the world.
#[derive(Debug, Clone)]
pub struct Link {
    /// Which host.
    pub host: usize,
    /// The world.
    pub world: Rc<RefCell<World>>,
    /// Who uses it.
    pub actor: Rc<RefCell<Actor>>,
}

/// One engine: a person's, or a host's own.
#[derive(Debug, Default)]
pub struct Actor {
    /// Its name in the story.
    pub name: String,
    /// It was killed.
    pub dead: bool,
    /// It is killed around its verb of this number: twice the number before its effect, one more after.
    pub dies_at: Option<u64>,
    /// It lives on this host.
    pub home: Option<usize>,
    /// Its lines to each host are cut, from and until.
    pub cuts: Vec<(u64, u64)>,
    /// The earliest time it waits for.
    pub wakes: u64,
    /// Verbs that will arrive again, and when.
    pub(crate) late: Vec<(u64, usize, Verb)>,
    verbs: u64,
    held_back: Option<(Entry, Fence)>,
    wrote: bool,
}

impl Link {
    /// Waits until `time`.
    async fn until(&self, time: u64) {
        poll_fn(|_| {
            if self.world.borrow().now >= time {
                return Poll::Ready(());
            }
            let mut actor = self.actor.borrow_mut();
            actor.wakes = actor.wakes.min(time);
            Poll::Pending
        })
        .await;
    }

    /// Is killed here, if this is the place.
    async fn may_die(&self, place: u64) {
        let dies = {
            let mut actor = self.actor.borrow_mut();
            let was = actor.dead;
            actor.dead |= actor.dies_at == Some(place);
            actor.dead && !was
        };
        if dies {
            self.die();
        }
        if self.actor.borrow().dead {
            pending::<()>().await; // it does nothing more, whatever it was waiting for
        }
    }

    fn die(&self) {
        let actor = self.actor.borrow();
        let mut world = self.world.borrow_mut();
        world.tell(|| format!("{} is killed", actor.name));
        if world.mutant == Mutant::ForgetfulJournal && actor.wrote {
            world.forget_last_entry(self.host);
        }
    }

    fn lost(&self, reason: &str) -> TargetError {
        TargetError::Unreachable { host: format!("host {}", self.host), reason: reason.to_owned() }
    }

    /// The line to the host is cut, or one of the two machines.
    fn is_cut(&self) -> bool {
        let (world, actor) = (self.world.borrow(), self.actor.borrow());
        let now = world.now;
        let cut = actor.cuts.get(self.host).is_some_and(|(from, until)| (*from..*until).contains(&now));
        let away =
            world.hosts[self.host].is_isolated(now) || actor.home.is_some_and(|at| world.hosts[at].is_isolated(now));
        actor.home != Some(self.host) && (cut || away)
    }

    /// Sends a verb and waits for what comes back, if it does.
    async fn send(&self, verb: Verb) -> Result<Reply, TargetError> {
        let place = {
            let mut actor = self.actor.borrow_mut();
            actor.verbs += 1;
            actor.verbs * 2
        };
        self.may_die(place).await;
        let cut = self.is_cut();
        let (now, down, delay, fate) = {
            let mut world = self.world.borrow_mut();
            let down = !world.hosts[self.host].is_up(world.now);
            let delay = match world.random.between(0, 200) {
                0 if world.faulty => world.random.between(1000, 9000),
                1..100 => world.random.between(1, 12),
                _ => 0,
            };
            let fate = if world.faulty { world.random.between(0, 1000) } else { 1000 };
            (world.now, down, delay, fate)
        };
        if down || cut {
            self.until(now + 100).await;
            return Err(self.lost("connection refused"));
        }
        if delay > 0 {
            self.until(now + delay).await;
            let gone = !self.world.borrow().hosts[self.host].is_up(self.world.borrow().now);
            if gone || self.is_cut() {
                return Err(self.lost("connection reset"));
            }
            self.may_die(0).await;
        }
        if fate < 6 {
            let now = self.world.borrow().now;
            self.arrives_again(&verb, fate < 3);
            self.until(now + 300).await;
            return Err(self.lost("the request timed out"));
        }
        let reply = self.world.borrow_mut().effect(self.host, &verb);
        self.actor.borrow_mut().wrote |= matches!(verb, Verb::Append(..)) && reply.is_ok();
        if fate < 15 {
            self.arrives_again(&verb, true);
        }
        self.may_die(place + 1).await;
        if (10..20).contains(&fate) {
            let now = self.world.borrow().now;
            self.until(now + 300).await;
            return Err(self.lost("the reply was lost"));
        }
        match reply? {
            Reply::Working(id) => self.end_of(id).await.map(Reply::End),
            reply => Ok(reply),
        }
    }

    async fn end_of(&self, id: u64) -> Result<TaskEnd, TargetError> {
        loop {
            let ended = self.world.borrow_mut().task_ended(id);
            if let Some(end) = ended {
                return end;
            }
            if self.is_cut() {
                return Err(self.lost("connection reset"));
            }
            let next = {
                let world = self.world.borrow();
                world.next_database_event().map_or(world.now + 50, |next| next.max(world.now + 1))
            };
            self.until(next).await;
        }
    }

    /// The same verb reaches the host once more, some time later.
    fn arrives_again(&self, verb: &Verb, does: bool) {
        if does {
            let mut world = self.world.borrow_mut();
            let time = world.now + world.random.between(50, 12_000);
            self.actor.borrow_mut().late.push((time, self.host, verb.clone()));
        }
    }

    async fn done(&self, verb: Verb) -> Result<(), TargetError> {
        self.send(verb).await.map(drop)
    }

    /// Sends an entry, or holds it back in a world whose engine acts before it writes.
    async fn write(&self, entry: &Entry, fence: Fence) -> Result<(), TargetError> {
        let early = match self.world.borrow().mutant {
            Mutant::ShiftBeforeJournal => matches!(entry.event, Event::Shifting { .. }),
            Mutant::MigrateBeforeJournal => matches!(entry.event, Event::MigrationsPlanned { .. }),
            _ => false,
        };
        if early {
            self.actor.borrow_mut().held_back = Some((entry.clone(), fence));
            return Ok(());
        }
        self.write_held_back().await?;
        self.done(Verb::Append(entry.clone(), fence)).await
    }

    async fn write_held_back(&self) -> Result<(), TargetError> {
        let held_back = self.actor.borrow_mut().held_back.take();
        match held_back {
            Some((entry, fence)) => self.done(Verb::Append(entry, fence)).await,
            None => Ok(()),
        }
    }

    /// What a host tells its peers of itself.
    pub(crate) async fn holding(&self) -> Result<Holding, TargetError> {
        match self.send(Verb::Hold).await? {
            Reply::Holding(holding) => Ok(holding),
            other => unreachable!("a peer answers what it holds, not {other:?}"),
        }
    }
}

impl Clock for Link {
    fn now(&self) -> jiff::Timestamp {
        let now = i64::try_from(self.world.borrow().now).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(1_800_000_000_000 + now).expect("stories are short")
    }

    async fn sleep(&self, time: Duration) {
        let now = self.world.borrow().now;
        self.until(now + u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2).max(1)).await;
    }
}

impl Target for Link {
    async fn lock(&self, holder: &str, ttl: Duration) -> Result<Fence, TargetError> {
        let ttl = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX / 2);
        match self.send(Verb::Lock(holder.to_owned(), ttl)).await? {
            Reply::Fence(fence) => Ok(fence),
            other => unreachable!("lock answers a fence, not {other:?}"),
        }
    }

    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), TargetError> {
        self.done(Verb::Renew(fence, u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX / 2))).await
    }

    async fn unlock(&self, fence: Fence) -> Result<(), TargetError> {
        self.done(Verb::Unlock(fence)).await
    }

    async fn observe(&self) -> Result<Observed, TargetError> {
        let Reply::Observed(mut observed) = self.send(Verb::Observe).await? else {
            unreachable!("observe answers an observation")
        };
        match self.world.borrow().mutant {
            Mutant::NoProbe => {
                for instance in &mut observed.instances {
                    instance.state = InstanceState::Ready;
                }
            }
            Mutant::NoServed => observed.serving.clone_from(&observed.desired.traffic),
            _ => {}
        }
        Ok(*observed)
    }

    async fn ship(&self, _: &Revision, fence: Fence) -> Result<(), TargetError> {
        self.done(Verb::Ship(fence)).await
    }

    async fn want(&self, desired: &Desired, fence: Fence) -> Result<(), TargetError> {
        let paper = self.world.borrow().mutant == Mutant::PaperRollback;
        let automatic = |entry: &Entry| match &entry.event {
            Event::Started(start) => Some(start.kind == DeployKind::AutomaticRollback),
            _ => None,
        };
        if paper && self.world.borrow().hosts[self.host].journal.iter().rev().find_map(automatic) == Some(true) {
            return Ok(());
        }
        self.done(Verb::Want(desired.clone(), fence)).await?;
        self.write_held_back().await
    }

    async fn task(&self, task: &Task, fence: Fence) -> Result<TaskEnd, TargetError> {
        let end = match self.send(Verb::Task(task.clone(), fence)).await? {
            Reply::End(end) => end,
            other => unreachable!("a task answers its end, not {other:?}"),
        };
        self.write_held_back().await?;
        Ok(end)
    }

    async fn journal(&self) -> Result<Vec<Entry>, TargetError> {
        match self.send(Verb::Journal).await? {
            Reply::Journal(entries) => Ok(entries),
            other => unreachable!("the journal answers entries, not {other:?}"),
        }
    }

    async fn append(&self, entry: &Entry, fence: Fence) -> Result<(), TargetError> {
        match self.write(entry, fence).await {
            Err(TargetError::Unreachable { .. }) if self.world.borrow().mutant == Mutant::AppendByFew => Ok(()),
            other => other,
        }
    }

    async fn level(&self, level: &Level, fence: Fence) -> Result<(), TargetError> {
        self.done(Verb::Level(level.clone(), fence)).await
    }
}
