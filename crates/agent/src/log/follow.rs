//! Logs as they grow.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::task::JoinHandle;

use super::{
    file::{self, LogFile},
    read::{merge, tail},
    record,
};
use crate::protocol::LogLine;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_millis(100);
/// How much of one file is read at one look: more than the longest record.
const BLOCK: usize = 1 << 20;

/// Lines as they are written. Made by [`follow`].
#[derive(Debug)]
pub struct Follow {
    ready: VecDeque<LogLine>,
    state: State,
}

/// A look at the files happens on a thread that may block. It is kept here while it runs, so that dropping the future
/// of [`Follow::next`] loses nothing.
#[derive(Debug)]
enum State {
    Idle(Follower),
    Looking(JoinHandle<(Follower, io::Result<Vec<LogLine>>)>),
    Failed,
}

/// The last `last` lines in `folder` and the folders in it, then every line that is added, also by instances that
/// start later. Lines found at one look are merged by time. Survives rotation, and waits for a folder that is missing.
pub async fn follow(folder: &Path, last: usize) -> io::Result<Follow> {
    let folder = folder.to_owned();
    let begin = tokio::task::spawn_blocking(move || Follower::begin(folder, last));
    let (follower, ready) = begin.await.map_err(io::Error::other)??;
    Ok(Follow { ready: ready.into(), state: State::Idle(follower) })
}

impl Follow {
    /// The next line; waits for it, for ever if need be. Only an I/O error ends it. The future may be dropped at any
    /// time: no line is lost.
    pub async fn next(&mut self) -> io::Result<LogLine> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(line);
            }
            if let State::Idle(_) = &self.state {
                tokio::time::sleep(EVERY).await;
                if let State::Idle(mut follower) = std::mem::replace(&mut self.state, State::Failed) {
                    self.state = State::Looking(tokio::task::spawn_blocking(move || {
                        let lines = follower.look();
                        (follower, lines)
                    }));
                }
            }
            let State::Looking(look) = &mut self.state else {
                return Err(io::Error::other("following the log failed before; begin again"));
            };
            let looked = look.await;
            self.state = State::Failed;
            let (follower, lines) = looked.map_err(io::Error::other)?;
            self.ready.extend(lines?);
            self.state = State::Idle(follower);
        }
    }
}

/// Folder, source and instance: whose files follow each other.
type Chain = (PathBuf, String, String);

#[derive(Debug)]
struct Follower {
    folder: PathBuf,
    places: BTreeMap<Chain, Place>,
}

/// How far the files of one instance were read.
#[derive(Debug, Default)]
struct Place {
    /// The file being read, its inode, and up to where.
    open: Option<(File, u64, u64)>,
    /// Full files up to this number are done with.
    floor: u64,
}

impl Follower {
    /// Opens every file at its end, and reads the last lines before it.
    fn begin(folder: PathBuf, last: usize) -> io::Result<(Self, Vec<LogLine>)> {
        let mut places = BTreeMap::<Chain, Place>::new();
        for log in file::all(&folder)? {
            let place = places.entry(chain(&log)).or_default();
            if log.number.is_none()
                && let Some((file, metadata)) = open(&log.path)?
            {
                place.open = Some((file, metadata.ino(), metadata.len()));
            }
        }
        // Listed after the current ones are open: what is rotated in between is seen twice, never missed.
        let mut lines = Vec::new();
        for ((folder, source, instance), place) in &mut places {
            let mut own = Vec::new();
            if let Some((file, _, end)) = &mut place.open {
                *end = last_record_end(file, *end)?;
                tail(file, *end, (source, instance), last, &mut own)?;
            }
            let inode = place.open.as_ref().map(|(_, inode, _)| *inode);
            for log in file::full(folder, source, instance)?.iter().rev() {
                let Some((file, metadata)) = open(&log.path)? else { continue };
                if inode == Some(metadata.ino()) {
                    // Rotated a moment ago: what came after it is new.
                    place.floor = log.order();
                    own.truncate(last);
                    continue;
                }
                place.floor = place.floor.max(log.order());
                if own.len() < last {
                    tail(&file, metadata.len(), (source, instance), last, &mut own)?;
                }
            }
            own.reverse();
            lines.push(own);
        }
        Ok((Self { folder, places }, merge(lines, last)))
    }

