//! The access log: one JSON line per request, off unless a file is named, never waited for.

use std::{
    fs::OpenOptions,
    io::{BufWriter, Write},
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use http::{Request, StatusCode};
use hyper::body::Incoming;

use crate::connection::Visitor;

/// Lines that may wait for the disk; more are dropped, because visitors must not wait for it.
const WAITING: usize = 4096;

/// A worker's end of the log.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog(SyncSender<String>);

/// What is noted when a request begins.
#[derive(Debug)]
pub(crate) struct Entry {
    client: String,
    method: String,
    host: String,
    /// Without the query, which may hold secrets.
    path: String,
}

impl Entry {
    pub(crate) fn begin(visitor: &Visitor, request: &Request<Incoming>) -> Self {
        let header = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
        Self {
            client: visitor.peer.ip().to_string(),
            method: request.method().to_string(),
            host: request.uri().authority().map(http::uri::Authority::as_str).or(header).unwrap_or("").to_owned(),
            path: request.uri().path().to_owned(),
        }
    }
}

impl AccessLog {
    /// Appends to `path`, from a thread of its own that ends with the last clone.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (sender, lines) = sync_channel(WAITING);
        std::thread::Builder::new().name("edge-access".into()).spawn(move || write_lines(&lines, file))?;
        Ok(Self(sender))
    }

    pub(crate) fn write(&self, entry: &Entry, status: StatusCode, took: Duration) {
        let line = serde_json::json!({
            "at": jiff::Timestamp::now().to_string(),
            "client": entry.client,
            "method": entry.method,
            "host": entry.host,
            "path": entry.path,
            "status": status.as_u16(),
            "ms": took.as_secs_f64() * 1000.0,
        });
        let _ = self.0.try_send(line.to_string()); // full: the line is lost, not the visitor's time
    }
}

/// Writes until all senders are gone; flushes whenever it has caught up.
fn write_lines(lines: &Receiver<String>, file: std::fs::File) {
    let mut file = BufWriter::new(file);
    while let Ok(first) = lines.recv() {
        let _ = writeln!(file, "{first}");
        while let Ok(line) = lines.try_recv() {
            let _ = writeln!(file, "{line}");
        }
        let _ = file.flush();
    }
}
