//! Sends a release to hosts: only what each of them lacks, packed once for all that lack the same.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use agent::{Client, Stream, Taken, upload::Shelf};
use engine::target::TargetError;
use release::{Store, delta::Delta};
use stack::{AppName, ReleaseId};
use tempfile::NamedTempFile;
use tokio::sync::OnceCell;

/// How often an upload is tried, and the wait before the second try; it doubles. Source: S4.E6.
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Free bytes that an upload leaves on a host; its agent insists on the same.
const RESERVE: u64 = 16 << 20;

/// What was sent to one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Which.
    pub host: String,
    /// Which release.
    pub release: ReleaseId,
    /// Bytes that travelled; 0 when it was there already.
    pub bytes: u64,
}

/// What is told while releases are on their way.
pub type Listener = Arc<dyn Fn(&str, u64, u64) + Send + Sync>;

/// Sends releases of one app. Clones share what was packed.
#[derive(Clone)]
pub(crate) struct Shipper {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    app: AppName,
    packed: Mutex<HashMap<Lacking, Arc<OnceCell<Packed>>>>,
    sent: Mutex<Vec<Sent>>,
    listener: Mutex<Option<Listener>>,
}

/// Which release somebody lacks, and those that they have.
type Lacking = (ReleaseId, Vec<ReleaseId>);

/// A stream in a file that goes away with it.
struct Packed {
    file: NamedTempFile,
    digest: String,
    size: u64,
    needed: u64,
}

impl Shipper {
    /// Sends releases of `app` from `store`.
    pub(crate) fn new(store: Store, app: AppName) -> Self {
        let (packed, sent, listener) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { store, app, packed, sent, listener }) }
    }

    /// Whom to tell what is on its way: host, bytes so far, bytes in all.
    pub(crate) fn tell(&self, listener: Listener) {
        *self.shared.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// What was sent so far.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the release is here to be sent.
    pub(crate) fn has(&self, release: &ReleaseId) -> bool {
        self.shared.store.has(&self.shared.app, release)
    }

    /// Sends what the host lacks of `release`. Done at once when it has it. Three tries; each goes on where the one
    /// before was cut. Says how many bytes travelled.
    pub(crate) async fn send(&self, client: &Client, release: &ReleaseId) -> Result<u64, TargetError> {
        let (mut tries, mut wait) = (1, FIRST_WAIT);
        loop {
            let error = match self.once(client, release).await {
                Ok(bytes) => {
                    let sent = Sent { host: client.host().to_owned(), release: release.clone(), bytes };
                    self.shared.sent.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
                    return Ok(bytes);
                }
                Err(error) => error,
            };
            match error {
                TargetError::Unreachable { host, reason } if tries >= TRIES => {
                    let reason = format!("{reason} (release {release} was sent {TRIES} times)");
                    return Err(TargetError::Unreachable { host, reason });
                }
                TargetError::Unreachable { .. } => {}
                error => return Err(error),
            }
            tokio::time::sleep(wait).await;
            (tries, wait) = (tries + 1, wait * 2);
        }
    }

    async fn once(&self, client: &Client, release: &ReleaseId) -> Result<u64, TargetError> {
        let there = client.shelf(&self.shared.app).await?;
        if there.releases.contains(release) {
            return Ok(0);
        }
        let known = |id: &&ReleaseId| self.has(id);
        let has: Vec<ReleaseId> = there.releases.iter().filter(known).cloned().collect();
        let (bytes, taken) = self.transfer(client, release, has, &there).await?;
        if taken == Taken::Whole {
            return Ok(bytes);
        }
        tracing::warn!(host = client.host(), %release, "has not all it should have; everything is sent");
        let (more, taken) = self.transfer(client, release, Vec::new(), &there).await?;
        if taken == Taken::Whole {
            return Ok(bytes + more);
        }
        let reason = format!("{} did not take the whole release; look at its disk and try again", client.host());
        Err(TargetError::Failed { reason })
    }

    async fn transfer(
        &self,
        client: &Client,
        release: &ReleaseId,
        has: Vec<ReleaseId>,
        there: &Shelf,
    ) -> Result<(u64, Taken), TargetError> {
        let cell = {
            let mut packed = self.shared.packed.lock().unwrap_or_else(PoisonError::into_inner);
            packed.entry((release.clone(), has.clone())).or_default().clone()
        };
        let packed = cell.get_or_try_init(|| self.pack(release.clone(), has)).await?;
        let stream =
            Stream { path: packed.file.path(), digest: &packed.digest, size: packed.size, needed: packed.needed };
        let offset = client.uploaded(stream.digest).await?.min(stream.size);
        let needed = (stream.size - offset) + stream.needed + RESERVE;
        if needed > there.free {
            let reason = format!(
                "no room for release {release} on {}: it needs {needed} bytes and {} are free; free some space there, for \
                 example with `slipway releases prune`",
                client.host(),
                there.free
            );
            return Err(TargetError::Failed { reason });
        }
        if offset == stream.size && stream.size > 0 {
            return Ok((0, client.take_in(stream.digest).await?));
        }
        let moved = Arc::new(AtomicU64::new(offset));
        let watching = self.watch(client.host(), &moved, stream.size);
        let taken = client.upload_whole(&stream, offset, &moved).await;
        watching.abort();
        Ok((stream.size - offset, taken?))
    }

    /// Tells how far an upload is, ten times a second.
    fn watch(&self, host: &str, moved: &Arc<AtomicU64>, size: u64) -> tokio::task::JoinHandle<()> {
        let listener = self.shared.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (host, moved) = (host.to_owned(), moved.clone());
        tokio::spawn(async move {
            let Some(listener) = listener else { return };
            loop {
                listener(&host, moved.load(Ordering::Relaxed), size);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    }

    async fn pack(&self, release: ReleaseId, has: Vec<ReleaseId>) -> Result<Packed, TargetError> {
        let (store, app) = (self.shared.store.clone(), self.shared.app.clone());
        let failed = |error: &dyn std::fmt::Display| TargetError::Failed {
            reason: format!("release {release} cannot be packed for its way: {error}"),
        };
        let id = release.clone();
        let work = move || -> Result<Packed, String> {
            let delta = Delta::between(&store, &app, &id, &has).map_err(|error| error.to_string())?;
            let file =
                tempfile::Builder::new().prefix(".ship-").tempfile_in(store.path()).map_err(|e| e.to_string())?;
            let mut to = Hashing { to: BufWriter::new(file.as_file()), hasher: blake3::Hasher::new(), size: 0 };
            let threads = std::thread::available_parallelism().map_or(2, usize::from);
            delta.write(&mut to, threads).map_err(|error| error.to_string())?;
            let (digest, size) = (to.hasher.finalize().to_hex().to_string(), to.size);
            drop(to);
            Ok(Packed { file, digest, size, needed: delta.needed() })
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(packed) => packed.map_err(|error| failed(&error)),
            Err(error) => Err(failed(&error)),
        }
    }
}

impl std::fmt::Debug for Shipper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shipper").field("store", &self.shared.store.path()).finish_non_exhaustive()
    }
}

/// Writes through, and knows the digest of all that was written.
struct Hashing<'f> {
    to: BufWriter<&'f File>,
    hasher: blake3::Hasher,
    size: u64,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let length = self.to.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
