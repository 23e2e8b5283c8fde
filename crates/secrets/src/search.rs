//! One search through the sources: what was found, and what is wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use stack::{Problem, Problems, Resolved, Severity, Variable, VariableForm};
use zeroize::Zeroizing;

use crate::{
    contract, dotenv, git,
    secret::{SecretString, generate},
    sources::{Found, Origin},
};

/// Secrets that were made up, by name.
pub(crate) type Made = BTreeMap<String, SecretString>;

/// Whether a file must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    May,
    Must,
}

/// What has been found so far.
pub(crate) struct Search<'a> {
    variables: &'a BTreeMap<String, Variable>,
    process: &'a BTreeMap<String, String>,
    given: BTreeMap<String, String>,
    origins: BTreeMap<String, Origin>,
    /// Everything the files said, for references in later files.
    said: BTreeMap<String, String>,
    /// Names whose line in a file is at fault: the contract has nothing to add.
    at_fault: BTreeSet<String>,
    problems: Problems,
}

impl<'a> Search<'a> {
    pub(crate) fn new(variables: &'a BTreeMap<String, Variable>, process: &'a BTreeMap<String, String>) -> Self {
        Self {
            variables,
            process,
            given: BTreeMap::new(),
            origins: BTreeMap::new(),
            said: BTreeMap::new(),
            at_fault: BTreeSet::new(),
            problems: Problems::new(),
        }
    }

    /// Takes a declared variable's value, unless it is empty and there is a better one.
    pub(crate) fn take(&mut self, name: &str, value: &str, origin: &Origin) {
        let Some(variable) = self.variables.get(name) else { return };
        if contract::counts(variable, value) || !self.given.contains_key(name) {
            self.given.insert(name.to_owned(), value.to_owned());
            self.origins.insert(name.to_owned(), origin.clone());
        }
    }

