//! Records: who built which release, when and from what (S4.7).

use std::{
    fs::{self, File},
    io::{self, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use stack::AppName;

use crate::{Record, StoreError, durable};

/// Shortest prefix of an id that names a release.
const SHORTEST_PREFIX: usize = 4;

/// Most candidates an error lists.
const LISTED: usize = 8;

/// Reads all records, oldest first. A last line that a crash tore is dropped; any other bad line is an error.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>, StoreError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", path)(error)),
    };
    let whole = whole_length(&text);
    let mut records = Vec::new();
    for (index, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        records.push(serde_json::from_slice(line).map_err(|error| StoreError::BadRecord {
            path: path.to_owned(),
            line: index + 1,
            reason: error.to_string(),
        })?);
    }
    Ok(records)
}

/// Length of the text without a torn last line: one without a line end that is no record, or one with bytes that
/// never reached the disk (zeros).
fn whole_length(text: &[u8]) -> usize {
    let last_start = |end: usize| text[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut whole = text.len();
    if text.last().is_some_and(|byte| *byte != b'\n') {
        let start = last_start(whole);
        if serde_json::from_slice::<Record>(&text[start..]).is_err() {
            whole = start;
        }
    } else if !text.is_empty() {
        let start = last_start(whole - 1);
        if text[start..].contains(&0) {
            whole = start;
        }
    }
    whole
}

/// Adds a record; durable before it returns. The caller holds the app's lock.
pub(crate) fn append(path: &Path, record: &Record) -> Result<(), StoreError> {
    let fail = |action| StoreError::io(action, path);
    let mut file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.as_mut().map_err(|error| fail("open")(io::Error::new(error.kind(), error.to_string())))?;
    let text = fs::read(path).map_err(fail("read"))?;
    let whole = whole_length(&text);
    let mut line = Vec::new();
    if whole > 0 && text[whole - 1] != b'\n' {
        line.push(b'\n');
    }
    serde_json::to_writer(&mut line, record).expect("a record has string keys only and nothing that fails");
    line.push(b'\n');
    file.set_len(whole as u64).map_err(fail("write"))?;
    file.seek(io::SeekFrom::End(0)).map_err(fail("write"))?;
    if let Err(error) = file.write_all(&line).and_then(|()| file.sync_data()) {
        // A full disk may have taken a part of the line.
        _ = file.set_len(whole as u64);
        return Err(fail("write")(error));
    }
    let folder = path.parent().expect("a records file lies in the app's folder");
    durable::sync_folder(folder).map_err(StoreError::io("flush", folder))
}

/// The record `text` names; `records` newest first.
pub(crate) fn find(app: &AppName, records: &[Record], text: &str) -> Result<Record, StoreError> {
    let (number, only_number) = match text.strip_prefix('#') {
        Some(digits) => (digits.parse().ok(), true),
        None => (text.parse::<u64>().ok(), false),
    };
    let names = |record: &&Record| {
        Some(record.number) == number
            || !only_number
                && (record.version == text
                    || text.len() >= SHORTEST_PREFIX && record.release.as_str().starts_with(text))
    };
    let found: Vec<&Record> = records.iter().filter(names).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(StoreError::Unknown {
            app: app.clone(),
            text: text.to_owned(),
            candidates: records.iter().take(LISTED).map(describe).collect(),
        }),
        many => Err(StoreError::Ambiguous {
            text: text.to_owned(),
            candidates: many.iter().take(LISTED).map(|record| describe(record)).collect(),
        }),
    }
}

