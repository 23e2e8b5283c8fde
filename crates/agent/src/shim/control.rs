//! What can be asked on `FOLDER/control.sock`: one command a line, one JSON object a line back.
//!
//! | command | answer |
//! |---|---|
//! | `status` | `{"ok":true,"pid":..,"generation":..,"running":..,"stopping":..,"lost_lines":..}` |
//! | `stop [MS]` | `{"ok":true}`; TERM now, KILL after MS (default: the spec's), then the shim ends |
//! | `kill` | `{"ok":true}`; KILL to everything, then the shim ends |
//! | `listen IP:PORT COUNT` | `{"ok":true,"address":"IP:PORT"}` with COUNT listening sockets attached, or `{"error":".."}` |
//! | `unlisten IP:PORT` | `{"ok":true}`; the shim closes its copies |
//! | `listeners` | `{"ok":true,"listeners":[{"address":"IP:PORT","count":N},..]}` with all sockets attached, in order |
//!
//! Sockets are non-blocking, bound with `SO_REUSEADDR` and `SO_REUSEPORT`, created at the first request and given
//! again at each later one: connections that arrive while the program is down wait in them. Port 0 takes a free
//! port, told by `address`. A later `listen` with a smaller COUNT closes the rest.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
};

use rustix::fd::AsRawFd;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

/// File name of the socket.
pub const SOCKET: &str = "control.sock";

/// Answer to `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The program; the last one while it waits for its next start.
    pub pid: u32,
    /// How often it was started, from 1.
    pub generation: u32,
    /// False between two starts of a kept program.
    pub running: bool,
    /// It was told to end.
    pub stopping: bool,
    /// Lines that no log has, because the disk was full.
    pub lost_lines: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer<T> {
    Refused { error: String },
    Ok(T),
}

/// Sends one command to the shim in `folder` and reads its answer. Any length of path will do: the socket is
/// reached through a handle on its folder, since its address holds 107 bytes at most.
pub(super) async fn ask<T: DeserializeOwned>(folder: &Path, command: &str) -> io::Result<T> {
    let folder = std::fs::File::open(folder)?;
    let socket = UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd())).await?;
    let mut socket = BufReader::new(socket);
    socket.write_all(format!("{command}\n").as_bytes()).await?;
    let mut line = String::new();
    socket.read_line(&mut line).await?;
    match serde_json::from_str(&line)? {
        Answer::Ok(answer) => Ok(answer),
        Answer::Refused { error } => Err(io::Error::other(error)),
    }
}

/// Asks the shim behind the socket at `path` for `count` listening sockets on `address`, as a program under a shim
/// does (`SLIPWAY_SHIM_SOCKET` tells the path). They are non-blocking. Returns the address with its real port, too.
/// Blocks, for at most some seconds.
pub fn listen(path: &Path, address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    #[derive(Deserialize)]
    struct Listening {
        address: SocketAddr,
    }
    let (line, sockets) = super::sockets::exchange(path, &format!("listen {address} {count}"))?;
    match serde_json::from_slice(&line)? {
        Answer::Ok(Listening { address }) => Ok((address, sockets.into_iter().map(TcpListener::from).collect())),
        Answer::Refused { error } => Err(io::Error::other(error)),
    }
}
