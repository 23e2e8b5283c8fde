//! Looking at what lies in the project, reading only what changed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
};

use stack::{FolderSource, Problem, ResourceName};

use crate::{
    BuildError, BuildOptions, Content, FileEntry, Store,
    cache::{self, Cache, Remembered},
    command::Task,
    compile::site_entries,
    digest::{self, Known},
    image,
    plan::{Plan, Step},
    scan::{Entry, EntryKind, Found, entry_problem, is_below, normalise, relative, walk_all, walk_kept},
    select::{self, Selection},
};

/// What was seen of one step.
pub(crate) struct State {
    kept: Vec<Entry>,
    pub(crate) selection: Selection,
    inputs: String,
    outputs: String,
}

/// Looks at folders, reading only what changed.
pub(crate) struct Looker<'a> {
    pub(crate) project: &'a Path,
    options: &'a BuildOptions,
    leave_out: Vec<PathBuf>,
    outputs: BTreeSet<String>,
    env: String,
    cache: Cache,
    /// Digests known before and those read now.
    known: Known,
    /// Digests met now, to be remembered.
    met: Known,
    /// Digest by place, of everything met.
    digests: HashMap<PathBuf, String>,
}

impl<'a> Looker<'a> {
    pub(crate) fn new(project: &'a Path, plan: &Plan, store: &Store, options: &'a BuildOptions) -> Self {
        let mut cache = Cache::load(project);
        let known = std::mem::take(&mut cache.files);
        cache.loaded(&known);
        let own = [cache::folder(project), project.join("slipway.toml"), store.path().to_owned()];
        Self {
            project,
            options,
            leave_out: own.to_vec(),
            outputs: plan.declared_outputs(),
            env: cache::env_digest(&options.env),
            cache,
            known,
            met: Known::new(),
            digests: HashMap::new(),
        }
    }

    pub(crate) fn folder(&self, step: &Step) -> PathBuf {
        self.project.join(normalise(&step.source.dir).unwrap_or_default())
    }