    /// Every line that was added since, merged by time.
    fn look(&mut self) -> io::Result<Vec<LogLine>> {
        for log in file::all(&self.folder)? {
            self.places.entry(chain(&log)).or_default();
        }
        let mut lines = Vec::new();
        for (chain, place) in &mut self.places {
            let mut own = Vec::new();
            place.read_on(chain, &mut own)?;
            lines.push(own);
        }
        Ok(merge(lines, usize::MAX))
    }
}

impl Place {
    fn read_on(&mut self, chain: &Chain, lines: &mut Vec<LogLine>) -> io::Result<()> {
        let (folder, source, instance) = chain;
        let current = LogFile::current(folder, source, instance);
        loop {
            // Whether the file is done with must be known before its last bytes are read.
            let replaced = match (&self.open, fs::metadata(&current)) {
                (Some((_, inode, _)), Ok(metadata)) => metadata.ino() != *inode,
                (Some(_), Err(_)) => false,
                (None, _) => true,
            };
            if let Some((file, _, offset)) = &mut self.open {
                read_from(file, offset, (source, instance), lines)?;
            }
            if !replaced || !self.advance(chain, &current)? {
                return Ok(());
            }
        }
    }

    /// Opens the file after the one that is done with; false when there is none yet.
    fn advance(&mut self, (folder, source, instance): &Chain, current: &Path) -> io::Result<bool> {
        let done = self.open.as_ref().map(|(_, inode, _)| *inode);
        let candidate = open(current)?;
        // Listed after the current one is open: a file that was rotated in between is then found here, and is next.
        for log in file::full(folder, source, instance)? {
            let number = log.order();
            if number <= self.floor {
                continue;
            }
            let Some((file, metadata)) = open(&log.path)? else { continue };
            self.floor = number;
            if done != Some(metadata.ino()) {
                self.open = Some((file, metadata.ino(), 0));
                return Ok(true);
            }
        }
        let Some((file, metadata)) = candidate.filter(|(_, metadata)| done != Some(metadata.ino())) else {
            return Ok(false);
        };
        self.open = Some((file, metadata.ino(), 0));
        Ok(true)
    }
}

/// Reads whole records from `offset` on and moves it behind them.
fn read_from(file: &File, offset: &mut u64, name: (&str, &str), lines: &mut Vec<LogLine>) -> io::Result<()> {
    if file.metadata()?.len() < *offset {
        // The writer cut off a torn record, or somebody emptied the file.
        *offset = last_record_end(file, file.metadata()?.len())?;
    }
    let mut block = vec![0; BLOCK];
    loop {
        let length = file.read_at(&mut block, *offset)?;
        let Some(end) = block[..length].iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let records = block[..end].split(|byte| *byte == b'\n');
        lines.extend(records.filter_map(|line| record::parse(line, name.0, name.1)));
        *offset += end as u64 + 1;
    }
}

/// Where the last whole record before `end` ends.
fn last_record_end(file: &File, end: u64) -> io::Result<u64> {
    let start = end.saturating_sub(BLOCK as u64);
    let mut block = vec![0; usize::try_from(end - start).unwrap_or(BLOCK)];
    file.read_exact_at(&mut block, start)?;
    Ok(block.iter().rposition(|byte| *byte == b'\n').map_or(start, |newline| start + newline as u64 + 1))
}

fn open(path: &Path) -> io::Result<Option<(File, fs::Metadata)>> {
    match File::open(path) {
        Ok(file) => {
            let metadata = file.metadata()?;
            Ok(Some((file, metadata)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn chain(log: &LogFile) -> Chain {
    let folder = log.path.parent().map(Path::to_owned).unwrap_or_default();
    (folder, log.source.clone(), log.instance.clone())
}
