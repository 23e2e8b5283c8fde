//! Where variable values come from. Each source wins against those before it:
//!
//! 1. `default` in the stack file;
//! 2. secrets made up and kept in `.slipway/<environment>.env`, for data class `seed` on this machine only;
//! 3. `.env` beside the stack file;
//! 4. `.env.<environment>` beside it;
//! 5. files named on the command line, in their order;
//! 6. the environment of this process, and of it only names that the contract declares;
//! 7. `--set NAME=value`.
//!
//! An empty value wins against nothing where an empty value counts as none (see [`contract::check`]): an unset secret
//! of a CI system arrives as an empty variable.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use stack::{DataClass, Problem, Problems, Resolved, TargetKind};

use crate::{
    contract::Values,
    kept,
    search::{Made, Need, Search},
};

/// What is looked at for values.
#[derive(Clone, Default)]
pub struct Sources {
    /// The project's folder: the one of the stack file.
    pub project: PathBuf,
    /// Files named on the command line; each must exist. Relative paths are taken from the current folder.
    pub files: Vec<PathBuf>,
    /// The environment of this process.
    pub process: BTreeMap<String, String>,
    /// `--set`, by name.
    pub set: BTreeMap<String, String>,
}

impl Sources {
    /// Everything around `project`, with the environment of this process and no options.
    pub fn around(project: impl Into<PathBuf>) -> Self {
        Self { project: project.into(), process: process_environment(), ..Self::default() }
    }
}

/// The environment of this process. What is not UTF-8 is left out.
pub fn process_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Where a value is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `default` in the stack file.
    Default,
    /// Made up by Slipway, in this run or an earlier one.
    MadeUp,
    /// A file, as it was named.
    File(String),
    /// The environment of this process.
    Process,
    /// `--set`.
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("its default"),
            Origin::MadeUp => f.write_str("a value made up by slipway"),
            Origin::File(name) => write!(f, "`{name}`"),
            Origin::Process => f.write_str("the environment of this command"),
            Origin::Set => f.write_str("`--set`"),
        }
    }
}

/// Values that keep the contract, with their story.
#[derive(Debug, Clone)]
pub struct Found {
    /// The values.
    pub values: Values,
    /// Where each is from.
    pub origins: BTreeMap<String, Origin>,
    /// Names of secrets that were made up in this run.
    pub made_up: Vec<String>,
    /// Warnings.
    pub warnings: Problems,
}

/// Finds all values of an environment and checks them; changes nothing. Secrets that [`gather`] would make up are made
/// up here too, and forgotten.
///
/// Fails with every problem of every file and of the contract at once, warnings among them (S4.P6).
pub fn preview(resolved: &Resolved, sources: &Sources) -> Result<Found, Problems> {
    look(resolved, sources).map(|(found, _)| found)
}

/// Finds all values of an environment and checks them, as [`preview`] does. For data class `seed` on this machine,
/// secrets that are missing are made up and kept (S3.4), so that the next run finds the same.
pub fn gather(resolved: &Resolved, sources: &Sources) -> Result<Found, Problems> {
    let (found, made) = look(resolved, sources)?;
    if made.is_empty() {
        return Ok(found);
    }
    let cannot = |error: io::Error| {
        let file = sources.project.join(kept::file(&resolved.name));
        let message = format!("cannot keep made-up secrets in `{}`: {error}", file.display());
        let names = made.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        Problems::from(
            Problem::error("cannot-keep", "", message)
                .with_mend(format!("make the folder writable, or set {names} in `.env`")),
        )
    };
    let held = kept::hold(&sources.project).map_err(cannot)?;
    // another run may have made them up in the meantime
    let (found, made) = look(resolved, sources)?;
    if !made.is_empty() {
        held.add(&resolved.name, &made).map_err(cannot)?;
    }
    Ok(found)
}

/// Reads options of the form `NAME=value`.
pub fn parse_set<'a>(options: impl IntoIterator<Item = &'a str>) -> Result<BTreeMap<String, String>, Problems> {
    let mut set = BTreeMap::new();
    let mut problems = Problems::new();
    for option in options {
        match option.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                set.insert(name.to_owned(), value.to_owned());
            }
            // without `=` the whole may be a secret, and is not shown
            _ => problems.push(
                Problem::error("bad-set", "", "an option `--set` is not `NAME=value`")
                    .with_mend("write `--set NAME=value`"),
            ),
        }
    }
    if problems.is_empty() { Ok(set) } else { Err(problems) }
}

fn look(resolved: &Resolved, sources: &Sources) -> Result<(Found, Made), Problems> {
    let variables = &resolved.stack.variables;
    let mut search = Search::new(variables, &sources.process);
    let makes_up = resolved.environment.data == DataClass::Seed && resolved.environment.target == TargetKind::Local;
    if makes_up {
        let file = kept::file(&resolved.name);
        search.file(&sources.project.join(&file), &file.display().to_string(), Need::May, &Origin::MadeUp);
    }
    for name in [".env".to_owned(), format!(".env.{}", resolved.name)] {
        let path = sources.project.join(&name);
        search.file(&path, &name, Need::May, &Origin::File(name.clone()));
        search.exposure(&sources.project, &path, &name);
    }
    for path in &sources.files {
        let name = path.display().to_string();
        search.file(path, &name, Need::Must, &Origin::File(name.clone()));
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        search.exposure(folder, path, &name);
    }
    for name in variables.keys() {
        if let Some(value) = sources.process.get(name) {
            search.take(name, value, &Origin::Process);
        }
    }
    for (name, value) in &sources.set {
        search.set(name, value);
    }
    let made = if makes_up { search.make_up() } else { Made::new() };
    search.judge(resolved, made)
}
