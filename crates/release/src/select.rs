//! Which files of a built folder a release carries.
//!
//! With `out`, exactly what it names. Without, everything a program in that folder needs to run: what version control
//! keeps, the dependencies a build command installed, the folders build tools write to, and what `run` names. Never
//! `.env` files: variables come from the environment contract. Of a site's folder no hidden file at all, since
//! whatever a site carries is published.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use stack::Problem;

use crate::{
    BuildError,
    plan::Step,
    scan::{Entry, EntryKind, is_below, normalise, walk_all},
};

/// Folders that build tools write to and version control usually ignores.
const OUTPUT_FOLDERS: [&str; 6] = ["dist", "build", "out", ".next", ".output", ".nuxt"];

/// Programs that read `node_modules` at run time, or fill it.
const NODE: [&str; 10] = ["npm", "npx", "node", "yarn", "pnpm", "pnpx", "bun", "bunx", "next", "tsx"];

/// Programs by the dependency folders they fill below the folder they run in.
const INSTALLERS: [(&[&str], &[&str]); 4] = [
    (&["pip", "pip3", "poetry", "uv", "pipenv", "venv", "virtualenv", "pdm"], &[".venv", "venv", "vendor"]),
    (&["composer"], &["vendor"]),
    (&["bundle", "bundler"], &["vendor", ".bundle"]),
    (&["go"], &["vendor"]),
];

/// What a release takes from a step's folder, sorted by path, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    pub(crate) entries: Vec<Entry>,
    pub(crate) problems: Vec<Problem>,
}

/// Selects from `folder`; `kept` is what version control does not ignore there.
pub(crate) fn select(
    step: &Step,
    folder: &Path,
    kept: &[Entry],
    leave_out: &[PathBuf],
) -> Result<Selection, BuildError> {
    if step.source.out.is_empty() {
        select_needed(step, folder, kept)
    } else {
        select_declared(step, folder, leave_out)
    }
}

fn select_declared(step: &Step, folder: &Path, leave_out: &[PathBuf]) -> Result<Selection, BuildError> {
    let mut selected = BTreeMap::new();
    let mut problems = Vec::new();
    let label = step.label();
    for declared in &step.source.out {
        let Some(out) = normalise(declared) else {
            let message = format!("output `{declared}` of {label} lies outside of `{}`", step.source.dir);
            let mend = "name a path below `dir` in `out`";
            problems.push(Problem::error("output-outside", label.as_str(), message).with_mend(mend));
            continue;
        };
        let private = |path: &str| path != out && (is_env_file(path) || !step.has_tree() && is_hidden(path));
        let skip = |path: &str| private(path) || leave_out.iter().any(|left| *left == folder.join(path));
        let entries = walk_all(folder, &out, &skip)?;
        // proves S4.P1 together with the tests: a declared output that is not there, or is empty, is a problem.
        let is_file = entries.len() == 1 && entries[0].path == out;
        let empty = |entry: &Entry| matches!(entry.kind, EntryKind::File { stamp, .. } if stamp.size() == 0);
        let (code, what) = if entries.is_empty() && !folder.join(&out).exists() {
            ("output-missing", "is not there")
        } else if entries.is_empty() {
            ("output-empty", "is an empty folder")
        } else if is_file && empty(&entries[0]) {
            ("output-empty", "is an empty file")
        } else {
            ("", "")
        };
        if !code.is_empty() {
            let message = format!("output `{declared}` of {label} {what} in `{}`", step.source.dir);
            let mend = match &step.source.build {
                Some(build) => format!("make `{build}` write it, or correct `out`"),
                None => "write it, or give the command that makes it in `build`".to_owned(),
            };
            problems.push(Problem::error(code, label.as_str(), message).with_mend(mend));
        }
        selected.extend(entries.into_iter().map(|entry| (entry.path.clone(), entry)));
    }
    Ok(Selection { entries: selected.into_values().collect(), problems })
}

fn select_needed(step: &Step, folder: &Path, kept: &[Entry]) -> Result<Selection, BuildError> {
    let mut selected: BTreeMap<String, Entry> = BTreeMap::new();
    let mut take = |entries: Vec<Entry>| {
        for entry in entries {
            selected.entry(entry.path.clone()).or_insert(entry);
        }
    };
    take(kept.iter().filter(|entry| !is_env_file(&entry.path)).cloned().collect());
    if step.has_tree() {
        for below in dependency_folders(step, folder, kept) {
            take(walk_all(folder, &below, &is_tool_cache)?);
        }
        if step.source.build.is_some() {
            for output in OUTPUT_FOLDERS {
                take(walk_all(folder, output, &is_tool_cache)?);
            }
        }
        for path in step.runs().flat_map(|(_, run)| named_files(run)) {
            // The whole folder, since a program loads what lies beside it; of a tool's `target` the file alone.
            let top = path.split('/').next().unwrap_or_default();
            let below = if top == "target" { path.as_str() } else { top };
            if folder.join(&path).is_file() && top != "node_modules" {
                take(walk_all(folder, below, &is_tool_cache)?);
            }
        }
    }
    Ok(Selection { entries: selected.into_values().collect(), problems: Vec::new() })
}

