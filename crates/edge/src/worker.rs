//! One worker: a thread with its own runtime, listening sockets and connections to instances.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    hash::BuildHasherDefault,
    net::{SocketAddr, TcpListener},
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use crate::{
    access::AccessLog,
    compiled::Compiled,
    connection::{Handle, Phase, Visitor},
    files::FileCache,
    leftovers::{Bin, Leftover},
    peer,
    peer_io::PeerIo,
    random::Random,
    shared::Shared,
    socket::ClientIo,
    ticks::{TICK, Ticks},
    upstream::{Plain, Upstreams},
};

/// A head longer than this is answered 431.
const MAX_HEAD: usize = 64 * 1024;

/// How long an idle connection on a removed listener is kept for a request under way.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Data unacknowledged for so long, or a window closed for so long, means that the visitor is gone.
const UNACKNOWLEDGED: Duration = Duration::from_mins(1);

/// Orders from the control thread.
#[derive(Debug)]
pub(crate) enum Order {
    /// Accept on this socket, which stands for this address of the table.
    Listen(SocketAddr, TcpListener, oneshot::Sender<std::io::Result<()>>),
    /// Accept what is waiting, then close.
    Unlisten(SocketAddr, oneshot::Sender<()>),
    /// Another table is served; let go of the old one.
    Refresh,
    /// Stop accepting; connections have had their last request.
    Quit(oneshot::Sender<()>),
}

/// A table and the epoch it was read in.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) epoch: u64,
    pub(crate) table: Arc<Compiled>,
}

/// What all connections of one worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) upstreams: Rc<Upstreams>,
    pub(crate) random: Random,
    pub(crate) files: FileCache,
    pub(crate) access: Option<AccessLog>,
    ticks: Arc<Ticks>,
    snapshot: RefCell<Rc<Snapshot>>,
    connections: RefCell<HashMap<u64, Rc<Handle>, BuildHasherDefault<Plain>>>,
    next_connection: Cell<u64>,
    bin: Bin,
    leftovers: RefCell<Option<mpsc::UnboundedReceiver<Leftover>>>,
    http1: http1::Builder,
    http2: http2::Builder<LocalExecutor>,
}

/// HTTP/2 spawns its streams; on a worker they stay on its thread.
#[derive(Debug, Clone, Copy)]
struct LocalExecutor;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

impl Worker {
    pub(crate) fn new(number: usize, shared: Arc<Shared>, access: Option<AccessLog>) -> Self {
        let ticks = Arc::new(Ticks::default());
        let mut http1 = http1::Builder::new();
        // Time limits are the sweep's: hyper would allocate a timer for every request. Not `pipeline_flush`: with
        // bytes left unread, as after a malformed head, it closes without having sent the refusal.
        http1.max_buf_size(MAX_HEAD).max_header_size(MAX_HEAD).header_read_timeout(None);
        let mut http2 = http2::Builder::new(LocalExecutor);
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(250)
            .max_header_list_size(64 * 1024)
            .max_send_buf_size(256 * 1024)
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        let (bin, leftovers) = mpsc::unbounded_channel();
        let snapshot = Snapshot { epoch: shared.epoch(), table: shared.table() };
        Self {
            number,
            upstreams: Rc::new(Upstreams::new(Arc::clone(&ticks))),
            random: Random::new(),
            files: FileCache::new(shared.requests.len()),
            access,
            ticks,
            snapshot: RefCell::new(Rc::new(snapshot)),
            connections: RefCell::default(),
            next_connection: Cell::new(0),
            bin,
            leftovers: RefCell::new(Some(leftovers)),
            http1,
            http2,
            shared,
        }
    }

    /// The served table. See [`Shared::epoch`] for the order of the two reads.
    pub(crate) fn snapshot(&self) -> Rc<Snapshot> {
        let epoch = self.shared.epoch();
        let known = self.snapshot.borrow();
        if known.epoch == epoch {
            return Rc::clone(&known);
        }
        drop(known);
        let fresh = Rc::new(Snapshot { epoch, table: self.shared.table() });
        *self.snapshot.borrow_mut() = Rc::clone(&fresh);
        fresh
    }

