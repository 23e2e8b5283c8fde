//! From built files to a release in the store.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use stack::{ReleaseId, ResourceName};

use crate::{
    BuildError, BuildEvent, BuildOptions, Built, Compiled, Content, FileEntry, Manifest, Record, SiteFile, SiteIndex,
    Store, StoreError, Tree, assemble,
    check::site_index,
    compress::{self, Coding},
    content_type::{content_type, is_compressible},
    digest::in_parallel,
    durable, hashed, origin, record,
    scan::Found,
    store,
    tree::{self, CopyError},
};

/// Bytes of a block: what a small file takes on disk.
const BLOCK: u64 = 4096;

/// Packs what was compiled. Content that was released before gives that release and its record again.
///
/// The release appears whole or not at all, also when the power is cut. Fails with `DiskFull` when there is no
/// room and `Changed` when a file changed since it was compiled; the store is then as it was.
#[expect(clippy::needless_pass_by_value, reason = "takes the project's build lock, which ends with it")]
pub fn pack(
    compiled: Compiled,
    store: &Store,
    options: &BuildOptions,
    events: &mut dyn FnMut(BuildEvent),
) -> Result<Built, BuildError> {
    let app = &compiled.app;
    let _app_lock = store.lock_app(app, &options.stop, events)?;
    let _store_lock = store.lock_shared()?;
    let manifest = manifest(&compiled);
    let id = manifest.id();
    let records = record::read(&store.records_path(app))?;
    let known = records.iter().find(|record| record.release == id);
    let is_there = store.check(app, &id).is_ok();
    if let (Some(record), true) = (known, is_there) {
        return Ok(Built { release: id, record: record.clone(), is_new: false });
    }
    let mut packing = Packing::new(&compiled, &manifest, store, options);
    let result = packing.work(&id, is_there, records.last(), known, events);
    if result.is_err() {
        packing.withdraw(&id);
    }
    let full = |error: BuildError| if error.is_full() { packing.disk_full() } else { error };
    let record = result.map_err(full)?;
    Ok(Built { release: id, record, is_new: known.is_none() })
}

/// The manifest of what was compiled.
pub(crate) fn manifest(compiled: &Compiled) -> Manifest {
    let entries = |files: &[Found]| {
        let mut entries: Vec<FileEntry> = files.iter().map(|file| file.entry.clone()).collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries
    };
    Manifest {
        format: 1,
        app: compiled.app.clone(),
        stack: compiled.stack_text.clone(),
        trees: compiled
            .trees
            .iter()
            .map(|(source, files)| Tree { source: source.clone(), files: entries(files) })
            .collect(),
        sites: compiled.sites.iter().map(|site| (site.name.clone(), entries(&site.files))).collect(),
        migrations: compiled.migrations.iter().map(|(name, files)| (name.clone(), entries(files))).collect(),
        images: compiled.images.clone(),
        carried: compiled.carried.iter().map(|(key, files)| (key.clone(), entries(files))).collect(),
    }
}

/// One content that a release needs.
struct Need<'a> {
    digest: &'a str,
    executable: bool,
    size: u64,
    from: &'a Path,
}

/// The variants of one content: coding and size of those worth having.
type Variants = Vec<(Coding, u64)>;

struct Packing<'a> {
    compiled: &'a Compiled,
    manifest: &'a Manifest,
    store: &'a Store,
    options: &'a BuildOptions,
    new: Vec<Need<'a>>,
    new_bytes: u64,
    /// Objects that this packing put in place.
    placed: Vec<PathBuf>,
    /// The release's folder was put in place by this packing.
    released: bool,
}

impl<'a> Packing<'a> {
    fn new(compiled: &'a Compiled, manifest: &'a Manifest, store: &'a Store, options: &'a BuildOptions) -> Self {
        let trees = compiled.trees.iter().flat_map(|(_, files)| files);
        let sites = compiled.sites.iter().flat_map(|site| &site.files);
        let migrations = compiled.migrations.values().flatten();
        let images = compiled.carried.values().flatten();
        let mut seen = HashSet::new();
        let new: Vec<Need<'a>> = trees
            .chain(sites)
            .chain(migrations)
            .chain(images)
            .filter_map(|found| match &found.entry.content {
                Content::File { digest, size, executable } => {
                    Some(Need { digest, executable: *executable, size: *size, from: &found.from })
                }
                Content::Link { .. } => None,
            })
            .filter(|need| seen.insert((need.digest, need.executable)))
            .filter(|need| {
                let object = store.object(need.digest, tree::object_suffix(need.executable));
                tree::file_damage(&object, need.size, need.executable).is_some()
            })
            .collect();
        let new_bytes = new.iter().map(|need| need.size).sum();
        Self { compiled, manifest, store, options, new, new_bytes, placed: Vec::new(), released: false }
    }