/// Dependency folders to take, relative to `folder`.
fn dependency_folders(step: &Step, folder: &Path, kept: &[Entry]) -> Vec<String> {
    let mut folders = Vec::new();
    let build = step.source.build.as_deref().unwrap_or_default();
    let mentions = |text: &str, names: &[&str]| words(text).any(|word| names.contains(&program(word)));
    let by_node = mentions(build, &NODE) || step.runs().any(|(_, run)| mentions(run, &NODE));
    let packages: BTreeSet<&str> =
        kept.iter().filter_map(|entry| entry.path.strip_suffix("package.json")).filter(|at| is_folder(at)).collect();
    if by_node || build.is_empty() && packages.contains("") {
        // Each package of a workspace may have dependencies of its own.
        folders.extend(packages.iter().map(|at| format!("{at}node_modules")));
        folders.push("node_modules".to_owned());
    }
    for (programs, fills) in INSTALLERS {
        if mentions(build, programs) {
            folders.extend(fills.iter().map(|fill| (*fill).to_owned()));
        }
    }
    folders.retain(|below| folder.join(below).is_dir());
    folders
}

fn is_folder(prefix: &str) -> bool {
    prefix.is_empty() || prefix.ends_with('/')
}

/// What tools keep to be faster next time: never needed to run, and different on each machine.
fn is_tool_cache(path: &str) -> bool {
    path.ends_with("node_modules/.cache") || path.ends_with("node_modules/.vite") || path == ".next/cache"
}

/// `.env`, `.env.production`, not `.env.example`.
fn is_env_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let sample = [".example", ".sample", ".template"].iter().any(|end| name.ends_with(end));
    (name == ".env" || name.starts_with(".env.")) && !sample
}

/// `.npmrc`, `.htpasswd`, `.ssh`; not `.well-known`, which is there to be read (RFC 8615).
fn is_hidden(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with('.') && name != ".well-known"
}

/// Paths a command line runs: its program when that is a path, and the scripts it names. Not its other arguments: a
/// folder of local data must not become a part of the release.
fn named_files(run: &str) -> impl Iterator<Item = String> {
    const SCRIPTS: [&str; 10] = ["js", "mjs", "cjs", "ts", "py", "rb", "php", "jar", "sh", "wasm"];
    let is_script = |word: &str| word.rsplit_once('.').is_some_and(|(_, end)| SCRIPTS.contains(&end));
    let program = first_word(run);
    words(run)
        .filter(move |word| is_script(word) || Some(*word) == program && word.contains('/'))
        .filter_map(normalise)
        .filter(|path| !path.is_empty())
}

/// The words of a command line as a shell would roughly part them.
fn words(command: &str) -> impl Iterator<Item = &str> {
    let apart = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '"' | '\'' | '=' | '<' | '>');
    command.split(apart).filter(|word| !word.is_empty())
}

/// What a command line runs, past `NAME=value` before it.
fn first_word(run: &str) -> Option<&str> {
    let word = run.split_whitespace().find(|word| !word.contains('='))?;
    Some(word.trim_matches(['"', '\'']))
}

/// The program's name: the last part of its path.
fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// A problem for each command line whose program is a path that the release does not carry (S4.P1).
pub(crate) fn check_runs(step: &Step, entries: &[Entry]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (by, run) in step.runs() {
        let Some(word) = first_word(run) else { continue };
        if !word.contains('/') || word.contains('$') || word.starts_with('/') {
            continue;
        }
        let carried = normalise(word).is_some_and(|path| {
            let through_link = |entry: &Entry| matches!(entry.kind, EntryKind::Link(_)) && is_below(&path, &entry.path);
            entries.iter().any(|entry| entry.path == path || through_link(entry))
        });
        if !carried {
            let message = format!("{by} runs `{word}`, which the release does not carry");
            let mend = format!("make the build write it below `{}`, and name it in `out`", step.source.dir);
            problems.push(Problem::error("run-missing", by.to_string(), message).with_mend(mend));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_files_stay_out_but_their_samples_do_not() {
        assert!(is_env_file("api/.env") && is_env_file(".env.production"));
        assert!(!is_env_file(".env.example") && !is_env_file(".envrc") && !is_env_file("a.env"));
    }

    #[test]
    fn programs_are_seen_in_command_lines() {
        let found: Vec<&str> = words("cd x && NODE_ENV=production /usr/bin/npm ci; (yarn)").map(program).collect();
        assert_eq!(found, ["cd", "x", "NODE_ENV", "production", "npm", "ci", "yarn"]);
    }
}
