//! The durable log of one source of events.
//!
//! A line is the first 16 digits of the BLAKE3 digest of what follows them, a space, the event's number, a space, the
//! event as JSON, and a line feed. Numbers rise by one. A torn last line was never acknowledged and is dropped.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{oneshot, watch};

use super::event::CloudEvent;
use crate::{error::Error, files};

/// A file of the log is closed at this size.
const SEGMENT: u64 = 4 << 20;

/// Bytes of events that may wait for their delivery; more are refused.
pub(crate) const LARGEST: u64 = 256 << 20;

/// The log, open for more.
pub(crate) struct EventLog {
    folder: PathBuf,
    content: Arc<Mutex<Content>>,
    /// Events on their way to the disk: whoever has the turn writes all of them at once.
    waiting: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<()>,
    added: watch::Sender<u64>,
}

struct Waiting {
    text: Vec<u8>,
    written: oneshot::Sender<Result<u64, String>>,
}

/// What is on disk.
#[derive(Default)]
struct Content {
    /// By the number of their first event.
    segments: BTreeMap<u64, Segment>,
    /// The number of the next event.
    next: u64,
}

struct Segment {
    file: fs::File,
    bytes: u64,
    /// Where each event's JSON is.
    events: BTreeMap<u64, (u64, usize)>,
}

