//! The sender's side: what a receiver lacks, and the shortest way to say it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::PathBuf,
};

use stack::{AppName, ReleaseId};

use super::{
    format::{Form, Header, LARGEST_DOCUMENT, LARGEST_PREFIX, LARGEST_SEGMENT, MAGIC, Name, Part, Piece, Segment},
    script,
};
use crate::{Content, Manifest, Record, Store, StoreError, check::site_index, compress::Coding, digest::in_parallel};

/// Files up to this size travel together, so many bytes at a time.
const SMALL: u64 = 1 << 20;
const TOGETHER: u64 = 8 << 20;

/// A larger file is cut, and each part has so much of the earlier file around the same place as prefix.
const AROUND: u64 = (LARGEST_PREFIX - LARGEST_SEGMENT) / 2;

/// How hard zstd tries. Measured on a program of 28 MB: a script of 3 MB takes 10 ms at level 3 and 50 ms at 9, and is 4 %
/// shorter then; without a prefix 6 is where more time buys little.
const LEVEL_WITH_PREFIX: i32 = 9;
const LEVEL: i32 = 6;
const LEVEL_OF_SCRIPT: i32 = 3;
const LEVEL_OF_SHORT: i32 = 9;

/// A script up to this length is worth more effort.
const SHORT_SCRIPT: usize = 1 << 20;

/// Bytes of a block: what a small file takes on disk.
const BLOCK: u64 = 4096;

/// What a receiver lacks of a release.
#[derive(Debug)]
pub struct Delta {
    store: Store,
    app: AppName,
    release: ReleaseId,
    record: Option<Record>,
    parts: Vec<Part>,
    segments: Vec<Segment>,
}

impl Delta {
    /// What a receiver lacks of `id` that has the releases `has`, the most alike first; those that this store does not
    /// have any more are of no use. Fails like [`Store::manifest`].
    pub fn between(store: &Store, app: &AppName, id: &ReleaseId, has: &[ReleaseId]) -> Result<Self, StoreError> {
        let manifest = store.manifest(app, id)?;
        let bases: Vec<Base> =
            has.iter().filter(|base| *base != id).filter_map(|id| Base::read(store, app, id)).collect();
        let known: HashSet<&Name> = bases.iter().flat_map(|base| &base.objects).collect();
        let mut parts = vec![(document(store, app, id, "release.json")?, "release.json".to_owned())];
        for site in manifest.sites.keys() {
            let path = format!("site/{site}.index.json");
            parts.push((document(store, app, id, &path)?, path));
        }
        let mut seen = HashSet::new();
        for (path, name, size) in contents(store, app, id, &manifest) {
            if !known.contains(&name) && seen.insert(name.clone()) {
                parts.push((Part { name, size }, path));
            }
        }
        let segments = cut(&parts, &bases);
        let record = store.find(app, id.as_str()).ok();
        let parts = parts.into_iter().map(|(part, _)| part).collect();
        Ok(Self { store: store.clone(), app: app.clone(), release: id.clone(), record, parts, segments })
    }

    /// Which release.
    pub fn release(&self) -> &ReleaseId {
        &self.release
    }

    /// Bytes that the receiver's disk needs for it, the stream itself not counted.
    pub fn needed(&self) -> u64 {
        self.parts.iter().map(|part| part.size.div_ceil(BLOCK) * BLOCK).sum()
    }

