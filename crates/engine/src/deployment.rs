//! One deploy from lock to unlock, as the command line drives it.

use std::time::Duration;

use stack::Revision;

use crate::{
    clock::Clock,
    error::EngineError,
    gates::{Checked, Passing},
    journal::{DeployKind, Event, Outcome, Start, Step},
    plan::plan,
    policy::Policy,
    record::{committed_of, records},
    run::{Resolve, Stopped, Why},
    session::Session,
    target::Target,
    undo::Finished,
    watcher::{Progress, Watcher},
};

/// Who begins what.
#[derive(Debug, Clone, PartialEq)]
pub struct Begin {
    /// Which kind.
    pub kind: DeployKind,
    /// `user@machine`.
    pub by: String,
    /// How long the lease lasts without a sign of life; it is renewed every third of it.
    pub ttl: Duration,
    /// For the recovery of an earlier deploy, and for patience with a host that does not answer.
    pub policy: Policy,
}

impl Begin {
    /// A lease of 15 s and the default policy.
    pub fn new(kind: DeployKind, by: impl Into<String>) -> Self {
        Self { kind, by: by.into(), ttl: Duration::from_secs(15), policy: Policy::default() }
    }
}

/// A deploy that holds the lease.
///
/// Dropped without an end (a crash, Ctrl-C), it is an unfinished deploy: the lease lapses and the hosts recover it.
pub struct Deployment<'a, T, C> {
    session: Session<'a, T, C>,
    kind: DeployKind,
    previous: Option<Revision>,
    goal: Goal,
}

/// What a deploy is for.
enum Goal {
    /// Not built yet.
    Unknown,
    /// This revision; nothing for a stop.
    Known(Option<Revision>),
}

/// How a deploy ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its number.
    pub deploy: u64,
    /// How.
    pub outcome: Outcome,
    /// Number and outcome of the automatic rollback that followed a `RolledBack`.
    pub rollback: Option<(u64, Outcome)>,
    /// What a person should know; in the journal too.
    pub notes: Vec<String>,
    /// It succeeded, and something of it was left undone, as the notes say (exit code 7).
    pub partial: bool,
}

impl<'a, T: Target, C: Clock> Deployment<'a, T, C> {
    /// Takes the lease, recovers an earlier deploy that has no outcome, and journals the start.
    ///
    /// Fails with [`EngineError::Locked`] while another deploy holds the lease.
    pub async fn begin(
        target: &'a T,
        clock: &'a C,
        begin: Begin,
        watcher: &'a mut dyn Watcher,
    ) -> Result<Self, EngineError> {
        let Begin { kind, by, ttl, policy } = begin;
        let mut session = Session::open(target, clock, &by, ttl, policy, watcher).await?;
        session.recover().await?;
        let history = records(&session.journal().await?);
        let previous = committed_of(&history);
        session.number = history.last().map_or(0, |last| last.number) + 1;
        let started = Event::Started(Start { kind, by, previous: previous.clone() });
        if let Err(error) = session.append(started).await {
            if matches!(error, EngineError::Refused { .. }) {
                session.close().await; // nothing was begun
            }
            return Err(error);
        }
        session.watcher.see(&Progress::Started { deploy: session.number, kind });
        Ok(Self { session, kind, previous, goal: Goal::Unknown })
    }

    /// The number of this deploy.
    pub fn number(&self) -> u64 {
        self.session.number
    }

    /// What the environment is on.
    pub fn previous(&self) -> Option<&Revision> {
        self.previous.as_ref()
    }

    /// Does `work` as a journalled step, with the lease renewed meanwhile.
    ///
    /// The inner error is the work's own: the caller ends the deploy with [`fail`](Self::fail). The outer one says
    /// that the engine stopped, and `work` was dropped where it was.
    pub async fn step<V, E>(
        &mut self,
        step: Step,
        work: impl Future<Output = Result<V, E>>,
    ) -> Result<Result<V, E>, EngineError> {
        let began = self.session.step_started(step).await?;
        let done = self.session.keeping(step.about(), work).await?;
        if done.is_ok() {
            self.session.step_ended(step, began).await?;
        }
        Ok(done)
    }

