//! From a resolved stack to built files: runs the build commands whose inputs changed.

use std::{collections::BTreeMap, fs, path::Path};

use stack::{Problem, Problems, Resolved, TargetKind};

use crate::{
    BuildError, BuildEvent, BuildOptions, Compiled, Manifest, Store,
    build::SiteFiles,
    cache,
    command::{self, Task},
    digest, image,
    look::{Looker, State},
    plan::{Plan, Step, plan},
    scan::{Entry, EntryKind, entry_problem, normalise, relative},
    select, store,
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
    let mut looker = Looker::new(&project, &plan, store, options);
    let before = looker.at_all(&plan)?;
    let mut stale = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        if step.source.build.is_none() {
            continue;
        }
        if options.rebuild || !looker.is_fresh(step, &before[index]) {
            stale.push(index);
        } else {
            events(BuildEvent::Unchanged { wanted: step.label() });
        }
    }
    if options.only_fresh && !stale.is_empty() {
        return Err(BuildError::Stale);
    }
    let after = if stale.is_empty() {
        before
    } else {
        let tasks: Vec<Task<'_>> = stale.iter().filter_map(|index| looker.task(&plan.steps[*index])).collect();
        command::run_all(&tasks, options, events)?;
        looker.remember(&plan, &before, &stale)?
    };
    let migrations = looker.migrations(&plan)?;
    let previous = newest_manifest(store, &resolved.stack.app);
    let carry = (resolved.environment.target == TargetKind::Hosts).then_some((store, previous.as_ref()));
    let images = image::prepare(&resolved.stack.app, &plan, carry, &mut looker, options, events)?;
    let mut problems = images.problems;
    let mut compiled = Compiled {
        app: resolved.stack.app.clone(),
        version: resolved.stack.version.clone(),
        stack_text: stack_text.to_owned(),
        trees: Vec::new(),
        sites: Vec::new(),
        migrations: BTreeMap::new(),
        images: images.pinned,
        carried: images.carried,
        _exported: images.exported,
        problems: Vec::new(),
        previous,
        ran: stale.len() + images.built,
        project: project.clone(),
        _lock: lock,
    };
    for (name, folder) in migrations {
        problems.extend(folder.problems);
        compiled.migrations.insert(name, looker.found(&folder.entries));
    }
    for (step, state) in plan.steps.iter().zip(after) {
        gather(step, state, &looker, &mut compiled, &mut problems);
    }
    compiled.trees.sort_by(|a, b| a.0.cmp(&b.0));
    compiled.problems = problems;
    looker.save();
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
fn gather(step: &Step, state: State, looker: &Looker<'_>, compiled: &mut Compiled, problems: &mut Vec<Problem>) {
    let label = step.label();
    let folder = looker.folder(step);
    problems.extend(state.selection.problems);
    let shown = |entry: &Entry| relative(looker.project, &entry.from);
    if step.has_tree() {
        let wrong = state.selection.entries.iter();
        problems.extend(wrong.filter_map(|entry| entry_problem(entry, &folder, &label, &shown(entry))));
        problems.extend(select::check_runs(step, &state.selection.entries));
        compiled.trees.push((step.source.clone(), looker.found(&state.selection.entries)));
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
            files: looker.found(&entries),
        });
    }
}

/// A site's files by their path below its root. Links inside of it become the files they name: a web server gets to
/// see files only.
pub(crate) fn site_entries(entries: Vec<Entry>, root: &str, folder: &Path) -> Vec<Entry> {
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
