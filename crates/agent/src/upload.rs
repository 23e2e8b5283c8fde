//! Releases that come from elsewhere: what this host has, and room for parts of what is on its way.
//!
//! - `GET /v1/releases?app=A` answers a [`Shelf`].
//! - `GET /v1/uploads/<digest>` answers how much of a stream is here: [`Uploaded`].
//! - `PUT /v1/uploads/<digest>?offset=N&size=T&needed=M` adds to it, from its present end on. What came before a cut stays.
//!   With `&take=true` the release is taken in at once when the stream is whole.
//! - `POST /v1/uploads/<digest>` takes the release in, once the whole stream has the digest it is called by. 412 when the
//!   sender took content for granted that is not here.
//! - `POST /v1/prune?app=A&keep=N` removes old releases; never one that an environment runs or may roll back to.
//!
//! A stream is what [`release::delta`] writes, and is called by its BLAKE3.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufReader, Seek, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Json, Router,
    body::{Body, BodyDataStream, Bytes},
    extract::{self, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use engine::{
    record::{committed, previous},
    target::TargetError,
};
use futures_util::StreamExt;
use release::{Pruned, delta::DeltaError};
use serde::{Deserialize, Serialize};
use stack::{AppName, ReleaseId};
use tokio_util::sync::CancellationToken;

use crate::{api::refuse, error::Error, files, host::Host};

/// Parts that nobody went on with for so long are removed.
const FORGOTTEN: Duration = Duration::from_hours(24);

/// Bytes that are gathered before the disk is bothered.
const GATHERED: usize = 1 << 20;

/// How long a refused stream is listened to, so that its sender hears the reason and not a broken pipe.
const LISTENED: Duration = Duration::from_secs(2);

/// Free bytes that an upload leaves: what runs here writes too.
const RESERVE: u64 = 16 << 20;

/// What a host has of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shelf {
    /// Its releases, newest first.
    pub releases: Vec<ReleaseId>,
    /// Bytes that new ones may take.
    pub free: u64,
}

/// How much of a stream is on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploaded {
    /// Bytes, from the beginning.
    pub offset: u64,
    /// Whether the release was taken in.
    #[serde(default)]
    pub taken: bool,
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Releases whose files are gone.
    pub releases: Vec<ReleaseId>,
    /// Bytes that are free again.
    pub bytes: u64,
}

/// The routes of this file.
pub(crate) fn routes() -> Router<Arc<Host>> {
    Router::new()
        .route("/v1/releases", get(shelf))
        .route("/v1/uploads/{digest}", get(uploaded).put(add).post(take_in))
        .route("/v1/prune", post(prune))
}

/// Streams that somebody is busy with, each with the way to make them let go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Busy(Arc<Mutex<HashMap<String, CancellationToken>>>);

/// How long whoever has a stream may take to let go of it.
const LET_GO: Duration = Duration::from_secs(5);

/// A stream nobody else touches meanwhile.
struct Held {
    busy: Busy,
    digest: String,
    path: PathBuf,
    /// Somebody else wants it.
    wanted: CancellationToken,
}

impl Held {
    /// The stream of a digest. Whoever has it is asked to let go: most likely a connection that broke and does not know
    /// it yet. Fails with `Unreachable`, which says that trying again may help, when they do not.
    async fn take(host: &Host, digest: &str) -> Result<Self, TargetError> {
        let path = path(host, digest)?;
        let (busy, wanted, began) = (host.uploads.clone(), CancellationToken::new(), Instant::now());
        loop {
            {
                let mut all = busy.0.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(other) = all.get(digest) else {
                    all.insert(digest.to_owned(), wanted.clone());
                    break;
                };
                other.cancel();
            }
            if began.elapsed() > LET_GO {
                return Err(taken(host));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { busy, digest: digest.to_owned(), path, wanted })
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |meta| meta.len())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.busy.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
    }
}

fn path(host: &Host, digest: &str) -> Result<PathBuf, Error> {
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(folder(host).join(digest))
    } else {
        Err(Error::failed(format!("`{digest}` is no digest")))
    }
}

fn taken(host: &Host) -> TargetError {
    let reason = "somebody else sends the same release to this host".to_owned();
    TargetError::Unreachable { host: host.home.path().display().to_string(), reason }
}

fn folder(host: &Host) -> PathBuf {
    host.home.path().join("uploads")
}

