//! The shim's end of the control socket. Nothing here ever waits: a client that sends or reads slowly only waits for
//! itself.

use std::{
    collections::VecDeque,
    fs,
    io::{self, IoSlice, Read},
    mem::MaybeUninit,
    net::SocketAddr,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    rc::Rc,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags},
    fd::{AsFd, BorrowedFd, OwnedFd},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};

use super::{control::SOCKET, sockets::MOST};

/// Clients at a time; the oldest goes when there are more.
const CLIENTS: usize = 32;
/// No command is longer.
const LONGEST: usize = 512;

/// The listening socket and everybody connected to it.
pub(super) struct Server {
    listener: UnixListener,
    clients: Vec<Client>,
}

/// One line of a client, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Status,
    /// Within this time, or the spec's.
    Stop(Option<Duration>),
    Kill,
    Listen(SocketAddr, usize),
    Unlisten(SocketAddr),
    Listeners,
}

/// What is sent back.
pub(super) struct Reply {
    pub(super) json: serde_json::Value,
    pub(super) sockets: Vec<Rc<OwnedFd>>,
}

struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: VecDeque<Output>,
    is_closed: bool,
}

struct Output {
    bytes: Vec<u8>,
    sent: usize,
    sockets: Vec<Rc<OwnedFd>>,
}

impl Server {
    /// Listens in the current folder, by a relative path: the folder's own may be longer than a socket's address.
    pub(super) fn open() -> io::Result<Self> {
        match fs::remove_file(SOCKET) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(SOCKET)?;
        fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, clients: Vec::new() })
    }

    /// What to wait for.
    pub(super) fn polled(&self) -> impl Iterator<Item = PollFd<'_>> {
        let clients = self.clients.iter().map(|client| {
            let writes = if client.output.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            PollFd::from_borrowed_fd(client.stream.as_fd(), PollFlags::IN | writes)
        });
        std::iter::once(PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN)).chain(clients)
    }

    /// Takes new clients and reads from all, as far as there is something.
    pub(super) fn receive(&mut self, mut answer: impl FnMut(Command) -> Reply) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                if self.clients.len() == CLIENTS {
                    self.clients.remove(0);
                }
                self.clients.push(Client { stream, input: Vec::new(), output: VecDeque::new(), is_closed: false });
            }
        }
        for client in &mut self.clients {
            client.receive(&mut answer);
            client.send();
        }
        self.clients.retain(|client| !client.is_closed || !client.output.is_empty());
    }

    /// Gives answers that are still waiting a last chance: the shim is about to end.
    pub(super) fn finish(&mut self) {
        for client in &mut self.clients {
            client.send();
        }
    }
}

impl Client {
    fn receive(&mut self, answer: &mut impl FnMut(Command) -> Reply) {
        let mut bytes = [0; LONGEST];
        // One read each time round, so that a client who talks without pause does not keep the others waiting.
        match self.stream.read(&mut bytes) {
            Ok(0) => self.is_closed = true,
            Ok(length) => self.input.extend_from_slice(&bytes[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => {
                self.is_closed = true;
                self.output.clear();
            }
        }
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            let reply = match parse(&String::from_utf8_lossy(&line)) {
                Ok(command) => answer(command),
                Err(error) => Reply::error(&error),
            };
            self.output.push_back(reply.into());
        }
        if self.input.len() > LONGEST || self.output.len() > CLIENTS {
            self.is_closed = true;
            self.output.clear();
        }
    }

    fn send(&mut self) {
        while let Some(output) = self.output.front_mut() {
            match output.send(&self.stream) {
                Ok(()) if output.sent == output.bytes.len() => drop(self.output.pop_front()),
                Ok(()) => {}
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
                Err(_) => {
                    self.is_closed = true;
                    self.output.clear();
                }
            }
        }
    }
}

impl Output {
    /// Sends what the socket takes; the file descriptors go with the first byte.
    fn send(&mut self, stream: &UnixStream) -> rustix::io::Result<()> {
        let sockets: Vec<BorrowedFd<'_>> = self.sockets.iter().map(|socket| socket.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !sockets.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&sockets));
        }
        let slices = [IoSlice::new(&self.bytes[self.sent..])];
        self.sent += sendmsg(stream, &slices, &mut control, SendFlags::NOSIGNAL)?;
        self.sockets.clear();
        Ok(())
    }
}

impl Reply {
    pub(super) fn ok() -> Self {
        Self { json: serde_json::json!({"ok": true}), sockets: Vec::new() }
    }

    pub(super) fn error(error: &str) -> Self {
        Self { json: serde_json::json!({"ok": false, "error": error}), sockets: Vec::new() }
    }
}

impl From<Reply> for Output {
    fn from(reply: Reply) -> Self {
        let mut bytes = reply.json.to_string().into_bytes();
        bytes.push(b'\n');
        Self { bytes, sent: 0, sockets: reply.sockets }
    }
}

fn parse(line: &str) -> Result<Command, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let address =
        |text: &str| text.parse().map_err(|_| format!("`{text}` is no address; write it as 127.0.0.1:80 or [::1]:80"));
    Ok(match words.as_slice() {
        ["status"] => Command::Status,
        ["stop"] => Command::Stop(None),
        ["stop", millis] => {
            let millis = millis.parse().map_err(|_| format!("`{millis}` is no number of milliseconds"))?;
            Command::Stop(Some(Duration::from_millis(millis)))
        }
        ["kill"] => Command::Kill,
        ["listen", at, count] => {
            Command::Listen(address(at)?, count.parse().map_err(|_| format!("`{count}` is no number of sockets"))?)
        }
        ["unlisten", at] => Command::Unlisten(address(at)?),
        ["listeners"] => Command::Listeners,
        _ => {
            return Err(format!(
                "`{}` is no command; there are status, stop, kill, listen, unlisten, listeners",
                line.trim()
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood_or_refused_with_a_mend() {
        assert_eq!(parse("status\n"), Ok(Command::Status));
        assert_eq!(parse("stop 1500\n"), Ok(Command::Stop(Some(Duration::from_millis(1500)))));
        assert_eq!(parse("listen [::1]:80 2\n"), Ok(Command::Listen("[::1]:80".parse().unwrap(), 2)));
        assert!(parse("listen localhost:80 2\n").unwrap_err().contains("127.0.0.1:80"));
        assert!(parse("dance\n").unwrap_err().contains("listeners"));
        assert!(parse("\n").is_err());
    }
}
