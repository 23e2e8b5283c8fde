//! Listening sockets: from the shim that keeps them across our restarts, or bound here.

use std::{
    io::{self, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde::Deserialize;
use socket2::{Domain, Protocol, Socket, Type};

use crate::holders;

/// Connections the kernel accepts ahead of us.
const BACKLOG: i32 = 4096;

/// The shim is on this machine and does nothing else; slower than this means it is stuck.
const SHIM: Duration = Duration::from_secs(5);

/// Where sockets come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Bound by ourselves.
    Own,
    /// Held by the shim behind this unix socket.
    Shim(PathBuf),
}

impl Source {
    /// `count` sockets that accept on `address`, or why there are none, in words for a person.
    pub(crate) fn listen(&self, address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, String> {
        match self {
            Self::Own => bind(address, count).map_err(|error| explain(address, &error)),
            Self::Shim(path) => ask_shim(path, address, count),
        }
    }

    /// The address is not served any more. A shim that does not answer keeps the port; that is its matter.
    pub(crate) fn release(&self, address: SocketAddr) {
        if let Self::Shim(path) = self
            && let Err(error) = tell_shim(path, &format!("unlisten {address}\n"))
        {
            tracing::warn!(%address, %error, "the shim did not release the address");
        }
    }
}

/// Binds with `SO_REUSEPORT`, which lets each worker accept from a queue of its own. Another program that set it too
/// would silently share our visitors, so the address is first bound without it.
fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let both = match socket(address, Family::Both, false) {
        Ok(_) => Family::Both,
        // `[::]` takes IPv4 in as well, unless `0.0.0.0` is served by itself
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_any_v6(address) => {
            socket(address, Family::Own, false)?;
            Family::Own
        }
        Err(error) => return Err(error),
    };
    (0..count).map(|_| socket(address, both, true)).collect()
}

/// What an IPv6 socket accepts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// IPv4 too.
    Both,
    /// IPv6 alone.
    Own,
}

fn is_any_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn socket(address: SocketAddr, family: Family, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(family == Family::Own)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

fn explain(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => match holders::of_port(address.port()) {
            Some(holder) => format!("address in use by {holder}: stop it or choose another port"),
            None => "address in use: stop the program that listens there or choose another port".to_owned(),
        },
        io::ErrorKind::PermissionDenied => format!(
            "not allowed to listen on port {}: run as root, grant CAP_NET_BIND_SERVICE or choose a port from 1024",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no address {}: use one of its own or 0.0.0.0", address.ip())
        }
        _ => format!("cannot listen: {error}"),
    }
}

#[derive(Deserialize)]
struct ShimAnswer {
    #[serde(default)]
    ok: bool,
    error: Option<String>,
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(SHIM))?;
    stream.set_write_timeout(Some(SHIM))?;
    Ok(stream)
}

fn tell_shim(path: &Path, line: &str) -> io::Result<()> {
    let mut stream = connect(path)?;
    stream.write_all(line.as_bytes())?;
    let mut answer = [0; 256];
    let _ = stream.read(&mut answer)?;
    Ok(())
}

fn ask_shim(path: &Path, address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, String> {
    let gone = |error: io::Error| format!("the shim at {} did not answer: {error}", path.display());
    let mut stream = connect(path).map_err(gone)?;
    stream.write_all(format!("listen {address} {count}\n").as_bytes()).map_err(gone)?;
    let (line, sockets) = receive(&stream, count).map_err(gone)?;
    let answer: ShimAnswer = serde_json::from_slice(line.trim_ascii())
        .map_err(|_| format!("the shim at {} answered something else", path.display()))?;
    if !answer.ok {
        return Err(answer.error.unwrap_or_else(|| "the shim refused without a reason".to_owned()));
    }
    if sockets.len() != count {
        return Err(format!("the shim handed over {} sockets instead of {count}", sockets.len()));
    }
    sockets
        .into_iter()
        .map(|socket| {
            let listener = TcpListener::from(socket);
            listener.set_nonblocking(true).map(|()| listener).map_err(gone)
        })
        .collect()
}

/// One line and the descriptors that came with it.
fn receive(stream: &UnixStream, count: usize) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    // the kernel passes at most 253 at once
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut line = Vec::new();
    let mut sockets = Vec::with_capacity(count);
    while !line.ends_with(b"\n") {
        let mut bytes = [0; 4096];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let buffers = &mut [IoSliceMut::new(&mut bytes)];
        let received = rustix::net::recvmsg(stream, buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                sockets.extend(descriptors);
            }
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&bytes[..received.bytes]);
    }
    Ok((line, sockets))
}
