//! A worker's small memory of small files.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    fs::File,
    hash::BuildHasherDefault,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{body::Kind, file::FileBody, upstream::Plain};

/// Files up to this size are kept in memory.
const SMALL: u64 = 256 * 1024;

/// Bytes kept by all workers together.
const KEPT: usize = 8 * 1024 * 1024;

/// Kept files, the oldest forgotten first. Releases never change, so nothing is ever stale.
#[derive(Debug)]
pub(crate) struct FileCache {
    room: usize,
    kept: RefCell<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    files: HashMap<u64, Bytes, BuildHasherDefault<Plain>>,
    order: VecDeque<u64>,
    size: usize,
}

impl FileCache {
    pub(crate) fn new(workers: usize) -> Self {
        Self { room: KEPT / workers.max(1), kept: RefCell::default() }
    }

    /// Bytes `range` of the file at `path` with `suffix`, which has `size` bytes and is known as `number`.
    pub(crate) async fn read(
        &self,
        number: u64,
        path: &Path,
        suffix: &str,
        size: u64,
        range: Range<u64>,
    ) -> io::Result<Kind> {
        let slice = |whole: Bytes| -> io::Result<Kind> {
            let place = |at: u64| usize::try_from(at).map_err(io::Error::other);
            Ok(Kind::Full(Some(whole.slice(place(range.start)?..place(range.end)?))))
        };
        if let Some(whole) = self.kept.borrow().files.get(&number) {
            return slice(whole.clone());
        }
        let path = with_suffix(path, suffix);
        let open = move || -> io::Result<(File, Option<Bytes>)> {
            let file = File::open(path)?;
            let found = file.metadata()?.len();
            if found != size {
                return Err(io::Error::other(format!("it has {found} bytes, its index says {size}")));
            }
            if size > SMALL {
                return Ok((file, None));
            }
            let mut whole = vec![0; usize::try_from(size).map_err(io::Error::other)?];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut whole, 0)?;
            Ok((file, Some(whole.into())))
        };
        match tokio::task::spawn_blocking(open).await.map_err(io::Error::other)?? {
            (file, None) => Ok(Kind::File(FileBody::new(file, range))),
            (_, Some(whole)) => {
                self.keep(number, whole.clone());
                slice(whole)
            }
        }
    }

    fn keep(&self, number: u64, whole: Bytes) {
        let mut kept = self.kept.borrow_mut();
        kept.size += whole.len();
        if let Some(before) = kept.files.insert(number, whole) {
            kept.size -= before.len();
        } else {
            kept.order.push_back(number);
        }
        while kept.size > self.room {
            let Some(oldest) = kept.order.pop_front() else { return };
            if let Some(gone) = kept.files.remove(&oldest) {
                kept.size -= gone.len();
            }
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
