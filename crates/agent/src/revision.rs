//! One revision as the agent needs it: its files, its resolved stack and its variable values.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use release::Store;
use stack::{Command, CommandSource, Kind, Resolved, ResourceName, ResourceRef, Revision, Service, Source};

use crate::{
    error::Error,
    protocol::Scope,
    values::{self, Values},
};

/// A revision, read once.
pub(crate) struct Loaded {
    /// Which.
    pub(crate) revision: Revision,
    /// The release's folder.
    pub(crate) folder: PathBuf,
    /// The stack for this environment.
    pub(crate) resolved: Resolved,
    /// Values, with the defaults of those that are not set.
    pub(crate) values: Values,
    /// Shown to people.
    pub(crate) version: String,
    /// The folder of each source of files.
    trees: BTreeMap<stack::FolderSource, PathBuf>,
    /// Digest or id of each image, by `release::image_key`.
    images: BTreeMap<String, String>,
    /// The folder of each image that the release carries, by its digest or id.
    carried: BTreeMap<String, PathBuf>,
}

impl Loaded {
    /// Reads a revision. Fails when its release or its values are not on this host, or are damaged.
    pub(crate) fn read(store: &Store, scope: &Scope, folder: &Path, revision: &Revision) -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::failed(format!("release {} cannot be used: {error}", revision.release))
        };
        let manifest = store.manifest(&scope.app, &revision.release).map_err(|error| failed(&error))?;
        let resolved = stack::resolve("slipway.toml", &manifest.stack, &scope.environment)
            .map_err(|problems| failed(&problems))?;
        let mut values = values::find(folder, &revision.values)?.ok_or_else(|| {
            Error::failed(format!(
                "the variable values {} are not on this host; deploy again to bring them",
                revision.values
            ))
        })?;
        for (name, variable) in &resolved.stack.variables {
            if let Some(default) = &variable.default {
                values.values.entry(name.clone()).or_insert_with(|| default.clone());
            }
        }
        let release = store.folder(&scope.app, &revision.release);
        let carried = manifest.images.iter().filter_map(|(key, id)| Some((id.clone(), manifest.image_folder(key)?)));
        let carried = carried.map(|(id, folder)| (id, release.join(folder))).collect();
        let images = manifest.images;
        let trees = manifest.trees.into_iter().enumerate();
        let trees = trees.map(|(index, tree)| (tree.source, release.join("tree").join(index.to_string()))).collect();
        let record = store.find(&scope.app, revision.release.as_str()).ok();
        let version = record
            .map(|record| record.version)
            .or_else(|| resolved.stack.version.clone())
            .unwrap_or_else(|| revision.release.to_string());
        Ok(Self { revision: revision.clone(), folder: release, resolved, values, version, trees, images, carried })
    }

    /// A revision of a stack file whose release was never packed.
    #[cfg(test)]
    pub(crate) fn of_text(text: &str, environment: &str, digit: char, values: &[(&str, &str)]) -> Arc<Self> {
        let environment = environment.parse().unwrap();
        let resolved =
            stack::resolve("slipway.toml", text, &environment).unwrap_or_else(|problems| panic!("{problems}"));
        let release = digit.to_string().repeat(64);
        let revision = Revision::try_from(format!("{release}+{}", "0".repeat(16))).unwrap();
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let values = Values { values, ..Values::default() };
        let folder = Path::new("/store").join(digit.to_string());
        Arc::new(Self {
            revision,
            folder,
            resolved,
            values,
            version: "1".to_owned(),
            trees: BTreeMap::new(),
            images: BTreeMap::new(),
            carried: BTreeMap::new(),
        })
    }

    /// A service of the stack.
    pub(crate) fn service(&self, name: &ResourceName) -> Result<&Service, Error> {
        self.resolved.stack.services.get(name).ok_or_else(|| {
            Error::failed(format!(
                "release {} has no service `{name}`; name one of its services",
                self.revision.release
            ))
        })
    }

    /// The folder that holds the files of a source.
    pub(crate) fn files(&self, source: &Source) -> Result<&Path, Error> {
        match source {
            Source::Folder(folder) => self.trees.get(folder).map(PathBuf::as_path).ok_or_else(|| {
                Error::failed(format!(
                    "release {} has no files of `{}`; build it again",
                    self.revision.release, folder.dir
                ))
            }),
            Source::Image(from) | Source::Dockerfile { file: from, .. } => Err(Error::failed(format!(
                "`{from}` makes a container, which has no files here; look into it with `docker exec`"
            ))),
        }
    }

    /// The digest or id of the image a source's containers are made from; `None` for a source of files.
    pub(crate) fn image(&self, source: &Source) -> Result<Option<&str>, Error> {
        let Some(key) = release::image_key(source) else { return Ok(None) };
        let image = self.images.get(&key).map(|image| Some(image.as_str()));
        image.ok_or_else(|| {
            Error::failed(format!("release {} has no image of `{key}`; build it again", self.revision.release))
        })
    }

    /// Where the release holds an image of its own, by its id; `None` when image stores have it.
    pub(crate) fn carried(&self, image: &str) -> Option<&Path> {
        self.carried.get(image).map(PathBuf::as_path)
    }

    /// A file of the project, by its path relative to the stack file, when it is among a source's files.
    pub(crate) fn find_file(&self, path: &str) -> Option<PathBuf> {
        let path = Path::new(path.strip_prefix("./").unwrap_or(path));
        self.trees.iter().find_map(|(source, tree)| {
            let inside = if source.dir == "." { path } else { path.strip_prefix(&source.dir).ok()? };
            Some(tree.join(inside)).filter(|file| file.is_file())
        })
    }

    /// Whether somebody may connect to instances of a service.
    pub(crate) fn has_address(service: &Service) -> bool {
        service.port.is_some() || service.health.is_some() || service.ready.is_some()
    }

    /// A job or function by its name, as in `job.match`.
    pub(crate) fn command(&self, name: &ResourceRef) -> Option<&Command> {
        match name.kind {
            Kind::Job => self.resolved.stack.jobs.get(&name.name).map(|job| &job.command),
            Kind::Function => self.resolved.stack.functions.get(&name.name).map(|function| &function.command),
            _ => None,
        }
    }

    /// The service whose `needs` and `env` a command shares.
    pub(crate) fn host_service(&self, command: &Command) -> Option<&Service> {
        match &command.source {
            CommandSource::Service(name) => self.resolved.stack.services.get(name),
            CommandSource::Own(_) => None,
        }
    }

    /// The source of the files, or of the image, that a command runs in.
    pub(crate) fn command_source<'l>(&'l self, command: &'l Command) -> Result<&'l Source, Error> {
        match &command.source {
            CommandSource::Own(source) => Ok(source),
            CommandSource::Service(name) => Ok(&self.service(name)?.source),
        }
    }
}

/// The revisions of one environment, each read once.
#[derive(Default)]
pub(crate) struct Revisions(Mutex<BTreeMap<Revision, Arc<Loaded>>>);

impl Revisions {
    /// A revision, read when it is not known yet.
    pub(crate) fn get(
        &self,
        store: &Store,
        scope: &Scope,
        folder: &Path,
        revision: &Revision,
    ) -> Result<Arc<Loaded>, Error> {
        if let Some(known) = self.find(revision) {
            return Ok(known);
        }
        let loaded = Arc::new(Loaded::read(store, scope, folder, revision)?);
        self.known().insert(revision.clone(), loaded.clone());
        Ok(loaded)
    }

    /// A revision that was read before.
    pub(crate) fn find(&self, revision: &Revision) -> Option<Arc<Loaded>> {
        self.known().get(revision).cloned()
    }

    /// Forgets all that `keep` does not name.
    pub(crate) fn retain(&self, keep: impl Fn(&Revision) -> bool) {
        self.known().retain(|revision, _| keep(revision));
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<Revision, Arc<Loaded>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
