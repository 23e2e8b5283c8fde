//! How one instance is asked whether it is well, and how many answers make a verdict.

use std::{fmt::Write as _, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};

/// Bytes of an answer that are read at most; what a health endpoint has to say fits well into it.
const LONGEST_BODY: usize = 64 * 1024;

/// Characters of a bad answer that a [`ProbeFailure::Status`] carries.
const SHOWN: usize = 200;

/// How an address is asked for its health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Path of an HTTP GET that must answer 200 to 399; `None`: accepting a TCP connection counts.
    pub path: Option<String>,
    /// Time between two probes.
    pub every: Duration,
    /// A slower answer counts as none.
    pub timeout: Duration,
    /// Good answers in a row until healthy.
    pub up: u32,
    /// Bad answers in a row until unhealthy.
    pub down: u32,
}

/// Why a probe failed, in words for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ProbeFailure {
    /// Nothing listens or the connection broke.
    #[error("no connection: {0}")]
    Connect(String),
    /// Something answered, but not in HTTP.
    #[error("no HTTP answer: {0}")]
    Broken(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer was not 200 to 399.
    #[error("answered {status}{}{body}", if body.is_empty() { "" } else { ": " })]
    Status {
        /// HTTP status code.
        status: u16,
        /// The first 200 characters of the body, on one line.
        body: String,
    },
}

/// Asks `address` once and returns how long the whole answer took.
///
/// Never takes longer than `probe.timeout`: connecting, asking and reading the answer all count. At most 64 KiB of
/// the answer are read. Redirects are good answers and are not followed. Fails when nothing listens, the answer is
/// late, is not HTTP, or is not 200 to 399.
pub async fn ask(address: SocketAddr, probe: &Probe) -> Result<Duration, ProbeFailure> {
    let began = Instant::now();
    match tokio::time::timeout(probe.timeout, exchange(address, probe.path.as_deref())).await {
        Ok(Ok(())) => Ok(began.elapsed()),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(ProbeFailure::Timeout(probe.timeout)),
    }
}

async fn exchange(address: SocketAddr, path: Option<&str>) -> Result<(), ProbeFailure> {
    let stream = TcpStream::connect(address).await.map_err(|error| ProbeFailure::Connect(plain(&error)))?;
    let Some(path) = path else { return Ok(()) };
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::USER_AGENT, "slipway-probe/1")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| ProbeFailure::Broken(format!("`{path}` is not a path that can be asked for")))?;

    over(stream, request).await
}

/// Asks over an open connection.
pub(crate) async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Empty<Bytes>>,
) -> Result<(), ProbeFailure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let body = read(response.into_body()).await.map_err(|error| broken(&error))?;
        if (200..400).contains(&status) {
            return Ok(());
        }
        Err(ProbeFailure::Status { status, body: excerpt(&body) })
    };
    // The connection is driven here rather than in a task of its own, so that dropping this future closes it. It may
    // end before the last piece of the body has been taken, which is no reason to stop.
    tokio::pin!(answer, connection);
    let mut open = true;
    loop {
        tokio::select! {
            result = &mut answer => return result,
            _ = &mut connection, if open => open = false,
        }
    }
}

/// Reads a body up to its end or [`LONGEST_BODY`], whichever comes first.
async fn read(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut seen = Vec::new();
    while seen.len() < LONGEST_BODY
        && let Some(frame) = body.frame().await
    {
        if let Ok(data) = frame?.into_data() {
            seen.extend_from_slice(&data[..data.len().min(LONGEST_BODY - seen.len())]);
        }
    }
    Ok(seen)
}

/// The first [`SHOWN`] characters of a body as one line without control characters.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut line = String::new();
    for character in text.split_whitespace().flat_map(|word| word.chars().chain([' '])).take(SHOWN) {
        line.push(if character.is_control() { '\u{fffd}' } else { character });
    }
    line.truncate(line.trim_end().len());
    line
}

/// An I/O error as a person says it: `connection refused`, not `Connection refused (os error 111)`.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// A hyper error with its causes; hyper's own text leaves them out.
fn broken(error: &hyper::Error) -> ProbeFailure {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        // writing to a string cannot fail
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    ProbeFailure::Broken(text)
}

/// A verdict that turned over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Was unhealthy, is healthy now.
    Up,
    /// Was healthy, is unhealthy now.
    Down,
}

/// Turns single answers into a verdict that does not flap: only `up` good answers in a row make healthy, only `down`
/// bad ones in a row make unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    up: u32,
    down: u32,
    healthy: bool,
    /// Answers in a row that contradict the verdict.
    against: u32,
}

impl Threshold {
    /// Begins with the verdict `initially`; `up` and `down` are answers in a row, and 0 counts as 1.
    pub fn new(up: u32, down: u32, initially: bool) -> Self {
        Self { up: up.max(1), down: down.max(1), healthy: initially, against: 0 }
    }

