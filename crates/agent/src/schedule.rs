//! Starts jobs and functions when their time comes.

use std::{collections::BTreeMap, str::FromStr, sync::Arc, time::Duration};

use croner::Cron;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use stack::{Kind, Overlap, ResourceRef, Schedule};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use crate::history::runs;
use crate::{
    claims::{self, Claim},
    environment::Environment,
    host::Host,
    jobs::{self, Cause, Job},
    revision::Loaded,
    shared::{SOON, Shared},
};

/// The clock is looked at this often while something is scheduled, because it may be set and machines sleep.
const LOOK: Duration = Duration::from_secs(30);

/// A restarted agent starts what was due while it was away, unless that is longer ago.
const CATCH_UP: i64 = 60;

/// One job or function as it goes.
#[derive(Default)]
struct Going {
    /// Its latest run.
    replaced: Option<CancellationToken>,
    runs: usize,
    /// A run waits for the last one to end.
    queued: bool,
    /// What that run was claimed with.
    claim: Option<Claim>,
}

/// What to do when the time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Start,
    Skip,
    Queue,
    Replace,
}

/// The next time after `after` at which a schedule is due. Hours that a change to summer time skips are made up for
/// at its end; those that come twice count once.
pub(crate) fn next(schedule: &Schedule, after: Timestamp) -> Option<Timestamp> {
    let cron = Cron::from_str(&schedule.cron).ok()?;
    let zone = TimeZone::get(&schedule.time_zone).ok()?;
    cron.find_next_occurrence(&after.to_zoned(zone), false).ok().map(|at| at.timestamp())
}

/// The latest time up to `now`, from `due` on, at which a schedule was due.
fn latest(schedule: &Schedule, due: Timestamp, now: Timestamp) -> Timestamp {
    let times = std::iter::successors(Some(due), |at| next(schedule, *at).filter(|at| *at <= now));
    // A clock that was set far ahead must not keep this busy.
    times.take(10_000).last().unwrap_or(due)
}

fn act(overlap: Overlap, going: &Going) -> Act {
    match overlap {
        _ if going.runs == 0 => Act::Start,
        Overlap::Skip => Act::Skip,
        Overlap::Queue => Act::Queue,
        Overlap::Replace => Act::Replace,
    }
}

/// Everything of a release that has a schedule.
fn schedules(loaded: &Loaded) -> Vec<(ResourceRef, &Schedule, Overlap)> {
    let stack = &loaded.resolved.stack;
    let name = |kind, name: &stack::ResourceName| ResourceRef { kind, name: name.clone() };
    let jobs = stack.jobs.iter().map(|(job, it)| (name(Kind::Job, job), &it.schedule, it.overlap));
    let functions = stack
        .functions
        .iter()
        .filter_map(|(function, it)| Some((name(Kind::Function, function), it.schedule.as_ref()?, Overlap::Skip)));
    jobs.chain(functions).collect()
}