    /// Journals what the environment is to become; `None` for a stop.
    pub async fn wanted(
        &mut self,
        revision: Option<Revision>,
        version: &str,
        number: u64,
        commit: Option<&str>,
    ) -> Result<(), EngineError> {
        self.session.watcher.see(&Progress::Wanted { revision: revision.as_ref(), version });
        let commit = commit.map(ToOwned::to_owned);
        let event = Event::Wanted { revision: revision.clone(), version: version.to_owned(), number, commit };
        self.session.append(event).await?;
        self.goal = Goal::Known(revision);
        Ok(())
    }

    /// Journals what a gate found before anything changed.
    pub async fn checked(&mut self, checked: Checked) -> Result<(), EngineError> {
        self.session.append(Event::Checked(checked)).await
    }

    /// Brings what passes the gates of the policy. Begun once all visitors are moved; dropped where it is when the deploy
    /// goes back meanwhile. Without it they cannot be passed, and the deploy rolls back.
    pub fn passing(&mut self, passing: Passing<'a>) {
        self.session.passing = Some(passing);
    }

    /// Does everything from `ship` to `unlock`.
    ///
    /// A deploy that failed and was undone is a [`Report`]; an error says that it could not be brought to an outcome,
    /// and the hosts do so once the lease lapsed.
    pub async fn run(mut self, policy: &Policy) -> Result<Report, EngineError> {
        let Goal::Known(wanted) = std::mem::replace(&mut self.goal, Goal::Unknown) else {
            return Err(EngineError::NothingWanted);
        };
        self.session.policy = policy.clone();
        let finished = match self.carry_out(wanted.as_ref(), policy).await {
            Ok(()) => Finished { outcome: self.session.end(Outcome::Succeeded).await?, rollback: None },
            Err(stopped) => self.session.undo(stopped).await?,
        };
        Ok(self.close(finished).await)
    }

    async fn carry_out(&mut self, wanted: Option<&Revision>, policy: &Policy) -> Result<(), Stopped> {
        let stopped = |error| Stopped { step: Step::Preflight, why: Why::Engine(error) };
        let (session, current, kind) = (&mut self.session, self.previous.as_ref(), self.kind);
        session.strict = kind == DeployKind::Deploy;
        let observed = session.observe().await.map_err(stopped)?;
        let bad = |why| Stopped { step: Step::Preflight, why };
        session.heed(&observed.lost).await.map_err(bad)?;
        let first = plan(wanted, current, &observed, &[], policy, kind);
        let pending = session.arrive(&first).await?;
        let observed = session.observe().await.map_err(stopped)?;
        session.heed(&observed.lost).await.map_err(bad)?;
        let plan = plan(wanted, current, &observed, &pending, policy, kind);
        let resolve = if wanted.is_none() { Resolve::UntilCommit } else { Resolve::MayStop };
        session.carry_out(&plan, policy, resolve).await
    }

    /// Ends the deploy as failed: a build that did not work, a person who said stop. Only before [`run`](Self::run),
    /// so nothing has changed.
    pub async fn fail(mut self, step: Option<Step>, reason: &str) -> Result<Report, EngineError> {
        let finished = self.session.undo_for(step, reason, None).await?;
        Ok(self.close(finished).await)
    }

    async fn close(mut self, finished: Finished) -> Report {
        // a rollback has counted on
        let deploy = finished.rollback.as_ref().map_or(self.session.number, |(number, _)| number - 1);
        self.session.close().await;
        if finished.outcome == Outcome::Succeeded {
            self.session.tell_late_losses();
        }
        let Finished { outcome, rollback } = finished;
        Report { deploy, outcome, rollback, notes: self.session.notes, partial: self.session.partial }
    }
}
