//! Answers peers on `<own address>:7350`: one listener for all environments that have that address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::server::Acceptor;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::sync::CancellationToken;

use super::{door, keys::Keys, link};
use crate::{environment::Environment, host::Host, members::PEER_PORT, socket};

/// How soon an address that could not be had is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a stranger may take to show a certificate.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Most connections at a time: far more than twenty hosts need.
const CONNECTIONS: usize = 256;

/// Listens at the addresses that the environments' lists give this host.
pub(crate) async fn run(host: Arc<Host>) {
    let mut changes = host.watch();
    let mut listening: BTreeMap<IpAddr, CancellationToken> = BTreeMap::new();
    loop {
        changes.mark_unchanged();
        let wanted: BTreeSet<IpAddr> = host
            .environments()
            .iter()
            .filter_map(|environment| Some(environment.membership()?.own()?.address))
            .collect();
        listening.retain(|address, stop| {
            let stays = wanted.contains(address);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for address in wanted {
            listening.entry(address).or_insert_with(|| {
                let stop = host.stopping.child_token();
                tokio::spawn(listen(host.clone(), address, stop.clone()));
                stop
            });
        }
        tokio::select! {
            () = host.stopping.cancelled() => return,
            told = changes.changed() => if told.is_err() { return },
        }
    }
}

async fn listen(host: Arc<Host>, address: IpAddr, stop: CancellationToken) {
    let place = SocketAddr::new(address, PEER_PORT);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let listener = TcpListener::bind(place).await;
        let trouble = listener.as_ref().err().map(|error| {
            format!(
                "the other hosts cannot reach this one at {place}: {}; free the port, or give the host another address",
                socket::plain(error)
            )
        });
        tell(&host, address, trouble.as_ref());
        if let Ok(listener) = listener {
            tracing::info!(%place, "answers the other hosts");
            loop {
                let accepted = tokio::select! {
                    () = stop.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                match accepted {
                    Ok((stream, from)) => {
                        // One too many is dropped: it tries again, and those that are at work go on.
                        let Ok(permit) = connections.clone().try_acquire_owned() else { continue };
                        let (host, stop) = (host.clone(), stop.clone());
                        tokio::spawn(async move {
                            tokio::select! {
                                () = stop.cancelled() => {}
                                refused = serve(&host, stream) => if let Err(reason) = refused {
                                    tracing::debug!(%from, "a connection was refused: {reason}");
                                }
                            }
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%place, "cannot take a connection: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => {
                tell(&host, address, None);
                return;
            }
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Says to the environments of an address why nobody can come there.
fn tell(host: &Host, address: IpAddr, trouble: Option<&String>) {
    for environment in host.environments() {
        let own = environment.membership().and_then(|known| Some(known.own()?.address));
        if own == Some(address) {
            environment.trouble("peers", trouble.cloned());
        }
    }
}

/// One connection: its server name chooses the environment, its certificate must be of that environment.
async fn serve(host: &Arc<Host>, stream: TcpStream) -> Result<(), String> {
    let plain = |error: std::io::Error| socket::plain(&error);
    link::notice_death(&stream).map_err(plain)?;
    let handshake = async {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(plain)?;
        let name = start.client_hello().server_name().unwrap_or_default().to_owned();
        let (environment, keys) = find(host, &name).ok_or("it names no environment of this host")?;
        let stream = start.into_stream(keys.server.clone()).await.map_err(plain)?;
        Ok::<_, String>((environment, keys, stream))
    };
    let (environment, keys, stream) =
        tokio::time::timeout(HANDSHAKE, handshake).await.map_err(|_| "it said nothing".to_owned())??;
    let service = TowerToHyperService::new(door::router(host.clone(), environment, keys));
    let served = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
    served.map_err(|error| error.to_string())
}

fn find(host: &Host, name: &str) -> Option<(Arc<Environment>, Arc<Keys>)> {
    host.environments().into_iter().find_map(|environment| {
        let keys = environment.peers.keys()?;
        (keys.name == name).then_some((environment, keys))
    })
}
