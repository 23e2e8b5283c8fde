//! Catching up: a host that was away takes over the journal and the desired state that count, and brings what it lacks
//! of the revisions that are wanted.
//!
//! What counts is decided by [`engine::group::merge::adopt`], which is proven with the rest of the group; here is when to
//! look, and how to get there.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use engine::{
    desired::Desired,
    group::merge::{self, Holding},
    target::Fence,
};
use stack::Revision;
use tokio::task::JoinSet;

use super::fetch;
use crate::{
    client::Client,
    environment::Environment,
    error::Error,
    host::Host,
    protocol::{Call, Head, Reply, Scope},
    state::LeaseState,
};

/// How soon a host that could not catch up tries again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a host may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an agent that begins waits for its peers before it goes on with what it has.
const FIRST: Duration = Duration::from_secs(5);

/// What was the same when this host was seen to be level.
struct Seen {
    head: Head,
    desired: Desired,
    held: bool,
    hosts: usize,
    /// A majority answered.
    majority: bool,
}

impl Seen {
    /// Whether there is nothing new since `before`. While somebody deploys here the journal is his.
    fn is_like(&self, before: Option<&Self>) -> bool {
        before.is_some_and(|before| {
            let same =
                self.held || (&self.head, self.hosts, self.majority) == (&before.head, before.hosts, before.majority);
            same && self.held == before.held && self.desired == before.desired
        })
    }
}

/// Catches up whenever the others have something that this host lacks.
pub(super) async fn run(host: &Arc<Host>, environment: &Arc<Environment>) {
    let mut news = environment.peers.watch();
    let mut changes = environment.watch();
    let mut level_at = None;
    loop {
        news.mark_unchanged();
        changes.mark_unchanged();
        let mut again = false;
        if has_peers(environment) {
            let seen = seen(environment);
            if is_outranked(environment, &seen) || !seen.is_like(level_at.as_ref()) {
                match level(host, environment).await {
                    // What it took over may itself be changed by whoever deploys: looked at once more.
                    Ok(done) => level_at = done.is_empty().then_some(seen),
                    Err(_) if !seen.majority => level_at = Some(seen),
                    Err(error) => {
                        let trouble = format!("this host cannot catch up with the others: {error}");
                        environment.trouble("level", Some(trouble));
                        again = true;
                    }
                }
            }
        }
        if again {
            tokio::select! {
                () = host.stopping.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => continue,
            }
        }
        environment.trouble("level", None);
        tokio::select! {
            () = host.stopping.cancelled() => return,
            told = news.changed() => if told.is_err() { return },
            told = changes.changed() => if told.is_err() { return },
        }
    }
}

/// Whether it has other hosts, and is in the list itself.
fn has_peers(environment: &Environment) -> bool {
    environment.membership().is_some_and(|known| !known.peers.is_empty() && known.own().is_some())
}

fn seen(environment: &Environment) -> Seen {
    let known = environment.membership();
    let hosts = known.as_ref().map_or(1, |known| known.members.hosts.len());
    let alive = known.as_ref().map_or(0, |known| known.peers.iter().filter(|peer| peer.alive).count());
    let head = environment.with_journal(|journal| Ok(journal.head().clone())).unwrap_or_default();
    let state = environment.state();
    Seen {
        held: matches!(state.lease(Instant::now()), LeaseState::Held(_)),
        desired: state.desired().clone(),
        majority: (alive + 1) * 2 > hosts,
        head,
        hosts,
    }
}

/// Whether, as far as the last looks tell, another host has a journal that counts more while nobody has the lease here.
fn is_outranked(environment: &Environment, seen: &Seen) -> bool {
    let heard = environment.peers.heard();
    let outranks = |head: &Head| head.rank() > seen.head.rank();
    !seen.held && seen.majority && heard.values().any(|heard| heard.is_alive() && outranks(&heard.state.head))
}

/// Catches up now. Says in words what was done; nothing when there was nothing to do. Fails when too few hosts answer
/// to know, or something cannot be brought.
pub(crate) async fn level(host: &Arc<Host>, environment: &Arc<Environment>) -> Result<Vec<String>, Error> {
    let _one_at_a_time = environment.peers.levelling.lock().await;
    if !has_peers(environment) {
        return Ok(Vec::new());
    }
    // The last looks may be older than this host's own last entry: the others are asked after it was seen that nobody
    // has the lease here.
    let own = seen(environment);
    let mut clients = environment.peers.clients();
    if own.held {
        let done = bring_all(host, environment, &own.desired, &clients).await?;
        return Ok(tell(environment, done));
    }
    let mut asked = JoinSet::new();
    for client in clients.drain(..) {
        asked.spawn(ask(client, environment.scope.clone(), own.head.clone()));
    }
    let answers: Vec<Answer> = asked.join_all().await.into_iter().flatten().collect();
    if (answers.len() + 1) * 2 <= own.hosts {
        return Err(Error::failed(format!(
            "only {} of {} hosts answer, which is no majority; look at the others, or at the network between them",
            answers.len() + 1,
            own.hosts
        )));
    }
    let from: Vec<Client> = answers.iter().map(|answer| answer.client.clone()).collect();
    let mut done = Vec::new();
    let journal = environment.with_journal(|journal| journal.read())?;
    let others: Vec<Holding> = answers
        .into_iter()
        .map(|answer| Holding { journal: answer.journal.unwrap_or_else(|| journal.clone()), desired: answer.desired })
        .collect();
    let holding = Holding { journal, desired: own.desired.clone() };
    match merge::adopt(&holding, &others, own.hosts) {
        Some(adopted) => {
            done.extend(bring_all(host, environment, &adopted.desired, &from).await?);
            done.extend(take_over(environment, own, adopted).await?);
        }
        None => done.extend(bring_all(host, environment, &own.desired, &from).await?),
    }
    Ok(tell(environment, done))
}

