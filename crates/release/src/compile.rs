//! From a resolved stack to built files: runs the build commands whose inputs changed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use stack::{Problem, Problems, Resolved, ResourceName};

use crate::{
    BuildError, BuildEvent, BuildOptions, Compiled, Content, FileEntry, Manifest, Store,
    build::SiteFiles,
    cache::{self, Cache, Remembered},
    command::{self, Task},
    digest::{self, Known},
    plan::{Plan, Step, plan},
    scan::{Entry, EntryKind, Found, entry_problem, is_below, normalise, relative, walk_kept},
    select::{self, Selection},
    store,
};

/// Runs the build commands that have to run, and looks at what they left. `project` is the stack file's folder.
///
/// A command is left out when its inputs, variables and outputs are as after its last run. Its inputs are the files
/// of `dir` that version control does not ignore, without what builds make. Fails with `Command`, or with `Problems`
/// when a `dir` is not there; the store is not changed.
pub fn compile(
    resolved: &Resolved,
    stack_text: &str,
    project: &Path,
    store: &Store,
    options: &BuildOptions,
    events: &mut dyn FnMut(BuildEvent),
) -> Result<Compiled, BuildError> {
    let project = project.canonicalize().map_err(BuildError::io("open", project))?;
    let plan = plan(resolved);
    check_folders(&plan, &project)?;
    let own = cache::create_folder(&project).map_err(BuildError::io("create", cache::folder(&project)))?;
    let lock = store::lock(&own.join("build.lock"), &options.stop, events)?;
    let mut look = Looker::new(&project, &plan, store, options);
    let before = look.at_all(&plan)?;
    let mut stale = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        if step.source.build.is_none() {
            continue;
        }
        if options.rebuild || !look.is_fresh(step, &before[index]) {
            stale.push(index);
        } else {
            events(BuildEvent::Unchanged { wanted: step.label() });
        }
    }
    let after = if stale.is_empty() {
        before
    } else {
        let tasks: Vec<Task<'_>> = stale.iter().filter_map(|index| look.task(&plan.steps[*index])).collect();
        command::run_all(&tasks, options, events)?;
        look.remember(&plan, &before, &stale)?
    };
    let migrations = look.migrations(&plan)?;
    let mut problems = plan.problems.clone();
    let mut compiled = Compiled {
        app: resolved.stack.app.clone(),
        version: resolved.stack.version.clone(),
        stack_text: stack_text.to_owned(),
        trees: Vec::new(),
        sites: Vec::new(),
        migrations: BTreeMap::new(),
        images: plan.images.clone(),
        problems: Vec::new(),
        previous: newest_manifest(store, &resolved.stack.app),
        ran: stale.len(),
        project: project.clone(),
        _lock: lock,
    };
    for (name, folder) in migrations {
        problems.extend(folder.problems);
        compiled.migrations.insert(name, look.found(&folder.entries));
    }
    for (step, state) in plan.steps.iter().zip(after) {
        gather(step, state, &look, &mut compiled, &mut problems);
    }
    compiled.trees.sort_by(|a, b| a.0.cmp(&b.0));
    compiled.problems = problems;
    look.save();
    Ok(compiled)
}

/// A `dir` that is not a folder of the project is a problem, found before anything runs.
fn check_folders(plan: &Plan, project: &Path) -> Result<(), BuildError> {
    let mut problems = Problems::new();
    for step in &plan.steps {
        let (dir, label) = (&step.source.dir, step.label());
        let reason = match normalise(dir) {
            None => "lies outside of the project",
            Some(inside) if !project.join(&inside).is_dir() => "is not a folder",
            Some(_) => continue,
        };
        let message = format!("`dir` of {label}: `{dir}` {reason}");
        let mend = "give a folder relative to the stack file";
        problems.push(Problem::error("source-folder", label, message).with_mend(mend));
    }
    if problems.is_empty() { Ok(()) } else { Err(BuildError::Problems(problems)) }
}

/// The newest release that is still in the store, to compare with.
fn newest_manifest(store: &Store, app: &stack::AppName) -> Option<Manifest> {
    let records = store.records(app).ok()?;
    records.iter().find_map(|record| store.manifest(app, &record.release).ok())
}

/// Sorts what a step selected into the tree and the sites that use it.
fn gather(step: &Step, state: State, look: &Looker<'_>, compiled: &mut Compiled, problems: &mut Vec<Problem>) {
    let label = step.label();
    let folder = look.folder(step);
    problems.extend(state.selection.problems);
    let shown = |entry: &Entry| relative(look.project, &entry.from);
    if step.has_tree() {
        let wrong = state.selection.entries.iter();
        problems.extend(wrong.filter_map(|entry| entry_problem(entry, &folder, &label, &shown(entry))));
        problems.extend(select::check_runs(step, &state.selection.entries));
        compiled.trees.push((step.source.clone(), look.found(&state.selection.entries)));
    }
    let mut sites = step.wanted.iter().filter(|wanted| wanted.by.kind == stack::Kind::Site).peekable();
    if sites.peek().is_none() {
        return;
    }
    let root = match step.source.out.as_slice() {
        [out] => normalise(out).unwrap_or_default(),
        _ => String::new(),
    };
    let entries = site_entries(state.selection.entries, &root, &folder.join(&root));
    if !step.has_tree() {
        let wrong = entries.iter();
        problems.extend(wrong.filter_map(|entry| entry_problem(entry, &folder.join(&root), &label, &shown(entry))));
    }
    for site in sites {
        compiled.sites.push(SiteFiles {
            name: site.by.name.clone(),
            source: step.source.clone(),
            hashed: site.hashed,
            files: look.found(&entries),
        });
    }
}

