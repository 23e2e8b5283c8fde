//! `internal.json` of one environment: at which port of this machine a revision's services reach each other.
//!
//! Each revision has ports of its own, so that its services call the instances they were released with: also before
//! visitors come to it, and while two revisions share the visitors. The edge listens on them, so that balancing and
//! draining apply as for visitors.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use stack::{Kind, Resolved, ResourceName, Revision};

use crate::{
    error::Error,
    files, functions,
    ports::{self, Port, Ports},
};

/// The ports, durable: programs that run have them in their environment.
#[derive(Debug, Default)]
pub(crate) struct Internal {
    path: PathBuf,
    ports: BTreeMap<Revision, BTreeMap<ResourceName, u16>>,
    kept: BTreeMap<u16, Port>,
}

impl Internal {
    /// Reads what was given out before.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let known = files::find_json(path, "remove it and deploy again")?.unwrap_or_default();
        Ok(Self { path: path.to_owned(), ports: known, kept: BTreeMap::new() })
    }

    /// Keeps those that were given out before from being given out again.
    pub(crate) fn keep(&mut self, ports: &Ports) {
        let numbers = self.ports.values().flat_map(|services| services.values()).copied();
        self.kept = numbers.map(|number| (number, ports.keep(number))).collect();
    }

    /// The ports of a revision, by service.
    pub(crate) fn of(&self, revision: &Revision) -> BTreeMap<ResourceName, u16> {
        self.ports.get(revision).cloned().unwrap_or_default()
    }

    /// Every revision's.
    pub(crate) fn all(&self) -> &BTreeMap<Revision, BTreeMap<ResourceName, u16>> {
        &self.ports
    }

    /// Gives a port to each service of a revision that something else in its stack needs, or that a topic goes to.
    pub(crate) fn open_for(&mut self, revision: &Revision, resolved: &Resolved, ports: &Ports) -> Result<(), Error> {
        let mut given = self.of(revision);
        let mut needed = needed(resolved);
        needed.retain(|name| !given.contains_key(name));
        if needed.is_empty() {
            return Ok(());
        }
        let mut kept = Vec::new();
        for name in needed {
            let port = ports.take(ports::INTERNAL)?;
            given.insert(name, port.number());
            kept.push(port);
        }
        let mut all = self.ports.clone();
        all.insert(revision.clone(), given);
        self.replace(all)?;
        self.kept.extend(kept.into_iter().map(|port| (port.number(), port)));
        Ok(())
    }

    /// Takes back the ports of revisions that `keep` does not name.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Revision) -> bool) -> Result<bool, Error> {
        if self.ports.keys().all(&keep) {
            return Ok(false);
        }
        let mut all = self.ports.clone();
        all.retain(|revision, _| keep(revision));
        self.replace(all)?;
        let numbers: Vec<u16> = self.ports.values().flat_map(|services| services.values()).copied().collect();
        self.kept.retain(|number, _| numbers.contains(number));
        Ok(true)
    }

    fn replace(&mut self, all: BTreeMap<Revision, BTreeMap<ResourceName, u16>>) -> Result<(), Error> {
        files::replace_json(&self.path, &all)?;
        self.ports = all;
        Ok(())
    }
}

/// The services that services, jobs or functions of the stack need, and those that topics go to.
fn needed(resolved: &Resolved) -> Vec<ResourceName> {
    let stack = &resolved.stack;
    let needs = stack.services.values().flat_map(|service| &service.needs);
    let needs = needs.chain(stack.jobs.values().flat_map(|job| &job.command.needs));
    let needs = needs.chain(stack.functions.values().flat_map(|function| &function.command.needs));
    let topics = stack.extras.keys().flat_map(|name| functions::named(resolved, name));
    let mut names: Vec<ResourceName> =
        needs.cloned().chain(topics).filter(|need| need.kind == Kind::Service).map(|need| need.name).collect();
    names.sort();
    names.dedup();
    names
}