/// Tells the log, and everybody who waits for something new.
fn tell(environment: &Environment, done: Vec<String>) -> Vec<String> {
    for what in &done {
        tracing::info!(scope = %environment.scope, "caught up: {what}");
    }
    if !done.is_empty() {
        environment.touch();
    }
    done
}

/// Brings a revision from whichever host has it, where this one lacks it. What cannot be brought is told by whoever needs
/// it.
pub(crate) async fn bring(host: &Arc<Host>, environment: &Arc<Environment>, revision: &Revision) {
    let clients = environment.peers.clients();
    if clients.is_empty() || environment.revisions.find(revision).is_some() {
        return;
    }
    match fetch::bring(host, environment, revision, &clients).await {
        Ok(done) => drop(tell(environment, done)),
        Err(error) => tracing::info!(scope = %environment.scope, %revision, "no other host gave it: {error}"),
    }
}

/// What another host has.
struct Answer {
    client: Client,
    desired: Desired,
    /// `None` when it is the same as this host's own.
    journal: Option<Vec<engine::journal::Entry>>,
}

async fn ask(client: Client, scope: Scope, own: Head) -> Option<Answer> {
    let asked = async {
        // The journal after what is wanted, so that it is not older.
        let Ok(Reply::PeerState { state }) = client.call(Some(&scope), Call::PeerState).await else { return None };
        if state.head == own {
            return Some((state.desired, None));
        }
        let Ok(Reply::Journal { entries }) = client.call(Some(&scope), Call::Journal).await else { return None };
        Some((state.desired, Some(entries)))
    };
    let (desired, journal) = tokio::time::timeout(PATIENCE, asked).await.ok()??;
    Some(Answer { client, desired, journal })
}

/// Brings what this host lacks of the revisions that are wanted.
async fn bring_all(
    host: &Arc<Host>,
    environment: &Arc<Environment>,
    desired: &Desired,
    from: &[Client],
) -> Result<Vec<String>, Error> {
    let mut revisions: BTreeSet<&Revision> = desired.running.iter().chain(desired.traffic.keys()).collect();
    revisions.extend(&desired.schedules);
    let mut done = Vec::new();
    for revision in revisions {
        if environment.revisions.find(revision).is_none() {
            done.extend(fetch::bring(host, environment, revision, from).await?);
        }
    }
    Ok(done)
}

/// Takes over a journal and what is wanted, unless somebody took the lease meanwhile.
async fn take_over(environment: &Arc<Environment>, own: Seen, adopted: Holding) -> Result<Vec<String>, Error> {
    let taking = environment.clone();
    let taken = tokio::task::spawn_blocking(move || {
        let mut state = taking.state();
        let unchanged = taking.with_journal(|journal| Ok(*journal.head() == own.head))?;
        if matches!(state.lease(Instant::now()), LeaseState::Held(_)) || !unchanged || *state.desired() != own.desired {
            // Somebody deploys: looked at again, since that changed something.
            return Ok(Vec::new());
        }
        let floor = adopted.journal.iter().map(|entry| entry.fence).max().unwrap_or(Fence::default());
        let kept = taking.take_over(&mut state, &adopted.journal, Some(&adopted.desired), floor)?;
        let mut done = Vec::new();
        if u64::try_from(adopted.journal.len()).ok() != Some(own.head.entries) || kept.is_some() {
            let deploy = adopted.journal.last().map_or(0, |entry| entry.deploy);
            done.push(format!("took over the journal up to deploy {deploy}"));
        }
        if let Some(kept) = kept {
            done.push(format!("gave up what only this host had in its journal, and kept it in {}", kept.display()));
        }
        if adopted.desired != own.desired {
            done.push("took over what is wanted".to_owned());
        }
        Ok(done)
    });
    taken.await.map_err(|error| Error::failed(error.to_string()))?
}

/// Lets the hosts of every environment be heard before what may be outdated is served: until a majority answers and
/// this host is level with it, or until it has waited long enough.
pub(crate) async fn hear_first(host: &Arc<Host>, environments: &[Arc<Environment>]) {
    let heard = async {
        for environment in environments {
            hear(host, environment).await;
        }
    };
    if tokio::time::timeout(FIRST, heard).await.is_err() {
        tracing::warn!("too few other hosts answer; going on with what is known here");
    }
}

async fn hear(host: &Host, environment: &Environment) {
    let mut news = environment.peers.watch();
    let mut changes = environment.watch();
    loop {
        news.mark_unchanged();
        changes.mark_unchanged();
        let seen = seen(environment);
        if seen.majority && !is_outranked(environment, &seen) {
            return;
        }
        tokio::select! {
            () = host.stopping.cancelled() => return,
            told = news.changed() => if told.is_err() { return },
            told = changes.changed() => if told.is_err() { return },
        }
    }
}
