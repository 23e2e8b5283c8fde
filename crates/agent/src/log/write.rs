//! Takes what a program writes, in chunks, and keeps it as records in files that never grow beyond their bounds.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    mem,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::SystemTime,
};

use secrets::redact::{KeyBlock, Redactor};

use super::{
    Stream,
    file::{self, LogFile},
    record::Clock,
};

/// Where a line of more than 64 KiB is cut: what follows the cut, and must be known to make it, fits as well.
const LONGEST_LINE: usize = 60 << 10;
/// Where a line was cut, at the end of one record and the beginning of the next.
const CUT: &str = "…";
/// Records are written out once there are so many bytes of them, or at the end of each chunk.
const BATCH: usize = 32 << 10;
/// Buffers that grew beyond this are given back: a shim must stay small after a burst.
const KEEP: usize = 16 << 10;

/// Writes the log of one instance.
///
/// Never fails and never waits: what a full disk does not take is counted and told once there is room again. Nothing
/// reaches the disk before it is redacted.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    source: String,
    instance: String,
    segment_bytes: u64,
    segments: u32,
    redactor: Redactor,
    clock: Clock,
    out: Line,
    err: Line,
    /// Records that are not written yet.
    batch: Vec<u8>,
    /// The current file and its length; `None` until the next write and after a failure.
    file: Option<(File, u64)>,
    lost: Lost,
}

/// The beginning of a line whose end has not come yet.
#[derive(Debug, Default)]
struct Line {
    text: Vec<u8>,
    block: KeyBlock,
    /// `text` continues a record that was written.
    is_continued: bool,
    /// The rest of one endless secret: nothing is kept up to the next space.
    is_swallowed: bool,
}

#[derive(Debug, Default)]
struct Lost {
    all: u64,
    /// Those no record tells of yet, and why.
    untold: u64,
    why: String,
}

impl Writer {
    /// Writes to `folder`, which is made when it is missing. Keeps at most `segments` files (at least 1) of about
    /// `segment_bytes`.
    pub fn new(
        folder: impl Into<PathBuf>,
        source: &str,
        instance: &str,
        (segment_bytes, segments): (u64, u32),
        redactor: Redactor,
    ) -> Self {
        Self {
            folder: folder.into(),
            source: source.to_owned(),
            instance: instance.to_owned(),
            segment_bytes: segment_bytes.max(1),
            segments: segments.max(1),
            redactor,
            clock: Clock::default(),
            out: Line::default(),
            err: Line::default(),
            batch: Vec::new(),
            file: None,
            lost: Lost::default(),
        }
    }

