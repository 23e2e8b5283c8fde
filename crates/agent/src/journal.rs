//! `journal.jsonl` of one environment: one line per entry, durable before the answer.
//!
//! A line is the first 16 digits of the BLAKE3 digest of its text, a space, the entry as JSON, and a line feed. A last
//! line that is torn was never acknowledged and is dropped; a bad line before it is damage and refused.

use std::{
    collections::HashSet,
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use engine::journal::{Entry, Event, Outcome};

use crate::{error::Error, files, protocol::Head};

const MEND: &str = "restore the file from a backup, or move it away to begin a new history";

/// What the name of a journal that is to take the place of the present one ends with.
const NEXT: &str = ".next";

/// A journal that is to take the place of the present one.
pub(crate) struct Prepared {
    /// Name of its file.
    pub(crate) name: String,
    /// The copy of the present one, when that had what the new one has not.
    pub(crate) kept: Option<PathBuf>,
}

/// Puts the journal that the state names in its place, and removes others that never got there: a crash came between.
pub(crate) fn finish_switch(folder: &Path, named: Option<&str>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::file("read", folder))?.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if !(name.starts_with("journal") && name.ends_with(NEXT)) {
            continue;
        }
        if named == Some(&*name) {
            fs::rename(&path, folder.join("journal.jsonl")).map_err(Error::file("move", &path))?;
        } else {
            fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
    }
    Ok(())
}

/// The journal, open for more.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: fs::File,
    /// Bytes that are acknowledged.
    end: u64,
    /// Digests of all entries, to recognise a repetition.
    known: HashSet<[u8; 16]>,
    head: Head,
}

impl Journal {
    /// Opens the journal at `path`, or begins one. Drops a torn last line. Fails with `Damaged` when a line before it
    /// is not what was written.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(Error::file("open", path))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(Error::file("read", path))?;
        let read = parse(path, &text)?;
        if read.end < text.len() {
            tracing::warn!(journal = %path.display(), bytes = text.len() - read.end, "dropped a torn last line");
            file.set_len(read.end as u64).map_err(Error::file("mend", path))?;
        }
        if let Some(folder) = path.parent() {
            fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file("open", path))?;
        }
        let head = read.entries.iter().fold(Head::default(), after);
        Ok(Self { path: path.to_owned(), file, end: read.end as u64, known: read.known, head })
    }

    /// All entries, oldest first.
    pub(crate) fn read(&self) -> Result<Vec<Entry>, Error> {
        let text = fs::read(&self.path).map_err(Error::file("read", &self.path))?;
        let acknowledged = text.get(..usize::try_from(self.end).unwrap_or(usize::MAX)).unwrap_or(&text);
        Ok(parse(&self.path, acknowledged)?.entries)
    }

    /// Adds an entry; durable before it returns. One that is there already is not added again. When the disk is full
    /// nothing of it stays.
    pub(crate) fn append(&mut self, entry: &Entry) -> Result<(), Error> {
        let line = line(entry)?;
        let digest: [u8; 16] = std::array::from_fn(|at| line[at]);
        if self.known.contains(&digest) {
            return Ok(());
        }
        if let Err(error) = self.write(&line) {
            // What was written of it is torn and would be dropped at the next start anyway.
            if let Err(second) = self.file.set_len(self.end) {
                tracing::error!(journal = %self.path.display(), %second, "cannot drop a torn line");
            }
            return Err(Error::file("write", &self.path)(error));
        }
        self.end += line.len() as u64;
        self.known.insert(digest);
        self.head = after(std::mem::take(&mut self.head), entry);
        Ok(())
    }

    /// What tells it from other journals of the environment.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// Writes the journal that is to take the place of this one beside it, durable before it returns, and says how it
    /// is called. Where this one has more than the beginning of the new one, a copy of it is kept for good.
    pub(crate) fn prepare(&self, entries: &[Entry]) -> Result<Prepared, Error> {
        let dropped = !entries.starts_with(&self.read()?);
        let kept = dropped.then(|| {
            let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%6fZ");
            self.path.with_file_name(format!("journal-{now}.jsonl"))
        });
        if let Some(kept) = &kept {
            fs::copy(&self.path, kept).map_err(Error::file("write", kept))?;
        }
        let mut text = Vec::new();
        for entry in entries {
            text.extend(line(entry)?);
        }
        let name = format!("journal{}{NEXT}", &blake3::hash(&text).to_hex()[..16]);
        files::replace(&self.path.with_file_name(&name), &text)?;
        Ok(Prepared { name, kept })
    }

    /// Goes on with what was prepared, once the state says so.
    pub(crate) fn switch(&mut self, prepared: &Prepared) -> Result<(), Error> {
        let (path, next) = (self.path.with_file_name("journal.jsonl"), self.path.with_file_name(&prepared.name));
        let place = match fs::rename(&next, &path) {
            Ok(()) => path,
            // The next start puts it in its place.
            Err(_) => next,
        };
        *self = Self::open(&place)?;
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(line)?;
        self.file.sync_data()
    }
}

