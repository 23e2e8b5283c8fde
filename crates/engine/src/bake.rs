//! Watches a new release beside the old one, and has its gates passed meanwhile.

use std::{collections::BTreeSet, time::Duration};

use stack::{ResourceName, Revision};

use crate::{
    clock::{Clock, since},
    desired::Desired,
    gates::{Passing, named},
    journal::Event,
    judge::{Readiness, gained, readiness, sick, worse},
    plan::Plan,
    policy::Policy,
    run::{ASKED, Why},
    session::{Either, Session, either},
    target::Target,
};

impl<'a, T: Target, C: Clock> Session<'a, T, C> {
    /// What passes the gates of this deploy.
    pub(crate) fn gatekeeper(&mut self, gates: &[ResourceName]) -> Result<Passing<'a>, Why> {
        self.passing.take().ok_or_else(|| Why::Bad(format!("nobody is here to see that {} passed", named(gates))))
    }

    /// Waits for as long as a look lasts, and goes on passing gates meanwhile; whether they are passed now.
    async fn pass(&mut self, passing: &mut Passing<'_>, time: Duration) -> Result<bool, Why> {
        let clock = self.clock;
        let ended = self.keeping("pass the gates", either(&mut passing.work, clock.sleep(time))).await;
        for checked in passing.told.take() {
            self.append(Event::Checked(checked)).await.map_err(Why::Engine)?;
        }
        match ended.map_err(Why::Engine)? {
            Either::Keeper(()) => return Ok(false),
            Either::Work(passed) => passed.map_err(Why::Bad)?,
        }
        self.append(Event::GatesPassed).await.map_err(Why::Engine)?;
        Ok(true)
    }

    /// Watches the wanted revision beside the current one for `period`, and until a person promotes the stage when its
    /// desired state is `held`, and until its gates are passed.
    pub(crate) async fn bake(
        &mut self,
        period: Duration,
        held: Option<&Desired>,
        mut passing: Option<Passing<'_>>,
        plan: &Plan,
        policy: &Policy,
    ) -> Result<(), Why> {
        let Some(wanted) = &plan.wanted else { return Ok(()) };
        let poll = policy.poll.max((period / 20).min(Duration::from_secs(1)));
        // nobody sees a stage move on half a second late
        let poll = if held.is_some() || passing.is_some() { poll.max(Duration::from_millis(500)) } else { poll };
        let began = self.clock.now();
        let mut base = None;
        let mut missing: Option<jiff::Timestamp> = None;
        loop {
            let observed = self.observe().await.map_err(Why::Engine)?;
            self.heed(&observed.lost).await?;
            let now = self.clock.now();
            let base = base.get_or_insert_with(|| observed.traffic.clone());
            let seen = |revision: &Revision| {
                let after = observed.traffic.get(revision).copied()?;
                Some((gained(base.get(revision).copied().unwrap_or_default(), after), after))
            };
            let old = plan
                .current
                .as_ref()
                .and_then(&seen)
                .map(|(stage, life)| if stage.requests >= policy.limits.min_requests { stage } else { life });
            // visitors waited for the lost host, whatever the release is like
            let limits = if observed.lost.is_empty() { policy.limits } else { policy.limits.at_any_speed() };
            let bad = sick(&observed, wanted).or_else(|| seen(wanted).and_then(|(new, _)| worse(new, old, &limits)));
            if let Some(why) = bad {
                return Err(Why::Bad(why));
            }
            if let Readiness::Coming { ready, of } = readiness(&observed, wanted, &BTreeSet::new()) {
                if since(now, *missing.get_or_insert(now)) >= policy.troubles {
                    let of = of.map_or_else(|| "its".to_owned(), |of| of.to_string());
                    return Err(Why::Bad(format!("only {ready} of {of} instances of the new release are ready")));
                }
            } else {
                missing = None;
            }
            if self.asked_to_stop() {
                return Err(Why::Bad(ASKED.to_owned()));
            }
            let left = period.saturating_sub(since(now, began));
            // who promoted an earlier stage has not promoted this one: hosts forget it when they take the next up
            let promoted = |held: &Desired| observed.desired == *held && observed.promoted == Some(self.number);
            if left.is_zero() && passing.is_none() {
                if held.is_none_or(promoted) {
                    return Ok(());
                }
                self.say("waiting until a person promotes this stage: `slipway promote` goes on, Ctrl-C goes back");
            }
            let time = if left.is_zero() { poll } else { poll.min(left) };
            match &mut passing {
                Some(gates) => {
                    if self.pass(gates, time).await? {
                        passing = None;
                    }
                }
                None => self.pause(time).await.map_err(Why::Engine)?,
            }
        }
    }
}
