//! Carries out a plan: journal first, then the effect, then wait until it is observed.

use std::{collections::BTreeSet, time::Duration};

use stack::Revision;

use crate::{
    clock::{Clock, since},
    desired::{Desired, Observed},
    error::EngineError,
    journal::{Event, Migration, Step},
    judge::{Readiness, failed, readiness, sick},
    plan::{Need, Plan, Planned},
    policy::Policy,
    session::Session,
    target::{Target, Task, TaskEnd},
    watcher::Progress,
};

/// Why a plan was not carried out to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stopped {
    /// Where.
    pub(crate) step: Step,
    /// Why.
    pub(crate) why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// The release is not good enough.
    Bad(String),
    /// The target or the lease did not let the engine go on.
    Engine(EngineError),
}

/// Why a deploy ends that a person asked to stop.
pub(crate) const ASKED: &str = "stopped, as was asked";

/// What a look at the environment says.
enum Look {
    Done,
    Wait(String),
    Bad(String),
}

/// How a wait ended.
enum Waited {
    Done,
    Bad(String),
    Late(String),
}

/// What happens when a wait ends badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolve {
    /// The deploy stops, to be undone.
    MayStop,
    /// It stops, unless visitors were moved for good already: there is no second way back.
    UntilCommit,
    /// There is no way back from here, so a person is told and the deploy goes on.
    OnlyForward,
}

