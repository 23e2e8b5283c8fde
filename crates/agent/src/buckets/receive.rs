//! A body on its way into a file: bounded memory, sums computed on the way, nothing left of what fails.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use s3s::{S3Error, S3ErrorCode, S3Result, StdError};
use tokio::task::JoinHandle;

use super::{
    failure::{full, of_io, of_task},
    sums::{Digest, Digested},
};

/// Bytes that are handed to the disk at once. While they are written, as many are read from the network.
const BLOCK: usize = 1 << 20;

/// How long a client may send nothing.
const SILENCE: Duration = Duration::from_mins(1);

/// Part of a disk that uploads leave free: one hundredth, and at most so many bytes.
const RESERVE: u64 = 1 << 30;

/// A file that is removed unless it is kept.
pub(super) struct Draft {
    path: PathBuf,
    kept: bool,
}

impl Draft {
    /// A file at `path` that is not there yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, kept: false }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// It stays.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            // Not there is fine; what cannot be removed now is when the bucket is opened next.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// What writes and computes.
struct Writer {
    file: fs::File,
    digest: Digest,
    size: u64,
}

impl Writer {
    fn write(mut self, block: &[Bytes]) -> S3Result<Self> {
        for bytes in block {
            self.digest.update(bytes);
            self.file.write_all(bytes).map_err(of_io("write what is uploaded"))?;
            self.size += bytes.len() as u64;
        }
        Ok(self)
    }
}

/// Writes a body into a new file, durable when it returns. Returns its size and sums.
///
/// Fails, and leaves the draft to be dropped, when the body ends early, is not what the client signed, or does not fit.
pub(super) async fn receive(
    draft: &Draft,
    mut body: impl Stream<Item = Result<Bytes, StdError>> + Unpin,
    length: Option<u64>,
    digest: Digest,
) -> S3Result<(u64, Digested)> {
    let path = draft.path().to_owned();
    let mut writing: JoinHandle<S3Result<Writer>> = tokio::task::spawn_blocking(move || {
        if let (Some(length), Some(folder)) = (length, path.parent()) {
            check_room(folder, length)?;
        }
        let file = fs::File::create_new(&path).map_err(of_io("make a file"))?;
        Ok(Writer { file, digest, size: 0 })
    });
    loop {
        let (block, ended) = next_block(&mut body).await?;
        let writer = writing.await.map_err(of_task)??;
        writing = tokio::task::spawn_blocking(move || {
            let writer = writer.write(&block)?;
            if ended {
                writer.file.sync_all().map_err(of_io("write what is uploaded"))?;
            }
            Ok(writer)
        });
        if ended {
            let writer = writing.await.map_err(of_task)??;
            if length.is_some_and(|length| length != writer.size) {
                return Err(S3ErrorCode::IncompleteBody.into());
            }
            return Ok((writer.size, writer.digest.finish()));
        }
    }
}

/// The next [`BLOCK`] or a little more, and whether it is the last.
async fn next_block(body: &mut (impl Stream<Item = Result<Bytes, StdError>> + Unpin)) -> S3Result<(Vec<Bytes>, bool)> {
    let mut block = Vec::new();
    let mut bytes = 0;
    while bytes < BLOCK {
        match tokio::time::timeout(SILENCE, body.next()).await.map_err(|_| silent())? {
            None => return Ok((block, true)),
            Some(Err(error)) => return Err(broken(&error)),
            Some(Ok(chunk)) => {
                bytes += chunk.len();
                block.push(chunk);
            }
        }
    }
    Ok((block, false))
}

/// Refuses before the first byte what would fill the disk.
pub(super) fn check_room(folder: &Path, length: u64) -> S3Result<()> {
    let disk = rustix::fs::statvfs(folder).map_err(|error| of_io("look at the disk")(error.into()))?;
    let reserve = (disk.f_blocks.saturating_mul(disk.f_frsize) / 100).min(RESERVE);
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if length.saturating_add(reserve) > free { Err(full()) } else { Ok(()) }
}

fn silent() -> S3Error {
    let message = format!("nothing came for {} s; send it again", SILENCE.as_secs());
    S3Error::with_message(S3ErrorCode::RequestTimeout, message)
}

/// Why a body ended early. The library's errors have no public type, but their texts begin with it.
fn broken(error: &StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let mut error = super::sums::mismatch("x-amz-content-sha256");
        error.set_code(S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()));
        error.set_status_code(http::StatusCode::BAD_REQUEST);
        return error;
    }
    if text.contains("SignatureMismatch") {
        return S3ErrorCode::SignatureDoesNotMatch.into();
    }
    tracing::debug!("bucket: an upload broke off: {text}");
    S3Error::with_message(S3ErrorCode::IncompleteBody, "the body ended early; send it again")
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::buckets::sums::{Wanted, hex};

    async fn receive_all(draft: &Draft, chunks: Vec<Result<Bytes, StdError>>, length: u64) -> S3Result<(u64, Digested)> {
        receive(draft, stream::iter(chunks), Some(length), Wanted::default().digest()).await
    }

    #[tokio::test]
    async fn what_arrives_is_the_file_and_what_breaks_off_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let draft = Draft::new(path.clone());
        let chunk = Bytes::from(vec![7; 300_000]);
        let (size, found) = receive_all(&draft, (0..10).map(|_| Ok(chunk.clone())).collect(), 3_000_000).await.unwrap();
        draft.keep();
        assert_eq!((size, fs::metadata(&path).unwrap().len()), (3_000_000, 3_000_000));
        assert_eq!(hex(&found.md5).len(), 32);
        let broken: Vec<Vec<Result<Bytes, StdError>>> =
            vec![vec![Ok(chunk.clone()), Err("reset".into())], vec![Ok(chunk.clone())]];
        for chunks in broken {
            let draft = Draft::new(folder.path().join("b"));
            let error = receive_all(&draft, chunks, 600_000).await.err().unwrap();
            assert_eq!(error.code(), &S3ErrorCode::IncompleteBody);
            drop(draft);
            assert!(!folder.path().join("b").exists());
        }
        let draft = Draft::new(folder.path().join("c"));
        let error = receive_all(&draft, Vec::new(), u64::MAX / 2).await.err().unwrap();
        assert_eq!(error.status_code().unwrap(), http::StatusCode::INSUFFICIENT_STORAGE);
    }
}