    fn work(
        &mut self,
        id: &ReleaseId,
        is_there: bool,
        newest: Option<&Record>,
        known: Option<&Record>,
        events: &mut dyn FnMut(BuildEvent),
    ) -> Result<Record, BuildError> {
        if !is_there {
            events(BuildEvent::Packing { files: self.manifest.entries().count(), new_bytes: self.new_bytes });
            self.place(id, newest)?;
        }
        if let Some(record) = known {
            return Ok(record.clone());
        }
        let number = newest.map_or(0, |record| record.number) + 1;
        let commit = origin::commit(&self.compiled.project);
        let described = commit.as_ref().map(|commit| commit.description.clone());
        let record = Record {
            number,
            release: id.clone(),
            version: self.compiled.version.clone().or(described).unwrap_or_else(|| format!("0.{number}")),
            commit: commit.map(|commit| commit.id),
            built_by: origin::who(),
            built_at: jiff::Timestamp::now(),
            previous: newest.map(|record| record.release.clone()),
            bytes: self.manifest.entries().map(|(_, entry)| size(&entry.content)).sum(),
            new_bytes: self.new_bytes,
        };
        record::append(&self.store.records_path(&self.compiled.app), &record)?;
        Ok(record)
    }

    /// Assembles the release beside its place, flushes it, and renames it there.
    fn place(&mut self, id: &ReleaseId, newest: Option<&Record>) -> Result<(), BuildError> {
        let app_folder = self.store.app_folder(&self.compiled.app);
        let free = durable::free_bytes(&app_folder).map_err(StoreError::io("look at", &app_folder))?;
        if self.needed() > free {
            return Err(self.disk_full());
        }
        let build = store::build_folder(&app_folder)?;
        let (stage, release) = (build.path().join("objects"), build.path().join("release"));
        for folder in [&stage, &release] {
            fs::create_dir(folder).map_err(StoreError::io("create", folder))?;
        }
        self.stage(&stage)?;
        let variants = self.stage_variants(&stage)?;
        self.assemble(&stage, &release, &variants, newest)?;
        assemble::flush(build.path(), self.manifest, &stage, &release)?;
        assemble::shelve(self.store, &stage, &mut self.placed)?;
        assemble::publish(self.store, &self.compiled.app, id, build.path(), &release)?;
        self.released = true;
        Ok(())
    }

    /// Copies new content into `stage`.
    fn stage(&self, stage: &Path) -> Result<(), BuildError> {
        let copied = in_parallel(self.new.len(), self.options.jobs, |index| {
            let need = &self.new[index];
            let to = stage.join(format!("{}{}", need.digest, tree::object_suffix(need.executable)));
            match tree::copy(need.from, &to, need.executable) {
                Ok((digest, size)) if digest == need.digest && size == need.size => Ok(()),
                Ok(_) => Err(BuildError::Changed { path: need.from.to_owned() }),
                Err(CopyError::Source(error)) if error.kind() == io::ErrorKind::NotFound => {
                    Err(BuildError::Changed { path: need.from.to_owned() })
                }
                Err(CopyError::Source(error)) => Err(BuildError::io("read", need.from)(error)),
                Err(CopyError::Target(error)) => Err(StoreError::io("write", &to)(error).into()),
            }
        });
        copied.into_iter().collect()
    }

