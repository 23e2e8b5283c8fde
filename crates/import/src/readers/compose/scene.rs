//! What one service of a compose file has to know of the others.

use std::collections::{BTreeMap, BTreeSet};

use super::{build, step};
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
    path,
    readers::data::{self, Role},
};

/// What a service of a compose file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// A part of the application that always runs.
    Program,
    /// One that runs on a schedule of a crontab beside the file.
    Job,
    /// One that a person starts, and that ends.
    Once,
    /// A data service.
    Server(Role),
    /// A reverse proxy.
    Proxy,
    /// Only what others extend.
    Base,
    /// Changes the schema of this database, before others start.
    Migration(String),
    /// Copies a database.
    Backup,
    /// Makes buckets of these names.
    Buckets(Vec<String>),
    /// Runs to its end before others start.
    Step,
}

/// The file and its services.
pub(crate) struct Scene {
    /// What each service is.
    pub(crate) parts: BTreeMap<String, Part>,
    /// The application, in a file that `slipway render` wrote.
    pub(crate) app: Option<String>,
    /// Services by the image they build or run; what builds comes first.
    images: BTreeMap<String, String>,
    /// Dockerfile and context of what is built, by service.
    builds: BTreeMap<String, (String, String)>,
}

impl Scene {
    pub(crate) fn of(file: &str, services: &[(&str, Cursor<'_>)], bases: &BTreeSet<String>, draft: &mut Draft) -> Self {
        let folder = path::folder(file);
        let mut scene = Scene { parts: BTreeMap::new(), app: None, images: BTreeMap::new(), builds: BTreeMap::new() };
        for (name, service) in services {
            if let Some(found) = build::of(service, folder) {
                scene.builds.insert((*name).to_owned(), found);
            }
            scene.app = scene.app.or_else(|| {
                let mut pairs = service.find("environment")?.pairs().into_iter();
                pairs.find(|(name, ..)| name == "SLIPWAY_APP")?.1
            });
        }
        let text = |service: &Cursor<'_>, key: &str| service.find(key).and_then(|at| at.text());
        for built in [true, false] {
            for (name, service) in services {
                if let Some(image) = text(service, "image")
                    && service.find("build").is_some() == built
                {
                    scene.images.entry(image).or_insert_with(|| (*name).to_owned());
                }
            }
        }
        draft.dockerfiles.extend(scene.builds.values().cloned());
        let waited = step::waited_for(services);
        for (name, service) in services {
            let extended = bases.contains(*name) && service.find("image").is_none() && service.find("build").is_none();
            let part = if extended { Part::Base } else { scene.part(name, service, services, &waited, draft) };
            scene.parts.insert((*name).to_owned(), part);
        }
        scene
    }

    fn part(
        &self,
        name: &str,
        at: &Cursor<'_>,
        services: &[(&str, Cursor<'_>)],
        waited: &BTreeMap<String, BTreeSet<String>>,
        draft: &Draft,
    ) -> Part {
        let built = self.builds.get(name);
        if built.is_some_and(|(dockerfile, _)| draft.beside.proxies.contains(dockerfile)) {
            return Part::Proxy;
        }
        let role = role(at);
        if role == Role::Database && step::words(at).iter().any(|word| word.contains("pg_dump")) {
            return Part::Backup;
        }
        match role {
            Role::Program => {}
            // few targets have one: only a file of our own says that a search domain is meant
            Role::Search if self.app.is_none() => {}
            Role::Proxy => return Part::Proxy,
            server => return Part::Server(server),
        }
        let once = at.find("restart").and_then(|at| at.text()).is_some_and(|text| text == "no" || text == "false");
        let waiting = waited.get(name);
        let step = || step::part(name, at, waiting.unwrap_or(&BTreeSet::new()), services);
        if waiting.is_some() {
            return step();
        }
        // one that nobody waits for migrates as well, when it says so
        if let Some(migration @ Part::Migration(_)) = once.then(step) {
            return migration;
        }
        if draft.beside.schedules.contains_key(name) {
            Part::Job
        } else if once && at.find("profiles").is_some() {
            Part::Once
        } else {
            Part::Program
        }
    }

    /// What a service is; a name that no service has is nothing.
    pub(crate) fn is(&self, name: &str) -> Option<&Part> {
        self.parts.get(name)
    }

    /// The service in whose files an image runs: the one that builds it, or else the first that runs it.
    pub(crate) fn owner(&self, image: &str) -> Option<&str> {
        self.images.get(image).map(String::as_str)
    }

    /// Dockerfile and context of a service that is built here.
    pub(crate) fn built(&self, name: &str) -> Option<&(String, String)> {
        self.builds.get(name)
    }

    /// Begins the tables of data services and programs: others lead to them by their names.
    pub(crate) fn declare(&self, name: &str, at: &Cursor<'_>, draft: &mut Draft) {
        match self.is(name) {
            Some(Part::Server(Role::Bucket)) => {
                let made = self.parts.values().find_map(|part| match part {
                    Part::Buckets(names) => Some(names.as_slice()),
                    _ => None,
                });
                match made {
                    Some(names) => names.iter().for_each(|name| bucket(name, self.app.as_deref(), draft)),
                    None => drop(draft.section("bucket", &label(name, "files"))),
                }
            }
            Some(Part::Server(_)) => {
                if let Some(image) = at.find("image").and_then(|image| image.text()) {
                    let own = match name.split_once('-') {
                        // `database-main` stands beside a program called `main`
                        Some(("database" | "cache" | "queue" | "search", rest)) if self.app.is_some() => rest,
                        _ => name,
                    };
                    if let Some(reference) = data::declare(&image, &label(own, "data"), draft) {
                        draft.hosts.insert(name.to_owned(), reference);
                    }
                }
            }
            Some(Part::Program) => drop(draft.section("service", &label(name, "service"))),
            _ => {}
        }
    }
}

/// What a service is by its image, when nothing here builds it.
fn role(at: &Cursor<'_>) -> Role {
    let image = at.find("image").and_then(|image| image.text());
    image.as_deref().filter(|_| at.find("build").is_none()).map_or(Role::Program, data::role)
}

/// A bucket by its name at the server, which by custom begins with the application's.
fn bucket(name: &str, app: Option<&str>, draft: &mut Draft) {
    let short = app.and_then(|app| name.strip_prefix(app)?.strip_prefix('-'));
    let own = label(short.unwrap_or(name), "files");
    let section = draft.section("bucket", &own);
    if short.is_none_or(|short| short != own) {
        section.set("name", name);
    }
    draft.buckets.insert(name.to_owned(), own);
}
