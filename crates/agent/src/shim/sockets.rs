//! Listening sockets that outlive the program.

use std::{
    collections::BTreeMap,
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::Path,
    rc::Rc,
};

use rustix::{
    fd::OwnedFd,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, bind,
        getsockname, listen, recvmsg, socket_with,
        sockopt::{set_ipv6_v6only, set_socket_reuseaddr, set_socket_reuseport},
    },
};
use serde::{Deserialize, Serialize};

/// As many file descriptors as one message carries (`SCM_MAX_FD`), so that all of them can be handed over at once.
pub(super) const MOST: usize = 253;
/// Connections that wait while the program is down; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// The sockets a shim holds.
#[derive(Default)]
pub(super) struct Sockets(BTreeMap<SocketAddr, Vec<Rc<OwnedFd>>>);

/// One entry of the answer to `listeners`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) count: usize,
}

impl Sockets {
    /// `count` sockets on `address`, made unless they are held already, and the address with its port.
    pub(super) fn listen(
        &mut self,
        address: SocketAddr,
        count: usize,
    ) -> Result<(SocketAddr, Vec<Rc<OwnedFd>>), String> {
        let others: usize = self.0.iter().filter(|(other, _)| **other != address).map(|(_, held)| held.len()).sum();
        if count == 0 || others + count > MOST {
            return Err(format!("cannot hold {count} sockets on {address}: a shim holds 1 to {MOST} in all"));
        }
        let mut held = self.0.remove(&address).unwrap_or_default();
        let made = add(address, count, &mut held);
        let address = held.first().map_or(Ok(address), |socket| local(socket)).unwrap_or(address);
        if !held.is_empty() {
            self.0.insert(address, held.clone());
        }
        made.map_err(|error| explain(address, &error))?;
        Ok((address, held))
    }

    /// Closes the sockets on `address`.
    pub(super) fn unlisten(&mut self, address: SocketAddr) {
        self.0.remove(&address);
    }

    /// All of them, in the order of [`list`](Self::list).
    pub(super) fn all(&self) -> Vec<Rc<OwnedFd>> {
        self.0.values().flatten().cloned().collect()
    }

    pub(super) fn list(&self) -> Vec<Listener> {
        self.0.iter().map(|(address, held)| Listener { address: *address, count: held.len() }).collect()
    }

    /// Takes over what the shim behind `path` holds; connections that wait in its sockets are not lost.
    pub(super) fn inherit(&mut self, path: &Path) -> io::Result<()> {
        #[derive(Deserialize)]
        struct Answer {
            listeners: Vec<Listener>,
        }
        let (answer, sockets) = exchange(path, "listeners")?;
        let answer: Answer = serde_json::from_slice(&answer)?;
        let mut sockets = sockets.into_iter().map(Rc::new);
        for listener in answer.listeners {
            self.0.insert(listener.address, sockets.by_ref().take(listener.count).collect());
        }
        Ok(())
    }
}

/// Sends a command to a shim's control socket and receives one line with the sockets attached to it. Blocks.
pub(super) fn exchange(path: &Path, command: &str) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    use std::io::Write;
    let mut stream = connect(path)?;
    let patience = Some(std::time::Duration::from_secs(5));
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    let (mut line, mut sockets) = (Vec::new(), Vec::new());
    while line.last() != Some(&b'\n') {
        let mut bytes = [0; 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&stream, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(handed) = message {
                sockets.extend(handed);
            }
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&bytes[..received.bytes]);
    }
    Ok((line, sockets))
}

/// A socket's address holds 107 bytes, so a longer path is reached through a handle on its folder.
fn connect(path: &Path) -> io::Result<UnixStream> {
    use std::os::fd::AsRawFd;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the path of a control socket"));
    };
    let folder = std::fs::File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
    UnixStream::connect(Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

fn add(address: SocketAddr, count: usize, held: &mut Vec<Rc<OwnedFd>>) -> io::Result<()> {
    held.truncate(count);
    let mut address = address;
    if held.is_empty() {
        // Another program that also shares the port would silently get a part of the visitors: refuse.
        drop(socket(address, false)?);
    } else {
        address = local(&held[0])?;
    }
    while held.len() < count {
        let socket = socket(address, true)?;
        address = local(&socket)?;
        held.push(Rc::new(socket));
    }
    Ok(())
}

fn socket(address: SocketAddr, is_shared: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, false)?;
    }
    set_socket_reuseaddr(&socket, true)?;
    set_socket_reuseport(&socket, is_shared)?;
    bind(&socket, &address)?;
    if is_shared {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

fn local(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let address = getsockname(socket)?;
    SocketAddr::try_from(address).map_err(|_| io::ErrorKind::AddrNotAvailable.into())
}

fn explain(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "address in use: another program listens on {address}; find it with `ss -ltnp 'sport = :{port}'` and stop \
             it, or choose another port"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "not allowed to listen on {address}; run `sysctl net.ipv4.ip_unprivileged_port_start={port}`, give the \
             program CAP_NET_BIND_SERVICE, or choose a port from 1024 on"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no address {}; use one of its own, or 0.0.0.0 for all", address.ip())
        }
        _ => format!("cannot listen on {address}: {error}"),
    }
}
