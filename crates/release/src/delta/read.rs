//! The receiver's side: believes nothing, and lets a release appear whole or not at all.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use stack::{AppName, ReleaseId, ResourceName};

use super::{
    format::{Form, Header, LARGEST_HEADER, MAGIC, Name, Part, Segment},
    script,
    trust::{check_header, check_paths, is_digest, site_of},
    write::read_prefix,
};
use crate::{Content, Manifest, SiteIndex, Store, StoreError, assemble, digest::BLOCK, durable, record, store, tree};

/// Why a release was not received. Nothing of the store has changed.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// The sender took content for granted that is not here, or not as it should be.
    #[error("{path} is taken for granted and is not in the store, or damaged there; send the whole release")]
    Lacks {
        /// The first that is missing.
        path: String,
    },
    /// The stream is not one that this version writes, or is damaged.
    #[error("the release was not received: {reason}; send it again, with the same version of slipway on both sides")]
    Malformed {
        /// In what way.
        reason: String,
    },
    /// No room.
    #[error(
        "no room for the release in {}: it needs {needed} bytes and {free} are free; free some space there, for example \
         with `slipway releases prune`",
        folder.display()
    )]
    Full {
        /// The store.
        folder: PathBuf,
        /// Bytes it needs.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(super) fn malformed(reason: impl Into<String>) -> DeltaError {
    DeltaError::Malformed { reason: reason.into() }
}

impl Store {
    /// Takes in a release from what [`Delta::write`](super::Delta::write) wrote, and says which.
    ///
    /// Every file is compared with its digest; the release appears whole or not at all and is durable before this
    /// returns. One that is here already is well. Fails with `Lacks` when the sender took for granted what is not here.
    pub fn receive(&self, from: &mut impl Read) -> Result<(AppName, ReleaseId), DeltaError> {
        let header = read_header(from)?;
        check_header(&header)?;
        let (app, id) = (header.app.clone(), header.release.clone());
        let folder = self.app_folder(&app);
        fs::create_dir_all(&folder).map_err(StoreError::io("create", &folder))?;
        let lock = store::lock(&folder.join(".lock"), &crate::Stop::default(), &mut |_| {});
        let _app_lock = lock.map_err(|error| match error {
            crate::BuildError::Store(error) => error,
            other => StoreError::io("lock", &folder)(io::Error::other(other.to_string())),
        })?;
        let _store_lock = self.lock_shared()?;
        if self.check(&app, &id).is_err() {
            let needed = header.parts.iter().map(|part| part.size).sum();
            let full = |free| DeltaError::Full { folder: self.path().to_owned(), needed, free };
            let free = durable::free_bytes(&folder).map_err(StoreError::io("look at", &folder))?;
            if needed > free {
                return Err(full(free));
            }
            let mut placed = Vec::new();
            if let Err(error) = self.take_in(&header, from, &mut placed) {
                withdraw(&placed);
                let is_full = matches!(&error, DeltaError::Store(error) if error.is_full());
                return Err(if is_full { full(durable::free_bytes(&folder).unwrap_or(0)) } else { error });
            }
        }
        if let Some(record) = &header.record {
            let path = self.records_path(&app);
            if !record::read(&path)?.iter().any(|known| known.release == record.release) {
                record::append(&path, record)?;
            }
        }
        Ok((app, id))
    }

    fn take_in(&self, header: &Header, from: &mut impl Read, placed: &mut Vec<PathBuf>) -> Result<(), DeltaError> {
        let build = store::build_folder(&self.app_folder(&header.app))?;
        let (stage, release) = (build.path().join("objects"), build.path().join("release"));
        for folder in [&stage, &release] {
            fs::create_dir(folder).map_err(StoreError::io("create", folder))?;
        }
        let mut sink = Sink::new(header, &stage);
        for segment in &header.segments {
            self.unpack(header, segment, from, &mut sink)?;
        }
        let Some(manifest) = sink.manifest.take().filter(|_| sink.at == header.parts.len()) else {
            return Err(malformed("it ends too early"));
        };
        for (path, entry) in manifest.entries() {
            if let Content::File { digest, size, executable } = &entry.content {
                let suffix = tree::object_suffix(*executable);
                let there = stage.join(format!("{digest}{suffix}")).exists()
                    || tree::file_damage(&self.object(digest, suffix), *size, *executable).is_none();
                if !there {
                    return Err(DeltaError::Lacks { path });
                }
            }
        }
        self.check_indexes(&manifest, &sink.indexes, &stage)?;
        assemble::assemble(self, &manifest, &sink.indexes, &stage, &release)?;
        assemble::flush(build.path(), &manifest, &stage, &release)?;
        assemble::shelve(self, &stage, placed)?;
        assemble::publish(self, &header.app, &header.release, build.path(), &release)?;
        Ok(())
    }

