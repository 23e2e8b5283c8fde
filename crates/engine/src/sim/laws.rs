//! What must be true: at every moment for visitors, at rest for everything else.

use std::collections::BTreeSet;

use super::{
    host::{Host, Life, Now},
    release::Character,
    world::World,
};
use crate::{
    journal::Outcome,
    plan::steady,
    record::{DeployRecord, Status, committed, records},
};

impl World {
    /// Visitors are well: wherever they are sent, somebody is ready and finds the tables it knows, and nobody is sent
    /// to a release whose shift was not announced. A host that is away sends its visitors to the others.
    pub(crate) fn check_visitors(&mut self) {
        for at in 0..self.hosts.len() {
            if !self.hosts[at].away && !self.is_behind(at) {
                self.check_visitors_of(at);
            }
        }
    }

    fn check_visitors_of(&mut self, at: usize) {
        let serving = self.hosts[at].serving.clone();
        for (made, share) in &serving {
            let deploy = &self.hosts[at].deploy;
            let shifted = deploy.wanted == Some(*made) && deploy.shifted > 0;
            let announced = shifted || deploy.previous == Some(*made) || self.hosts[at].served.contains(made);
            if !announced {
                self.violate(format!("{share} % of visitors on release {}, which was never announced", made + 1));
            }
        }
        for made in serving.keys() {
            let known = self.scripts.iter().take(self.made[*made].migrations);
            let missing = known.map(|script| script.migration.version).find(|one| !self.database.effects.contains(one));
            if let Some(version) = missing {
                self.violate(format!("visitors are on release {} without its migration {version}", made + 1));
            }
        }
        if !self.hosts[at].live {
            return;
        }
        if serving.is_empty() {
            self.violate("visitors are sent nowhere".to_owned());
        }
        for made in serving.keys() {
            let release = &self.made[*made];
            let own_fault = release.character == Character::Sickens;
            let ready =
                |host: &Host| host.processes.iter().any(|process| process.made == *made && process.life == Life::Ready);
            // an edge sends visitors to the instances of all hosts
            let reached = |host: &Host| !host.is_isolated(self.now) && !self.hosts[at].is_isolated(self.now);
            let up = ready(&self.hosts[at]) || self.hosts.iter().any(|host| reached(host) && ready(host));
            if release.replicas > 0 && !up && !own_fault {
                self.violate(format!("visitors are sent to release {} and nobody there is ready", made + 1));
            }
        }
    }

    /// More than half of the hosts have it in their journal that the deploy of this `number` does this.
    pub(crate) fn is_announced(&self, number: u64, says: impl Fn(&Now) -> bool) -> bool {
        let says = |host: &&Host| host.deploy.number == number && says(&host.deploy);
        self.hosts.iter().filter(says).count() * 2 > self.hosts.len()
    }

    /// Everything that must be true once those that live have come to rest: nobody waits for the others.
    pub(crate) fn check_living(&mut self) {
        let mut broken = Vec::new();
        for (at, host) in self.hosts.iter().enumerate().filter(|(_, host)| !host.is_buried()) {
            if host.unfinished {
                broken.push(format!("host {at} waits for a host that is dead"));
            }
        }
        for what in broken {
            self.violate(what);
        }
    }

    /// Everything that must be true once the world has come to rest.
    pub(crate) fn check_rest(&mut self) {
        let journal = self.hosts[0].journal.clone();
        let records = records(&journal);
        let mut broken = Vec::new();
        // (d) the lock is free
        if (0..self.hosts.len()).any(|at| self.is_locked(at)) {
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
        // (h) what people were told is what is
        for (number, outcome) in &self.told {
            let record = records.iter().find(|record| record.number == *number);
            if record.and_then(DeployRecord::outcome) != Some(outcome) {
                broken.push(format!("a person was told that deploy {number} ended with {outcome:?}, now {record:?}"));
            }
        }
        // (b) the environment is on exactly one release
        let revision = committed(&journal);
        let steady = steady(revision.as_ref());
        let only: Option<usize> = revision.as_ref().map(|revision| self.index(revision));
        for (at, host) in self.hosts.iter().enumerate() {
            // (i) all hosts hold the same
            if host.journal != journal {
                broken.push(format!("host {at} has another journal than host 0"));
            }
            if host.desired != steady {
                broken.push(format!("the journal ends on {revision:?}, host {at} wants {:?}", host.desired));
            }
            if host.serving.iter().map(|(made, share)| (*made, *share)).ne(only.map(|made| (made, 100))) {
                broken.push(format!("the journal ends on {only:?}, visitors of host {at} are on {:?}", host.serving));
            }
            if let Some(other) = host.processes.iter().find(|process| Some(process.made) != only) {
                broken.push(format!("an instance of release {} is left on host {at}", other.made + 1));
            }
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