/// A site's files by their path below its root. Links inside of it become the files they name: a web server gets to
/// see files only.
fn site_entries(entries: Vec<Entry>, root: &str, folder: &Path) -> Vec<Entry> {
    let inside = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let below = |mut entry: Entry| {
        if !root.is_empty() {
            entry.path = entry.path.strip_prefix(root)?.strip_prefix('/')?.to_owned();
        }
        if matches!(entry.kind, EntryKind::Link(_))
            && let Ok(there) = entry.from.canonicalize()
            && there.starts_with(&inside)
            && let Ok(meta) = fs::metadata(&there)
            && meta.is_file()
        {
            entry.kind = EntryKind::File { stamp: digest::Stamp::of(&meta), executable: false };
            entry.from = there;
        }
        Some(entry)
    };
    entries.into_iter().filter_map(below).collect()
}

/// What was seen of one step.
struct State {
    kept: Vec<Entry>,
    selection: Selection,
    inputs: String,
    outputs: String,
}

/// Looks at folders, reading only what changed.
struct Looker<'a> {
    project: &'a Path,
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
    fn new(project: &'a Path, plan: &Plan, store: &Store, options: &'a BuildOptions) -> Self {
        let mut cache = Cache::load(project);
        let known = std::mem::take(&mut cache.files);
        cache.loaded(&known);
        let own = [cache::folder(project), project.join("slipway.toml"), store.path().to_owned()];
        Self {
            project,
            options,
            leave_out: own.to_vec(),
            outputs: plan.declared_outputs().iter().filter_map(|out| normalise(out)).collect(),
            env: cache::env_digest(&options.env),
            cache,
            known,
            met: Known::new(),
            digests: HashMap::new(),
        }
    }

    fn folder(&self, step: &Step) -> PathBuf {
        self.project.join(normalise(&step.source.dir).unwrap_or_default())
    }

    fn task<'s>(&self, step: &'s Step) -> Option<Task<'s>> {
        Some(Task { step, command: step.source.build.as_deref()?, folder: self.folder(step) })
    }

    fn at_all(&mut self, plan: &Plan) -> Result<Vec<State>, BuildError> {
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
        !self.outputs.iter().any(|out| is_below(&path, out)) && !path.split('/').any(|part| part == "target")
    }

    fn is_fresh(&self, step: &Step, state: &State) -> bool {
        state.selection.problems.is_empty()
            && self.cache.find(&step.source).is_some_and(|last| {
                last.env == self.env && last.inputs == state.inputs && last.outputs == state.outputs
            })
    }

    /// Looks again after commands ran, and remembers what they left.
    ///
    /// Inputs are remembered as they were *before*: a file edited while its build ran makes the next one run. Files
    /// that appeared meanwhile were made by the commands and are remembered as outputs.
    fn remember(&mut self, plan: &Plan, before: &[State], ran: &[usize]) -> Result<Vec<State>, BuildError> {
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
    fn found(&self, entries: &[Entry]) -> Vec<Found> {
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
    fn migrations(&mut self, plan: &Plan) -> Result<BTreeMap<ResourceName, Selection>, BuildError> {
        let mut all = BTreeMap::new();
        for (name, declared) in &plan.migrations {
            let key = format!("database.{name}.migrations");
            let mut selection = Selection::default();
            match normalise(declared).filter(|inside| self.project.join(inside).is_dir()) {
                Some(inside) => {
                    let folder = self.project.join(inside);
                    let mut entries = crate::scan::walk_all(&folder, "", &|path| path.contains('/'))?;
                    entries.retain(|entry| entry.path.ends_with(".sql"));
                    let shown = |entry: &Entry| relative(self.project, &entry.from);
                    let label = format!("database.{name}");
                    selection.problems =
                        entries.iter().filter_map(|e| entry_problem(e, &folder, &label, &shown(e))).collect();
                    selection.entries = site_entries(entries, "", &folder);
                    self.digest(&selection.entries)?;
                }
                None => {
                    let message = format!("`migrations` of database.{name}: `{declared}` is not a folder");
                    let mend = "create it with `slipway migrate new <name>`, or correct the path";
                    selection.problems.push(Problem::error("migrations-folder", key, message).with_mend(mend));
                }
            }
            all.insert(name.clone(), selection);
        }
        Ok(all)
    }

    fn save(mut self) {
        self.cache.files = self.met;
        self.cache.save(self.project);
    }
}
