//! The edge's process: found, started, handed over to a new version, ended.
//!
//! Each version of the edge has a shim of its own in `edge/shims/<number>`. A new one takes over the listening sockets
//! of the old one's shim and the control socket; the old one then finishes what it has and leaves.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    adoption,
    error::Error,
    files, program,
    shim::{self, Adopted, Running, ShimError, Spec},
};

/// How long visitors of an edge that leaves may take to finish.
const FINISH: Duration = Duration::from_mins(1);

/// Finds the edge, or starts one. When the one that runs is another program than this, a new one takes over, and the
/// old ones are returned as well: [`retire`] them once the new one serves.
pub(crate) async fn ensure(binary: &Path, edge: &Path) -> Result<(Running, Vec<Running>), Error> {
    let mut running = Vec::new();
    let shims = shims(edge);
    let last = shims.last().map_or(0, |(number, _)| *number);
    for (_, shim) in shims {
        match adoption::adopt(&shim).await.map_err(failed)? {
            Adopted::Running(found) => running.push(found),
            Adopted::Orphaned(orphan) => {
                tracing::warn!(pid = orphan.pid(), "the edge's shim was killed; it gets a new one");
                running.push(shim::reshim(binary, &orphan, &spec(binary, edge)).await.map_err(failed)?);
            }
            Adopted::Ended(_) | Adopted::Gone => files::remove_folder(&shim)?,
        }
    }
    let mut spec = spec(binary, edge);
    if let Some(newest) = running.pop() {
        let pid = newest.refreshed().map_or(newest.pid(), |record| record.pid);
        if program::is_same_file(binary, pid) != Some(false) {
            tracing::info!(pid, "found the edge");
            return Ok((newest, running));
        }
        tracing::info!(pid, "the edge is of another version; a new one takes over");
        spec.inherit = Some(newest.folder().join(shim::control::SOCKET));
        running.push(newest);
    }
    let shim = folder(edge).join(last.saturating_add(1).to_string());
    files::make_folder(&shim)?;
    let started = shim::start(binary, &shim, &spec).await.map_err(failed)?;
    tracing::info!(pid = started.pid(), "started the edge");
    Ok((started, running))
}

/// Whether an edge may run: it was started and nobody cleared it away.
pub(crate) fn is_there(edge: &Path) -> bool {
    !shims(edge).is_empty()
}

/// Lets an edge finish what it has, and clears it away.
pub(crate) async fn retire(running: Running) {
    match running.stop(FINISH).await {
        Ok(exit) => tracing::info!("the edge before this one {exit}"),
        Err(error) => tracing::warn!("the edge before this one cannot be stopped: {error}"),
    }
    if let Err(error) = files::remove_folder(running.folder()) {
        tracing::warn!("{error}");
    }
}

/// Ends every edge of this host.
pub(crate) async fn stop_all(edge: &Path) -> Result<(), Error> {
    for (_, shim) in shims(edge) {
        match shim::adopt(&shim).map_err(failed)? {
            Adopted::Running(running) => {
                running.stop(FINISH).await.map_err(failed)?;
            }
            Adopted::Orphaned(orphan) => {
                orphan.stop(FINISH).await.map_err(failed)?;
            }
            Adopted::Ended(_) | Adopted::Gone => {}
        }
        files::remove_folder(&shim)?;
    }
    Ok(())
}

fn spec(binary: &Path, edge: &Path) -> Spec {
    let words = [binary.as_os_str(), "edge".as_ref(), edge.as_os_str()];
    let words = words.map(|word| word.to_string_lossy().into_owned());
    let mut spec = Spec::new(words, edge, "edge", "edge", edge.join("log"));
    spec.keep = true;
    spec.stop_ms = u64::try_from(FINISH.as_millis()).unwrap_or(u64::MAX);
    for name in ["SLIPWAY_LOG", "RUST_BACKTRACE"] {
        spec.env.extend(std::env::var(name).ok().map(|value| (name.to_owned(), value)));
    }
    spec
}

fn folder(edge: &Path) -> PathBuf {
    edge.join("shims")
}

/// By number, oldest first.
fn shims(edge: &Path) -> Vec<(u32, PathBuf)> {
    let list = std::fs::read_dir(folder(edge)).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> =
        list.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).collect();
    found.sort();
    found
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: ShimError) -> Error {
    Error::failed(format!("the edge cannot be started or ended: {error}"))
}
