//! `slipway agent`: from start to end.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{
    api, buckets, edge_process, environment::Environment, error::Error, files, home::Home, host::Host,
    host_file::HostFile, launch, peers, program, run, scaling::Pace, shim::limits, socket, supervisor,
};

/// How long calls that are at work may take once the agent was told to end.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Room for what a recovery over many hosts nests; only what is used takes memory.
const STACK: usize = 8 << 20;

/// How the agent is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Its folder.
    pub home: Home,
    /// How quickly numbers of instances follow the load.
    pub pace: Pace,
}

impl Options {
    /// An agent of the folder `home`, everything else as it should be.
    pub fn at(home: Home) -> Self {
        Self { home, pace: Pace::default() }
    }
}

/// Runs the agent of a home until SIGTERM, SIGINT or `Shutdown`; instances go on without it.
///
/// Fails when another agent has the home, or the home cannot be read or written. It logs to stderr; `SLIPWAY_LOG`
/// chooses what, as in `debug` or `agent=debug,warn`.
pub fn main(options: Options) -> ExitCode {
    let filter = std::env::var("SLIPWAY_LOG").ok().and_then(|filter| EnvFilter::try_new(filter).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info,s3s=off"));
    // An agent inside another program's tests may find a subscriber there already.
    let _set = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .try_init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_stack_size(STACK)
        .enable_all()
        .build();
    let served =
        runtime.map_err(|error| Error::failed(format!("cannot start the runtime: {error}"))).and_then(|runtime| {
            let served = runtime.block_on(serve(options));
            // What still waits for a disk or a database is given up.
            runtime.shutdown_timeout(Duration::from_secs(1));
            served
        });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(Options { home, pace }: Options) -> Result<(), Error> {
    let home = Home::at(std::path::absolute(home.path()).map_err(Error::file("find", home.path()))?);
    home.check_length()?;
    files::make_folder(home.path())?;
    if HostFile::find(&home)?.is_none() {
        files::make_private(home.path())?;
    }
    let mut held = launch::lock(&home)?;
    for _ in 0..20 {
        if held.is_none() {
            // Somebody may only have looked whether it is free.
            tokio::time::sleep(Duration::from_millis(25)).await;
            held = launch::lock(&home)?;
        }
    }
    let Some(_lock) = held else {
        return Err(Error::failed(format!(
            "another agent runs in {}; use it, or end it first, or choose another folder with --home",
            home.path().display()
        )));
    };
    if std::env::var_os("NOTIFY_SOCKET").is_some()
        && let Err(error) = limits::prepare()
    {
        tracing::warn!("the control group cannot be used for limits: {error}");
    }
    let host = Host::open(home, PathBuf::from(program::OWN), pace)?;
    // Everything that runs is found before anything is decided, so that the first route table is complete.
    let mut hearing = Vec::new();
    for environment in host.environments() {
        run::finish_left(environment.clone()).await;
        let members = supervisor::adopt(&host, &environment).await;
        host.meet(&environment);
        if environment.membership().is_some_and(|known| !known.peers.is_empty()) {
            hearing.push((environment, members));
        } else {
            host.attend(&environment, members);
        }
    }
    tokio::spawn(peers::listen(host.clone()));
    let edge = tokio::spawn(begin(host.clone(), hearing));
    let socket = host.home.agent_socket();
    let listener = socket::bind(&socket).map_err(Error::file("listen on", &socket))?;
    if let Some(file) = HostFile::find(&host.home)? {
        file.open_to_group(&host.home, &socket)?;
    }
    let stopping = host.stopping.clone();
    stop_on_signal(&host)?;
    notify_ready();
    tracing::info!(home = %host.home.path().display(), environments = host.scopes().len(), "the agent answers");
    let stop = stopping.clone();
    let serving = axum::serve(listener, api::router(host.clone()))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .into_future();
    let late = async {
        stopping.cancelled().await;
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        served = serving => {
            served.map_err(|error| Error::failed(format!("cannot answer on {}: {error}", socket.display())))?;
        }
        () = late => tracing::warn!("calls are left unanswered"),
    }
    drop(edge.await);
    buckets::finish(&host, LAST_ANSWERS).await;
    tracing::info!("the agent ends; instances go on");
    Ok(())
}

/// Begins what visitors see once the other hosts were heard, those of `hearing`: this host may have been away.
async fn begin(host: Arc<Host>, hearing: Vec<(Arc<Environment>, Vec<supervisor::Member>)>) {
    let environments: Vec<_> = hearing.iter().map(|(environment, _)| environment.clone()).collect();
    peers::hear_first(&host, &environments).await;
    for (environment, members) in hearing {
        host.attend(&environment, members);
    }
    edge_process::run(host).await;
}

fn stop_on_signal(host: &Arc<Host>) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::failed(format!("cannot listen for signals: {error}"));
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let stopping = host.stopping.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.cancel();
    });
    Ok(())
}

/// Tells systemd that the agent answers. Source: `sd_notify(3)`.
fn notify_ready() {
    use std::os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    };
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else { return };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address));
    if let Err(error) = sent {
        tracing::warn!("cannot tell the init system that the agent is ready: {error}");
    }
}