    /// Works until told to quit.
    pub(crate) async fn run(self: Rc<Self>, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut listening: HashMap<SocketAddr, (Arc<tokio::net::TcpListener>, AbortHandle)> = HashMap::new();
        let mut leftovers = self.leftovers.borrow_mut().take();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = tick.tick() => self.sweep(),
                Some(leftover) = next(&mut leftovers) => {
                    tokio::task::spawn_local(leftover.read());
                }
                order = orders.recv() => match order {
                    Some(Order::Listen(address, listener, done)) => {
                        let prepared = prepare(&listener).and_then(|()| tokio::net::TcpListener::from_std(listener));
                        let outcome = prepared.map(|listener| {
                            let listener = Arc::new(listener);
                            let accept = Rc::clone(&self).accept(address, Arc::clone(&listener));
                            let task = tokio::task::spawn_local(accept).abort_handle();
                            listening.insert(address, (listener, task));
                        });
                        let _ = done.send(outcome);
                    }
                    Some(Order::Unlisten(address, done)) => {
                        if let Some((listener, task)) = listening.remove(&address) {
                            task.abort();
                            self.accept_waiting(address, &listener).await;
                        }
                        for handle in self.connections.borrow().values().filter(|one| one.listener == address) {
                            handle.end(Phase::Last);
                        }
                        let _ = done.send(());
                    }
                    Some(Order::Refresh) => {
                        self.snapshot();
                        self.upstreams.sweep();
                    }
                    Some(Order::Quit(done)) => {
                        for (address, (listener, task)) in listening.drain() {
                            task.abort();
                            self.accept_waiting(address, &listener).await;
                        }
                        for handle in self.connections.borrow().values() {
                            handle.end(Phase::Last);
                        }
                        let _ = done.send(());
                    }
                    None => return,
                },
            }
        }
    }

    fn sweep(&self) {
        self.ticks.advance();
        self.upstreams.sweep();
        for handle in self.connections.borrow().values() {
            handle.sweep(LINGER);
        }
    }

    async fn accept(self: Rc<Self>, address: SocketAddr, listener: Arc<tokio::net::TcpListener>) {
        loop {
            if self.shared.connections.load(Ordering::Relaxed) >= self.shared.max_connections {
                // visitors wait in the kernel's queue until somebody leaves
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            match listener.accept().await {
                Ok((stream, peer)) => self.welcome(stream, peer, address),
                Err(error) if is_visitors(&error) => {}
                Err(error) => {
                    tracing::warn!(%address, %error, "cannot accept connections");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Takes what the kernel has already accepted for a socket that is about to be closed.
    async fn accept_waiting(self: &Rc<Self>, address: SocketAddr, listener: &tokio::net::TcpListener) {
        loop {
            let waiting = poll_fn(|cx| {
                Poll::Ready(match listener.poll_accept(cx) {
                    Poll::Ready(outcome) => Some(outcome),
                    Poll::Pending => None,
                })
            });
            match waiting.await {
                Some(Ok((stream, peer))) => self.welcome(stream, peer, address),
                Some(Err(error)) if is_visitors(&error) => {}
                Some(Err(_)) | None => return,
            }
        }
    }

    fn welcome(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, address: SocketAddr) {
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let _counted = Counted(Arc::clone(&worker.shared));
            worker.serve(stream, peer, address).await;
        });
    }

    async fn serve(self: Rc<Self>, stream: TcpStream, peer: SocketAddr, address: SocketAddr) {
        let handle = Rc::new(Handle::new(&self.ticks, &self.bin, address));
        let number = self.next_connection.get();
        self.next_connection.set(number + 1);
        self.connections.borrow_mut().insert(number, Rc::clone(&handle));
        if self.shared.quitting() {
            handle.end(Phase::Last);
        }
        if self.snapshot().table.is_for_peers(address) {
            self.speak_with_peer(&handle, stream, peer).await;
        } else {
            self.speak(&handle, stream, peer).await;
        }
        self.connections.borrow_mut().remove(&number);
    }

    /// HTTP on one connection until it ends.
    async fn speak(self: &Rc<Self>, handle: &Rc<Handle>, stream: TcpStream, peer: SocketAddr) {
        let Some(http2) = unless_ended(handle, speaks_http2(&stream)).await.flatten() else { return };
        if http2 {
            handle.speaks_http2();
        }
        let io = TokioIo::new(ClientIo::new(stream, handle));
        let visitor = Rc::new(Visitor::new(Rc::clone(self), Rc::clone(handle), peer, http2));
        let service = hyper::service::service_fn(move |request| crate::request::serve(Rc::clone(&visitor), request));
        if http2 {
            let connection = pin!(self.http2.serve_connection(io, service));
            until_end(handle, connection, http2::Connection::graceful_shutdown).await;
        } else {
            let connection = pin!(self.http1.serve_connection(io, service).with_upgrades());
            until_end(handle, connection, http1::UpgradeableConnection::graceful_shutdown).await;
        }
    }
}

impl Worker {
    /// TLS and HTTP/1.1 with the edge of another host.
    async fn speak_with_peer(self: &Rc<Self>, handle: &Rc<Handle>, stream: TcpStream, address: SocketAddr) {
        let welcome = unless_ended(handle, peer::welcome(self, stream)).await;
        let (from, stream) = match welcome {
            Some(Ok(welcome)) => welcome,
            Some(Err(error)) => {
                tracing::debug!(%address, %error, "turned away at the door for peers");
                return;
            }
            None => return,
        };
        let io = TokioIo::new(PeerIo::new(stream, handle));
        let visitor = Rc::new(Visitor::new(Rc::clone(self), Rc::clone(handle), address, false));
        let service =
            hyper::service::service_fn(move |request| peer::serve(Rc::clone(&visitor), from.clone(), request));
        let connection = pin!(self.http1.serve_connection(io, service).with_upgrades());
        until_end(handle, connection, http1::UpgradeableConnection::graceful_shutdown).await;
    }
}

/// The next of a channel that may not be there.
async fn next<T>(channel: &mut Option<mpsc::UnboundedReceiver<T>>) -> Option<T> {
    channel.as_mut()?.recv().await
}

/// What `future` gives, unless the connection is to end first.
async fn unless_ended<F: Future>(handle: &Handle, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if handle.watch(cx) >= Phase::Graceful {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Drives a connection while watching for orders to end it.
async fn until_end<C: Future>(handle: &Handle, mut connection: Pin<&mut C>, graceful: fn(Pin<&mut C>)) {
    let mut told = false;
    poll_fn(|cx| {
        match handle.watch(cx) {
            Phase::Now => return Poll::Ready(()),
            Phase::Graceful if !told => {
                told = true;
                graceful(connection.as_mut());
            }
            _ => {}
        }
        connection.as_mut().poll(cx).map(drop)
    })
    .await;
}

/// Counts a connection until it ends, however it ends.
#[derive(Debug)]
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the connection's first bytes are HTTP/2's preface. `None`: nothing came, or not in time.
async fn speaks_http2(stream: &TcpStream) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
    let look = async {
        let mut start = [0; PREFACE.len()];
        let mut pause = Duration::from_millis(2);
        loop {
            let seen = stream.peek(&mut start).await.ok().filter(|seen| *seen > 0)?;
            if !PREFACE.starts_with(&start[..seen]) {
                return Some(false);
            }
            if seen == start.len() {
                return Some(true);
            }
            // a preface cut in the middle: what was peeked stays readable, so waiting for readiness would not wait
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    };
    tokio::time::timeout(Duration::from_secs(30), look).await.ok().flatten()
}

/// Sets on a listening socket what the sockets accepted from it inherit, which saves system calls for each.
fn prepare(listener: &TcpListener) -> std::io::Result<()> {
    let socket = socket2::SockRef::from(listener);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    // for tunnels, which have no other limit: a visitor that vanished is found out
    let keepalive = socket2::TcpKeepalive::new().with_time(UNACKNOWLEDGED).with_interval(Duration::from_secs(15));
    socket.set_tcp_keepalive(&keepalive)
}

/// Errors of `accept` that concern one visitor only.
fn is_visitors(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::ConnectionAborted
            | std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::Interrupted
            | std::io::ErrorKind::ConnectionRefused
    )
}
