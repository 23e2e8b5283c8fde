//! What must be true: at every moment for visitors, at rest for everything else.

use std::collections::BTreeSet;

use super::{host::Life, release::Character, world::World};
use crate::{
    journal::Outcome,
    plan::steady,
    record::{DeployRecord, Status, committed, records},
};

impl World {
    /// Visitors are well: wherever they are sent, somebody is ready and finds the tables it knows, and nobody is sent
    /// to a release whose shift was not announced.
    pub(crate) fn check_visitors(&mut self) {
        for (made, share) in self.serving.clone() {
            let shifted = self.deploy.wanted == Some(made) && self.deploy.shifted > 0;
            let announced = shifted || self.deploy.previous == Some(made) || self.was_served(made);
            if !announced {
                self.violate(format!("{share} % of visitors on release {}, which was never announced", made + 1));
            }
        }
        for made in self.serving.keys().copied().collect::<Vec<_>>() {
            let known = self.scripts.iter().take(self.made[made].migrations);
            let missing = known.map(|script| script.migration.version).find(|one| !self.database.effects.contains(one));
            if let Some(version) = missing {
                self.violate(format!("visitors are on release {} without its migration {version}", made + 1));
            }
        }
        if !self.live || self.powerless {
            return;
        }
        if self.serving.is_empty() {
            self.violate("visitors are sent nowhere".to_owned());
        }
        for made in self.serving.keys().copied().collect::<Vec<_>>() {
            let release = &self.made[made];
            let own_fault = release.character == Character::Sickens;
            let answers = |life: Life| life == Life::Ready;
            let up = self.processes.iter().any(|process| process.made == made && answers(process.life));
            if release.replicas > 0 && !up && !own_fault {
                self.violate(format!("visitors are sent to release {} and nobody there is ready", made + 1));
            }
        }
    }

    /// The release is in the journal as one whose visitors were announced.
    fn was_served(&self, made: usize) -> bool {
        let revision = &self.made[made].revision;
        records(&self.journal).iter().any(|record| {
            record.revision.as_ref() == Some(revision)
                && (record.trail.shifted.is_some() || record.outcome() == Some(&Outcome::Succeeded))
        })
    }

    /// Everything that must be true once the world has come to rest.
    pub(crate) fn check_rest(&mut self) {
        let records = records(&self.journal);
        let mut broken = Vec::new();
        // (d) the lock is free
        if self.is_locked() {
            broken.push("the lock is still held".to_owned());
        }
        // (e) every deploy has an outcome, and numbers rise by one
        for (place, record) in records.iter().enumerate() {
            if !matches!(record.status, Status::Ended { .. }) {
                broken.push(format!("deploy {} has no outcome", record.number));
            }
            if record.number != place as u64 + 1 {
                broken.push(format!("deploy {} is the journal's {}th", record.number, place + 1));
            }
        }
        // (b) the environment is on exactly one release
        let revision = committed(&self.journal);
        let steady = steady(revision.as_ref());
        if self.desired != steady {
            broken.push(format!("the journal ends on {revision:?}, wanted is {:?}", self.desired));
        }
        let only: Option<usize> = revision.as_ref().map(|revision| self.index(revision));
        if self.serving.iter().map(|(made, share)| (*made, *share)).ne(only.map(|made| (made, 100))) {
            broken.push(format!("the journal ends on {only:?}, visitors are on {:?}", self.serving));
        }
        if let Some(other) = self.processes.iter().find(|process| Some(process.made) != only) {
            broken.push(format!("an instance of release {} is left", other.made + 1));
        }
        // (c) the database is what the journal says
        let (mut applied, mut unsure) = (BTreeSet::new(), BTreeSet::new());
        for record in &records {
            explain(record, &mut applied, &mut unsure);
        }
        let real: BTreeSet<u64> = self.database.applied.iter().copied().collect();
        let sure = |versions: &BTreeSet<u64>| versions.difference(&unsure).copied().collect::<Vec<_>>();
        if sure(&real) != sure(&applied) {
            broken.push(format!("migrations {real:?} are applied, the journal explains {applied:?} (or {unsure:?})"));
        }
        if real != self.database.effects || real.len() != self.database.applied.len() {
            broken.push(format!("migrations {real:?} are written down, {:?} have an effect", self.database.effects));
        }
        for what in broken {
            self.violate(what);
        }
    }
}

/// Adds what one deploy did to the database.
fn explain(record: &DeployRecord, applied: &mut BTreeSet<u64>, unsure: &mut BTreeSet<u64>) {
    let trail = &record.trail;
    let kept = trail.shifted.is_some() || record.outcome() == Some(&Outcome::Succeeded);
    for migration in &trail.planned {
        if kept {
            applied.insert(migration.version);
            unsure.remove(&migration.version);
        } else if migration.reversible {
            applied.remove(&migration.version);
        } else {
            unsure.insert(migration.version);
        }
    }
    if record.outcome() == Some(&Outcome::Succeeded) {
        for migration in trail.reverting.iter().flat_map(|(_, migrations)| migrations) {
            if migration.reversible {
                applied.remove(&migration.version);
                unsure.remove(&migration.version);
            }
        }
    }
}
