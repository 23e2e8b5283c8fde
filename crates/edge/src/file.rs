//! The body of a large file: read piece by piece while it is sent.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::task::JoinHandle;

/// Bytes read at a time.
const PIECE: u64 = 128 * 1024;

/// Part of a file that is still to be sent.
#[derive(Debug)]
pub(crate) struct FileBody {
    file: Arc<File>,
    at: u64,
    end: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    pub(crate) fn new(file: File, range: std::ops::Range<u64>) -> Self {
        Self { file: Arc::new(file), at: range.start, end: range.end, reading: None }
    }

    /// Bytes still to come.
    pub(crate) fn left(&self) -> u64 {
        self.end - self.at
    }

    /// The next piece; an error if the file is shorter than it was.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left() == 0 {
            return Poll::Ready(None);
        }
        let reading = self.reading.get_or_insert_with(|| {
            let (file, at) = (Arc::clone(&self.file), self.at);
            let size = usize::try_from((self.end - self.at).min(PIECE)).unwrap_or(0);
            tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; size];
                file.read_exact_at(&mut piece, at)?;
                Ok(piece.into())
            })
        });
        let piece = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other).flatten();
        self.reading = None;
        if let Ok(piece) = &piece {
            self.at += piece.len() as u64;
        }
        Poll::Ready(Some(piece))
    }
}
