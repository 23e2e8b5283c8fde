//! `runs.jsonl` of one environment: past runs of jobs and functions.

use std::{collections::VecDeque, path::Path};

use crate::{environment::Environment, error::Error, files, jobs::Active, protocol::Run};

/// Runs that are remembered.
const KEPT: usize = 100;

/// Past and present runs, newest first, at most 100.
pub(crate) fn runs(environment: &Environment) -> Vec<Run> {
    let mut runs: Vec<Run> = read(&environment.folder.join("runs.jsonl")).into();
    let tasks = std::fs::read_dir(environment.folder.join("tasks")).into_iter().flatten().flatten();
    for folder in tasks {
        if let Ok(Some(active)) = files::find_json::<Active>(&folder.path().join("run.json"), "") {
            runs.push(active.run);
        }
    }
    runs.sort_by_key(|run| std::cmp::Reverse(run.started_at));
    runs.truncate(KEPT);
    runs
}

/// Adds a run that ended; the oldest beyond a hundred is forgotten.
pub(crate) fn add(environment: &Environment, run: Run) -> Result<(), Error> {
    let path = environment.folder.join("runs.jsonl");
    let mut runs = read(&path);
    runs.push_back(run);
    while runs.len() > KEPT {
        runs.pop_front();
    }
    let mut text = Vec::new();
    for run in &runs {
        serde_json::to_writer(&mut text, run).map_err(|error| Error::failed(format!("cannot write a run: {error}")))?;
        text.push(b'\n');
    }
    files::replace(&path, &text)
}

/// Oldest first. A line that is damaged tells nothing and is left out.
fn read(path: &Path) -> VecDeque<Run> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
