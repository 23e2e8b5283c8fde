//! What people do in a story.

use std::{cell::Cell, time::Duration};

use super::{host::Host, link::Link};
use crate::{
    clock::Clock,
    deployment::{Begin, Deployment, Report},
    error::EngineError,
    group::Group,
    journal::{DeployKind, Migration, Step},
    plan::rollback_migrations,
    policy::{MigrationsDown, Policy},
    record::{committed, previous, records},
    target::Target,
    watcher::{Progress, Watcher},
};

/// The hosts, as an engine reaches them.
pub(crate) type Lines = Group<Link, Link>;

/// What a person wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// This release, by index.
    Deploy(usize),
    /// The previous release.
    Rollback,
    /// The previous release with its database.
    RollbackWithDatabase,
    /// Nothing.
    Stop,
}

/// Somebody who may press Ctrl-C.
struct Person {
    /// How often the engine asks until the answer is yes.
    questions: Cell<u64>,
}

impl Person {
    /// One in ten loses patience, somewhere.
    fn new(link: &Link) -> Self {
        let random = &mut link.world.borrow_mut().random;
        let questions = if random.chance(100) { random.between(1, 60) } else { u64::MAX };
        Self { questions: Cell::new(questions) }
    }
}

impl Watcher for Person {
    fn see(&mut self, _: &Progress<'_>) {}

    fn asked_to_stop(&self) -> bool {
        self.questions.set(self.questions.get().saturating_sub(1));
        self.questions.get() == 0
    }
}

/// Does it, trying again while somebody else holds the lock.
pub(crate) async fn fulfil(
    group: Lines,
    link: Link,
    wish: Wish,
    policy: Policy,
    ttl: Duration,
) -> Result<(), EngineError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match once(&group, &link, wish, policy.clone(), ttl).await {
            Err(EngineError::Locked { .. }) if tries < 4 => {
                let wait = link.world.borrow_mut().random.between(500, 4000);
                link.sleep(Duration::from_millis(wait)).await;
            }
            other => return other,
        }
    }
}

async fn once(group: &Lines, link: &Link, wish: Wish, mut policy: Policy, ttl: Duration) -> Result<(), EngineError> {
    let kind = match wish {
        Wish::Deploy(_) => DeployKind::Deploy,
        Wish::Rollback | Wish::RollbackWithDatabase => DeployKind::Rollback,
        Wish::Stop => DeployKind::Stop,
    };
    let by = link.actor.borrow().name.clone();
    let mut watcher = Person::new(link);
    let begin = Begin { kind, by, ttl, policy: policy.clone() };
    let mut deployment = Deployment::begin(group, link, begin, &mut watcher).await?;
    let report = match wish {
        Wish::Stop => {
            deployment.wanted(None, "", 0, None).await?;
            deployment.run(&policy).await?
        }
        Wish::Deploy(made) => {
            let release = link.world.borrow().made[made].clone();
            let time = {
                let random = &mut link.world.borrow_mut().random;
                if random.chance(100) { random.between(3000, 9000) } else { random.between(0, 300) }
            };
            let work = async {
                link.sleep(Duration::from_millis(time)).await;
                if release.build_fails { Err("tsc found 1 error") } else { Ok(()) }
            };
            if let Err(reason) = deployment.step(Step::Build, work).await? {
                deployment.fail(Some(Step::Build), reason).await?
            } else {
                deployment.wanted(Some(release.revision), "1.0.0", made as u64 + 1, None).await?;
                deployment.run(&policy).await?
            }
        }
        Wish::Rollback | Wish::RollbackWithDatabase => {
            let Ok(journal) = group.journal().await else {
                return deployment.fail(None, "the journal cannot be read").await.map(drop);
            };
            match (previous(&journal), committed(&journal)) {
                (Some(to), from) => {
                    if let Some(from) = from.filter(|_| wish == Wish::RollbackWithDatabase) {
                        let migrations = migrations_between(link, &to);
                        policy.migrations_down = Some(MigrationsDown { revision: from, migrations });
                    }
                    deployment.wanted(Some(to), "1.0.0", 0, None).await?;
                    deployment.run(&policy).await?
                }
                (None, _) => deployment.fail(None, "there is no earlier release").await?,
            }
        }
    };
    check_report(link, &report);
    Ok(())
}

/// The migrations that are applied and that the release to return to does not have.
fn migrations_between(link: &Link, to: &stack::Revision) -> Vec<Migration> {
    let world = link.world.borrow();
    let all = |count: usize| world.scripts.iter().take(count).map(|script| script.migration.clone());
    let applied: Vec<_> =
        all(usize::MAX).filter(|migration| world.database.applied.contains(&migration.version)).collect();
    let target: Vec<_> = all(world.made[world.index(to)].migrations).collect();
    rollback_migrations(&applied, &target)
}

/// What a person was told is what the journal says, on more than half of the hosts.
fn check_report(link: &Link, report: &Report) {
    let mut world = link.world.borrow_mut();
    let (number, outcome) = (report.deploy, Some(&report.outcome));
    let says = |host: &&Host| {
        let records = records(&host.journal);
        records.iter().find(|record| record.number == number).and_then(|record| record.outcome()) == outcome
    };
    if world.hosts.iter().filter(says).count() * 2 <= world.hosts.len() {
        world.violate(format!("a person was told {report:?}, most of the journals say something else"));
    }
    world.told.push((number, report.outcome.clone()));
}
