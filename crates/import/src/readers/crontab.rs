//! Crontabs: what runs a service of a compose file is a job's schedule.

use crate::{
    beside,
    detect::File,
    draft::{Draft, label},
    report::{Entry, Fate},
    text,
};

/// Reads a crontab: every line that runs something gets an entry.
#[expect(clippy::unnecessary_wraps, reason = "all readers have one shape")]
pub(crate) fn read(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let found = beside::lines(&file.text).into_iter().map(|line| {
        let job = line.service.as_deref().is_some_and(|name| draft.has("job", &label(name, "job")));
        let (fate, reason) = if job {
            (Fate::Kept, "`schedule` of the job")
        } else if line.service.as_deref().is_some_and(|name| name.starts_with("backup")) {
            (Fate::Changed, "`backup.at` of the database")
        } else {
            (Fate::Refused, "it runs nothing of these files; write a [job] with `run` and `schedule`")
        };
        let key: String = text::shown(&format!("{} {}", line.when.cron, line.command)).chars().take(60).collect();
        let (file, reason) = (file.name.clone(), reason.to_owned());
        Entry { file, line: Some(line.number), key, fate, reason, trap: None }
    });
    Ok(found.collect())
}