/// Looks after the schedules of an environment for as long as the agent runs.
pub(crate) async fn run(host: Arc<Host>, environment: Arc<Environment>) {
    let mut changes = environment.watch();
    let mut lives = JoinSet::new();
    let mut going: BTreeMap<ResourceRef, Going> = BTreeMap::new();
    for left in jobs::find_left(&environment, |cause| *cause == Cause::Schedule).await {
        let name = left.of().clone();
        let read = environment.revisions.get(&host.store, &environment.scope, &environment.folder, left.revision());
        let claim = left.claim().cloned();
        match read {
            Ok(loaded) => spawn(&host, &environment, &loaded, &name, (claim, Some(left)), &mut going, &mut lives),
            Err(error) => environment.trouble(&format!("runs of {name}"), Some(error.to_string())),
        }
    }
    let mut looked = catch_up_from(&environment);
    let mut shared = Shared::default();
    loop {
        changes.mark_unchanged();
        let loaded = load(&host, &environment);
        let now = Timestamp::now();
        let mut soonest: Option<Timestamp> = None;
        for (name, schedule, overlap) in loaded.iter().flat_map(|loaded| schedules(loaded)) {
            let Some(mut due) = next(schedule, looked) else { continue };
            if due <= now {
                if let Some(loaded) = &loaded {
                    if environment.membership().is_some() {
                        shared.is_due(&name, latest(schedule, due, now), overlap);
                    } else {
                        fire(&host, &environment, loaded, &name, (overlap, None), &mut going, &mut lives);
                    }
                }
                let Some(later) = next(schedule, now) else { continue };
                due = later;
            }
            soonest = Some(soonest.map_or(due, |soonest| soonest.min(due)));
        }
        looked = now;
        if let (Some(membership), Some(loaded)) = (environment.membership(), &loaded) {
            for (name, overlap, claim) in shared.settle(&environment, &membership, loaded).await {
                fire(&host, &environment, loaded, &name, (overlap, Some(claim)), &mut going, &mut lives);
            }
        }
        let pause = soonest.map(|at| Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default());
        let pause = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause.min(if shared.waits() { SOON } else { LOOK })).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = host.stopping.cancelled() => {
                // Runs go on without an agent.
                lives.abort_all();
                return;
            }
            told = changes.changed() => if told.is_err() { return },
            Some(ended) = lives.join_next() => {
                if let (Ok(name), Some(loaded)) = (&ended, &loaded)
                    && take_queued(&mut going, name)
                {
                    let claim = going.get_mut(name).and_then(|known| known.claim.take());
                    spawn(&host, &environment, loaded, name, (claim, None), &mut going, &mut lives);
                }
                if let Err(error) = ended {
                    tracing::error!(scope = %environment.scope, "a run broke down: {error}");
                }
            }
            () = pause => {}
        }
    }
}

/// From when on what was due counts: since the last run that was begun, a minute ago at most.
fn catch_up_from(environment: &Environment) -> Timestamp {
    let now = Timestamp::now();
    let earliest = now.checked_sub(CATCH_UP.seconds()).unwrap_or(now);
    runs(environment).first().map_or(earliest, |run| run.started_at.max(earliest))
}

fn load(host: &Host, environment: &Environment) -> Option<Arc<Loaded>> {
    let revision = environment.desired().schedules?;
    // The supervisor tells of a revision that cannot be read.
    environment.revisions.get(&host.store, &environment.scope, &environment.folder, &revision).ok()
}

fn fire(
    host: &Arc<Host>,
    environment: &Arc<Environment>,
    loaded: &Arc<Loaded>,
    name: &ResourceRef,
    (overlap, claim): (Overlap, Option<Claim>),
    going: &mut BTreeMap<ResourceRef, Going>,
    lives: &mut JoinSet<ResourceRef>,
) {
    let known = going.entry(name.clone()).or_default();
    let act = act(overlap, known);
    tracing::info!(scope = %environment.scope, job = %name, ?act, "due");
    match act {
        Act::Start => spawn(host, environment, loaded, name, (claim, None), going, lives),
        Act::Skip => {
            if let Some(claim) = claim {
                let environment = environment.clone();
                drop(tokio::spawn(async move { claims::end(&environment, &claim).await }));
            }
        }
        Act::Queue => (known.queued, known.claim) = (true, claim),
        Act::Replace => {
            if let Some(replaced) = &known.replaced {
                replaced.cancel();
            }
            (known.queued, known.claim) = (true, claim);
        }
    }
}

fn spawn(
    host: &Arc<Host>,
    environment: &Arc<Environment>,
    loaded: &Arc<Loaded>,
    name: &ResourceRef,
    (claim, left): (Option<Claim>, Option<jobs::Left>),
    going: &mut BTreeMap<ResourceRef, Going>,
    lives: &mut JoinSet<ResourceRef>,
) {
    let replaced = CancellationToken::new();
    let job = Job {
        host: host.clone(),
        environment: environment.clone(),
        loaded: loaded.clone(),
        name: name.clone(),
        replaced: replaced.clone(),
        cause: Cause::Schedule,
        event: None,
        answers: false,
        claim,
    };
    let known = going.entry(name.clone()).or_default();
    known.replaced = Some(replaced);
    known.runs += 1;
    let (name, id) = (name.clone(), jobs::id(name));
    lives.spawn(async move {
        job.run(id, left).await;
        name
    });
}

