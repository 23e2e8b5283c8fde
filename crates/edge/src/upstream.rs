//! A worker's connections to instances: opened when needed, kept while idle, closed when in doubt.

use std::{cell::RefCell, collections::HashMap, hash::BuildHasherDefault, io, rc::Rc, sync::Arc, time::Duration};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::AbortHandle};

use crate::{body::RequestBody, instance::Instance, ticks::Ticks};

/// Idle connections to one instance that a worker keeps.
const MAX_IDLE: usize = 256;

/// Shorter than the 5 s after which Node and uvicorn close an idle connection, so that we close first: a request
/// never meets a connection that the other side is about to close.
const IDLE: Duration = Duration::from_secs(4);

/// The same for the edge of another host, which closes them after 75 s.
const PEER_IDLE: Duration = Duration::from_mins(1);

/// An instance is near; one that does not take a connection in this time is not there.
pub(crate) const CONNECT: Duration = Duration::from_secs(1);

/// Data unacknowledged, or not taken, for so long means that nobody will.
pub(crate) const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// The keys are numbers given in order; they need no mixing.
#[derive(Debug, Default)]
pub(crate) struct Plain(u64);

impl std::hash::Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// A worker's idle connections.
#[derive(Debug)]
pub(crate) struct Upstreams {
    idle: RefCell<HashMap<u64, Kept, BuildHasherDefault<Plain>>>,
    ticks: Arc<Ticks>,
    http: http1::Builder,
}

#[derive(Debug)]
struct Kept {
    instance: Arc<Instance>,
    /// The most recently used last.
    connections: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    task: Task,
    since: u32,
}

/// The task that drives one connection; dropping it closes the connection.
#[derive(Debug)]
struct Task(Option<AbortHandle>);

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

/// A connection in use by one request.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) sender: SendRequest<RequestBody>,
    /// It carried requests before, so it may have died meanwhile.
    pub(crate) reused: bool,
    task: Task,
    instance: Arc<Instance>,
    home: Rc<Upstreams>,
}

impl Upstreams {
    pub(crate) fn new(ticks: Arc<Ticks>) -> Self {
        let mut http = http1::Builder::new();
        http.max_buf_size(256 * 1024);
        Self { idle: RefCell::default(), ticks, http }
    }

    /// An idle connection to `instance` that is still open, or a new one.
    pub(crate) async fn lend(self: &Rc<Self>, instance: &Arc<Instance>, fresh: bool) -> io::Result<Lent> {
        if !fresh && let Some(lent) = self.take(instance) {
            return Ok(lent);
        }
        let connect = tokio::time::timeout(CONNECT, TcpStream::connect(instance.address));
        let stream = connect.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let (sender, task) = if let Some(link) = &instance.link {
            let stream = TokioIo::new(link.secure(stream).await?);
            let (sender, connection) = self.http.handshake(stream).await.map_err(io::Error::other)?;
            (sender, tokio::task::spawn_local(connection.with_upgrades()))
        } else {
            stream.set_nodelay(true)?;
            socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
            let (sender, connection) = self.http.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
            (sender, tokio::task::spawn_local(connection.with_upgrades()))
        };
        Ok(Lent {
            sender,
            reused: false,
            task: Task(Some(task.abort_handle())),
            instance: Arc::clone(instance),
            home: Rc::clone(self),
        })
    }

    fn take(self: &Rc<Self>, instance: &Arc<Instance>) -> Option<Lent> {
        let mut idle = self.idle.borrow_mut();
        let connections = &mut idle.get_mut(&instance.number)?.connections;
        while let Some(one) = connections.pop() {
            if one.sender.is_ready() {
                return Some(Lent {
                    sender: one.sender,
                    reused: true,
                    task: one.task,
                    instance: Arc::clone(instance),
                    home: Rc::clone(self),
                });
            }
        }
        None
    }

    fn keep(&self, instance: Arc<Instance>, sender: SendRequest<RequestBody>, task: Task) {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.entry(instance.number).or_insert_with(|| Kept { instance, connections: Vec::with_capacity(4) });
        if kept.connections.len() < MAX_IDLE && !kept.instance.retired() {
            kept.connections.push(Idle { sender, task, since: self.ticks.now() });
        }
    }

    /// Closes connections that were idle for too long, and all to instances that left the table.
    pub(crate) fn sweep(&self) {
        let now = self.ticks.now();
        self.idle.borrow_mut().retain(|_, kept| {
            if kept.instance.retired() {
                return false;
            }
            let limit = Ticks::in_ticks(if kept.instance.link.is_some() { PEER_IDLE } else { IDLE });
            kept.connections.retain(|one| now.wrapping_sub(one.since) < limit && one.sender.is_ready());
            !kept.connections.is_empty()
        });
    }
}

impl Lent {
    /// Back to the idle ones, only if it is ready for the next request at this very moment; otherwise it is closed.
    pub(crate) fn give_back(self) {
        if self.sender.is_ready() {
            self.home.keep(self.instance, self.sender, self.task);
        }
    }

    /// The connection became a tunnel: its task ends by itself and must not be aborted.
    pub(crate) fn into_tunnel(mut self) {
        self.task.0 = None;
    }
}