    /// Whether the indexes tell of the manifest's sites, and every variant they name is here.
    fn check_indexes(
        &self,
        manifest: &Manifest,
        indexes: &BTreeMap<ResourceName, SiteIndex>,
        stage: &Path,
    ) -> Result<(), DeltaError> {
        for (site, files) in &manifest.sites {
            let index = indexes.get(site).ok_or_else(|| malformed(format!("site {site} has no index")))?;
            let paths: HashSet<&str> = files.iter().map(|entry| entry.path.as_str()).collect();
            for (path, file) in &index.files {
                if !paths.contains(path.as_str()) || !is_digest(&file.digest) {
                    return Err(malformed(format!("the index of site {site} names `{path}`, which is no file of it")));
                }
                for coding in crate::compress::Coding::ALL {
                    let Some(size) = file.variants.get(coding.name()) else { continue };
                    let suffix = coding.suffix();
                    let there = stage.join(format!("{}{suffix}", file.digest)).exists()
                        || tree::file_damage(&self.object(&file.digest, suffix), *size, false).is_none();
                    if !there {
                        return Err(DeltaError::Lacks { path: format!("site/{site}/{path}{suffix}") });
                    }
                }
            }
        }
        Ok(())
    }

    /// Decompresses one segment into `sink`.
    fn unpack(
        &self,
        header: &Header,
        segment: &Segment,
        from: &mut impl Read,
        sink: &mut Sink<'_>,
    ) -> Result<(), DeltaError> {
        let mut prefix = read_prefix(self, &header.app, segment).map_err(|_| DeltaError::Lacks {
            path: segment.prefix.first().map_or_else(String::new, |piece| format!("{:?}", piece.name)),
        })?;
        let broken = |error: io::Error| malformed(format!("it cannot be decompressed: {error}"));
        let packed = io::BufReader::new(from.take(segment.packed));
        let beside: &[u8] = if segment.script > 0 { &[] } else { &prefix };
        let mut decoder = zstd::stream::read::Decoder::with_ref_prefix(packed, beside).map_err(broken)?;
        decoder.window_log_max(segment.window_log()).map_err(broken)?;
        let mut decoder = decoder.single_frame();
        if segment.script > 0 {
            let mut script = Vec::new();
            (&mut decoder).take(segment.script + 1).read_to_end(&mut script).map_err(broken)?;
            // whatever follows the frame belongs to nobody
            io::copy(&mut decoder.finish(), &mut io::sink()).map_err(broken)?;
            let length = usize::try_from(segment.length).unwrap_or(usize::MAX);
            let threads = std::thread::available_parallelism().map_or(2, usize::from);
            let whole = script.len() as u64 == segment.script;
            let made = script::read(&mut prefix, &script, length, threads, |piece| sink.take(piece))?;
            made.filter(|()| whole).ok_or_else(|| malformed("a segment is no script"))?;
            return Ok(());
        }
        let mut block = vec![0; BLOCK];
        let mut left = segment.length;
        loop {
            let length = decoder.read(&mut block).map_err(broken)?;
            if length as u64 > left {
                return Err(malformed("a segment is longer than it says"));
            }
            if length == 0 {
                break;
            }
            left -= length as u64;
            sink.take(&block[..length])?;
        }
        if left > 0 {
            return Err(malformed("a segment is shorter than it says"));
        }
        io::copy(&mut decoder.finish(), &mut io::sink()).map_err(broken)?;
        Ok(())
    }
}

/// Takes back what a failed receipt had put among the objects.
fn withdraw(placed: &[PathBuf]) {
    use std::os::unix::fs::MetadataExt;
    for path in placed {
        if fs::metadata(path).is_ok_and(|meta| meta.nlink() == 1) {
            _ = fs::remove_file(path);
        }
    }
}

fn read_header(from: &mut impl Read) -> Result<Header, DeltaError> {
    let early = |error: io::Error| malformed(format!("its beginning cannot be read: {error}"));
    let mut start = [0; MAGIC.len() + 8];
    from.read_exact(&mut start).map_err(early)?;
    let (magic, lengths) = start.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(malformed("it is no difference of a release, or of another version"));
    }
    let number = |at: usize| lengths[at..at + 4].try_into().map_or(u32::MAX, u32::from_le_bytes);
    let (packed, length) = (number(0), number(4));
    if packed > LARGEST_HEADER || length > LARGEST_HEADER {
        return Err(malformed("its header is too long"));
    }
    let mut short = Vec::new();
    from.take(u64::from(packed)).read_to_end(&mut short).map_err(early)?;
    let decoder = zstd::stream::read::Decoder::new(short.as_slice()).map_err(early)?;
    let mut header = Vec::new();
    decoder.take(u64::from(length) + 1).read_to_end(&mut header).map_err(early)?;
    if header.len() != length as usize {
        return Err(malformed("its header has another length than it says"));
    }
    serde_json::from_slice(&header).map_err(|error| malformed(format!("its header is not understood: {error}")))
}