    pub(crate) fn task<'s>(&self, step: &'s Step) -> Option<Task<'s>> {
        Some(Task { step, command: step.source.build.as_deref()?, folder: self.folder(step) })
    }

    pub(crate) fn at_all(&mut self, plan: &Plan) -> Result<Vec<State>, BuildError> {
        plan.steps.iter().map(|step| self.at(step, None)).collect()
    }

    /// Looks at one step; `made` are files that builds made, by default those remembered.
    fn at(&mut self, step: &Step, made: Option<&BTreeSet<String>>) -> Result<State, BuildError> {
        let folder = self.folder(step);
        let kept = walk_kept(&folder, &self.leave_out)?;
        let selection = select::select(step, &folder, &kept, &self.leave_out)?;
        if step.source.build.is_none() {
            self.digest(&selection.entries)?;
            return Ok(State { kept, selection, inputs: String::new(), outputs: String::new() });
        }
        self.digest(&kept)?;
        self.digest(&selection.entries)?;
        let none = BTreeSet::new();
        let made = made.or_else(|| self.cache.find(&step.source).map(|last| &last.made)).unwrap_or(&none);
        let inputs = self.fingerprint(kept.iter().filter(|entry| self.is_input(entry) && !made.contains(&entry.path)));
        let beside = kept.iter().filter(|entry| made.contains(&entry.path));
        let outputs = self.fingerprint(selection.entries.iter().chain(beside));
        Ok(State { kept, selection, inputs, outputs })
    }

    /// Whether a build reads it: not what builds make.
    fn is_input(&self, entry: &Entry) -> bool {
        let path = relative(self.project, &entry.from);
        !self.outputs.iter().any(|out| is_below(&path, out))
    }

    pub(crate) fn is_fresh(&self, step: &Step, state: &State) -> bool {
        state.selection.problems.is_empty()
            && self.cache.find(&step.source).is_some_and(|last| {
                last.env == self.env && last.inputs == state.inputs && last.outputs == state.outputs
            })
    }

    /// Looks again after commands ran, and remembers what they left.
    ///
    /// Inputs are remembered as they were *before*: a file edited while its build ran makes the next one run. Files
    /// that appeared meanwhile were made by the commands and are remembered as outputs.
    pub(crate) fn remember(&mut self, plan: &Plan, before: &[State], ran: &[usize]) -> Result<Vec<State>, BuildError> {
        let mut after = Vec::new();
        for (index, (step, before)) in plan.steps.iter().zip(before).enumerate() {
            let kept = walk_kept(&self.folder(step), &self.leave_out)?;
            let old: BTreeSet<&str> = before.kept.iter().map(|entry| entry.path.as_str()).collect();
            let last = self.cache.find(&step.source).cloned();
            let was_made = |path: &str| last.as_ref().is_some_and(|last| last.made.contains(path));
            let made: BTreeSet<String> = kept
                .iter()
                .filter(|entry| self.is_input(entry))
                .filter(|entry| !old.contains(entry.path.as_str()) || was_made(&entry.path))
                .map(|entry| entry.path.clone())
                .collect();
            let state = self.at(step, Some(&made))?;
            let inputs = if ran.contains(&index) { Some(before.inputs.clone()) } else { last.map(|last| last.inputs) };
            if step.source.build.is_some()
                && let Some(inputs) = inputs
            {
                let (source, env, outputs) = (step.source.clone(), self.env.clone(), state.outputs.clone());
                self.cache.remember(Remembered { source, env, inputs, outputs, made });
            }
            after.push(state);
        }
        Ok(after)
    }

    /// Reads what is not known yet of these files.
    fn digest(&mut self, entries: &[Entry]) -> Result<(), BuildError> {
        let files: Vec<(String, &Entry, digest::Stamp)> = entries
            .iter()
            .filter_map(|entry| match entry.kind {
                EntryKind::File { stamp, .. } => Some((relative(self.project, &entry.from), entry, stamp)),
                _ => None,
            })
            .collect();
        let wanted: Vec<digest::Wanted<'_>> =
            files.iter().map(|(key, entry, stamp)| digest::Wanted { key, path: &entry.from, stamp: *stamp }).collect();
        let fresh = digest::digest_all(&wanted, &self.known, &mut self.met, self.options.jobs);
        let fresh = fresh.map_err(|(path, error)| match error.kind() {
            io::ErrorKind::NotFound => BuildError::Changed { path },
            _ => BuildError::io("read", path)(error),
        })?;
        for ((key, entry, _), digest) in files.iter().zip(fresh) {
            if let Some(met) = self.met.get(key) {
                self.known.insert(key.clone(), met.clone());
            }
            self.digests.insert(entry.from.clone(), digest);
        }
        Ok(())
    }

    /// One digest of many entries: their paths, modes and contents.
    fn fingerprint<'e>(&self, entries: impl Iterator<Item = &'e Entry>) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |part: &str| _ = hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        for entry in entries {
            add(&entry.path);
            match &entry.kind {
                EntryKind::File { executable, .. } => {
                    add(if *executable { "x" } else { "f" });
                    add(self.digests.get(&entry.from).map_or("", String::as_str));
                }
                EntryKind::Link(target) => {
                    add("l");
                    add(target);
                }
                EntryKind::Special(kind) => add(kind),
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Entries as the manifest has them; special files, which are problems, are left out.
    pub(crate) fn found(&self, entries: &[Entry]) -> Vec<Found> {
        let found = |entry: &Entry| {
            let content = match &entry.kind {
                EntryKind::File { stamp, executable } => Content::File {
                    digest: self.digests.get(&entry.from)?.clone(),
                    size: stamp.size(),
                    executable: *executable,
                },
                EntryKind::Link(target) => Content::Link { target: target.clone() },
                EntryKind::Special(_) => return None,
            };
            Some(Found { entry: FileEntry { path: entry.path.clone(), content }, from: entry.from.clone() })
        };
        entries.iter().filter_map(found).collect()
    }

    /// The `.sql` files of each migration folder.
    pub(crate) fn migrations(&mut self, plan: &Plan) -> Result<BTreeMap<ResourceName, Selection>, BuildError> {
        let mut all = BTreeMap::new();
        for (name, declared) in &plan.migrations {
            let key = format!("database.{name}.migrations");
            let mut selection = Selection::default();
            if let Some(inside) = normalise(declared).filter(|inside| self.project.join(inside).is_dir()) {
                let folder = self.project.join(inside);
                let mut entries = walk_all(&folder, "", &|path| path.contains('/'))?;
                entries.retain(|entry| Path::new(&entry.path).extension().is_some_and(|end| end == "sql"));
                let label = format!("database.{name}");
                let wrong = |entry: &Entry| entry_problem(entry, &folder, &label, &relative(self.project, &entry.from));
                selection.problems = entries.iter().filter_map(wrong).collect();
                selection.entries = site_entries(entries, "", &folder);
                self.digest(&selection.entries)?;
            } else {
                let message = format!("`migrations` of database.{name}: `{declared}` is not a folder");
                let mend = "create it with `slipway migrate new <name>`, or correct the path";
                selection.problems.push(Problem::error("migrations-folder", key, message).with_mend(mend));
            }
            all.insert(name.clone(), selection);
        }
        Ok(all)
    }

    /// Digest of a Dockerfile and of everything its build may read. `file` and `context` are absolute.
    pub(crate) fn context(&mut self, file: &Path, context: &Path) -> Result<String, BuildError> {
        let mut entries = image::walk_context(file, context, &self.leave_out)?;
        if let (Some(folder), Some(name)) = (file.parent(), file.file_name()) {
            entries.extend(walk_all(folder, &name.to_string_lossy(), &|_| false)?);
        }
        self.digest(&entries)?;
        Ok(self.fingerprint(entries.iter()))
    }

    /// The id of the image that was built from these inputs.
    pub(crate) fn find_image(&self, source: &FolderSource, inputs: &str) -> Option<&str> {
        let last = self.cache.find(source).filter(|last| last.inputs == inputs)?;
        Some(&last.outputs)
    }

    /// Remembers the image that was built from these inputs.
    pub(crate) fn remember_image(&mut self, source: FolderSource, inputs: String, id: String) {
        let (env, made) = (String::new(), BTreeSet::new());
        self.cache.remember(Remembered { source, env, inputs, outputs: id, made });
    }

    pub(crate) fn save(mut self) {
        self.cache.files = self.met;
        self.cache.save(self.project);
    }
}