#[derive(Debug, Deserialize)]
struct OfApp {
    app: AppName,
}

async fn shelf(State(host): State<Arc<Host>>, Query(of): Query<OfApp>) -> Response {
    answer(
        blocking(move || {
            let failed = |error: release::StoreError| Error::failed(error.to_string());
            let records = host.store.records(&of.app).map_err(failed)?;
            let releases =
                records.into_iter().map(|record| record.release).filter(|id| host.store.has(&of.app, id)).collect();
            Ok(Shelf { releases, free: free(host.store.path())? })
        })
        .await,
    )
}

async fn uploaded(State(host): State<Arc<Host>>, extract::Path(digest): extract::Path<String>) -> Response {
    answer(
        path(&host, &digest)
            .map(|path| Uploaded { offset: fs::metadata(path).map_or(0, |meta| meta.len()), taken: false }),
    )
}

#[derive(Debug, Deserialize)]
struct Coming {
    /// Where the body begins.
    offset: u64,
    /// Of the whole stream.
    size: u64,
    /// What the release takes once it is unpacked.
    #[serde(default)]
    needed: u64,
    /// The release is to be taken in when all of it is here.
    #[serde(default)]
    take: bool,
}

async fn add(
    State(host): State<Arc<Host>>,
    extract::Path(digest): extract::Path<String>,
    Query(coming): Query<Coming>,
    body: Body,
) -> Response {
    let held = match Held::take(&host, &digest).await {
        Ok(held) => held,
        Err(error) => return give_up(body.into_data_stream(), &error).await,
    };
    let (wanted, own) = (held.wanted.clone(), host.clone());
    let open = move || {
        files::make_folder(&folder(&host))?;
        if coming.offset == 0 {
            forget_old(&folder(&host));
        }
        let length = held.length();
        if coming.offset != length {
            return Err(Error::failed(format!("{length} bytes of it are here; go on from there")));
        }
        let rest = coming.size.saturating_sub(length).saturating_add(coming.needed).saturating_add(RESERVE);
        let free = free(host.home.path())?;
        if rest > free {
            return Err(Error::failed(no_room(host.home.path(), rest, free)));
        }
        let file =
            File::options().create(true).append(true).open(&held.path).map_err(Error::file("open", &held.path))?;
        Ok((file, held))
    };
    let (mut file, mut held) = match blocking(open).await {
        Ok(begun) => begun,
        Err(error) => return give_up(body.into_data_stream(), &error.into()).await,
    };
    let (mut stream, mut room) = (body.into_data_stream(), coming.size.saturating_sub(coming.offset));
    let mut gathered = Vec::new();
    loop {
        let next = tokio::select! {
            next = stream.next() => next,
            () = wanted.cancelled() => None,
        };
        let (ended, bytes) = match next {
            Some(Ok(bytes)) => (false, bytes),
            // what came before a cut is kept, and whoever is still there goes on from its end
            Some(Err(_)) | None => (true, Bytes::new()),
        };
        room = match room.checked_sub(bytes.len() as u64) {
            Some(room) => room,
            None => return give_up(stream, &Error::failed("more comes than was announced").into()).await,
        };
        gathered.extend_from_slice(&bytes);
        if gathered.len() < GATHERED && !ended {
            continue;
        }
        // Moved there and back, so that a caller who is gone leaves nobody writing behind the next one's back.
        let write = move || {
            file.write_all(&gathered).map_err(Error::file("write", &held.path))?;
            gathered.clear();
            Ok((file, held, gathered))
        };
        (file, held, gathered) = match blocking(write).await {
            Ok(back) => back,
            Err(error) => return give_up(stream, &error.into()).await,
        };
        if ended && wanted.is_cancelled() {
            return give_up(stream, &taken(&own)).await;
        }
        if ended {
            let offset = held.length();
            if coming.take && offset == coming.size {
                return receive(own, held).await;
            }
            return answer(Ok(Uploaded { offset, taken: false }));
        }
    }
}

/// Refuses a stream that is still coming.
async fn give_up(mut stream: BodyDataStream, error: &TargetError) -> Response {
    let rest = async { while let Some(Ok(_)) = stream.next().await {} };
    drop(tokio::time::timeout(LISTENED, rest).await);
    refuse(error)
}

/// Why a release was not taken in.
enum NotTaken {
    Lacks(String),
    Other(Error),
}