fn describe(record: &Record) -> String {
    format!("#{} {} ({})", record.number, record.release, record.version)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stack::ReleaseId;

    use super::*;

    fn record(number: u64, digits: &str, version: &str) -> Record {
        Record {
            number,
            release: ReleaseId::new(format!("{digits:0<64}")).unwrap(),
            version: version.to_owned(),
            commit: None,
            built_by: "ada@engine".to_owned(),
            built_at: jiff::Timestamp::UNIX_EPOCH,
            previous: None,
            bytes: 1,
            new_bytes: 1,
        }
    }

    fn app() -> AppName {
        AppName::new("shop").unwrap()
    }

    #[test]
    fn a_release_is_found_by_id_prefix_number_and_version() {
        let records = [record(3, "abcdee", "1.0"), record(2, "abcdef", "0.9"), record(1, "0012", "0.8")];
        for (text, number) in [("#3", 3), ("2", 2), ("0.8", 1), ("0012", 1), ("abcdef", 2)] {
            assert_eq!(find(&app(), &records, text).unwrap().number, number, "{text}");
        }
        assert_eq!(find(&app(), &records, records[1].release.as_str()).unwrap().number, 2);
    }

    #[test]
    fn ambiguous_and_unknown_names_list_the_candidates() {
        let records = [record(3, "abcdee", "1.0"), record(2, "abcdef", "1.0"), record(1, "0012", "0.8")];
        let error = find(&app(), &records, "abcd").unwrap_err().to_string();
        assert!(error.contains("#3 abcdee000000 (1.0), #2 abcdef000000 (1.0)"), "{error}");
        assert!(matches!(find(&app(), &records, "1.0"), Err(StoreError::Ambiguous { .. })));
        let error = find(&app(), &records, "abc").unwrap_err().to_string();
        assert!(error.contains("no release called `abc`") && error.contains("#1 001200000000 (0.8)"), "{error}");
        assert!(find(&app(), &[], "1").unwrap_err().to_string().contains("slipway build"));
        assert!(matches!(find(&app(), &records, "#9"), Err(StoreError::Unknown { .. })));
    }

    #[test]
    fn a_torn_last_line_is_dropped_and_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records.jsonl");
        append(&path, &record(1, "aa", "1")).unwrap();
        append(&path, &record(2, "bb", "2")).unwrap();
        let whole = fs::read(&path).unwrap();
        for torn in [&b"{\"number\":3,\"rel"[..], &b"\0\0\0\0\n"[..], &b"\0\0"[..]] {
            fs::write(&path, [&whole, torn].concat()).unwrap();
            assert_eq!(read(&path).unwrap().len(), 2);
            append(&path, &record(3, "cc", "3")).unwrap();
            assert_eq!(read(&path).unwrap().len(), 3);
        }
        // A whole record whose line end was lost still counts.
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        append(&path, &record(3, "cc", "3")).unwrap();
        assert_eq!(read(&path).unwrap().len(), 3);
    }

    #[test]
    fn a_bad_line_in_the_middle_is_refused_with_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records.jsonl");
        append(&path, &record(1, "aa", "1")).unwrap();
        let line = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{line}oops\n{line}")).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("records.jsonl line 2 is not a release record"), "{error}");
        assert!(error.ends_with("restore the file from a backup or remove that line"), "{error}");
    }

    proptest! {
        #[test]
        fn every_prefix_finds_its_release_or_says_it_is_ambiguous(
            ids in proptest::collection::btree_set("[0-9a-f]{64}", 1..8), pick in any::<proptest::sample::Index>(),
            length in SHORTEST_PREFIX..=64,
        ) {
            let ids: Vec<String> = ids.into_iter().collect();
            let records: Vec<Record> =
                ids.iter().enumerate().map(|(i, id)| record(i as u64 + 1, id, &format!("v{i}"))).collect();
            let prefix = &pick.get(&ids)[..length];
            let matching = records.iter().filter(|r| {
                r.release.as_str().starts_with(prefix) || Some(r.number) == prefix.parse().ok()
            }).count();
            match find(&app(), &records, prefix) {
                Ok(found) => prop_assert!(matching == 1 && found.release.as_str().starts_with(prefix)),
                Err(error) => {
                    let ambiguous = matches!(error, StoreError::Ambiguous { .. });
                    prop_assert!(ambiguous && matching > 1);
                }
            }
        }
    }
}