impl EventLog {
    /// Opens the log in `folder`, or begins one. A line that is damaged is left out and told.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        files::make_folder(folder)?;
        let mut content = Content { next: 1, ..Content::default() };
        let list = fs::read_dir(folder).map_err(Error::file("read", folder))?;
        let mut firsts: Vec<u64> = list.flatten().filter_map(|entry| first(&entry.path())).collect();
        firsts.sort_unstable();
        let newest = firsts.last().copied();
        for number in firsts {
            let path = folder.join(file_name(number));
            let segment = Segment::open(&path, newest == Some(number))?;
            content.next = content.next.max(number);
            if let Some((last, _)) = segment.events.last_key_value() {
                content.next = content.next.max(last + 1);
            }
            content.segments.insert(number, segment);
        }
        let added = watch::Sender::new(content.next);
        Ok(Self {
            folder: folder.to_owned(),
            content: Arc::new(Mutex::new(content)),
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            added,
        })
    }

    /// The number the next event will have.
    pub(crate) fn next(&self) -> u64 {
        self.content().next
    }

    /// Is told of every event that is added.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.added.subscribe()
    }

    /// Numbers of the events from `from` on, at most `count`.
    pub(crate) fn numbers(&self, from: u64, count: usize, wanted: impl Fn(u64) -> bool) -> Vec<u64> {
        let content = self.content();
        let begin = content.segments.range(..=from).next_back().map_or(from, |(first, _)| *first);
        let segments = content.segments.range(begin..).map(|(_, segment)| segment);
        let numbers = segments.flat_map(|segment| segment.events.range(from..).map(|(number, _)| *number));
        numbers.filter(|number| wanted(*number)).take(count).collect()
    }

    /// An event; `None` when there is none of this number any more.
    pub(crate) fn read(&self, number: u64) -> Result<Option<CloudEvent>, Error> {
        let mut text = Vec::new();
        {
            let content = self.content();
            let Some((_, segment)) = content.segments.range(..=number).next_back() else { return Ok(None) };
            let Some((offset, length)) = segment.events.get(&number) else { return Ok(None) };
            text.resize(*length, 0);
            segment.file.read_exact_at(&mut text, *offset).map_err(Error::file("read", &self.folder))?;
        }
        CloudEvent::parse(&text).map(Some)
    }

    /// Adds an event and returns its number; durable before it returns. Events that come at the same time share one
    /// flush. Fails with nothing added when the log is full or the disk does not take it.
    pub(crate) async fn append(&self, event: &CloudEvent) -> Result<u64, Error> {
        let (written, mut answer) = oneshot::channel();
        let text = event.to_json()?;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { text, written });
        let turn = self.turn.lock().await;
        let mut number = answer.try_recv();
        if number.is_err() {
            let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            self.write(waiting).await;
            number = answer.try_recv();
        }
        drop(turn);
        number.unwrap_or_else(|_| Err("the event was not written; publish it again".to_owned())).map_err(Error::Failed)
    }

    async fn write(&self, waiting: Vec<Waiting>) {
        let (content, folder) = (self.content.clone(), self.folder.clone());
        let written = tokio::task::spawn_blocking(move || {
            let mut content = content.lock().unwrap_or_else(PoisonError::into_inner);
            let outcome = content.add(&folder, waiting.iter().map(|one| one.text.as_slice()));
            let next = content.next;
            drop(content);
            let count = waiting.len() as u64;
            for (one, offset) in waiting.into_iter().zip(0..count) {
                let answer = outcome.as_ref().map(|first| first + offset).map_err(ToString::to_string);
                // Whoever waited may be gone; the event stays.
                let _ = one.written.send(answer);
            }
            next
        });
        if let Ok(next) = written.await {
            self.added.send_replace(next);
        }
    }

    /// Removes files whose events are all before `number`.
    pub(crate) fn forget_before(&self, number: u64) -> Result<(), Error> {
        let mut content = self.content();
        let firsts: Vec<u64> = content.segments.keys().copied().collect();
        // The end of one is the beginning of the next; the newest one stays, it knows the next number.
        for pair in firsts.windows(2).filter(|pair| pair[1] <= number) {
            let path = self.folder.join(file_name(pair[0]));
            content.segments.remove(&pair[0]);
            fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
        Ok(())
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    /// The number of the first of them. All of them or none.
    fn add<'t>(&mut self, folder: &Path, texts: impl Iterator<Item = &'t [u8]>) -> Result<u64, Error> {
        let first = self.next;
        let full = self.segments.values().map(|segment| segment.bytes).sum::<u64>() > LARGEST;
        if full {
            return Err(Error::failed(format!(
                "{} MiB of events wait for their delivery already; see why with `slipway runs`, and try again later",
                LARGEST >> 20
            )));
        }
        let roomy = self.segments.last_entry().is_some_and(|segment| segment.get().bytes < SEGMENT);
        if !roomy {
            let segment = Segment::open(&folder.join(file_name(first)), true)?;
            self.segments.insert(first, segment);
        }
        let Some(mut segment) = self.segments.last_entry() else { return Err(Error::failed("no file is open")) };
        let segment = segment.get_mut();
        let (mut block, mut events, mut number) = (Vec::new(), Vec::new(), first);
        for text in texts {
            let mut sealed = format!("{number} ").into_bytes();
            let before = sealed.len();
            sealed.extend_from_slice(text);
            block.extend_from_slice(&digest(&sealed));
            block.push(b' ');
            events.push((number, (segment.bytes + (block.len() + before) as u64, text.len())));
            block.append(&mut sealed);
            block.push(b'\n');
            number += 1;
        }
        let written = segment.file.write_all_at(&block, segment.bytes).and_then(|()| segment.file.sync_data());
        if let Err(error) = written {
            // What was written of it is torn and would be dropped at the next start anyway.
            drop(segment.file.set_len(segment.bytes));
            return Err(Error::file("write into", folder)(error));
        }
        segment.bytes += block.len() as u64;
        segment.events.extend(events);
        self.next = number;
        Ok(first)
    }
}

impl Segment {
    fn open(path: &Path, newest: bool) -> Result<Self, Error> {
        let open = || -> io::Result<fs::File> {
            let begun = !path.exists();
            let options = &mut fs::OpenOptions::new();
            let mut file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
            if begun && let Some(folder) = path.parent() {
                file.flush()?;
                fs::File::open(folder)?.sync_all()?;
            }
            Ok(file)
        };
        let file = open().map_err(Error::file("open", path))?;
        let text = fs::read(path).map_err(Error::file("read", path))?;
        let (mut events, mut at) = (BTreeMap::new(), 0);
        while let Some(length) = text[at..].iter().position(|byte| *byte == b'\n') {
            let line = &text[at..at + length];
            let after = at + length + 1;
            match parse(line) {
                Some((number, skipped)) => drop(events.insert(number, ((at + skipped) as u64, length - skipped))),
                // Never acknowledged.
                None if newest && after == text.len() => break,
                None => tracing::error!(log = %path.display(), at, "an event is damaged and is left out"),
            }
            at = after;
        }
        if at < text.len() {
            tracing::warn!(log = %path.display(), bytes = text.len() - at, "dropped a torn last line");
            file.set_len(at as u64).map_err(Error::file("mend", path))?;
        }
        Ok(Self { file, bytes: at as u64, events })
    }
}