    /// Compresses the content of sites that was never compressed before.
    fn stage_variants(&self, stage: &Path) -> Result<BTreeMap<&'a str, Variants>, BuildError> {
        let files = self.manifest.sites.values().flatten();
        let worth: BTreeSet<&'a str> = files
            .filter_map(|entry| match &entry.content {
                Content::File { digest, size, .. }
                    if (compress::SMALLEST..=compress::LARGEST).contains(size)
                        && is_compressible(content_type(&entry.path)) =>
                {
                    Some(digest.as_str())
                }
                _ => None,
            })
            .collect();
        let work: Vec<(&str, Coding)> =
            worth.iter().flat_map(|digest| Coding::ALL.into_iter().map(|coding| (*digest, coding))).collect();
        let sizes = in_parallel(work.len(), self.options.jobs, |index| {
            let (digest, coding) = work[index];
            self.variant(stage, digest, coding)
        });
        let mut variants: BTreeMap<&'a str, Variants> = BTreeMap::new();
        for ((digest, coding), size) in work.into_iter().zip(sizes) {
            let found = variants.entry(digest).or_default();
            found.extend(size?.map(|size| (coding, size)));
        }
        Ok(variants)
    }

    /// Size of one variant, made when it is not in the store; `None` when it is not worth having.
    fn variant(&self, stage: &Path, digest: &str, coding: Coding) -> Result<Option<u64>, BuildError> {
        if self.options.stop.requested() {
            return Err(BuildError::Stopped);
        }
        let object = self.store.object(digest, coding.suffix());
        if let Ok(meta) = fs::metadata(&object)
            && tree::file_damage(&object, meta.len(), false).is_none()
        {
            return Ok((meta.len() > 0).then_some(meta.len()));
        }
        let content = [false, true].into_iter().find_map(|executable| {
            let suffix = tree::object_suffix(executable);
            let staged = stage.join(format!("{digest}{suffix}"));
            fs::read(staged).or_else(|_| fs::read(self.store.object(digest, suffix))).ok()
        });
        let content = content.ok_or_else(|| StoreError::io("read", &object)(io::ErrorKind::NotFound.into()))?;
        let to = stage.join(format!("{digest}{}", coding.suffix()));
        let compressed = coding.compress(&content).map_err(StoreError::io("compress", &to))?;
        tree::write(&to, compressed.as_deref().unwrap_or_default()).map_err(StoreError::io("write", &to))?;
        Ok(compressed.map(|bytes| bytes.len() as u64))
    }

    /// Links every file to its place, and writes the documents.
    fn assemble(
        &self,
        stage: &Path,
        release: &Path,
        variants: &BTreeMap<&str, Variants>,
        newest: Option<&Record>,
    ) -> Result<(), StoreError> {
        let sites = self.manifest.sites.iter();
        let indexes = sites.map(|(name, files)| (name.clone(), self.index(name, files, variants, newest))).collect();
        assemble::assemble(self.store, self.manifest, &indexes, stage, release)
    }

    fn index(
        &self,
        name: &ResourceName,
        files: &[FileEntry],
        variants: &BTreeMap<&str, Variants>,
        newest: Option<&Record>,
    ) -> SiteIndex {
        let paths: HashSet<&str> = files.iter().map(|entry| entry.path.as_str()).collect();
        let promised = self.compiled.sites.iter().any(|site| site.name == *name && site.hashed);
        let older = newest.map(|record| self.store.folder(&self.compiled.app, &record.release));
        let older = older.and_then(|folder| site_index(&folder, name)).unwrap_or_default();
        let now = jiff::Timestamp::now().as_second();
        let file = |entry: &FileEntry| {
            let Content::File { digest, size, .. } = &entry.content else { return None };
            let of_content = variants.get(digest.as_str()).filter(|_| is_compressible(content_type(&entry.path)));
            let taken = |coding: Coding| paths.contains(format!("{}{}", entry.path, coding.suffix()).as_str());
            let variants = of_content.into_iter().flatten().filter(|(coding, _)| !taken(*coding));
            let before = older.files.get(&entry.path).filter(|before| before.digest == *digest);
            let file = SiteFile {
                size: *size,
                digest: digest.clone(),
                content_type: content_type(&entry.path).to_owned(),
                // A promise covers what was verified, scripts and styles; other files have only their names.
                hashed: hashed::is(&entry.path)
                    || promised && crate::bundle::is_bundle(&entry.path) && hashed::may_be(&entry.path),
                variants: variants.map(|(coding, size)| (coding.name().to_owned(), *size)).collect(),
                modified: before.map_or(now, |before| before.modified),
            };
            Some((entry.path.clone(), file))
        };
        SiteIndex { files: files.iter().filter_map(file).collect() }
    }

    /// Takes back what a failed packing had put in place.
    fn withdraw(&self, id: &ReleaseId) {
        use std::os::unix::fs::MetadataExt;
        if self.released {
            _ = durable::remove_folder(&self.store.folder(&self.compiled.app, id));
        }
        for path in &self.placed {
            if fs::metadata(path).is_ok_and(|meta| meta.nlink() == 1) {
                _ = fs::remove_file(path);
            }
        }
    }

    /// Bytes this release adds on disk: whole blocks of new content, and its documents.
    fn needed(&self) -> u64 {
        let content: u64 = self.new.iter().map(|need| need.size.div_ceil(BLOCK) * BLOCK).sum();
        content + (self.manifest.stack.len() as u64).div_ceil(BLOCK) * BLOCK + BLOCK
    }

    fn disk_full(&self) -> BuildError {
        let folder = self.store.path().to_owned();
        let free = durable::free_bytes(&folder).unwrap_or(0);
        BuildError::DiskFull { folder, needed: self.needed(), free }
    }
}

fn size(content: &Content) -> u64 {
    match content {
        Content::File { size, .. } => *size,
        Content::Link { .. } => 0,
    }
}
