//! Active checks: one task per instance and probe, on the control thread, kept over tables that name the same.
//!
//! An instance of this host is asked itself. Of another host its edge is asked whether it has an instance that takes
//! visitors, as it asks its own: so a host that died and a host without a healthy instance are found out alike.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use observe::probe::{Change, Probe, Threshold};
use tokio::{net::TcpStream, task::AbortHandle};

use crate::{
    instance::Instance, link, link::Link, registry::Registry, shared::Shared, table::Table, upstream::CONNECT, way::Way,
};

/// Another host is asked at least so often: a request that goes to one that died waits for a second.
const PEER_EVERY: Duration = Duration::from_secs(2);

/// What makes two checks the same: the instance's number and the probe.
type Key = (u64, ProbeKey);

/// A probe as a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ProbeKey(String);

/// The running checks, and who watches the ways to other hosts.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    checks: HashMap<Key, AbortHandle>,
    watches: Vec<(Arc<Way>, AbortHandle)>,
}

impl Checks {
    /// Starts what is new in `table` and stops what is gone.
    pub(crate) fn follow(&mut self, table: &Table, registry: &mut Registry, shared: &Arc<Shared>) {
        let mut wanted = HashMap::new();
        for pool in table.pools.values() {
            for upstream in &pool.upstreams {
                let instance = registry.instance(upstream);
                let probe = match (&pool.probe, &instance.link) {
                    (probe, None) => probe.clone(),
                    (probe, Some(_)) => Some(of_peer(probe.as_ref())),
                };
                if let Some(probe) = probe {
                    wanted.insert((instance.number, ProbeKey(format!("{probe:?}"))), (instance, probe));
                } else {
                    // without a probe nothing but a failed connection speaks against it
                    instance.set_failure(None);
                    instance.set_healthy(true);
                }
            }
        }
        self.watch(wanted.values().filter_map(|(instance, _)| instance.link.as_ref()), shared);
        self.checks.retain(|key, task| {
            let stays = wanted.contains_key(key);
            if !stays {
                task.abort();
            }
            stays
        });
        for (key, (instance, probe)) in wanted {
            let start = || tokio::spawn(check(instance, probe, Arc::clone(shared))).abort_handle();
            self.checks.entry(key).or_insert_with(start);
        }
    }

    /// Watches the ways of these links. One that left the table is watched on while something is under way on it.
    fn watch<'l>(&mut self, links: impl Iterator<Item = &'l Link>, shared: &Arc<Shared>) {
        let links: Vec<&Link> = links.collect();
        self.watches.retain(|(way, task)| {
            let stays = links.iter().any(|link| Arc::ptr_eq(&link.way, way)) || way.is_used();
            if !stays {
                task.abort();
            }
            stays
        });
        for link in links {
            if !self.watches.iter().any(|(way, _)| Arc::ptr_eq(way, &link.way)) {
                let watch = tokio::spawn(Arc::clone(&link.way).watch(Arc::clone(shared))).abort_handle();
                self.watches.push((Arc::clone(&link.way), watch));
            }
        }
    }
}

/// How another host is asked about a pool with this probe.
fn of_peer(probe: Option<&Probe>) -> Probe {
    let (every, timeout, up, down) =
        probe.map_or((PEER_EVERY, CONNECT, 1, 3), |probe| (probe.every, probe.timeout, probe.up, probe.down));
    Probe { path: None, every: every.min(PEER_EVERY), timeout, up, down }
}

/// Asks again and again. The agent has seen a new instance well before it named it, so the first question waits.
async fn check(instance: Arc<Instance>, probe: Probe, shared: Arc<Shared>) {
    let mut threshold = Threshold::new(probe.up, probe.down, instance.healthy());
    let mut connection = None;
    loop {
        tokio::time::sleep(probe.every).await;
        let answer = match &instance.link {
            None => {
                observe::probe::ask(instance.address, &probe).await.map(drop).map_err(|failure| failure.to_string())
            }
            Some(link) => {
                let answer = tokio::time::timeout(probe.timeout, ask_peer(&instance, link, &mut connection)).await;
                answer.unwrap_or_else(|_| Err(format!("no answer within {:?}", probe.timeout)))
            }
        };
        if answer.is_err() {
            connection = None;
        } else if instance.link.is_some() && instance.accepted() {
            shared.changed.notify_waiters();
        }
        let change = threshold.record(answer.is_ok());
        instance.set_failure(answer.err());
        match change {
            Some(Change::Up) => {
                tracing::info!(instance = instance.id, "healthy again");
                instance.set_healthy(true);
                shared.changed.notify_waiters();
            }
            Some(Change::Down) => {
                tracing::warn!(instance = instance.id, failure = instance.failure(), "unhealthy");
                instance.set_healthy(false);
            }
            None => {}
        }
    }
}

/// Asks the edge of another host, on a connection that is kept for the next time.
async fn ask_peer(
    instance: &Instance,
    link: &Link,
    kept: &mut Option<SendRequest<Empty<Bytes>>>,
) -> Result<(), String> {
    let mut sender = match kept.take().filter(SendRequest::is_ready) {
        Some(sender) => sender,
        None => connect(instance, link).await.map_err(|error| format!("no connection: {error}"))?,
    };
    let pool = HeaderValue::from_bytes(&[link::CHECK.as_bytes(), link.pool.as_bytes()].concat());
    let request = Request::get("/")
        .header(header::HOST, "slipway")
        .header(link::POOL, pool.map_err(|error| error.to_string())?)
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
    if !response.status().is_success() {
        return Err(format!("its host answered {}: none of its instances takes visitors", response.status()));
    }
    *kept = Some(sender);
    Ok(())
}

async fn connect(instance: &Instance, link: &Link) -> std::io::Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(instance.address).await?;
    let stream = TokioIo::new(link.secure(stream).await?);
    let (sender, connection) = http1::handshake(stream).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection); // ends with the sender
    Ok(sender)
}