/// The number of a line's event and how many bytes come before its JSON.
fn parse(line: &[u8]) -> Option<(u64, usize)> {
    let (seal, sealed) = line.split_at_checked(17)?;
    if seal[..16] != digest(sealed) || seal[16] != b' ' {
        return None;
    }
    let end = sealed.iter().position(|byte| *byte == b' ')?;
    Some((std::str::from_utf8(&sealed[..end]).ok()?.parse().ok()?, 17 + end + 1))
}

fn digest(text: &[u8]) -> [u8; 16] {
    let hex = blake3::hash(text).to_hex();
    std::array::from_fn(|at| hex.as_bytes()[at])
}

fn file_name(first: u64) -> String {
    format!("{first:012}.log")
}

fn first(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(number: u32) -> CloudEvent {
        CloudEvent::new("/x", "t", json!({ "number": number }))
    }

    fn all(log: &EventLog) -> Vec<u64> {
        log.numbers(0, usize::MAX, |_| true)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn events_are_numbered_kept_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let log = std::sync::Arc::new(EventLog::open(folder.path()).unwrap());
        let events: Vec<CloudEvent> = (0..50).map(event).collect();
        let mut tasks = tokio::task::JoinSet::new();
        for event in events.clone() {
            let log = log.clone();
            tasks.spawn(async move { (log.append(&event).await.unwrap(), event) });
        }
        let numbered: BTreeMap<u64, CloudEvent> = tasks.join_all().await.into_iter().collect();
        assert_eq!(numbered.keys().copied().collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>());
        drop(log);
        let log = EventLog::open(folder.path()).unwrap();
        assert_eq!(log.next(), 51);
        for (number, event) in numbered {
            assert_eq!(log.read(number).unwrap().unwrap(), event);
        }
        assert_eq!(log.numbers(20, 3, |number| number != 21), [20, 22, 23]);
        assert_eq!(log.read(51).unwrap(), None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_torn_end_is_dropped_and_damage_costs_one_event() {
        let folder = tempfile::tempdir().unwrap();
        let log = EventLog::open(folder.path()).unwrap();
        for number in 0..3 {
            log.append(&event(number)).await.unwrap();
        }
        let path = folder.path().join(file_name(1));
        let whole = fs::read(&path).unwrap();
        let two = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
        for cut in [two, two + 1, two + 16, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            let log = EventLog::open(folder.path()).unwrap();
            assert_eq!((all(&log), log.next()), (vec![1, 2], 3), "cut at {cut}");
        }
        let mut damaged = whole;
        damaged[30] ^= 1;
        fs::write(&path, damaged).unwrap();
        let log = EventLog::open(folder.path()).unwrap();
        assert_eq!((all(&log), log.next()), (vec![2, 3], 4));
        assert_eq!(log.append(&event(9)).await.unwrap(), 4);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn files_are_closed_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let log = EventLog::open(folder.path()).unwrap();
        let large = CloudEvent::new("/x", "t", json!("x".repeat(1 << 20)));
        for _ in 0..9 {
            log.append(&large).await.unwrap();
        }
        let files = || fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files(), 3);
        log.forget_before(5).unwrap();
        assert_eq!((files(), all(&log)), (2, (5..=9).collect()));
        log.forget_before(100).unwrap();
        assert_eq!(files(), 1);
        assert_eq!(EventLog::open(folder.path()).unwrap().next(), 10);
    }
}
