//! The last lines of a folder's logs, merged by time.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use super::{file, record};
use crate::protocol::LogLine;

/// How much of a file is read at a time, from its end.
const BLOCK: u64 = 128 << 10;

/// The last `last` lines in `folder` and the folders in it, oldest first, all instances merged by time. A folder
/// that is missing has none.
///
/// Reads each file from its end and no further than needed.
pub fn read(folder: &Path, last: usize) -> io::Result<Vec<LogLine>> {
    let mut lines = Vec::new();
    for files in file::all(folder)?.chunk_by(|a, b| (&a.source, &a.instance) == (&b.source, &b.instance)) {
        let mut own = Vec::new();
        for log in files.iter().rev() {
            if own.len() >= last {
                break;
            }
            let file = match File::open(&log.path) {
                Ok(file) => file,
                // The writer just removed its oldest file.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            tail(&file, file.metadata()?.len(), (&log.source, &log.instance), last, &mut own)?;
        }
        own.reverse();
        lines.push(own);
    }
    Ok(merge(lines, last))
}

/// Merges the lines of several instances by time and keeps the last ones. Those of one instance stay in order even
/// when the clock was set back meanwhile.
pub(super) fn merge(instances: Vec<Vec<LogLine>>, last: usize) -> Vec<LogLine> {
    let mut lines = Vec::new();
    for instance in instances {
        let mut latest = jiff::Timestamp::MIN;
        lines.extend(instance.into_iter().map(|line| {
            latest = latest.max(line.at);
            (latest, line)
        }));
    }
    lines.sort_by_key(|(at, _)| *at);
    lines.drain(..lines.len().saturating_sub(last));
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Adds the lines of a file that end before `end`, newest first, until there are `last` of them. `name` is source
/// and instance.
pub(super) fn tail(file: &File, end: u64, name: (&str, &str), last: usize, lines: &mut Vec<LogLine>) -> io::Result<()> {
    let mut add = |record: &[u8]| {
        lines.extend(record::parse(record, name.0, name.1));
        lines.len() >= last
    };
    let mut position = end;
    let mut rest = Vec::new();
    while position > 0 {
        let take = position.min(BLOCK);
        position -= take;
        let mut block = vec![0; usize::try_from(take).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut block, position)?;
        block.append(&mut rest);
        let mut end = block.len();
        // Without its first bytes a record cannot be read yet: it is kept for the block before.
        while let Some(start) = block[..end].iter().rposition(|byte| *byte == b'\n') {
            if add(&block[start + 1..end]) {
                return Ok(());
            }
            end = start;
        }
        block.truncate(end);
        rest = block;
    }
    add(&rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.line.as_str()).collect()
    }

    #[test]
    fn instances_are_merged_by_time() {
        let folder = tempfile::tempdir().unwrap();
        let api = folder.path().join("api");
        fs::create_dir(&api).unwrap();
        let at = |second: u32, text: &str| format!("2026-11-25T16:00:{second:02}.000000Z out {text}\n");
        fs::write(api.join("service.api@a.000001.log"), at(1, "one") + &at(2, "two")).unwrap();
        fs::write(api.join("service.api@a.log"), at(5, "five") + "2026-11-25T16:00:06.000000Z out torn").unwrap();
        fs::write(folder.path().join("service.web@b.log"), at(2, "zwei") + &at(4, "vier")).unwrap();
        fs::write(folder.path().join("notes.txt"), "nothing").unwrap();
        let lines = read(folder.path(), 100).unwrap();
        assert_eq!(texts(&lines), ["one", "two", "zwei", "vier", "five", "torn"]);
        assert_eq!(lines[3].source, "service.web");
        assert_eq!(texts(&read(folder.path(), 2).unwrap()), ["five", "torn"]);
        assert_eq!(texts(&read(&api, 3).unwrap()), ["two", "five", "torn"]);
        assert!(read(folder.path(), 0).unwrap().is_empty());
        assert!(read(&folder.path().join("missing"), 5).unwrap().is_empty());
    }

    #[test]
    fn records_that_cross_blocks_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let long = "x".repeat(60_000);
        let records = (0..20).map(|number| format!("2026-11-25T16:00:00.0000{number:02}Z err {number} {long}\n"));
        let content = records.collect::<Vec<_>>().concat();
        fs::write(folder.path().join("s.a@i.log"), content).unwrap();
        let lines = read(folder.path(), 1000).unwrap();
        assert_eq!(lines.len(), 20);
        for (number, line) in lines.iter().enumerate() {
            assert_eq!(line.line, format!("{number} {long}"));
        }
    }
}