/// An entry as it is written.
fn line(entry: &Entry) -> Result<Vec<u8>, Error> {
    let text = serde_json::to_vec(entry).map_err(|error| Error::failed(format!("cannot write an entry: {error}")))?;
    let mut line = digest(&text).to_vec();
    line.push(b' ');
    line.extend_from_slice(&text);
    line.push(b'\n');
    Ok(line)
}

/// The head of a journal with one more entry. Its digest takes in what every version of the agent writes alike.
fn after(mut head: Head, entry: &Entry) -> Head {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head.digest.as_bytes());
    hasher.update(&entry.at.as_nanosecond().to_le_bytes());
    hasher.update(&entry.deploy.to_le_bytes());
    hasher.finalize().to_hex()[..32].clone_into(&mut head.digest);
    head.entries += 1;
    match &entry.event {
        Event::Started(_) => (head.ended, head.unfinished) = (false, true),
        Event::Ended(outcome) => {
            (head.ended, head.unfinished) = (true, matches!(outcome, Outcome::RolledBack { .. }));
        }
        _ => {}
    }
    (head.deploy, head.fence) = (entry.deploy, entry.fence);
    head
}

struct Parsed {
    entries: Vec<Entry>,
    /// Bytes up to the end of the last good line.
    end: usize,
    known: HashSet<[u8; 16]>,
}

fn parse(path: &Path, text: &[u8]) -> Result<Parsed, Error> {
    let mut parsed = Parsed { entries: Vec::new(), end: 0, known: HashSet::new() };
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = match rest.iter().position(|&byte| byte == b'\n') {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => return Ok(parsed),
        };
        match parse_line(line) {
            Ok((entry, digest)) => {
                parsed.entries.push(entry);
                parsed.known.insert(digest);
            }
            Err(_) if after.is_empty() => return Ok(parsed),
            Err(why) => {
                let line = parsed.entries.len() + 1;
                return Err(Error::Damaged { path: path.to_owned(), line, why, mend: MEND });
            }
        }
        rest = after;
        parsed.end = text.len() - rest.len();
    }
    Ok(parsed)
}

fn parse_line(line: &[u8]) -> Result<(Entry, [u8; 16]), String> {
    let (seal, text) = line.split_at_checked(17).ok_or("it is too short")?;
    let digest = digest(text);
    if seal[..16] != digest || seal[16] != b' ' {
        return Err("its checksum does not fit".to_owned());
    }
    let entry = serde_json::from_slice(text).map_err(|error| format!("it is not an entry: {error}"))?;
    Ok((entry, digest))
}

/// The first 16 hexadecimal digits of the text's BLAKE3.
fn digest(text: &[u8]) -> [u8; 16] {
    let hex = blake3::hash(text).to_hex();
    std::array::from_fn(|at| hex.as_bytes()[at])
}

#[cfg(test)]
mod tests {
    use engine::journal::{Event, Outcome, Step};

    use super::*;

