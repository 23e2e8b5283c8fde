//! What is due where several hosts make an environment: one of them runs it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use stack::{Overlap, ResourceRef};

use crate::{
    claims::{self, Answer, Claim, Stage},
    environment::Environment,
    membership::Membership,
    revision::Loaded,
};

/// How often what waits for a host is looked at.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// What no host could run for so long is left out: the next time it is due it runs again.
const PATIENCE: Duration = Duration::from_mins(1);

/// A host that runs a job and is silent for so long is taken for dead.
const SILENCE: Duration = Duration::from_secs(15);

/// What waits for one of the hosts.
#[derive(Default)]
pub(crate) struct Shared {
    due: BTreeMap<ResourceRef, (Timestamp, Overlap)>,
    /// Since when hosts that run something are silent.
    silent: BTreeMap<String, Instant>,
}

impl Shared {
    /// A job or function is due. What was due before and did not run is left out.
    pub(crate) fn is_due(&mut self, name: &ResourceRef, at: Timestamp, overlap: Overlap) {
        self.due.insert(name.clone(), (at, overlap));
    }

    /// Whether to look again soon.
    pub(crate) fn waits(&self) -> bool {
        !self.due.is_empty() || !self.silent.is_empty()
    }

    /// What this host has claimed and is to start now.
    pub(crate) async fn settle(
        &mut self,
        environment: &Environment,
        membership: &Membership,
        loaded: &Loaded,
    ) -> Vec<(ResourceRef, Overlap, Claim)> {
        let now = Timestamp::now();
        let mine = runner(membership) == membership.me;
        let mut wanted: Vec<(ResourceRef, Overlap, Claim)> = Vec::new();
        let known = environment.claims.all().unwrap_or_else(|error| {
            environment.trouble("claims", Some(error.to_string()));
            Vec::new()
        });
        self.due.retain(|name, (due, _)| {
            let claimed = known.iter().any(|claim| claim.job == name.to_string() && claim.due >= *due);
            let age = Duration::try_from(now.duration_since(*due)).unwrap_or_default();
            if !claimed && age > PATIENCE {
                tracing::warn!(scope = %environment.scope, job = %name, %due, "left out: no host could run it");
            }
            !claimed && age <= PATIENCE
        });
        if mine {
            wanted.extend(self.due.iter().map(|(name, (due, overlap))| {
                let (job, host) = (name.to_string(), membership.me.clone());
                (name.clone(), *overlap, Claim { job, due: *due, host, attempt: 1, stage: Stage::Claimed })
            }));
        }
        wanted.extend(self.left_by_dead(membership, loaded, &known, now).filter(|_| mine));
        let mut ours = Vec::new();
        for (name, overlap, claim) in wanted {
            let about = format!("claim of {name}");
            match claims::claim(environment, membership, &claim).await {
                Ok(Answer::Ours) => {
                    environment.trouble(&about, None);
                    self.due.remove(&name);
                    ours.push((name, overlap, claim));
                }
                Ok(Answer::Taken(by)) => {
                    tracing::info!(scope = %environment.scope, job = %name, host = by.host, "another host has it");
                    // It is written down here too when it stands; when it does not, we ask again.
                    drop(environment.claims.enter(&by));
                }
                Ok(Answer::Silence) => {
                    let why = "it is due, and too few hosts answer to agree on who runs it";
                    environment.trouble(&about, Some(format!("`{name}`: {why}")));
                }
                Err(error) => environment.trouble(&about, Some(error.to_string())),
            }
        }
        ours
    }

    /// Runs that hosts had begun which are silent for long.
    fn left_by_dead(
        &mut self,
        membership: &Membership,
        loaded: &Loaded,
        known: &[Claim],
        now: Timestamp,
    ) -> impl Iterator<Item = (ResourceRef, Overlap, Claim)> {
        let alive =
            |host: &str| host == membership.me || membership.peers.iter().any(|peer| peer.name == host && peer.alive);
        let going = known.iter().filter(|claim| claim.stage == Stage::Claimed && !alive(&claim.host));
        let going: Vec<(ResourceRef, &Claim)> = going
            .filter_map(|claim| Some((claim.job.parse::<ResourceRef>().ok()?, claim)))
            .filter(|(name, claim)| may_go_on(loaded, name, claim, now))
            .collect();
        self.silent.retain(|host, _| going.iter().any(|(_, claim)| claim.host == *host));
        let mut found = Vec::new();
        for (name, claim) in going {
            let since = self.silent.entry(claim.host.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= SILENCE {
                let next = Claim { host: membership.me.clone(), attempt: claim.attempt + 1, ..claim.clone() };
                found.push((name, Overlap::Queue, next));
            }
        }
        found.into_iter()
    }
}

/// Whether a run may still be going on: within its time limit and its retries, with an hour for the waits between.
fn may_go_on(loaded: &Loaded, name: &ResourceRef, claim: &Claim, now: Timestamp) -> bool {
    let Some(command) = loaded.command(name) else { return false };
    let longest = command.timeout.0.saturating_mul(command.retries + 1).saturating_add(Duration::from_hours(1));
    Duration::try_from(now.duration_since(claim.due)).is_ok_and(|age| age < longest)
}

/// The host that runs what is due: the first that lives and is not drained, or the first that lives.
fn runner(membership: &Membership) -> &str {
    let alive =
        |host: &str| host == membership.me || membership.peers.iter().any(|peer| peer.name == host && peer.alive);
    let fit = membership.members.hosts.iter().find(|host| !host.drained && alive(&host.name));
    fit.map_or_else(|| membership.first_alive(), |host| &host.name)
}