    /// Lines no file has, because it could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.all
    }

    /// Takes the next bytes of a stream, cut anywhere. All whole lines of it are in the file when this returns.
    pub fn push(&mut self, stream: Stream, mut bytes: &[u8]) {
        let now = SystemTime::now();
        let mut line = mem::take(self.line(stream));
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (before, after) = (&bytes[..end], &bytes[end + 1..]);
            if line.text.is_empty() && before.len() <= LONGEST_LINE {
                self.end_line(stream, now, before, &mut line);
            } else {
                self.extend(stream, now, before, &mut line);
                let text = mem::take(&mut line.text);
                self.end_line(stream, now, &text, &mut line);
                line.text = text;
                line.text.clear();
                line.text.shrink_to(KEEP);
            }
            bytes = after;
        }
        self.extend(stream, now, bytes, &mut line);
        *self.line(stream) = line;
        self.write_out();
        self.batch.shrink_to(KEEP);
    }

    /// Ends the lines that have no end yet: the program is gone.
    pub fn finish(&mut self) {
        let now = SystemTime::now();
        for stream in [Stream::Out, Stream::Err] {
            let mut line = mem::take(self.line(stream));
            if !line.text.is_empty() {
                let text = mem::take(&mut line.text);
                self.end_line(stream, now, &text, &mut line);
            }
        }
        self.write_out();
        self.batch = Vec::new();
    }

    fn line(&mut self, stream: Stream) -> &mut Line {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    /// Adds to a line without an end, and takes records off its front once it is too long.
    fn extend(&mut self, stream: Stream, now: SystemTime, mut bytes: &[u8], line: &mut Line) {
        if line.is_swallowed {
            let Some(space) = bytes.iter().position(u8::is_ascii_whitespace) else { return };
            line.is_swallowed = false;
            bytes = &bytes[space..];
        }
        let fits = LONGEST_LINE + self.redactor.reserve();
        while !bytes.is_empty() {
            let (now_in, later) = bytes.split_at(bytes.len().min(fits.saturating_sub(line.text.len())));
            line.text.extend_from_slice(now_in);
            bytes = later;
            if line.text.len() < fits {
                return;
            }
            let cut = self.redactor.cut(&line.text, LONGEST_LINE);
            // Between letters, not within one.
            let cut = (cut.saturating_sub(3)..=cut).rev().find(|at| is_letter_start(&line.text, *at)).unwrap_or(cut);
            let is_all = cut == 0;
            let cut = if is_all { line.text.len() } else { cut };
            let rest = line.text.split_off(cut);
            let text = mem::replace(&mut line.text, rest);
            let mut block = line.block;
            self.record(stream, now, &text, line.is_continued, true, &mut block);
            line.block = block;
            line.is_continued = true;
            if is_all {
                line.is_swallowed = true;
                return self.extend(stream, now, bytes, line);
            }
        }
    }

    fn end_line(&mut self, stream: Stream, now: SystemTime, text: &[u8], line: &mut Line) {
        let text = if mem::take(&mut line.is_swallowed) {
            let space = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
            &text[space..]
        } else {
            text
        };
        let is_continued = mem::take(&mut line.is_continued);
        self.record(stream, now, text, is_continued, false, &mut line.block);
    }

    /// Adds one record to the batch.
    fn record(
        &mut self,
        stream: Stream,
        now: SystemTime,
        text: &[u8],
        is_continued: bool,
        continues: bool,
        block: &mut KeyBlock,
    ) {
        let text = if continues { text } else { text.strip_suffix(b"\r").unwrap_or(text) };
        self.clock.write(now, &mut self.batch);
        self.batch.push(b' ');
        self.batch.extend_from_slice(stream.as_str().as_bytes());
        self.batch.push(b' ');
        if is_continued {
            self.batch.extend_from_slice(CUT.as_bytes());
        }
        let shown = self.redactor.redact_line(text, block);
        for chunk in shown.utf8_chunks() {
            self.batch.extend_from_slice(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                self.batch.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        drop(shown);
        if continues {
            self.batch.extend_from_slice(CUT.as_bytes());
        }
        self.batch.push(b'\n');
        if self.batch.len() >= BATCH {
            self.write_out();
        }
    }

    /// Writes the batch; what cannot be written is lost and counted.
    fn write_out(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let mut batch = mem::take(&mut self.batch);
        if let Err(error) = self.tell_lost().and_then(|()| self.append(&batch)) {
            let lines = batch.split(|byte| *byte == b'\n').skip(1).count() as u64;
            self.lost.all += lines;
            self.lost.untold += lines;
            self.lost.why = match error.kind() {
                io::ErrorKind::StorageFull => "disk full".to_owned(),
                io::ErrorKind::QuotaExceeded => "disk quota used up".to_owned(),
                _ => error.to_string(),
            };
        }
        batch.clear();
        self.batch = batch;
    }

    fn tell_lost(&mut self) -> io::Result<()> {
        if self.lost.untold == 0 {
            return Ok(());
        }
        let mut record = Vec::new();
        self.clock.write(SystemTime::now(), &mut record);
        let lines = if self.lost.untold == 1 { "line" } else { "lines" };
        writeln!(record, " err {} {lines} lost: {}", self.lost.untold, self.lost.why)?;
        self.append(&record)?;
        self.lost.untold = 0;
        Ok(())
    }

    /// Appends whole records or nothing.
    fn append(&mut self, records: &[u8]) -> io::Result<()> {
        let (mut file, mut length) = match self.file.take() {
            Some(open) => open,
            None => self.open()?,
        };
        if length > 0 && length + records.len() as u64 > self.segment_bytes {
            drop(file);
            self.rotate()?;
            (file, length) = self.open()?;
        }
        if let Err(error) = file.write_all(records) {
            // What got in is the beginning of a record. If it cannot be cut off, `open` ends it.
            let _torn = file.set_len(length);
            return Err(error);
        }
        self.file = Some((file, length + records.len() as u64));
        Ok(())
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let path = LogFile::current(&self.folder, &self.source, &self.instance);
        let open = || fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let mut file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&self.folder)?;
                open()?
            }
            opened => opened?,
        };
        let mut length = file.metadata()?.len();
        if length > 0 {
            // A record that was torn when an earlier shim was killed must not swallow the next one.
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                length += 1;
            }
        }
        Ok((file, length))
    }

    /// Closes the current file under the next number and removes those that are too many.
    fn rotate(&self) -> io::Result<()> {
        let full = file::full(&self.folder, &self.source, &self.instance)?;
        let number = full.last().map_or(1, |newest| newest.order() + 1);
        let current = LogFile::current(&self.folder, &self.source, &self.instance);
        match fs::rename(&current, LogFile::full(&self.folder, &self.source, &self.instance, number)) {
            // Somebody removed it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let newest = LogFile::full(&self.folder, &self.source, &self.instance, number);
        let mut paths: Vec<PathBuf> = full.into_iter().map(|file| file.path).chain([newest]).collect();
        // The current file counts too.
        let keep = self.segments as usize - 1;
        paths.truncate(paths.len().saturating_sub(keep));
        for path in paths {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether a UTF-8 letter begins at `at`, or the text ends there.
fn is_letter_start(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|byte| byte & 0xc0 != 0x80)
}
