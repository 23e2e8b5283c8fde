//! Images of a release: fetched or built by the container engine at hand, and named by what never changes.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use stack::{AppName, FolderSource, Problem};

use crate::{
    BuildError, BuildEvent, BuildOptions, ImageSource, ImageStep, Manifest, Store, Stream, cache, carry,
    command::{self, Task},
    container::{self, Image},
    look::Looker,
    plan::{Plan, Step, label},
    scan::{Entry, Found, normalise, relative, walk_all},
};

/// What came of the images of a plan.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// By their key.
    pub(crate) pinned: BTreeMap<String, String>,
    /// How many were built.
    pub(crate) built: usize,
    /// What is wrong with them.
    pub(crate) problems: Vec<Problem>,
    /// Files of those that the release carries, by their key.
    pub(crate) carried: BTreeMap<String, Vec<Found>>,
    /// What these were exported to.
    pub(crate) exported: Vec<tempfile::TempDir>,
}

/// Fetches and builds every image of the plan that is not here yet. Nothing runs when the plan has no image.
///
/// `carry`: it goes to other machines, so what was made on this one is exported, unless the release before has it; that
/// is the second, of the store that is the first.
pub(crate) fn prepare(
    app: &AppName,
    plan: &Plan,
    carry: Option<(&Store, Option<&Manifest>)>,
    looker: &mut Looker<'_>,
    options: &BuildOptions,
    events: &mut dyn FnMut(BuildEvent),
) -> Result<Prepared, BuildError> {
    let mut prepared = Prepared::default();
    for step in &plan.images {
        let image = match &step.from {
            ImageSource::Reference(reference) => Some(fetch(step, reference, looker, options, events)?),
            ImageSource::Dockerfile { file, context } => match paths(step, file, context, looker.project) {
                Ok(paths) => Some(build(app, step, &paths, looker, options, &mut prepared, events)?),
                Err(problem) => {
                    prepared.problems.push(problem);
                    None
                }
            },
        };
        let Some((image, name)) = image else { continue };
        if let Some((store, previous)) = carry.filter(|_| !name.contains('@')) {
            let files = match previous.and_then(|previous| carry::find(store, previous, &name)) {
                Some(files) => files,
                None => export(app, step, &name, looker, options, &mut prepared, events)?,
            };
            prepared.carried.insert(step.key.clone(), files);
        }
        // Of another machine, that one tells before a deploy.
        if let Some(why) = image.mismatch().filter(|_| carry.is_none()) {
            let message = format!("the image of {} cannot run here: {why}", label(&step.wanted));
            prepared.problems.push(Problem::error("image-architecture", label(&step.wanted), message));
        }
        prepared.pinned.insert(step.key.clone(), name);
    }
    Ok(prepared)
}

/// The newest image of a reference. What was made on this machine, and what a digest names, need not be asked for.
fn fetch(
    step: &ImageStep,
    reference: &str,
    looker: &Looker<'_>,
    options: &BuildOptions,
    events: &mut dyn FnMut(BuildEvent),
) -> Result<(Image, String), BuildError> {
    let here = container::find_image(reference)?;
    let settled = |image: &Image| image.is_local() || reference.contains('@');
    if let Some(image) = here.as_ref().filter(|image| settled(image)) {
        return Ok((image.clone(), image.pinned(reference)));
    }
    if options.only_fresh {
        // Only its store can tell whether the tag has moved.
        return Err(BuildError::Stale);
    }
    let pulled =
        run(step, &format!("{} pull --quiet {}", container::PROGRAM, quoted(reference)), looker, options, events);
    match (pulled, here) {
        (Ok(()), _) => {}
        // An image store that is away is no reason not to deploy.
        (Err(BuildError::Command(failure)), Some(_)) => {
            let why = failure.hint.as_deref().unwrap_or("see what it said above");
            let line = format!("not pulled ({why}); going on with the `{reference}` that is on this machine");
            events(BuildEvent::Output { wanted: label(&step.wanted), stream: Stream::Stderr, line });
        }
        (Err(error), _) => return Err(error),
    }
    let image = container::find_image(reference)?.ok_or_else(|| vanished(reference))?;
    let name = image.pinned(reference);
    Ok((image, name))
}

