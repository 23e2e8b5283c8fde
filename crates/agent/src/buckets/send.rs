//! An object on its way out of its file, a block at a time.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use s3s::dto::StreamingBlob;

use super::archive::{self, Place};

/// Bytes that are read at once.
const BLOCK: u64 = 256 << 10;

/// Where a reader is.
struct Reader {
    file: Arc<File>,
    /// Of a compressed file.
    place: Option<Place>,
    at: u64,
    end: u64,
}

/// The bytes of a file from `from` to before `to`. The file may be removed meanwhile.
pub(super) fn send(file: File, archived: bool, from: u64, to: u64) -> StreamingBlob {
    let place = archived.then(Place::default);
    let reader = Reader { file: Arc::new(file), place, at: from, end: to };
    StreamingBlob::wrap(stream::unfold(Some(reader), |reader| async move {
        let reader = reader.filter(|reader| reader.at < reader.end)?;
        let read = tokio::task::spawn_blocking(move || reader.next()).await;
        match read.map_err(io::Error::other).and_then(|read| read) {
            Ok((bytes, reader)) => Some((Ok(bytes), Some(reader))),
            Err(error) => {
                tracing::error!("bucket: cannot read an object: {error}");
                Some((Err(error), None))
            }
        }
    }))
}

impl Reader {
    fn next(mut self) -> io::Result<(Bytes, Self)> {
        let left = self.end - self.at;
        let mut block = if let Some(place) = &mut self.place {
            archive::read(&self.file, place, self.at)?
        } else {
            let mut block = vec![0; usize::try_from(left.min(BLOCK)).map_err(io::Error::other)?];
            self.file.read_exact_at(&mut block, self.at)?;
            block
        };
        block.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        if block.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += block.len() as u64;
        Ok((block.into(), self))
    }
}