    /// Takes one answer and says whether it turned the verdict over.
    pub fn record(&mut self, ok: bool) -> Option<Change> {
        if ok == self.healthy {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        if self.against < if ok { self.up } else { self.down } {
            return None;
        }
        self.healthy = ok;
        self.against = 0;
        Some(if ok { Change::Up } else { Change::Down })
    }

    /// The verdict.
    pub fn healthy(&self) -> bool {
        self.healthy
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn probe(path: Option<&str>, timeout: Duration) -> Probe {
        Probe { path: path.map(str::to_owned), every: Duration::from_secs(10), timeout, up: 2, down: 3 }
    }

    /// A server that answers one connection with `answer`, and hands back what it was asked.
    async fn answering(answer: &'static [u8], then_hang: bool) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                    break;
                }
                request.extend(byte);
            }
            // the asker may have gone
            let _ = stream.write_all(answer).await;
            if then_hang {
                let _ = stream.read(&mut [0]).await;
            }
            String::from_utf8(request).unwrap()
        });
        (address, asked)
    }

    const SECOND: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn asks_as_a_polite_client_and_takes_200() {
        let (address, asked) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", true).await;
        let took = ask(address, &probe(Some("/health?full=1"), SECOND)).await.unwrap();
        assert!(took < SECOND);
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("GET /health?full=1 HTTP/1.1\r\n"), "{asked}");
        for line in [&format!("host: {address}\r\n"), "user-agent: slipway-probe/1\r\n", "connection: close\r\n"] {
            assert!(asked.contains(line), "{line} in {asked}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_a_good_answer() {
        let (address, _) = answering(b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", true).await;
        ask(address, &probe(Some("/"), SECOND)).await.unwrap();
    }

    #[tokio::test]
    async fn a_body_that_ends_with_the_connection_is_read() {
        let (address, _) = answering(b"HTTP/1.1 200 OK\r\n\r\nhello", false).await;
        ask(address, &probe(Some("/"), SECOND)).await.unwrap();
    }

    #[tokio::test]
    async fn a_503_is_reported_with_the_start_of_its_body() {
        let (address, _) =
            answering(b"HTTP/1.0 503 Service Unavailable\r\n\r\n{\"status\":\n  \"unhealthy\"}\x1b[2J\n", false).await;
        let failure = ask(address, &probe(Some("/health"), SECOND)).await.unwrap_err();
        assert_eq!(failure.to_string(), "answered 503: {\"status\": \"unhealthy\"}\u{fffd}[2J");
    }

    #[tokio::test]
    async fn a_long_bad_answer_is_cut() {
        let long = format!("HTTP/1.0 500 X\r\n\r\n{}", "a".repeat(2_000_000));
        let (address, _) = answering(long.leak().as_bytes(), false).await;
        let failure = ask(address, &probe(Some("/"), SECOND)).await.unwrap_err();
        assert_eq!(failure, ProbeFailure::Status { status: 500, body: "a".repeat(200) });
    }

    #[tokio::test]
    async fn nothing_listens() {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for path in [None, Some("/")] {
            let failure = ask(address, &probe(path, SECOND)).await.unwrap_err();
            assert_eq!(failure.to_string(), "no connection: connection refused");
        }
    }

    #[tokio::test]
    async fn accepting_counts_when_there_is_no_path() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ask(listener.local_addr().unwrap(), &probe(None, SECOND)).await.unwrap();
    }

    #[tokio::test]
    async fn silence_and_an_endless_body_are_timeouts() {
        let timeout = Duration::from_millis(80);
        for answer in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"] {
            let (address, _) = answering(answer, true).await;
            let failure = ask(address, &probe(Some("/"), timeout)).await.unwrap_err();
            assert_eq!(failure, ProbeFailure::Timeout(timeout));
        }
        assert_eq!(ProbeFailure::Timeout(Duration::from_secs(2)).to_string(), "no answer within 2s");
    }

    #[tokio::test]
    async fn what_is_not_http_is_said_to_be_so() {
        let (address, _) = answering(b"220 mail.example ESMTP\r\n", false).await;
        let failure = ask(address, &probe(Some("/"), SECOND)).await.unwrap_err();
        assert!(matches!(failure, ProbeFailure::Broken(_)), "{failure:?}");
        let failure = ask(address, &probe(Some("not a path"), SECOND)).await.unwrap_err();
        assert!(matches!(failure, ProbeFailure::Connect(_) | ProbeFailure::Broken(_)), "{failure:?}");
    }

    #[test]
    fn two_good_make_up_and_three_bad_make_down() {
        // proves S4.10
        let mut threshold = Threshold::new(2, 3, false);
        assert_eq!(threshold.record(true), None);
        assert_eq!(threshold.record(false), None);
        assert_eq!(threshold.record(true), None);
        assert_eq!(threshold.record(true), Some(Change::Up));
        assert_eq!(threshold.record(false), None);
        assert_eq!(threshold.record(false), None);
        assert_eq!(threshold.record(true), None);
        assert_eq!(threshold.record(false), None);
        assert_eq!(threshold.record(false), None);
        assert_eq!(threshold.record(false), Some(Change::Down));
        assert!(!threshold.healthy());
    }

    proptest! {
        /// The verdict after any history is what the history says when read from its end.
        #[test]
        fn the_verdict_follows_from_the_history(
            up in 0u32..5, down in 0u32..5, initially: bool, answers in prop::collection::vec(any::<bool>(), 0..60),
        ) {
            let mut threshold = Threshold::new(up, down, initially);
            let mut verdict = initially;
            for (index, &ok) in answers.iter().enumerate() {
                let in_a_row = answers[..=index].iter().rev().take_while(|&&answer| answer == ok).count();
                let needed = if ok { up } else { down }.max(1) as usize;
                let before = verdict;
                if in_a_row >= needed {
                    verdict = ok;
                }
                let change = threshold.record(ok);
                prop_assert_eq!(threshold.healthy(), verdict);
                prop_assert_eq!(change.is_some(), before != verdict);
                prop_assert_eq!(change == Some(Change::Up), before != verdict && verdict);
            }
        }
    }
}