/// A run of `name` ended; whether the one that waited may begin.
fn take_queued(going: &mut BTreeMap<ResourceRef, Going>, name: &ResourceRef) -> bool {
    let Some(known) = going.get_mut(name) else { return false };
    known.runs = known.runs.saturating_sub(1);
    known.runs == 0 && std::mem::take(&mut known.queued)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(cron: &str, zone: &str) -> Schedule {
        Schedule { cron: cron.to_owned(), time_zone: zone.to_owned() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_next_time_is_strictly_later_and_in_its_own_zone() {
        let utc = schedule("0 2 * * *", "UTC");
        assert_eq!(next(&utc, at("2026-05-01T01:59:59.9Z")), Some(at("2026-05-01T02:00:00Z")));
        assert_eq!(next(&utc, at("2026-05-01T02:00:00Z")), Some(at("2026-05-02T02:00:00Z")));
        let berlin = schedule("0 2 * * *", "Europe/Berlin");
        assert_eq!(next(&berlin, at("2026-07-01T00:30:00Z")), Some(at("2026-07-02T00:00:00Z")));
        assert_eq!(next(&berlin, at("2026-01-01T00:30:00Z")), Some(at("2026-01-01T01:00:00Z")));
        assert_eq!(next(&schedule("@hourly", "UTC"), at("2026-05-01T02:10:00Z")), Some(at("2026-05-01T03:00:00Z")));
        assert_eq!(next(&schedule("0 0 1 1 *", "Nowhere/Zone"), at("2026-05-01T02:10:00Z")), None);
    }

    #[test]
    fn summer_time_neither_drops_nor_doubles_a_run() {
        let berlin = schedule("30 2 * * *", "Europe/Berlin");
        let times = |from: &str, days: usize| {
            let mut time = at(from);
            (0..days)
                .map(|_| {
                    time = next(&berlin, time).unwrap();
                    time
                })
                .collect::<Vec<_>>()
        };
        // In the night to 29 March 2026 the hour from 2 to 3 is missing; in that to 25 October it comes twice.
        let spring = times("2026-03-28T00:00:00Z", 3);
        assert_eq!(spring[0], at("2026-03-28T01:30:00Z"));
        assert_eq!(spring[1].to_zoned(TimeZone::get("Europe/Berlin").unwrap()).date(), jiff::civil::date(2026, 3, 29));
        assert_eq!(spring[2], at("2026-03-30T00:30:00Z"));
        let autumn = times("2026-10-24T12:00:00Z", 2);
        assert_eq!(autumn, [at("2026-10-25T00:30:00Z"), at("2026-10-26T01:30:00Z")]);
    }

    #[test]
    fn overlap_decides_what_happens_to_a_run_that_is_due() {
        let idle = Going::default();
        let busy = Going { runs: 1, ..Going::default() };
        for overlap in [Overlap::Skip, Overlap::Queue, Overlap::Replace] {
            assert_eq!(act(overlap, &idle), Act::Start);
        }
        assert_eq!(act(Overlap::Skip, &busy), Act::Skip);
        assert_eq!(act(Overlap::Queue, &busy), Act::Queue);
        assert_eq!(act(Overlap::Replace, &busy), Act::Replace);
        let name: ResourceRef = "job.match".parse().unwrap();
        let mut going = BTreeMap::from([(name.clone(), Going { runs: 1, queued: true, ..Going::default() })]);
        assert!(take_queued(&mut going, &name), "a queued run begins at the end of the last");
        assert!(!take_queued(&mut going, &name), "and only one");
    }
}
