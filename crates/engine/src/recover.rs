//! Finishes or undoes a deploy whose engine is gone.
//!
//! The agent on the host runs this when a lease is free or lapsed and the journal is
//! [`unfinished`](crate::record::unfinished); the CLI runs it at [`begin`](crate::deployment::Deployment::begin).
//! It may itself stop anywhere and be run again.

use std::time::Duration;

use crate::{
    clock::Clock,
    error::EngineError,
    gates::named,
    journal::{DeployKind, Event, Outcome},
    policy::Policy,
    record::{DeployRecord, Status, is_unfinished, records},
    session::Session,
    target::Target,
    undo::Finished,
    watcher::{Progress, Watcher},
};

/// What a recovery found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// The last deploy had an outcome already.
    Nothing,
    /// The last deploy has one now.
    Ended {
        /// Its number.
        deploy: u64,
        /// How it ended.
        outcome: Outcome,
        /// Number and outcome of the automatic rollback that followed, when visitors had to be moved back.
        rollback: Option<(u64, Outcome)>,
    },
}

/// Takes the lease if it is free, brings the last deploy to an outcome, and gives the lease back.
///
/// - Visitors have seen nothing: back to what was, this deploy's reversible migrations run down, `Failed`.
/// - Some visitors were moved (a stage below 100 %): moved back, `RolledBack`.
/// - All visitors were moved, or were about to be: on to the end, `Succeeded`; or, when the new release does not
///   become ready, back, `RolledBack`. Also back when it has gates that were not passed: nobody else can pass them.
///
/// Fails with [`EngineError::Locked`] while somebody holds the lease. On any other error the lease is left to lapse,
/// and the next recovery goes on.
pub async fn recover<'a, T: Target, C: Clock>(
    target: &'a T,
    clock: &'a C,
    holder: &str,
    ttl: Duration,
    policy: &Policy,
    watcher: &'a mut dyn Watcher,
) -> Result<Recovered, EngineError> {
    let mut session = Session::open(target, clock, holder, ttl, policy.clone(), watcher).await?;
    let recovered = session.recover().await?;
    session.close().await;
    Ok(recovered)
}

impl<T: Target, C: Clock> Session<'_, T, C> {
    /// Brings the last deploy to an outcome under this lease.
    pub(crate) async fn recover(&mut self) -> Result<Recovered, EngineError> {
        let history = records(&self.journal().await?);
        let Some(last) = history.last() else { return Ok(Recovered::Nothing) };
        self.number = last.number;
        if !is_unfinished(last) {
            return Ok(Recovered::Nothing);
        }
        self.watcher.see(&Progress::Recovering { deploy: last.number, by: &last.by });
        // on hosts that disagree about the last entries, this one makes ours count before anything is done
        let text = format!("taken over by {}", self.holder);
        self.append(Event::Noted { text }).await?;
        let Finished { outcome, rollback } = self.bring_to_outcome(last, &history).await?;
        Ok(Recovered::Ended { deploy: last.number, outcome, rollback })
    }

    async fn bring_to_outcome(
        &mut self,
        last: &DeployRecord,
        history: &[DeployRecord],
    ) -> Result<Finished, EngineError> {
        if let Status::Ended { outcome } = &last.status {
            // rolled back in the journal, and not yet on the hosts
            let outcome = outcome.clone();
            let Some(good) = &last.previous else { return Ok(Finished { outcome, rollback: None }) };
            let ended = self.begin_automatic_rollback(good, last.revision.as_ref(), history).await?;
            return Ok(Finished { outcome, rollback: Some((self.number, ended)) });
        }
        if last.kind == DeployKind::AutomaticRollback && last.trail.shifted.is_none() {
            let rolled_back = history
                .iter()
                .rev()
                .find(|record| matches!(&record.status, Status::Ended { outcome: Outcome::RolledBack { .. } }));
            let good = last.revision.as_ref().or_else(|| rolled_back?.previous.as_ref());
            if let Some(good) = good {
                if !last.trail.wanted {
                    self.want_known(good, history).await?;
                }
                let outcome = self.finish_automatic_rollback(good, last.previous.as_ref()).await?;
                return Ok(Finished { outcome, rollback: None });
            }
        }
        match last.trail.shifted {
            Some(100) if !last.trail.gates.is_empty() => {
                // what they ask can only be found out where the deploy was begun
                let reason = format!("{} before its {} passed", stopped(last), named(&last.trail.gates));
                self.roll_back(last, history, last.last_step(), &reason).await
            }
            Some(100) => self.roll_forward(last, history).await,
            Some(percent) => {
                let reason = format!("{} while {percent} % of the visitors were on the new release", stopped(last));
                self.roll_back(last, history, last.last_step(), &reason).await
            }
            None => {
                let reason = format!("{}; the environment stayed on {}", stopped(last), stayed(last));
                let outcome = self.abort(last, last.last_step(), &reason).await?;
                Ok(Finished { outcome, rollback: None })
            }
        }
    }
}

/// `the deploy by ada@laptop stopped in step migrate`.
fn stopped(last: &DeployRecord) -> String {
    let place = last.last_step().map_or("before its first step".to_owned(), |step| format!("in step {step}"));
    format!("the {} by {} stopped {place}", last.kind, last.by)
}

fn stayed(last: &DeployRecord) -> String {
    last.previous.as_ref().map_or("nothing".to_owned(), |previous| format!("release {}", previous.release))
}