    /// Writes the stream, compressing on up to `threads` threads. Equal differences give equal bytes. Fails when a file
    /// of the store cannot be read, or `to` not be written.
    pub fn write(&self, to: &mut impl Write, threads: usize) -> io::Result<()> {
        // The header comes first and says how long the segments are, so these wait in a file.
        let mut packed = tempfile::tempfile_in(self.store.path())?;
        let mut segments = self.segments.clone();
        let starts: Vec<u64> =
            segments.iter().scan(0, |at, segment| Some(std::mem::replace(at, *at + segment.length))).collect();
        for wave in (0..segments.len()).collect::<Vec<_>>().chunks(threads.max(1)) {
            // a lonely segment has all the threads
            let each = threads.div_ceil(wave.len());
            let done = in_parallel(wave.len(), threads, |index| self.pack(wave[index], starts[wave[index]], each));
            for (index, packed_segment) in wave.iter().zip(done) {
                let (bytes, script) = packed_segment?;
                segments[*index].packed = bytes.len() as u64;
                segments[*index].script = script;
                packed.write_all(&bytes)?;
            }
        }
        let header = Header {
            app: self.app.clone(),
            release: self.release.clone(),
            record: self.record.clone(),
            parts: self.parts.clone(),
            segments,
        };
        let header = serde_json::to_vec(&header).map_err(io::Error::other)?;
        let short = zstd::bulk::compress(&header, LEVEL_WITH_PREFIX)?;
        let length =
            |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| io::Error::other("the release has too many files"));
        to.write_all(MAGIC)?;
        to.write_all(&length(&short)?.to_le_bytes())?;
        to.write_all(&length(&header)?.to_le_bytes())?;
        to.write_all(&short)?;
        packed.rewind()?;
        io::copy(&mut packed, to)?;
        to.flush()
    }

    /// One segment, compressed, and the length of its script if it is one.
    fn pack(&self, index: usize, start: u64, threads: usize) -> io::Result<(Vec<u8>, u64)> {
        let segment = &self.segments[index];
        let read = |index| match index {
            0 => self.content(start, segment.length),
            _ => self.prefix(segment),
        };
        let mut read = in_parallel(2, threads, read).into_iter();
        let (Some(content), Some(prefix)) = (read.next().transpose()?, read.next().transpose()?) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if prefix.is_empty() {
            return Ok((compress(&content, &prefix, LEVEL, segment)?, 0));
        }
        let script = script::write(prefix, &content, threads);
        // where much is new, or little is there at all, the compressor may do better by itself
        let doubtful = script.len() > content.len() / 2 || content.len() as u64 <= SMALL;
        let plain = |prefix: &[u8]| compress(&content, prefix, LEVEL_WITH_PREFIX, segment);
        let plain = if doubtful { Some(plain(&self.prefix(segment)?)?) } else { None };
        let useless = script.len() > content.len() || script.len() as u64 > LARGEST_SEGMENT;
        if let (true, Some(plain)) = (useless, &plain) {
            return Ok((plain.clone(), 0));
        }
        let level = if script.len() <= SHORT_SCRIPT { LEVEL_OF_SHORT } else { LEVEL_OF_SCRIPT };
        let length = script.len() as u64;
        let script = compress(&script, &[], level, segment)?;
        match plain {
            Some(plain) if plain.len() <= script.len() => Ok((plain, 0)),
            _ => Ok((script, length)),
        }
    }

    fn prefix(&self, segment: &Segment) -> io::Result<Vec<u8>> {
        read_prefix(&self.store, &self.app, segment)
    }

    /// A stretch of the sequence of all parts.
    fn content(&self, start: u64, length: u64) -> io::Result<Vec<u8>> {
        let (mut at, end, mut content) = (0, start + length, Vec::new());
        for part in &self.parts {
            let (from, to) = (start.max(at), end.min(at + part.size));
            if from < to {
                let mut file = File::open(path(&self.store, &self.app, &part.name))?;
                file.seek(io::SeekFrom::Start(from - at))?;
                if file.take(to - from).read_to_end(&mut content)? as u64 != to - from {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file of the release is too short"));
                }
            }
            at += part.size;
            if at >= end {
                break;
            }
        }
        Ok(content)
    }
}

fn compress(bytes: &[u8], prefix: &[u8], level: i32, segment: &Segment) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(Vec::new(), level, prefix)?;
    encoder.window_log(segment.window_log())?;
    encoder.long_distance_matching(!prefix.is_empty())?;
    encoder.include_checksum(false)?;
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Where a piece of content lies in a store.
pub(super) fn path(store: &Store, app: &AppName, name: &Name) -> PathBuf {
    match name {
        Name::Document { release, path } => store.folder(app, release).join(path),
        Name::Object { digest, form } => store.object(digest, form.suffix()),
    }
}