impl<T: Target, C: Clock> Session<'_, T, C> {
    /// Brings the wanted revision to the hosts and asks which of its migrations are pending.
    pub(crate) async fn arrive(&mut self, plan: &Plan) -> Result<Vec<Migration>, Stopped> {
        let mut pending = Vec::new();
        for planned in &plan.steps {
            let (Planned::Ship { revision } | Planned::Preflight { revision }) = planned else { continue };
            let (target, fence, step) = (self.target, self.fence, planned.step());
            let stopped = |error| Stopped { step, why: Why::Engine(error) };
            let began = self.step_started(step).await.map_err(stopped)?;
            if step == Step::Ship {
                self.call("ship the release", || target.ship(revision, fence)).await.map_err(stopped)?;
            } else {
                let preflight = Task::Preflight { revision: revision.clone() };
                self.call("pass the preflight", || target.task(&preflight, fence)).await.map_err(stopped)?;
                let ask = Task::PendingMigrations { revision: revision.clone() };
                let end = self.call("list the pending migrations", || target.task(&ask, fence)).await;
                if let TaskEnd::Migrations { migrations } = end.map_err(stopped)? {
                    pending = migrations;
                }
            }
            self.step_ended(step, began).await.map_err(stopped)?;
        }
        Ok(pending)
    }

    /// Does every step of `plan` after the arrival, but the record.
    pub(crate) async fn carry_out(&mut self, plan: &Plan, policy: &Policy, resolve: Resolve) -> Result<(), Stopped> {
        if let Some(down) = plan.steps.iter().find_map(|planned| match planned {
            Planned::MigrateDown { revision, migrations } => Some((revision.clone(), migrations.clone())),
            _ => None,
        }) {
            let event = Event::Reverting { revision: down.0, migrations: down.1 };
            self.append(event).await.map_err(|error| Stopped { step: Step::Preflight, why: Why::Engine(error) })?;
        }
        let gates = plan.steps.iter().find_map(|planned| match planned {
            Planned::Bake { gates, .. } if !gates.is_empty() => Some(gates.clone()),
            _ => None,
        });
        if let Some(gates) = gates {
            let planned = Event::GatesPlanned { gates };
            self.append(planned).await.map_err(|error| Stopped { step: Step::Preflight, why: Why::Engine(error) })?;
        }
        let (mut resolve, mut draining) = (resolve, false);
        for planned in &plan.steps {
            if matches!(planned, Planned::Ship { .. } | Planned::Preflight { .. } | Planned::Record) {
                continue;
            }
            let step = planned.step();
            let stopped = |why| Stopped { step, why };
            if let Planned::Shift { percent, .. } = planned {
                self.watcher.see(&Progress::Stage { percent: *percent });
                if *percent == 100 && resolve == Resolve::UntilCommit {
                    resolve = Resolve::OnlyForward;
                }
            }
            draining |= step == Step::Drain;
            self.stoppable = resolve == Resolve::MayStop && !draining;
            if self.asked_to_stop() {
                return Err(stopped(Why::Bad(ASKED.to_owned())));
            }
            let began = self.step_started(step).await.map_err(|error| stopped(Why::Engine(error)))?;
            self.carry_out_one(planned, plan, policy, resolve).await.map_err(stopped)?;
            self.step_ended(step, began).await.map_err(|error| stopped(Why::Engine(error)))?;
        }
        Ok(())
    }

    async fn carry_out_one(
        &mut self,
        planned: &Planned,
        plan: &Plan,
        policy: &Policy,
        resolve: Resolve,
    ) -> Result<(), Why> {
        match planned {
            Planned::Ship { .. } | Planned::Preflight { .. } | Planned::Record => Ok(()),
            Planned::Backup { revision } => {
                let task = Task::Backup { revision: revision.clone(), deploy: self.number };
                self.task("back up the databases", &task).await.map(drop).map_err(Why::Engine)
            }
            Planned::Migrate { revision, migrations } => {
                let migrations = migrations.clone();
                self.append(Event::MigrationsPlanned { migrations }).await.map_err(Why::Engine)?;
                let task = Task::Migrate { revision: revision.clone() };
                self.task("migrate the databases", &task).await.map(drop).map_err(Why::Engine)
            }
            Planned::Start { desired } => self.want(desired).await.map_err(Why::Engine),
            Planned::Probe { revision, need } => self.probe(revision, *need, plan, policy, resolve).await,
            Planned::Shift { percent, desired, .. } => {
                if *percent == 100 && self.strict {
                    let observed = self.observe().await.map_err(Why::Engine)?;
                    self.heed(&observed.lost).await?;
                }
                self.strict &= *percent < 100;
                self.append(Event::Shifting { percent: *percent }).await.map_err(Why::Engine)?;
                self.want(desired).await.map_err(Why::Engine)?;
                self.served(desired, plan, policy, resolve).await
            }
            Planned::Bake { percent, period, hold, gates } => {
                let held = plan.steps.iter().find_map(|planned| match planned {
                    Planned::Shift { percent: stage, desired, .. } if stage == percent => Some(desired),
                    _ => None,
                });
                let passing = if gates.is_empty() { None } else { Some(self.gatekeeper(gates)?) };
                self.bake(*period, held.filter(|_| *hold), passing, plan, policy).await
            }
            Planned::Drain { desired } => {
                self.want(desired).await.map_err(Why::Engine)?;
                self.drained(desired, policy).await.map_err(Why::Engine)
            }
            Planned::MigrateDown { revision, migrations } => {
                self.migrate_down(revision, migrations).await.map_err(Why::Engine)
            }
        }
    }

    /// Replaces the desired state.
    pub(crate) async fn want(&mut self, desired: &Desired) -> Result<(), EngineError> {
        let (target, fence) = (self.target, self.fence);
        self.held = None;
        self.call("set the desired state", || target.want(desired, fence)).await?;
        self.held = Some(desired.clone());
        Ok(())
    }

    /// Runs a task to its end.
    pub(crate) async fn task(&mut self, doing: &str, task: &Task) -> Result<TaskEnd, EngineError> {
        let (target, fence) = (self.target, self.fence);
        self.call(doing, || target.task(task, fence)).await
    }

    pub(crate) async fn observe(&mut self) -> Result<Observed, EngineError> {
        let target = self.target;
        self.call("look at the environment", || target.observe()).await
    }

    /// Waits until `look` is done. Wants `desired` again if the hosts hold something else.
    async fn await_until(
        &mut self,
        desired: Option<&Desired>,
        deadline: Duration,
        policy: &Policy,
        mut look: impl FnMut(&Observed) -> Look,
    ) -> Result<Waited, EngineError> {
        let began = self.clock.now();
        let mut troubled: Option<jiff::Timestamp> = None;
        loop {
            let observed = self.observe().await?;
            match self.heed(&observed.lost).await {
                Ok(()) => {}
                Err(Why::Bad(why)) => return Ok(Waited::Bad(why)),
                Err(Why::Engine(error)) => return Err(error),
            }
            // what was seen before the hosts took the desired state up says nothing
            let taken = desired.is_none_or(|desired| observed.desired == *desired);
            let text = match look(&observed) {
                Look::Done if !taken => "waiting for the hosts".to_owned(),
                Look::Done => return Ok(Waited::Done),
                Look::Bad(why) if taken => return Ok(Waited::Bad(why)),
                Look::Bad(why) => why,
                Look::Wait(text) => text,
            };
            let now = self.clock.now();
            if observed.troubles.is_empty() {
                troubled = None;
            } else if since(now, *troubled.get_or_insert(now)) >= policy.troubles {
                return Ok(Waited::Bad(observed.troubles.join("; ")));
            }
            if since(now, began) >= deadline {
                return Ok(Waited::Late(text));
            }
            if self.asked_to_stop() {
                return Ok(Waited::Bad(ASKED.to_owned()));
            }
            self.say(&text);
            if let Some(desired) = desired.filter(|_| !taken && since(now, began) > Duration::from_secs(1)) {
                self.want(desired).await?;
            }
            self.pause(policy.poll).await?;
        }
    }

    /// A wait that ended badly stops the deploy, or is told to a person when there is no way back.
    async fn resolve(&mut self, waited: Waited, late: &str, resolve: Resolve) -> Result<(), Why> {
        let why = match waited {
            Waited::Done => return Ok(()),
            Waited::Bad(why) => why,
            Waited::Late(still) => format!("{late}: {still}"),
        };
        if resolve != Resolve::OnlyForward {
            return Err(Why::Bad(why));
        }
        self.partial = true;
        self.note(format!("{why}; going on, since there is no way back")).await.map_err(Why::Engine)
    }

    async fn probe(
        &mut self,
        revision: &Revision,
        need: Need,
        plan: &Plan,
        policy: &Policy,
        resolve: Resolve,
    ) -> Result<(), Why> {
        let desired = plan.steps.iter().find_map(|planned| match planned {
            Planned::Start { desired } => Some(desired),
            _ => None,
        });
        let (began, mut old_news, clock) = (self.clock.now(), None::<BTreeSet<String>>, self.clock);
        let look = |observed: &Observed| {
            // a failure that was there at the first look is of an earlier attempt and may take a moment to go
            let first = old_news.get_or_insert_with(|| failed(observed, revision));
            if since(clock.now(), began) >= policy.troubles {
                first.clear();
            }
            match readiness(observed, revision, first) {
                Readiness::Ready => Look::Done,
                Readiness::Coming { ready: 1.., .. } if need == Need::One => Look::Done,
                Readiness::Coming { ready, of: Some(of) } => {
                    Look::Wait(format!("waiting for {} of {of} instances", of.saturating_sub(ready)))
                }
                Readiness::Coming { of: None, .. } => Look::Wait("waiting for the hosts to begin".to_owned()),
                Readiness::Failed { why } => Look::Bad(why),
            }
        };
        let waited = self.await_until(desired, policy.start, policy, look).await.map_err(Why::Engine)?;
        let late = format!("the new instances were not ready within {}", human(policy.start));
        self.resolve(waited, &late, resolve).await
    }

    /// Waits until visitors are where `desired` says.
    async fn served(&mut self, desired: &Desired, plan: &Plan, policy: &Policy, resolve: Resolve) -> Result<(), Why> {
        let look = |observed: &Observed| {
            if observed.serving == desired.traffic {
                return Look::Done;
            }
            let sick = plan.wanted.as_ref().and_then(|wanted| sick(observed, wanted));
            sick.filter(|_| resolve != Resolve::OnlyForward)
                .map_or_else(|| Look::Wait("waiting for the edges to take the new shares".to_owned()), Look::Bad)
        };
        let waited = self.await_until(Some(desired), policy.shift, policy, look).await.map_err(Why::Engine)?;
        let late = format!("the edges did not take the new shares within {}", human(policy.shift));
        self.resolve(waited, &late, resolve).await
    }

    /// Waits until nothing but what `desired` runs exists. Too late is a note: the hosts go on by themselves.
    async fn drained(&mut self, desired: &Desired, policy: &Policy) -> Result<(), EngineError> {
        let look = |observed: &Observed| {
            let others = observed.instances.iter().filter(|one| !desired.running.contains(&one.revision)).count();
            match others {
                0 => Look::Done,
                1 => Look::Wait("waiting for 1 old instance to finish".to_owned()),
                others => Look::Wait(format!("waiting for {others} old instances to finish")),
            }
        };
        let calm = Policy { troubles: policy.drain, ..policy.clone() };
        match self.await_until(Some(desired), policy.drain, &calm, look).await? {
            Waited::Done => Ok(()),
            Waited::Bad(why) | Waited::Late(why) => {
                let time = human(policy.drain);
                self.note(format!("after {time} still {why}; the hosts end them by themselves")).await
            }
        }
    }

    /// Runs migrations down after a rollback; what cannot be undone is told.
    async fn migrate_down(&mut self, revision: &Revision, migrations: &[Migration]) -> Result<(), EngineError> {
        let task = Task::MigrateDown { revision: revision.clone(), migrations: migrations.to_vec() };
        match self.task("run the migrations down", &task).await {
            Ok(_) => Ok(()),
            Err(error @ EngineError::Refused { .. }) => {
                self.partial = true;
                self.note(format!("{error}; the release is back, its database is not: see `slipway migrate status`"))
                    .await
            }
            Err(error) => Err(error),
        }
    }
}

/// `90s` as `1m 30s`.
fn human(time: Duration) -> String {
    format!("{:#}", jiff::SignedDuration::try_from(time).unwrap_or(jiff::SignedDuration::MAX))
}
