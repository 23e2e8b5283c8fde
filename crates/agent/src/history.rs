//! `runs.jsonl` of one environment: past runs of jobs and functions, oldest first.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{environment::Environment, error::Error, files, jobs::Active, protocol::Run};

/// Runs of one job or function that are remembered.
const KEPT: usize = 100;

/// The file is written anew when it has so many lines more than it needs.
const SLACK: usize = 500;

/// Past runs. A busy function does not push out those of a job.
pub(crate) struct History {
    path: PathBuf,
    known: Mutex<Option<Known>>,
}

#[derive(Default)]
struct Known {
    runs: BTreeMap<String, VecDeque<Run>>,
    /// Lines of the file.
    lines: usize,
}

impl History {
    /// Of the environment in `folder`; read when it is asked first.
    pub(crate) fn open(folder: &Path) -> Self {
        Self { path: folder.join("runs.jsonl"), known: Mutex::default() }
    }

    /// Adds a run that ended; the oldest of its job or function beyond a hundred is forgotten.
    pub(crate) fn add(&self, run: Run) -> Result<(), Error> {
        let mut guard = self.known();
        let known = guard.get_or_insert_with(|| Known::read(&self.path));
        let line = line(&run)?;
        known.keep(run);
        if known.lines > known.runs.values().map(VecDeque::len).sum::<usize>() + SLACK {
            let mut all: Vec<&Run> = known.runs.values().flatten().collect();
            all.sort_by_key(|run| run.started_at);
            let text = all.iter().map(|run| self::line(run)).collect::<Result<Vec<_>, _>>()?.concat();
            known.lines = all.len();
            return files::replace(&self.path, &text);
        }
        known.lines += 1;
        let options = &mut std::fs::OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(&self.path);
        file.and_then(|mut file| file.write_all(&line)).map_err(Error::file("write", &self.path))
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn past(&self) -> Vec<Run> {
        let mut guard = self.known();
        guard.get_or_insert_with(|| Known::read(&self.path)).runs.values().flatten().cloned().collect()
    }
}

impl Known {
    /// A line that is damaged tells nothing and is left out.
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut known = Self::default();
        for line in text.lines() {
            known.lines += 1;
            if let Ok(run) = serde_json::from_str(line) {
                known.keep(run);
            }
        }
        known
    }

    fn keep(&mut self, run: Run) {
        let runs = self.runs.entry(run.name.clone()).or_default();
        runs.push_back(run);
        if runs.len() > KEPT {
            runs.pop_front();
        }
    }
}

fn line(run: &Run) -> Result<Vec<u8>, Error> {
    let mut text =
        serde_json::to_vec(run).map_err(|error| Error::failed(format!("cannot write down a run: {error}")))?;
    text.push(b'\n');
    Ok(text)
}

/// Past and present runs, newest first: at most 100 of each job and function.
pub(crate) fn runs(environment: &Environment) -> Vec<Run> {
    let mut runs = environment.history.past();
    let tasks = std::fs::read_dir(environment.folder.join("tasks")).into_iter().flatten().flatten();
    for folder in tasks {
        if let Ok(Some(active)) = files::find_json::<Active>(&folder.path().join("run.json"), "") {
            runs.push(active.run);
        }
    }
    runs.sort_by_key(|run| std::cmp::Reverse(run.started_at));
    runs
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn run(name: &str, second: i64) -> Run {
        Run {
            name: name.to_owned(),
            started_at: Timestamp::from_second(second).unwrap(),
            millis: Some(1),
            code: Some(0),
            attempt: 1,
            id: format!("{name}-{second}"),
            event: None,
            host: None,
        }
    }

    #[test]
    fn a_busy_function_does_not_push_out_a_job() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path());
        history.add(run("job.match", 1)).unwrap();
        for second in 2..2000 {
            history.add(run("function.parse", second)).unwrap();
        }
        let again = History::open(folder.path()).past();
        assert_eq!((again.len(), &again), (101, &history.past()));
        assert!(again.iter().any(|run| run.name == "job.match"));
        let lines = std::fs::read_to_string(folder.path().join("runs.jsonl")).unwrap().lines().count();
        assert!(lines <= 101 + SLACK + 1, "{lines}");
    }
}
