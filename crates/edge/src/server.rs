//! The whole edge: its threads from start to end.

use std::{
    io,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    runtime::{Builder, LocalOptions},
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
};

use crate::{
    access::AccessLog, calls, compiled::Compiled, controller::Controller, listen::Source, shared::Shared, table::Table,
    worker::Worker,
};

/// Files open for other things than connections: sockets of our own, logs, a site's files.
const SPARE_FILES: u64 = 256;

/// How often rate limit buckets of clients that went quiet are forgotten.
const FORGET: Duration = Duration::from_mins(1);

/// How an edge is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that serve visitors; 0 counts as 1.
    pub workers: usize,
    /// Unix socket of the shim that holds the listening sockets. Without one the edge binds them itself, and those
    /// waiting to be accepted are lost if it is killed.
    pub shim: Option<PathBuf>,
    /// A file that gets one JSON line per request; off by default.
    pub access_log: Option<PathBuf>,
    /// How long requests and tunnels may take to finish once the edge was told to leave.
    pub finish: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            shim: None,
            access_log: None,
            finish: Duration::from_secs(30),
        }
    }
}

/// Why an edge could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder cannot hold the control socket.
    #[error("cannot open {path}: {source}: check that the folder exists and belongs to this user")]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The access log cannot be written.
    #[error("cannot write the access log {path}: {source}")]
    Access {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No thread or runtime.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// A running edge. Dropping it tells it to leave without waiting.
#[derive(Debug)]
pub struct Edge {
    quit: Option<oneshot::Sender<()>>,
    control: Option<JoinHandle<()>>,
}

impl Edge {
    /// Starts the edge of `folder`: serves `table.json` if it is there and answers on `control.sock` when this returns.
    /// A stored table that cannot be served is reported in [`Status::refused`](crate::control::Status::refused).
    pub fn start(folder: &Path, options: &Options) -> Result<Self, StartError> {
        let workers = options.workers.max(1);
        let access = match &options.access_log {
            Some(path) => {
                Some(AccessLog::open(path).map_err(|source| StartError::Access { path: path.clone(), source })?)
            }
            None => None,
        };
        let socket = folder.join("control.sock");
        let calls = calls::bind(&socket).map_err(|source| StartError::Control { path: socket, source })?;
        let table_path = folder.join("table.json");
        let table = read_table(&table_path);
        let shared = Arc::new(Shared::new(Compiled::default(), workers, max_connections()));

        let mut orders = Vec::with_capacity(workers);
        for number in 0..workers {
            let (sender, receiver) = mpsc::unbounded_channel();
            orders.push(sender);
            let (shared, access) = (Arc::clone(&shared), access.clone());
            let start = std::thread::Builder::new().name(format!("edge-{number}"));
            start.spawn(move || {
                match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => runtime.block_on(Rc::new(Worker::new(number, shared, access)).run(receiver)),
                    Err(error) => tracing::error!(%error, "a worker could not start"),
                }
            })?;
        }
        let source = options.shim.clone().map_or(Source::Own, Source::Shim);
        let controller = Arc::new(Controller::new(shared, orders, source));

        let (quit, quitting) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let finish = options.finish;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let control = std::thread::Builder::new().name("edge-control".into()).spawn(move || {
            runtime.block_on(async move {
                // an edge that waits for the agent's next table is better than none at all
                let served = match table {
                    Ok(Some(table)) => controller.swap(table).await.map_err(|error| error.to_string()),
                    Ok(None) => Ok(()),
                    Err(reason) => Err(reason),
                };
                if let Err(reason) = served {
                    tracing::error!(path = %table_path.display(), reason, "cannot serve the stored table");
                    controller.refuse_stored(reason).await;
                }
                let calls = match tokio::net::UnixListener::from_std(calls) {
                    Ok(calls) => calls,
                    Err(error) => {
                        let _ = ready.send(Err(error.into()));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                let answering = tokio::spawn(calls::answer(calls, Arc::clone(&controller)));
                let forgetting = tokio::spawn(forget(Arc::clone(&controller)));
                tokio::select! {
                    () = controller.quit.notified() => {}
                    _ = quitting => {}
                }
                controller.finish(finish).await;
                answering.abort();
                forgetting.abort();
            });
        })?;
        match started.recv() {
            Ok(Ok(())) => Ok(Self { quit: Some(quit), control: Some(control) }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the control thread ended").into()),
        }
    }

    /// Tells the edge to leave: stop accepting, finish what is in flight, close.
    pub fn quit(&mut self) {
        if let Some(quit) = self.quit.take() {
            let _ = quit.send(());
        }
    }

    /// SIGTERM and SIGINT tell the edge to leave from now on.
    pub(crate) fn quit_on_signal(&mut self) -> io::Result<()> {
        let Some(quit) = self.quit.take() else { return Ok(()) };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (mut terminate, mut interrupt) = {
            let _entered = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        std::thread::Builder::new().name("edge-signals".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            });
            let _ = quit.send(());
        })?;
        Ok(())
    }

    /// Waits until the edge has left, by [`Edge::quit`] or `POST /quit`.
    pub fn wait(mut self) {
        if let Some(control) = self.control.take() {
            let _keep = self.quit.take(); // dropping it would tell the edge to leave
            let _ = control.join();
        }
    }
}

async fn forget(controller: Arc<Controller>) {
    loop {
        tokio::time::sleep(FORGET).await;
        controller.forget_quiet_clients().await;
    }
}

fn read_table(path: &Path) -> Result<Option<Table>, String> {
    match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| format!("it is not a table: {error}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("it cannot be read: {error}")),
    }
}

/// Raises the limit of open files as far as it goes, and says how many visitors that leaves room for: each may need a
/// connection to an instance as well.
fn max_connections() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // no limit at all is still bounded by memory
    (files.unwrap_or(1 << 20).saturating_sub(SPARE_FILES) / 2).max(16)
}
