//! The ways back and the ways on: abort, roll back, finish. Each decides by the journal, never by memory, so that a
//! failure seen by a living engine and one found by whoever recovers it end the same way.

use stack::Revision;

use crate::{
    clock::Clock,
    error::EngineError,
    journal::{DeployKind, Event, Outcome, Start, Step},
    plan::{plan, plan_forward, steady},
    policy::{MigrationsDown, Policy},
    record::{DeployRecord, records},
    run::{Resolve, Stopped, Why},
    session::Session,
    target::{Target, Task},
    watcher::Progress,
};

/// A deploy that came to its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) outcome: Outcome,
    /// The automatic rollback that followed, and how it ended.
    pub(crate) rollback: Option<(u64, Outcome)>,
}

impl<T: Target, C: Clock> Session<'_, T, C> {
    /// Ends the present deploy.
    pub(crate) async fn end(&mut self, outcome: Outcome) -> Result<Outcome, EngineError> {
        self.append(Event::Ended(outcome.clone())).await?;
        self.watcher.see(&Progress::Ended { deploy: self.number, outcome: &outcome });
        Ok(outcome)
    }

    /// Undoes the present deploy after `stopped`.
    pub(crate) async fn undo(&mut self, stopped: Stopped) -> Result<Finished, EngineError> {
        self.strict = false;
        let (reason, error) = match stopped.why {
            Why::Engine(error) if error.is_lease_lost() => return Err(error),
            Why::Engine(error) => (error.to_string(), Some(error)),
            Why::Bad(reason) => (reason, None),
        };
        self.undo_for(Some(stopped.step), &reason, error).await
    }

    /// Undoes the present deploy for `reason`, which was `error` if the release is not to blame.
    pub(crate) async fn undo_for(
        &mut self,
        step: Option<Step>,
        reason: &str,
        error: Option<EngineError>,
    ) -> Result<Finished, EngineError> {
        self.say(reason);
        match self.undo_by_journal(step, reason, error.clone()).await {
            Err(cleanup) if !cleanup.is_lease_lost() && Some(&cleanup) != error.as_ref() => {
                Err(EngineError::Cleanup { reason: reason.to_owned(), cleanup: Box::new(cleanup) })
            }
            other => other,
        }
    }

    async fn undo_by_journal(
        &mut self,
        step: Option<Step>,
        reason: &str,
        error: Option<EngineError>,
    ) -> Result<Finished, EngineError> {
        let history = records(&self.journal().await?);
        let Some(record) = history.iter().rev().find(|record| record.number == self.number) else {
            // not even its start was written
            return Ok(Finished { outcome: Outcome::Failed { step, reason: reason.to_owned() }, rollback: None });
        };
        if let Some(outcome) = record.outcome() {
            return Ok(Finished { outcome: outcome.clone(), rollback: None });
        }
        match (record.trail.shifted, error) {
            (None, _) => self.abort(record, step, reason).await.map(|outcome| Finished { outcome, rollback: None }),
            // committed, and the release is not to blame: whoever recovers it goes on from here
            (Some(100), Some(error)) => Err(error),
            (Some(_), _) => self.roll_back(record, &history, step, reason).await,
        }
    }

    /// Nothing a visitor can see has changed: back to what it was.
    pub(crate) async fn abort(
        &mut self,
        record: &DeployRecord,
        step: Option<Step>,
        reason: &str,
    ) -> Result<Outcome, EngineError> {
        let mut reason = reason.to_owned();
        if record.steps.iter().any(|begun| begun.step == Step::Start) {
            self.want(&steady(record.previous.as_ref())).await?;
        }
        // also when none of them can be run down: it waits for a task that outlived its engine
        let planned = Some(&record.trail.planned).filter(|planned| !planned.is_empty());
        if let (Some(revision), Some(planned)) = (&record.revision, planned) {
            let task = Task::MigrateDown { revision: revision.clone(), migrations: planned.clone() };
            match self.task("run the migrations of this deploy down", &task).await {
                Ok(_) => {}
                Err(error @ EngineError::Refused { .. }) => {
                    reason = format!("{reason}; undoing its migrations failed too: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        self.end(Outcome::Failed { step, reason }).await
    }

    /// Visitors saw the new revision: they are moved back by a deploy of its own.
    pub(crate) async fn roll_back(
        &mut self,
        record: &DeployRecord,
        history: &[DeployRecord],
        step: Option<Step>,
        reason: &str,
    ) -> Result<Finished, EngineError> {
        let Some(previous) = record.previous.as_ref().filter(|_| record.revision.is_some()) else {
            self.want(&steady(None)).await?;
            let reason = format!("{reason}; there is no earlier release to go back to, so nothing runs");
            let outcome = self.end(Outcome::Failed { step, reason }).await?;
            return Ok(Finished { outcome, rollback: None });
        };
        let outcome = self.end(Outcome::RolledBack { reason: reason.to_owned() }).await?;
        let bad = record.revision.as_ref();
        let ended = self.begin_automatic_rollback(previous, bad, history).await?;
        Ok(Finished { outcome, rollback: Some((self.number, ended)) })
    }

    /// Begins and carries out the deploy that moves visitors back from `bad` to `good`.
    pub(crate) async fn begin_automatic_rollback(
        &mut self,
        good: &Revision,
        bad: Option<&Revision>,
        history: &[DeployRecord],
    ) -> Result<Outcome, EngineError> {
        self.number += 1;
        let kind = DeployKind::AutomaticRollback;
        self.watcher.see(&Progress::Started { deploy: self.number, kind });
        self.append(Event::Started(Start { kind, by: self.holder.clone(), previous: bad.cloned() })).await?;
        self.want_known(good, history).await?;
        self.finish_automatic_rollback(good, bad).await
    }

    /// Journals that a revision of an earlier deploy is wanted.
    pub(crate) async fn want_known(&mut self, good: &Revision, history: &[DeployRecord]) -> Result<(), EngineError> {
        let known = history.iter().rev().find(|record| record.revision.as_ref() == Some(good));
        let version = known.and_then(|record| record.version.clone()).unwrap_or_else(|| good.release.to_string());
        let number = known.and_then(|record| record.release_number).unwrap_or_default();
        let commit = known.and_then(|record| record.commit.clone());
        self.watcher.see(&Progress::Wanted { revision: Some(good), version: &version });
        self.append(Event::Wanted { revision: Some(good.clone()), version, number, commit }).await
    }

    /// Carries out the present automatic rollback from wherever it is.
    pub(crate) async fn finish_automatic_rollback(
        &mut self,
        good: &Revision,
        bad: Option<&Revision>,
    ) -> Result<Outcome, EngineError> {
        // what a rollback was to run down belongs to the release that visitors go back to now
        let policy = Policy { migrations_down: None, ..self.policy.clone() };
        let mut observed = self.observe().await?;
        observed.desired = self.held.take().unwrap_or(observed.desired);
        let kind = DeployKind::AutomaticRollback;
        let plan = plan(Some(good), bad, &observed, &[], &policy, kind);
        match self.carry_out(&plan, &policy, Resolve::UntilCommit).await {
            Ok(()) => self.end(Outcome::Succeeded).await,
            Err(stopped) => {
                let reason = match stopped.why {
                    Why::Engine(error) => return Err(error),
                    Why::Bad(reason) => reason,
                };
                let reason = format!("{reason}; visitors stay on the release that was to be left: deploy a good one");
                let history = records(&self.journal().await?);
                match history.last().filter(|record| record.number == self.number) {
                    Some(record) => self.abort(record, Some(stopped.step), &reason).await,
                    None => self.end(Outcome::Failed { step: Some(stopped.step), reason }).await,
                }
            }
        }
    }

    /// Finishes a deploy that passed its commit point, or rolls it back when its revision is not well.
    pub(crate) async fn roll_forward(
        &mut self,
        record: &DeployRecord,
        history: &[DeployRecord],
    ) -> Result<Finished, EngineError> {
        let mut policy = self.policy.clone();
        policy.migrations_down =
            record.trail.reverting.clone().map(|(revision, migrations)| MigrationsDown { revision, migrations });
        let mut observed = self.observe().await?;
        observed.desired = self.held.take().unwrap_or(observed.desired);
        let plan = plan_forward(record.revision.as_ref(), record.previous.as_ref(), &observed, &policy);
        let automatic = record.kind == DeployKind::AutomaticRollback;
        let one_way = automatic || record.revision.is_none() || record.trail.reverted;
        let resolve = if one_way { Resolve::OnlyForward } else { Resolve::MayStop };
        let stopped = match self.carry_out(&plan, &policy, resolve).await {
            Ok(()) => {
                let outcome = self.end(Outcome::Succeeded).await?;
                return Ok(Finished { outcome, rollback: None });
            }
            Err(stopped) => stopped,
        };
        match stopped.why {
            Why::Engine(error) => Err(error),
            Why::Bad(reason) => self.roll_back(record, history, Some(stopped.step), &reason).await,
        }
    }
}
