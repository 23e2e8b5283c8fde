//! Who runs a job that is due, where several hosts make an environment.
//!
//! The first host that lives, and is not drained, runs it, once more than half of the hosts have written down that it
//! does; of two hosts it is enough when the other one is silent. A host that is silent for long while it runs a job is
//! taken for dead, and the next one runs the job again. So a job runs at least once, and once as long as no host is cut
//! off from the others while it works.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    environment::Environment,
    error::Error,
    files,
    membership::Membership,
    protocol::{Call, Reply},
};

/// How long another host may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// One run of a job that was due, and who has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// As in `job.match`.
    pub job: String,
    /// When it was due.
    pub due: Timestamp,
    /// The host that runs it.
    pub host: String,
    /// From 1; more when it took over from a host that died.
    pub attempt: u32,
    /// How far it is.
    pub stage: Stage,
}

/// How far a claimed run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It is begun, or about to be.
    Claimed,
    /// It is over.
    Ended,
    /// It was not begun: too few hosts agreed.
    Released,
}

/// What came of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is ours.
    Ours,
    /// Another host has it, or it is over.
    Taken(Claim),
    /// Too few hosts answered.
    Silence,
}

/// `claims.json` of one environment: the newest claim of each job.
pub(crate) struct Claims {
    path: PathBuf,
    known: Mutex<Option<BTreeMap<String, Claim>>>,
}

impl Claims {
    /// Those of the environment in `folder`; read when they are asked first.
    pub(crate) fn open(folder: &Path) -> Self {
        Self { path: folder.join("claims.json"), known: Mutex::default() }
    }

    /// Every job's newest claim.
    pub(crate) fn all(&self) -> Result<Vec<Claim>, Error> {
        self.with(|known| Ok(known.values().cloned().collect()))
    }

    /// Writes a claim down, unless another one stands against it. Returns the one that stands; durable before that.
    pub(crate) fn enter(&self, claim: &Claim) -> Result<Claim, Error> {
        self.with(|known| {
            let before = known.get(&claim.job);
            if !prevails(claim, before) {
                return Ok(before.cloned().unwrap_or_else(|| claim.clone()));
            }
            if before == Some(claim) {
                return Ok(claim.clone());
            }
            let mut all = known.clone();
            match claim.stage {
                Stage::Released => drop(all.remove(&claim.job)),
                Stage::Claimed | Stage::Ended => drop(all.insert(claim.job.clone(), claim.clone())),
            }
            files::replace_json(&self.path, &all)?;
            *known = all;
            Ok(claim.clone())
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Claim>) -> Result<T, Error>) -> Result<T, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = Some(files::find_json(&self.path, "remove it")?.unwrap_or_default());
        }
        known.as_mut().map_or_else(|| Err(Error::failed("the claims are not open")), act)
    }
}

/// Whether a claim is stronger than what is written down.
fn prevails(claim: &Claim, before: Option<&Claim>) -> bool {
    let Some(before) = before else { return claim.stage != Stage::Released };
    let own = before.host == claim.host && before.due == claim.due && before.attempt == claim.attempt;
    if own {
        // What is over stays over.
        return before.stage == claim.stage || before.stage == Stage::Claimed;
    }
    if claim.stage == Stage::Released {
        return false;
    }
    claim.due > before.due
        || (claim.due == before.due && claim.attempt > before.attempt && before.stage != Stage::Ended)
}

/// Claims a run for this host. A claim that did not come about is taken back everywhere.
pub(crate) async fn claim(environment: &Environment, membership: &Membership, claim: &Claim) -> Result<Answer, Error> {
    let mine = environment.claims.enter(claim)?;
    if mine != *claim {
        return Ok(Answer::Taken(mine));
    }
    let answers = tell(environment, claim).await;
    if let Some(other) = answers.iter().flatten().find(|other| *other != claim) {
        release(environment, claim).await?;
        return Ok(Answer::Taken(other.clone()));
    }
    let agree = 1 + answers.iter().flatten().count();
    if agree * 2 > membership.members.hosts.len() || (membership.members.hosts.len() == 2 && answers.len() == 1) {
        return Ok(Answer::Ours);
    }
    release(environment, claim).await?;
    Ok(Answer::Silence)
}

/// Says that a run is over. Hosts that do not hear it learn it when they ask the others.
pub(crate) async fn end(environment: &Environment, claim: &Claim) {
    let ended = Claim { stage: Stage::Ended, ..claim.clone() };
    if let Err(error) = environment.claims.enter(&ended) {
        tracing::warn!(scope = %environment.scope, "{error}");
    }
    tell(environment, &ended).await;
}

async fn release(environment: &Environment, claim: &Claim) -> Result<(), Error> {
    let released = Claim { stage: Stage::Released, ..claim.clone() };
    environment.claims.enter(&released)?;
    tell(environment, &released).await;
    Ok(())
}

/// What each other host has written down now; `None` of one that is silent.
async fn tell(environment: &Environment, claim: &Claim) -> Vec<Option<Claim>> {
    let asked = environment.peers.clients().into_iter().map(|client| async move {
        let call = client.call(Some(&environment.scope), Call::Claim { claim: claim.clone() });
        match tokio::time::timeout(PATIENCE, call).await {
            Ok(Ok(Reply::Claimed { claim })) => Some(claim),
            _ => None,
        }
    });
    join_all(asked).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(due: i64, host: &str, attempt: u32, stage: Stage) -> Claim {
        let due = Timestamp::from_second(due).unwrap();
        Claim { job: "job.match".to_owned(), due, host: host.to_owned(), attempt, stage }
    }

    #[test]
    fn a_run_has_one_host_until_that_host_dies() {
        let folder = tempfile::tempdir().unwrap();
        let claims = Claims::open(folder.path());
        let a = claim(10, "a", 1, Stage::Claimed);
        assert_eq!(claims.enter(&a).unwrap(), a);
        assert_eq!(claims.enter(&a).unwrap(), a, "again is done already");
        assert_eq!(claims.enter(&claim(10, "b", 1, Stage::Claimed)).unwrap(), a);
        assert_eq!(claims.enter(&claim(9, "b", 1, Stage::Claimed)).unwrap(), a, "what was due before is over");
        let b = claim(10, "b", 2, Stage::Claimed);
        assert_eq!(claims.enter(&b).unwrap(), b, "it takes over");
        assert_eq!(claims.enter(&claim(10, "a", 1, Stage::Ended)).unwrap(), b, "who was taken for dead has no say");
        let over = claim(10, "b", 2, Stage::Ended);
        assert_eq!(claims.enter(&over).unwrap(), over);
        assert_eq!(claims.enter(&claim(10, "c", 3, Stage::Claimed)).unwrap(), over, "it is over");
        assert_eq!(claims.enter(&b).unwrap(), over, "and stays so");
        let next = claim(20, "c", 1, Stage::Claimed);
        assert_eq!(claims.enter(&next).unwrap(), next);
        assert_eq!(Claims::open(folder.path()).all().unwrap(), std::slice::from_ref(&next));
        claims.enter(&claim(20, "c", 1, Stage::Released)).unwrap();
        assert_eq!(claims.all().unwrap(), []);
        let b = claim(20, "b", 1, Stage::Claimed);
        assert_eq!(claims.enter(&b).unwrap(), b);
    }
}