async fn take_in(State(host): State<Arc<Host>>, extract::Path(digest): extract::Path<String>) -> Response {
    let held = match Held::take(&host, &digest).await {
        Ok(held) => held,
        Err(error) => return refuse(&error),
    };
    receive(host, held).await
}

async fn receive(host: Arc<Host>, held: Held) -> Response {
    let work = move || {
        let offset = held.length();
        let mut file = File::open(&held.path).map_err(Error::file("read", &held.path))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&file).map_err(Error::file("read", &held.path))?;
        if hasher.finalize().to_hex().as_str() != held.digest {
            drop(fs::remove_file(&held.path));
            return Ok(Err(NotTaken::Other(Error::failed("what arrived is not what was sent; send it again"))));
        }
        file.rewind().map_err(Error::file("read", &held.path))?;
        let received = host.store.receive(&mut BufReader::with_capacity(256 << 10, file));
        match received {
            Ok((app, release)) => {
                fs::remove_file(&held.path).map_err(Error::file("remove", &held.path))?;
                tracing::info!(%app, %release, "received");
                Ok(Ok(Uploaded { offset, taken: true }))
            }
            Err(error) => {
                // room can be made, and then the stream is still of use
                if !matches!(error, DeltaError::Full { .. }) {
                    drop(fs::remove_file(&held.path));
                }
                let text = error.to_string();
                Ok(Err(match error {
                    DeltaError::Lacks { .. } => NotTaken::Lacks(text),
                    _ => NotTaken::Other(Error::failed(text)),
                }))
            }
        }
    };
    match blocking(work).await {
        Ok(Ok(uploaded)) => Json(uploaded).into_response(),
        Ok(Err(NotTaken::Lacks(reason))) => {
            (StatusCode::PRECONDITION_FAILED, Json(TargetError::Failed { reason })).into_response()
        }
        Ok(Err(NotTaken::Other(error))) | Err(error) => refuse(&error.into()),
    }
}

#[derive(Debug, Deserialize)]
struct Prune {
    app: AppName,
    keep: usize,
}

async fn prune(State(host): State<Arc<Host>>, Query(prune): Query<Prune>) -> Response {
    answer(
        blocking(move || {
            let pinned = pinned(&host, &prune.app)?;
            let Pruned { releases, bytes, .. } =
                host.store.prune(&prune.app, prune.keep, &pinned).map_err(|error| Error::failed(error.to_string()))?;
            if !releases.is_empty() {
                tracing::info!(app = %prune.app, releases = releases.len(), bytes, "removed old releases");
            }
            Ok(Removed { releases, bytes })
        })
        .await,
    )
}

/// Releases of an app that one of its environments runs, or that it may go back to.
fn pinned(host: &Host, app: &AppName) -> Result<Vec<ReleaseId>, Error> {
    let mut pinned = Vec::new();
    for environment in host.environments().iter().filter(|environment| environment.scope.app == *app) {
        let journal = environment.with_journal(|journal| journal.read())?;
        let journalled = [committed(&journal), previous(&journal)].into_iter().flatten();
        let desired = environment.desired();
        let known = desired.running.into_iter().chain(desired.traffic.into_keys()).chain(desired.schedules);
        let last = engine::record::records(&journal).pop().and_then(|last| last.revision);
        pinned.extend(journalled.chain(known).chain(last).map(|revision| revision.release));
    }
    Ok(pinned)
}

fn forget_old(folder: &Path) {
    let Ok(list) = fs::read_dir(folder) else { return };
    for entry in list.flatten() {
        let modified = entry.metadata().and_then(|meta| meta.modified());
        let age = modified.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age > FORGOTTEN) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

fn free(path: &Path) -> Result<u64, Error> {
    let stat = rustix::fs::statvfs(path).map_err(|error| Error::file("look at", path)(error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The sentence for a disk that is too small.
pub(crate) fn no_room(path: &Path, needed: u64, free: u64) -> String {
    format!(
        "no room for the release in {}: it needs {needed} bytes and {free} are free; free some space there and try again",
        path.display()
    )
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::failed(format!("the agent broke down: {error}"))))
}

fn answer(done: Result<impl Serialize, Error>) -> Response {
    match done {
        Ok(value) => Json(value).into_response(),
        Err(error) => refuse(&error.into()),
    }
}