/// A Dockerfile and its context.
struct Paths {
    /// Relative to the project.
    file: String,
    context: String,
    /// Absolute.
    file_at: PathBuf,
    context_at: PathBuf,
}

fn paths(step: &ImageStep, file: &str, context: &str, project: &Path) -> Result<Paths, Problem> {
    let label = label(&step.wanted);
    let inside = |path: &str| normalise(path).map(|inside| (inside.clone(), project.join(inside)));
    let problem = |message: String, mend: &str| Problem::error("dockerfile", label.as_str(), message).with_mend(mend);
    let Some((file_inside, file_at)) = inside(file).filter(|(_, at)| at.is_file()) else {
        let message = format!("`dockerfile` of {label}: `{file}` is not a file of the project");
        return Err(problem(message, "give its path relative to the stack file"));
    };
    let Some((context_inside, context_at)) = inside(context).filter(|(_, at)| at.is_dir()) else {
        let message = format!("`context` of {label}: `{context}` is not a folder of the project");
        return Err(problem(message, "give a folder relative to the stack file"));
    };
    let context = if context_inside.is_empty() { ".".to_owned() } else { context_inside };
    Ok(Paths { file: file_inside, context, file_at, context_at })
}

/// The image of a Dockerfile; built only when something it may read changed, or the image is gone.
fn build(
    app: &AppName,
    step: &ImageStep,
    paths: &Paths,
    looker: &mut Looker<'_>,
    options: &BuildOptions,
    prepared: &mut Prepared,
    events: &mut dyn FnMut(BuildEvent),
) -> Result<(Image, String), BuildError> {
    let Paths { file, context, .. } = paths;
    let no_cache = if options.rebuild { "--no-cache " } else { "" };
    let docker = container::PROGRAM;
    let source = FolderSource {
        dir: ".".to_owned(),
        build: Some(format!("{docker} build --file {} {}", quoted(file), quoted(context))),
        out: Vec::new(),
    };
    let inputs = looker.context(&paths.file_at, &paths.context_at)?;
    let known = looker.find_image(&source, &inputs).map(str::to_owned);
    if let Some(id) = known.filter(|_| !options.rebuild)
        && let Some(image) = container::find_image(&id)?
    {
        events(BuildEvent::Unchanged { wanted: label(&step.wanted) });
        return Ok((image, id));
    }
    if options.only_fresh {
        return Err(BuildError::Stale);
    }
    let id_file = cache::folder(looker.project).join("image");
    match fs::remove_file(&id_file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(BuildError::io("remove", id_file)(error)),
        _ => {}
    }
    let id_path = relative(looker.project, &id_file);
    let command = format!("{docker} build {no_cache}--iidfile {id_path} --file {} {}", quoted(file), quoted(context));
    run(step, &command, looker, options, events)?;
    let id = fs::read_to_string(&id_file).map_err(BuildError::io("read", id_file))?.trim().to_owned();
    let image = container::find_image(&id)?.ok_or_else(|| vanished(&id))?;
    // An image without a name is what `docker image prune` removes.
    container::name(&id, &carry::name(app, &id))?;
    looker.remember_image(source, inputs, id.clone());
    prepared.built += 1;
    Ok((image, id))
}

/// Takes an image out of the engine.
fn export(
    app: &AppName,
    step: &ImageStep,
    id: &str,
    looker: &Looker<'_>,
    options: &BuildOptions,
    prepared: &mut Prepared,
    events: &mut dyn FnMut(BuildEvent),
) -> Result<Vec<Found>, BuildError> {
    if options.only_fresh {
        return Err(BuildError::Stale);
    }
    let own = cache::folder(looker.project);
    let folder = tempfile::Builder::new().prefix("image-").tempdir_in(&own).map_err(BuildError::io("write in", own))?;
    let to = quoted(&relative(looker.project, folder.path()));
    let command = format!("{} save {id} | tar -x -f - -C {to}", container::PROGRAM);
    run(step, &command, looker, options, events)?;
    let files = carry::read(folder.path(), app, id)?;
    prepared.exported.push(folder);
    Ok(files)
}

