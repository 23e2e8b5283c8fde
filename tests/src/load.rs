//! Visitors: steady keep-alive requests, slow uploads and WebSockets, all checked answer by answer.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{Request, body::Frame, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

/// Between two requests of a steady client: a hundred clients do not keep this machine busy.
const PAUSE: Duration = Duration::from_millis(20);

/// Load that goes on until [`Load::stop`].
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    requests: AtomicU64,
    uploads: AtomicU64,
    echoes: AtomicU64,
    goodbyes: AtomicU64,
    slowest: AtomicU64,
    failures: Mutex<Vec<String>>,
    markers: Mutex<Vec<String>>,
}

/// What the visitors saw.
#[derive(Debug)]
pub struct Report {
    /// Answered requests.
    pub requests: u64,
    /// Uploads whose every byte arrived.
    pub uploads: u64,
    /// WebSocket messages that came back.
    pub echoes: u64,
    /// WebSockets the application closed with 1001.
    pub goodbyes: u64,
    /// The longest that a request waited for its answer.
    pub slowest: Duration,
    /// Everything that was not as it should be.
    pub failures: Vec<String>,
    /// Bodies of `/work` in the order they first appeared.
    pub markers: Vec<String>,
}

impl Load {
    /// Starts `clients` keep-alive clients, one slow upload after the other, and one WebSocket.
    pub fn start(address: SocketAddr, host: &'static str, clients: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let inner = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                for _ in 0..clients {
                    tasks.spawn(requests(Arc::clone(&inner), address, host, Duration::ZERO));
                }
                tasks.spawn(uploads(Arc::clone(&inner), address, host));
                tasks.spawn(echoes(Arc::clone(&inner), address, host));
                while tasks.join_next().await.is_some() {}
            });
        });
        Self { shared, thread: Some(thread) }
    }

    /// Starts, at each of the addresses, `clients` keep-alive clients that send a GET every few milliseconds, and nothing
    /// else: what can be sent again to another host when one is lost.
    pub fn of_gets(addresses: &[SocketAddr], host: &'static str, clients: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let (inner, addresses) = (Arc::clone(&shared), addresses.to_vec());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                for address in addresses {
                    for _ in 0..clients {
                        tasks.spawn(requests(Arc::clone(&inner), address, host, PAUSE));
                    }
                }
                while tasks.join_next().await.is_some() {}
            });
        });
        Self { shared, thread: Some(thread) }
    }

    /// Requests answered so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Failures so far.
    pub fn failures(&self) -> usize {
        self.shared.failures.lock().expect("no visitor panics").len()
    }

    /// Ends the load once what is in flight has been answered.
    pub fn stop(mut self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the visitors end well");
        }
        let take = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Report {
            requests: take(&self.shared.requests),
            uploads: take(&self.shared.uploads),
            echoes: take(&self.shared.echoes),
            goodbyes: take(&self.shared.goodbyes),
            slowest: Duration::from_millis(take(&self.shared.slowest)),
            failures: self.shared.failures.lock().expect("no visitor panics").clone(),
            markers: self.shared.markers.lock().expect("no visitor panics").clone(),
        }
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn fail(&self, what: impl std::fmt::Display) {
        self.failures.lock().expect("no visitor panics").push(format!("{} {what}", jiff::Timestamp::now()));
    }

    fn saw(&self, marker: &str) {
        let mut markers = self.markers.lock().expect("no visitor panics");
        if !markers.iter().any(|seen| seen == marker) {
            markers.push(marker.to_owned());
        }
    }
}

type Client<B> = SendRequest<B>;

async fn connect<B>(address: SocketAddr) -> Result<Client<B>, String>
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (client, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        // The request that is in flight reports the error.
        let _ = connection.await;
    });
    Ok(client)
}

