//! Which folders have to be built, for whom, and in which order. Pure: no file is looked at.

use std::collections::{BTreeMap, BTreeSet};

use stack::{CommandSource, FolderSource, Kind, Migrations, Resolved, ResourceName, ResourceRef, Source};

use crate::scan::normalise;

/// What a release needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// One per distinct source, in the order to build them: sites first, since services may embed them.
    pub steps: Vec<Step>,
    /// Images that services, jobs and functions run in, each once.
    pub images: Vec<ImageStep>,
    /// Migration folders, relative to the stack file.
    pub migrations: BTreeMap<ResourceName, String>,
}

/// One image to fetch or to build, once for all that use it.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageStep {
    /// Its name in [`crate::Manifest::images`].
    pub key: String,
    /// Where it comes from.
    pub from: ImageSource,
    /// For whom, at least one.
    pub wanted: Vec<Wanted>,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageSource {
    /// From an image store, or made on this machine before; by this reference.
    Reference(String),
    /// Built from this Dockerfile with this folder as its context; both relative to the stack file.
    Dockerfile {
        /// The Dockerfile.
        file: String,
        /// The build context.
        context: String,
    },
}

/// One folder to build, once for all that use it.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// How.
    pub source: FolderSource,
    /// For whom, at least one.
    pub wanted: Vec<Wanted>,
}

/// Somebody who uses the files of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Who.
    pub by: ResourceRef,
    /// The command line it runs in the files; `None` for sites.
    pub run: Option<String>,
    /// A site whose bundles must be hashed and minified.
    pub hashed: bool,
}

impl Step {
    /// For whom, as in `service.api, job.match`.
    pub fn label(&self) -> String {
        label(&self.wanted)
    }

    /// Whether a service, function or job uses it: then the release has a tree of it.
    pub fn has_tree(&self) -> bool {
        self.wanted.iter().any(|wanted| wanted.by.kind != Kind::Site)
    }

    /// The command lines that run in its files, with whose they are.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (&ResourceRef, &str)> {
        self.wanted.iter().filter_map(|wanted| Some((&wanted.by, wanted.run.as_deref()?)))
    }
}

/// Who uses something, as in `service.api, job.match`.
pub(crate) fn label(wanted: &[Wanted]) -> String {
    let mut names: Vec<String> = wanted.iter().map(|wanted| wanted.by.to_string()).collect();
    names.dedup();
    names.join(", ")
}

/// Plans the build of a stack.
pub fn plan(resolved: &Resolved) -> Plan {
    let stack = &resolved.stack;
    let mut plan = Plan::default();
    for (name, site) in &stack.sites {
        let by = ResourceRef { kind: Kind::Site, name: name.clone() };
        plan.want(site.source.clone(), Wanted { by, run: None, hashed: site.hashed });
    }
    for (name, service) in &stack.services {
        let by = ResourceRef { kind: Kind::Service, name: name.clone() };
        plan.want_source(&service.source, by, service.run.clone());
    }
    let functions = stack.functions.iter().map(|(name, function)| (Kind::Function, name, &function.command));
    let jobs = stack.jobs.iter().map(|(name, job)| (Kind::Job, name, &job.command));
    let mut borrowed = Vec::new();
    for (kind, name, command) in functions.chain(jobs) {
        let by = ResourceRef { kind, name: name.clone() };
        match &command.source {
            CommandSource::Own(source) => plan.want_source(source, by, Some(command.run.clone())),
            CommandSource::Service(service) => borrowed.push((by, Some(service), command.run.clone())),
        }
    }
    for (name, database) in &stack.databases {
        match &database.migrations {
            Some(Migrations::Folder(folder)) => _ = plan.migrations.insert(name.clone(), folder.clone()),
            Some(Migrations::Command { run, service }) => {
                let only = || stack.services.keys().next().filter(|_| stack.services.len() == 1);
                let by = ResourceRef { kind: Kind::Database, name: name.clone() };
                borrowed.push((by, service.as_ref().or_else(only), run.clone()));
            }
            None => {}
        }
    }
    for (by, service, run) in borrowed {
        // A reference to a service that is not there is the stack's problem, reported by `resolve`.
        if let Some(service) = service.and_then(|name| stack.services.get(name)) {
            plan.want_source(&service.source, by, Some(run));
        }
    }
    plan
}

/// The name of a source's image in [`crate::Manifest::images`]: the reference, or the Dockerfile with its context, as
/// in `Dockerfile in .`. `None` for a folder.
pub fn image_key(source: &Source) -> Option<String> {
    match source {
        Source::Folder(_) => None,
        Source::Image(reference) => Some(reference.clone()),
        Source::Dockerfile { file, context } => Some(format!("{file} in {context}")),
    }
}

/// Everything that build commands declare as their output, relative to the stack file, without `.` and doubled `/`:
/// what a watcher of the project need not look at.
pub fn outputs(resolved: &Resolved) -> BTreeSet<String> {
    plan(resolved).declared_outputs()
}

impl Plan {
    fn want_source(&mut self, source: &Source, by: ResourceRef, run: Option<String>) {
        match source {
            Source::Folder(folder) => self.want(folder.clone(), Wanted { by, run, hashed: false }),
            Source::Image(reference) => {
                self.want_image(source, ImageSource::Reference(reference.clone()), Wanted { by, run, hashed: false });
            }
            Source::Dockerfile { file, context } => {
                let from = ImageSource::Dockerfile { file: file.clone(), context: context.clone() };
                self.want_image(source, from, Wanted { by, run, hashed: false });
            }
        }
    }

    fn want_image(&mut self, source: &Source, from: ImageSource, wanted: Wanted) {
        let Some(key) = image_key(source) else { return };
        match self.images.iter_mut().find(|step| step.key == key) {
            Some(step) => step.wanted.push(wanted),
            None => self.images.push(ImageStep { key, from, wanted: vec![wanted] }),
        }
    }

    fn want(&mut self, source: FolderSource, wanted: Wanted) {
        match self.steps.iter_mut().find(|step| step.source == source) {
            Some(step) => step.wanted.push(wanted),
            None => self.steps.push(Step { source, wanted: vec![wanted] }),
        }
    }

    /// Everything that any build declares as its output, relative to the stack file and normalised.
    pub fn declared_outputs(&self) -> BTreeSet<String> {
        let outputs = |step: &Step| {
            let dir = step.source.dir.clone();
            step.source.out.iter().map(move |out| format!("{dir}/{out}")).collect::<Vec<_>>()
        };
        self.steps
            .iter()
            .filter(|step| step.source.build.is_some())
            .flat_map(outputs)
            .filter_map(|out| normalise(&out))
            .collect()
    }
}