/// Runs an engine's command in the project's folder like every build command.
fn run(
    step: &ImageStep,
    command: &str,
    looker: &Looker<'_>,
    options: &BuildOptions,
    events: &mut dyn FnMut(BuildEvent),
) -> Result<(), BuildError> {
    let source = FolderSource { dir: ".".to_owned(), build: Some(command.to_owned()), out: Vec::new() };
    let as_step = Step { source, wanted: step.wanted.clone() };
    command::run_all(&[Task { step: &as_step, command, folder: looker.project.to_owned() }], options, events)
}

fn vanished(reference: &str) -> BuildError {
    BuildError::Container(container::ContainerError::Failed {
        doing: format!("find the image `{reference}`"),
        said: "the engine made it and does not have it any more".to_owned(),
        mend: "see whether something removes images (`docker events`), and build again",
    })
}

/// As one word of a shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@+=".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// What a build may read of its context: everything that `.dockerignore` does not leave out, also what version control
/// ignores. Sorted by path.
pub(crate) fn walk_context(file: &Path, context: &Path, leave_out: &[PathBuf]) -> Result<Vec<Entry>, BuildError> {
    // A Dockerfile may have a list of its own, which not every engine reads: then nothing is left out.
    let mut own = file.as_os_str().to_owned();
    own.push(".dockerignore");
    let text = if Path::new(&own).exists() { String::new() } else { read_ignored(context)? };
    let (ignored, excepts) = ignored(context, &text)?;
    let is_ignored = |path: &str, is_dir: bool| ignored.matched_path_or_any_parents(path, is_dir).is_ignore();
    let skip = |path: &str| {
        let at = context.join(path);
        // The store may lie in the project. What is below an ignored folder may be an exception.
        leave_out.contains(&at) && !at.is_file() || !excepts && at.is_dir() && is_ignored(path, true)
    };
    let mut entries = walk_all(context, "", &skip)?;
    entries.retain(|entry| !is_ignored(&entry.path, false));
    Ok(entries)
}

fn read_ignored(context: &Path) -> Result<String, BuildError> {
    let path = context.join(".dockerignore");
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(BuildError::io("read", path)),
    }
}

/// The patterns of a `.dockerignore`, which start at the context, and whether there are exceptions among them.
/// Source: Docker documentation, "Build context", ".dockerignore files".
fn ignored(context: &Path, text: &str) -> Result<(Gitignore, bool), BuildError> {
    let unreadable = |error: ignore::Error| {
        BuildError::io("understand", context.join(".dockerignore"))(io::Error::other(error.to_string()))
    };
    let mut builder = GitignoreBuilder::new(context);
    let mut excepts = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (sign, pattern) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest.trim()));
        excepts |= sign == "!";
        let pattern = pattern.trim_start_matches("./").trim_matches('/');
        builder.add_line(None, &format!("{sign}/{pattern}")).map_err(unreadable)?;
    }
    Ok((builder.build().map_err(unreadable)?, excepts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let entries = walk_context(&folder.path().join("Dockerfile"), folder.path(), &[]).unwrap();
        let paths = entries.into_iter().map(|entry| entry.path).collect();
        (folder, paths)
    }

    #[test]
    fn a_context_holds_what_version_control_ignores_and_not_what_docker_ignores() {
        let (_folder, paths) = context(&[
            ("Dockerfile", "FROM scratch"),
            (".gitignore", "app.jar\n"),
            (".dockerignore", "# made\ncache\n/notes\n**/*.log\n"),
            ("app.jar", ""),
            ("cache/a", ""),
            ("src/cache/b", ""),
            ("notes/n", ""),
            ("src/x.log", ""),
            (".git/HEAD", ""),
        ]);
        assert_eq!(paths, [".dockerignore", ".gitignore", "Dockerfile", "app.jar", "src/cache/b"]);
    }

    #[test]
    fn exceptions_of_a_dockerignore_are_part_of_the_context() {
        let (_folder, paths) = context(&[
            (".dockerignore", "*\n!src\nsrc/secret\n"),
            ("src/a", ""),
            ("src/secret/b", ""),
            ("other/c", ""),
        ]);
        assert_eq!(paths, ["src/a"]);
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("docker/api.Dockerfile"), "docker/api.Dockerfile");
        assert_eq!(quoted("it's; rm"), r"'it'\''s; rm'");
    }
}
