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
    draft: Draft,
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

/// A body that is a file now.
pub(super) struct Received {
    pub(super) draft: Draft,
    pub(super) size: u64,
    pub(super) found: Digested,
}

/// Writes a body into a new file, durable when it returns.
///
/// Fails, and leaves no file, when the body ends early, is not what the client signed, or does not fit.
pub(super) async fn receive(
    draft: Draft,
    mut body: impl Stream<Item = Result<Bytes, StdError>> + Unpin,
    length: Option<u64>,
    digest: Digest,
) -> S3Result<Received> {
    // The draft goes wherever the file is made: so it is removed also when nobody waits for that any more.
    let mut writing: JoinHandle<S3Result<Writer>> = tokio::task::spawn_blocking(move || {
        if let (Some(length), Some(folder)) = (length, draft.path().parent()) {
            check_room(folder, length)?;
        }
        let file = fs::File::create_new(draft.path()).map_err(of_io("make a file"))?;
        Ok(Writer { draft, file, digest, size: 0 })
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
            return Ok(Received { draft: writer.draft, size: writer.size, found: writer.digest.finish() });
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

    async fn receive_all(path: &Path, chunks: Vec<Result<Bytes, StdError>>, length: u64) -> S3Result<Received> {
        let draft = Draft::new(path.to_owned());
        receive(draft, stream::iter(chunks), Some(length), Wanted::default().digest()).await
    }

    #[tokio::test]
    async fn what_arrives_is_the_file_and_what_breaks_off_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let chunk = Bytes::from(vec![7; 300_000]);
        let received = receive_all(&path, (0..10).map(|_| Ok(chunk.clone())).collect(), 3_000_000).await.unwrap();
        assert_eq!((received.size, fs::metadata(&path).unwrap().len()), (3_000_000, 3_000_000));
        assert_eq!(hex(&received.found.md5).len(), 32);
        received.draft.keep();
        let broken: Vec<Vec<Result<Bytes, StdError>>> =
            vec![vec![Ok(chunk.clone()), Err("reset".into())], vec![Ok(chunk.clone())]];
        for (name, chunks) in ["b", "c"].into_iter().zip(broken) {
            let error = receive_all(&folder.path().join(name), chunks, 600_000).await.err().unwrap();
            assert_eq!(error.code(), &S3ErrorCode::IncompleteBody);
        }
        let error = receive_all(&folder.path().join("d"), Vec::new(), u64::MAX / 2).await.err().unwrap();
        assert_eq!(error.status_code().unwrap(), http::StatusCode::INSUFFICIENT_STORAGE);
        let left = || fs::read_dir(folder.path()).unwrap().count();
        // The file of one that broke off at once may be made, and removed, after it is told.
        let began = std::time::Instant::now();
        while left() > 1 {
            assert!(began.elapsed() < std::time::Duration::from_secs(10), "something is left");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}