/// The prefix of a segment, read from the store.
pub(super) fn read_prefix(store: &Store, app: &AppName, segment: &Segment) -> io::Result<Vec<u8>> {
    let mut prefix = Vec::new();
    for piece in &segment.prefix {
        let mut file = File::open(path(store, app, &piece.name))?;
        file.seek(io::SeekFrom::Start(piece.from))?;
        if file.take(piece.length).read_to_end(&mut prefix)? as u64 != piece.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(prefix)
}

fn document(store: &Store, app: &AppName, id: &ReleaseId, path: &str) -> Result<Part, StoreError> {
    let file = store.folder(app, id).join(path);
    let size = fs::metadata(&file).map_err(StoreError::io("read", &file))?.len();
    Ok(Part { name: Name::Document { release: id.clone(), path: path.to_owned() }, size })
}

/// Every content of a release with a path it has: files, then their compressed variants.
fn contents(store: &Store, app: &AppName, id: &ReleaseId, manifest: &Manifest) -> Vec<(String, Name, u64)> {
    let mut found = Vec::new();
    for (path, entry) in manifest.entries() {
        if let Content::File { digest, size, executable } = &entry.content {
            let name = Name::Object { digest: digest.clone(), form: Form::of(*executable) };
            found.push((path, name, *size));
        }
    }
    for site in manifest.sites.keys() {
        let index = site_index(&store.folder(app, id), site).unwrap_or_default();
        for (path, file) in &index.files {
            for coding in Coding::ALL {
                if let Some(size) = file.variants.get(coding.name()) {
                    let name = Name::Object { digest: file.digest.clone(), form: Form::of_coding(coding) };
                    found.push((format!("site/{site}/{path}{}", coding.suffix()), name, *size));
                }
            }
        }
    }
    found
}

/// A release that the receiver has, and this store too.
struct Base {
    id: ReleaseId,
    objects: Vec<Name>,
    /// Files by their path.
    files: HashMap<String, (Name, u64)>,
    /// Documents with their sizes.
    documents: BTreeMap<String, u64>,
}

impl Base {
    fn read(store: &Store, app: &AppName, id: &ReleaseId) -> Option<Self> {
        let manifest = store.manifest(app, id).ok()?;
        let all = contents(store, app, id, &manifest);
        let sites = manifest.sites.keys().map(|site| format!("site/{site}.index.json"));
        let documents = std::iter::once("release.json".to_owned()).chain(sites).filter_map(|path| {
            let size = fs::metadata(store.folder(app, id).join(&path)).ok()?.len();
            Some((path, size))
        });
        let documents = documents.filter(|(_, size)| *size <= LARGEST_DOCUMENT).collect();
        let objects = all.iter().map(|(_, name, _)| name.clone()).collect();
        let plain = |name: &Name| matches!(name, Name::Object { form: Form::Plain | Form::Executable, .. });
        let files = all.into_iter().filter(|(_, name, _)| plain(name)).map(|(path, name, size)| (path, (name, size)));
        Some(Self { id: id.clone(), objects, files: files.collect(), documents })
    }

    /// What resembles the content of `path`: what was at the same path; else, as for names that carry a hash, files of the
    /// same folder and kind.
    fn like(&self, part: &Part, path: &str) -> Vec<(Name, u64)> {
        match &part.name {
            Name::Document { .. } => {
                let size = self.documents.get(path);
                let name = Name::Document { release: self.id.clone(), path: path.to_owned() };
                size.map(|size| (name, *size)).into_iter().collect()
            }
            Name::Object { form: Form::Plain | Form::Executable, .. } => {
                if let Some(same) = self.files.get(path) {
                    return vec![same.clone()];
                }
                let kind = |path: &str| {
                    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
                    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
                    (folder.to_owned(), extension.to_owned())
                };
                let of = kind(path);
                let mut alike: Vec<_> = self.files.iter().filter(|(other, _)| kind(other) == of).collect();
                // those of about the same size are the likeliest to be the same file under another name
                alike.sort_by_key(|(path, (_, size))| (size.abs_diff(part.size), (*path).clone()));
                alike.into_iter().take(2).map(|(_, file)| file.clone()).collect()
            }
            // compressed already
            Name::Object { .. } => Vec::new(),
        }
    }
}

/// Cuts the sequence of all parts into segments, each with the prefix it resembles.
fn cut(parts: &[(Part, String)], bases: &[Base]) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut group = Segment { length: 0, packed: 0, script: 0, prefix: Vec::new() };
    let mut used = HashSet::new();
    for (part, path) in parts {
        let alike = bases.iter().map(|base| base.like(part, path)).find(|found| !found.is_empty()).unwrap_or_default();
        if part.size <= SMALL {
            if group.length + part.size > TOGETHER {
                segments.push(std::mem::replace(
                    &mut group,
                    Segment { length: 0, packed: 0, script: 0, prefix: Vec::new() },
                ));
                used.clear();
            }
            group.length += part.size;
            for (name, length) in alike {
                let taken = group.prefix_length().unwrap_or(0);
                if length <= 2 * SMALL && taken + length <= LARGEST_PREFIX && used.insert(name.clone()) {
                    group.prefix.push(Piece { name, from: 0, length });
                }
            }
            continue;
        }
        if group.length > 0 {
            segments
                .push(std::mem::replace(&mut group, Segment { length: 0, packed: 0, script: 0, prefix: Vec::new() }));
            used.clear();
        }
        let mut at = 0;
        while at < part.size {
            let length = LARGEST_SEGMENT.min(part.size - at);
            let prefix = alike.first().map(|(name, size)| {
                let whole = *size <= LARGEST_PREFIX;
                let from = if whole { 0 } else { at.saturating_sub(AROUND).min(*size) };
                let to = if whole { *size } else { (at + length + AROUND).min(*size) };
                Piece { name: name.clone(), from, length: to - from }
            });
            let prefix = prefix.into_iter().filter(|piece| piece.length > 0).collect();
            segments.push(Segment { length, packed: 0, script: 0, prefix });
            at += length;
        }
    }
    if group.length > 0 {
        segments.push(group);
    }
    segments
}