/// One keep-alive client that asks again a moment after it was answered.
async fn requests(shared: Arc<Shared>, address: SocketAddr, host: &'static str, pause: Duration) {
    let mut client: Option<Client<Full<Bytes>>> = None;
    while !shared.stopped() {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let mut ready = match client.take() {
            Some(client) if !client.is_closed() => client,
            _ => match connect(address).await {
                Ok(client) => client,
                Err(error) => {
                    shared.fail(error);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        let request = Request::get("/work").header("host", host).body(Full::new(Bytes::new())).expect("a request");
        let asked = Instant::now();
        let answer = tokio::time::timeout(Duration::from_secs(30), async {
            let response = ready.send_request(request).await.map_err(|error| format!("GET /work: {error:?}"))?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|error| format!("body of /work: {error:?}"))?;
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            if status == 200 { Ok(body) } else { Err(format!("GET /work answered {status}: {body}")) }
        })
        .await
        .unwrap_or_else(|_| Err("GET /work was not answered within 30 s".to_owned()));
        match answer {
            Ok(body) => {
                shared.requests.fetch_add(1, Ordering::Relaxed);
                let millis = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
                shared.slowest.fetch_max(millis, Ordering::Relaxed);
                shared.saw(&body);
                if ready.ready().await.is_ok() {
                    client = Some(ready);
                }
            }
            Err(error) => shared.fail(error),
        }
    }
}

/// One upload after the other, each of 40 chunks over a second.
async fn uploads(shared: Arc<Shared>, address: SocketAddr, host: &'static str) {
    while !shared.stopped() {
        let chunk = Bytes::from(vec![7u8; 2048]);
        let body = StreamBody::new(futures_util::stream::unfold(0u32, move |sent| {
            let chunk = chunk.clone();
            async move {
                if sent == 40 {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
                Some((Ok::<_, Infallible>(Frame::data(chunk)), sent + 1))
            }
        }));
        let request =
            Request::post("/upload").header("host", host).body(BodyExt::boxed_unsync(body)).expect("a request");
        let answer = tokio::time::timeout(Duration::from_secs(30), async {
            let mut client = connect(address).await?;
            let response = client.send_request(request).await.map_err(|error| format!("POST /upload: {error:?}"))?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|error| format!("answer of /upload: {error:?}"))?;
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            if status == 200 && body == format!("{} {}", 40 * 2048, 40 * 2048 * 7) {
                Ok(())
            } else {
                Err(format!("POST /upload answered {status}: {body}"))
            }
        })
        .await
        .unwrap_or_else(|_| Err("POST /upload was not answered within 30 s".to_owned()));
        match answer {
            Ok(()) => {
                shared.uploads.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => shared.fail(error),
        }
    }
}

/// One WebSocket that sends and expects the same back; a goodbye (1001) is answered by coming again.
async fn echoes(shared: Arc<Shared>, address: SocketAddr, host: &'static str) {
    let mut count = 0u64;
    while !shared.stopped() {
        let Ok(stream) = TcpStream::connect(address).await else {
            shared.fail("WebSocket: no connection");
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut socket = match tokio_tungstenite::client_async(format!("ws://{host}/echo"), stream).await {
            Ok((socket, _)) => socket,
            Err(error) => {
                shared.fail(format!("WebSocket upgrade: {error}"));
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        loop {
            if shared.stopped() {
                let _ = socket.close(None).await;
                break;
            }
            count += 1;
            let text = format!("message {count}");
            if socket.send(Message::text(text.clone())).await.is_err() {
                // The goodbye may be on its way; reading tells.
            }
            match tokio::time::timeout(Duration::from_secs(10), socket.next()).await {
                Ok(Some(Ok(Message::Text(back)))) if back.as_str() == text => {
                    shared.echoes.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Some(Ok(Message::Close(Some(frame))))) if frame.code == CloseCode::Away => {
                    shared.goodbyes.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                other => {
                    shared.fail(format!("WebSocket: {text} came back as {other:?}"));
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