    pub(crate) fn file(&mut self, path: &Path, name: &str, need: Need, origin: &Origin) {
        let text = match fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && need == Need::May => return,
            Err(error) => {
                let reason = match error.kind() {
                    io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
                    _ => error.to_string(),
                };
                let mend = match error.kind() {
                    io::ErrorKind::NotFound => "check the path",
                    io::ErrorKind::InvalidData => "save it as UTF-8",
                    _ => "make it a readable file, or remove it",
                };
                self.problems.push(
                    Problem::error("unreadable-file", "", format!("cannot read `{name}`: {reason}")).with_mend(mend),
                );
                return;
            }
        };
        let parsed = dotenv::parse(&text, dotenv::Around { over: self.process, under: &self.said });
        for fault in &parsed.faults {
            if fault.severity == Severity::Error {
                self.at_fault.extend(fault.name.clone());
            }
            self.problems.push(fault.problem(name));
        }
        let values = parsed.values();
        if *origin != Origin::MadeUp {
            self.strangers(name, values.keys());
        }
        for (variable, value) in values {
            self.take(&variable, &value, origin);
            self.said.insert(variable, value);
        }
    }

    /// Notes names that the contract does not know: a file is often read by other programs too.
    fn strangers<'n>(&mut self, file: &str, names: impl Iterator<Item = &'n String>) {
        let mut others = Vec::new();
        for name in names.filter(|name| !self.variables.contains_key(*name)) {
            match stack::suggest(name, self.variables.keys().map(String::as_str)) {
                Some(near) => self.problems.push(
                    Problem::warning(
                        "unknown-variable",
                        name.clone(),
                        format!("`{file}` sets `{name}`, which the stack does not declare"),
                    )
                    .with_mend(format!("did you mean `{near}`?")),
                ),
                None => others.push(format!("`{name}`")),
            }
        }
        if !others.is_empty() {
            let message = format!("`{file}` sets {}, which the stack does not declare", others.join(", "));
            self.problems.push(
                Problem::warning("unknown-variable", "", message)
                    .with_mend("declare a variable under `[variable]` to pass it to the application"),
            );
        }
    }

    /// Warns when a file with secrets can be seen by others.
    pub(crate) fn exposure(&mut self, folder: &Path, path: &Path, name: &str) {
        let from_here = Origin::File(name.to_owned());
        let secrets = self.origins.iter().any(|(variable, origin)| {
            *origin == from_here && self.variables[variable].secret && !self.given[variable].is_empty()
        });
        let Ok(absolute) = fs::canonicalize(path) else { return };
        if !secrets {
            return;
        }
        if let Some(mode) = readable_by_all(&absolute) {
            let message = format!("`{name}` holds secrets and every user of this machine can read it (mode {mode:o})");
            self.problems
                .push(Problem::warning("readable-secrets", "", message).with_mend(format!("chmod 600 {name}")));
        }
        match git::standing(folder, &absolute) {
            git::Standing::Tracked => {
                let message = format!("`{name}` holds secrets and is in the git repository");
                let mend = format!("git rm --cached {name}, add it to .gitignore, and replace every secret it held");
                self.problems.push(Problem::warning("tracked-secrets", "", message).with_mend(mend));
            }
            git::Standing::Exposed => {
                let message = format!("`{name}` holds secrets and git does not ignore it");
                self.problems.push(
                    Problem::warning("exposed-secrets", "", message).with_mend(format!("add `{name}` to .gitignore")),
                );
            }
            git::Standing::Ignored | git::Standing::None => {}
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        match self.variables.get(name) {
            None => {
                let near = stack::suggest(name, self.variables.keys().map(String::as_str));
                let mend =
                    near.map_or("declare it under `[variable]`".to_owned(), |near| format!("did you mean `{near}`?"));
                let message = format!("`--set {name}` names a variable that the stack does not declare");
                self.problems.push(Problem::error("unknown-variable", name, message).with_mend(mend));
            }
            Some(variable) => {
                if variable.secret {
                    let message =
                        format!("the secret `{name}` is given by `--set`: other users see it in the list of processes");
                    let mend = "put it into a file or into the environment of this command";
                    self.problems.push(Problem::warning("visible-secret", name, message).with_mend(mend));
                }
                self.take(name, value, &Origin::Set);
            }
        }
    }

    /// Makes up each secret that must be there and is not, or that was made up for a contract that has changed since.
    pub(crate) fn make_up(&mut self) -> Made {
        let mut made = Made::new();
        for (name, variable) in self.variables {
            if !variable.secret
                || variable.optional
                || variable.form != VariableForm::Text
                || self.at_fault.contains(name)
            {
                continue;
            }
            let length = |value: &str| value.chars().count();
            let fits = |value: &str| {
                contract::counts(variable, value)
                    && variable.min_length.is_none_or(|min| length(value) >= min)
                    && variable.max_length.is_none_or(|max| length(value) <= max)
            };
            let stays = match (self.given.get(name), self.origins.get(name)) {
                (Some(value), Some(Origin::MadeUp)) => fits(value),
                (Some(value), _) => contract::counts(variable, value),
                (None, _) => false,
            };
            if stays {
                continue;
            }
            let whole = generate(variable.min_length.unwrap_or(0));
            let end = variable.max_length.unwrap_or(usize::MAX).min(whole.expose().len());
            let secret = SecretString::new(&whole.expose()[..end]);
            self.given.insert(name.clone(), secret.expose().to_owned());
            self.origins.insert(name.clone(), Origin::MadeUp);
            made.insert(name.clone(), secret);
        }
        made
    }

    pub(crate) fn judge(mut self, resolved: &Resolved, made: Made) -> Result<(Found, Made), Problems> {
        let (values, problems) = contract::judge(self.variables, &resolved.name, &self.given);
        for mut problem in problems {
            if self.at_fault.contains(&problem.key) {
                continue;
            }
            if let (Some(origin), Some(mend)) = (self.origins.get(&problem.key), &mut problem.mend)
                && problem.code != "missing-variable"
            {
                // writing to a string cannot fail
                let _ = write!(mend, " (it comes from {origin})");
            }
            self.problems.push(problem);
        }
        if self.problems.has_errors() {
            return Err(self.problems);
        }
        let mut origins = self.origins;
        origins.retain(|name, _| values.all.contains_key(name));
        for name in values.all.keys() {
            let given = self.given.get(name).is_some_and(|value| contract::counts(&self.variables[name], value));
            if !given {
                origins.insert(name.clone(), Origin::Default);
            }
        }
        let made_up = made.keys().cloned().collect();
        Ok((Found { values, origins, made_up, warnings: self.problems }, made))
    }
}

/// The mode of a file that every user can read; `None` when its mode, or that of a folder above it, forbids it.
fn readable_by_all(path: &Path) -> Option<u32> {
    let mode = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o7777);
    let own = mode(path)?;
    let reachable = path.ancestors().skip(1).all(|folder| mode(folder).is_none_or(|mode| mode & 0o001 != 0));
    (own & 0o004 != 0 && reachable).then_some(own)
}