/// Cuts the sequence of bytes into its parts again.
struct Sink<'h> {
    header: &'h Header,
    stage: &'h Path,
    /// The part that is being received.
    at: usize,
    /// Its bytes so far.
    filled: u64,
    document: Vec<u8>,
    object: Option<(File, blake3::Hasher)>,
    manifest: Option<Manifest>,
    indexes: BTreeMap<ResourceName, SiteIndex>,
    /// What the manifest says is worth receiving: the size of each content, or the largest size of a variant.
    wanted: HashMap<String, u64>,
}

impl<'h> Sink<'h> {
    fn new(header: &'h Header, stage: &'h Path) -> Self {
        let (document, object, manifest) = (Vec::new(), None, None);
        let (indexes, wanted) = (BTreeMap::new(), HashMap::new());
        Self { header, stage, at: 0, filled: 0, document, object, manifest, indexes, wanted }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), DeltaError> {
        loop {
            let header = self.header;
            let Some(part) = header.parts.get(self.at) else {
                return if bytes.is_empty() { Ok(()) } else { Err(malformed("it is longer than it says")) };
            };
            if self.filled == 0 {
                self.begin(part)?;
            }
            let left = usize::try_from(part.size - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(left.min(bytes.len()));
            match &mut self.object {
                Some((file, hasher)) => {
                    hasher.update(now);
                    file.write_all(now).map_err(StoreError::io("write in", self.stage))?;
                }
                None => self.document.extend_from_slice(now),
            }
            self.filled += now.len() as u64;
            bytes = later;
            if self.filled < part.size {
                return Ok(());
            }
            self.end(part)?;
            self.at += 1;
            self.filled = 0;
            if bytes.is_empty() && header.parts.get(self.at).is_none_or(|next| next.size > 0) {
                return Ok(());
            }
        }
    }

    fn begin(&mut self, part: &Part) -> Result<(), DeltaError> {
        let Name::Object { digest, form } = &part.name else {
            self.document.clear();
            return Ok(());
        };
        let expected = self.wanted.get(digest);
        let fits =
            expected.is_some_and(|size| if form.coding().is_some() { part.size <= *size } else { part.size == *size });
        if !fits {
            return Err(malformed(format!("it holds {digest}, which is no content of the release")));
        }
        let path = self.staged(digest, *form);
        let file = File::create_new(&path).map_err(StoreError::io("create", &path))?;
        self.object = Some((file, blake3::Hasher::new()));
        Ok(())
    }

    fn end(&mut self, part: &Part) -> Result<(), DeltaError> {
        match (&part.name, self.object.take()) {
            (Name::Object { digest, form }, Some((file, hasher))) => {
                let path = self.staged(digest, *form);
                tree::seal(&file, *form == Form::Executable).map_err(StoreError::io("write", &path))?;
                let found = match form.coding() {
                    None => hasher.finalize().to_hex().to_string(),
                    Some(coding) => {
                        let most = self.wanted.get(digest).copied().unwrap_or(0);
                        let unclear = |error: io::Error| malformed(format!("a variant of {digest}: {error}"));
                        let packed = File::open(&path).map_err(StoreError::io("read", &path))?;
                        let mut hasher = blake3::Hasher::new();
                        let mut content = coding.decoder(packed).map_err(unclear)?.take(most + 1);
                        io::copy(&mut content, &mut hasher).map_err(unclear)?;
                        hasher.finalize().to_hex().to_string()
                    }
                };
                if found != *digest {
                    return Err(malformed(format!("{digest} arrived with other content")));
                }
                Ok(())
            }
            (Name::Document { path, .. }, _) => self.read_document(path),
            (Name::Object { .. }, None) => Err(malformed("its parts are not in order")),
        }
    }

    fn read_document(&mut self, path: &str) -> Result<(), DeltaError> {
        let unclear = |error: serde_json::Error| malformed(format!("its {path} is not understood: {error}"));
        if let Some(site) = site_of(path) {
            let index = serde_json::from_slice(&self.document).map_err(unclear)?;
            self.indexes.insert(site, index);
            return Ok(());
        }
        if blake3::hash(&self.document).to_hex().as_str() != self.header.release.as_str() {
            return Err(malformed("its manifest is not the one that the release is called by"));
        }
        let manifest: Manifest = serde_json::from_slice(&self.document).map_err(unclear)?;
        if manifest.format != 1 || manifest.app != self.header.app || manifest.id() != self.header.release {
            return Err(malformed("its manifest is of another app or version"));
        }
        check_paths(&manifest)?;
        for (_, entry) in manifest.entries() {
            if let Content::File { digest, size, .. } = &entry.content {
                self.wanted.insert(digest.clone(), *size);
            }
        }
        self.manifest = Some(manifest);
        Ok(())
    }

    fn staged(&self, digest: &str, form: Form) -> PathBuf {
        self.stage.join(format!("{digest}{}", form.suffix()))
    }
}