    fn entry(deploy: u64) -> Entry {
        Entry {
            at: jiff::Timestamp::from_second(1_700_000_000).unwrap(),
            deploy,
            fence: engine::target::Fence(1),
            event: Event::StepStarted { step: Step::Ship },
        }
    }

    fn journal_of(entries: u64) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut journal = Journal::open(&path).unwrap();
        for deploy in 1..=entries {
            journal.append(&entry(deploy)).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn entries_are_read_back_in_order_and_a_repetition_counts_once() {
        let (_folder, path) = journal_of(2);
        let mut journal = Journal::open(&path).unwrap();
        journal.append(&entry(2)).unwrap();
        let end = Entry { event: Event::Ended(Outcome::Succeeded), ..entry(2) };
        journal.append(&end).unwrap();
        assert_eq!(journal.read().unwrap(), [entry(1), entry(2), end]);
    }

    #[test]
    fn a_line_torn_at_any_byte_is_dropped_and_the_next_takes_its_place() {
        let (_folder, path) = journal_of(3);
        let whole = fs::read(&path).unwrap();
        let two = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
        for cut in two..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            assert_eq!(journal.read().unwrap(), [entry(1), entry(2)], "cut at {cut}");
            journal.append(&entry(4)).unwrap();
            assert_eq!(Journal::open(&path).unwrap().read().unwrap(), [entry(1), entry(2), entry(4)]);
        }
    }

    #[test]
    fn the_journal_of_others_takes_the_place_of_this_one_and_nothing_is_lost() {
        let (folder, path) = journal_of(2);
        let journal = Journal::open(&path).unwrap();
        let longer = [entry(1), entry(2), entry(3)];
        let prepared = journal.prepare(&longer).unwrap();
        assert_eq!(prepared.kept, None, "it had the beginning of theirs");
        finish_switch(folder.path(), Some("journal0123456789abcdef.next")).unwrap();
        assert_eq!(Journal::open(&path).unwrap().read().unwrap().len(), 2, "the state never said so");
        let prepared = journal.prepare(&longer).unwrap();
        finish_switch(folder.path(), Some(&prepared.name)).unwrap();
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(journal.read().unwrap(), longer, "a crash came between");
        let (_other, other) = journal_of(3);
        assert_eq!(journal.head(), Journal::open(&other).unwrap().head());
        let prepared = journal.prepare(&[entry(1), entry(7)]).unwrap();
        journal.switch(&prepared).unwrap();
        let kept = prepared.kept.expect("two entries were not in theirs");
        assert_eq!(Journal::open(&kept).unwrap().read().unwrap(), longer);
        assert_eq!(journal.read().unwrap(), [entry(1), entry(7)]);
        journal.append(&entry(8)).unwrap();
        assert_eq!(Journal::open(&path).unwrap().head(), journal.head());
    }

    #[test]
    fn the_head_says_how_the_last_deploy_stands() {
        let (_folder, path) = journal_of(0);
        let mut journal = Journal::open(&path).unwrap();
        let start =
            engine::journal::Start { kind: engine::journal::DeployKind::Deploy, by: "ada".to_owned(), previous: None };
        let rolled_back = Outcome::RolledBack { reason: "errors".to_owned() };
        let events = [
            (Event::Started(start), (false, true)),
            (Event::Ended(rolled_back), (true, true)),
            (Event::Ended(Outcome::Succeeded), (true, false)),
        ];
        for (event, stands) in events {
            journal.append(&Entry { event, ..entry(5) }).unwrap();
            let head = journal.head();
            assert_eq!((head.deploy, (head.ended, head.unfinished)), (5, stands));
        }
    }

    #[test]
    fn a_bad_line_in_the_middle_is_refused_with_its_number() {
        let (_folder, path) = journal_of(3);
        let text = fs::read_to_string(&path).unwrap().replacen("\"deploy\":2", "\"deploy\":7", 1);
        fs::write(&path, text).unwrap();
        let error = Journal::open(&path).unwrap_err().to_string();
        assert!(error.contains("is damaged at line 2: its checksum does not fit; restore the file"), "{error}");
    }
}
