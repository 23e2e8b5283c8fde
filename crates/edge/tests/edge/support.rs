//! What all tests need: an edge in a temporary folder, instances of every kind, and a client that hides nothing.

use std::{
    collections::BTreeMap,
    future::Future,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use edge::{
    Edge, Options,
    control::{Drain, Status},
    table::{Action, Listener, PathRule, Pool, Table, Upstream},
};

/// No single wait in a test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An edge of our own.
pub(crate) struct Running {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    edge: Option<Edge>,
    version: AtomicU64,
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::with(&Options { workers: 2, finish: Duration::from_secs(10), ..Options::default() })
    }

    pub(crate) fn with(options: &Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let edge = Edge::start(folder.path(), options).unwrap();
        Self { folder, address: free_address(), edge: Some(edge), version: AtomicU64::new(0) }
    }

    /// One listener with these rules for any host.
    pub(crate) fn table(&self, rules: Vec<PathRule>, pools: &[(&str, Pool)]) -> Table {
        Table {
            version: self.version.fetch_add(1, Ordering::SeqCst) + 1,
            listeners: vec![Listener { address: self.address, hosts: BTreeMap::new(), fallback: Some(rules) }],
            pools: pools.iter().map(|(id, pool)| ((*id).to_owned(), pool.clone())).collect(),
            ..Table::default()
        }
    }

    /// `/` goes to these instances.
    pub(crate) fn serve(&self, upstreams: Vec<Upstream>) -> Status {
        self.put(&self.table(vec![to_pool("/", "p")], &[("p", pool(upstreams))]))
    }

    pub(crate) fn put(&self, table: &Table) -> Status {
        let (status, body) = self.call("PUT", "/table", &serde_json::to_string(table).unwrap());
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) fn status(&self) -> Status {
        serde_json::from_str(&self.call("GET", "/status", "").1).unwrap()
    }

    pub(crate) fn drain(&self, ids: &[&str], deadline: Duration) -> Status {
        let drain = Drain {
            upstreams: ids.iter().map(|id| (*id).to_owned()).collect(),
            deadline_ms: u64::try_from(deadline.as_millis()).unwrap(),
        };
        serde_json::from_str(&self.call("POST", "/drain", &serde_json::to_string(&drain).unwrap()).1).unwrap()
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        control(&self.folder.path().join("control.sock"), method, path, body)
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.client().get(path)
    }

    /// Ends the edge, at once if it was started with no time to finish.
    pub(crate) fn kill(&mut self) {
        if let Some(mut edge) = self.edge.take() {
            edge.quit();
            edge.wait();
        }
    }

    /// Waits until the edge has left by itself or by `POST /quit`.
    pub(crate) fn wait(&mut self) {
        self.edge.take().unwrap().wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut edge) = self.edge.take() {
            edge.quit();
        }
    }
}

/// One call over a control socket.
pub(crate) fn control(socket: &Path, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: edge\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(crate) fn pool(upstreams: Vec<Upstream>) -> Pool {
    Pool { upstreams, probe: None, hold: Duration::ZERO }
}

pub(crate) fn upstream(id: &str, address: SocketAddr) -> Upstream {
    Upstream { id: id.to_owned(), address, revision: "r1".to_owned(), weight: 1, peer: None }
}

pub(crate) fn to_pool(path: &str, pool: &str) -> PathRule {
    rule(path, Action::Pool(pool.to_owned()))
}

pub(crate) fn rule(path: &str, action: Action) -> PathRule {
    PathRule { websocket: true, ..PathRule::new(path, action, format!("test{path}")) }
}

/// A connection that writes what it is told and reads what comes.
pub(crate) struct Client {
    pub(crate) stream: BufReader<TcpStream>,
}

/// What came.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(one, _)| one == name).map(|(_, value)| value.as_str()).collect()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::from_stream(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn from_stream(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.get_with(path, "")
    }

    /// `extra` holds whole header lines.
    pub(crate) fn get_with(&mut self, path: &str, extra: &str) -> Answer {
        self.ask("GET", path, extra)
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, extra: &str) -> Answer {
        self.write(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{extra}\r\n"));
        self.answer(method)
    }

    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Answer {
        self.write(format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len()));
        self.write(body);
        self.answer("POST")
    }

    /// The next answer, to a request with this method.
    pub(crate) fn answer(&mut self, method: &str) -> Answer {
        self.try_answer(method).unwrap()
    }

    pub(crate) fn try_answer(&mut self, method: &str) -> std::io::Result<Answer> {
        let mut answer = self.head()?;
        if answer.status == 100 {
            answer = self.head()?;
        }
        let bodyless = method == "HEAD" || matches!(answer.status, 101 | 204 | 304);
        if bodyless {
        } else if answer.header("transfer-encoding").is_some() {
            loop {
                let line = self.line()?;
                let size =
                    usize::from_str_radix(line.split(';').next().unwrap().trim(), 16).map_err(std::io::Error::other)?;
                if size == 0 {
                    break;
                }
                let start = answer.body.len();
                answer.body.resize(start + size, 0);
                self.stream.read_exact(&mut answer.body[start..])?;
                self.line()?;
            }
            loop {
                let line = self.line()?;
                let Some((name, value)) = line.split_once(':') else { break };
                answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        } else if let Some(length) = answer.header("content-length") {
            answer.body.resize(length.parse().unwrap(), 0);
            self.stream.read_exact(&mut answer.body)?;
        } else {
            self.stream.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// The head of the next answer.
    pub(crate) fn head(&mut self) -> std::io::Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("not a status line: {first:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Answer { status, headers, body: Vec::new() })
    }

    pub(crate) fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Everything until the other side closes.
    pub(crate) fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).map(|_| rest)
    }
}

/// An axum application on its own thread; it ends with the value.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl App {
    pub(crate) fn start(router: axum::Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, router)
    }

    pub(crate) fn on(listener: TcpListener, router: axum::Router) -> Self {
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = async { axum::serve(listener, router).await } => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { address, stop: Some(stop) }
    }

    /// Answers every request with `text`.
    pub(crate) fn saying(text: &'static str) -> Self {
        Self::start(axum::Router::new().fallback(move || async move { text }))
    }

    /// Answers with the request's head as it arrived, one header per line.
    pub(crate) fn echoing() -> Self {
        Self::start(axum::Router::new().fallback(|request: axum::extract::Request| async move {
            let mut text = format!("{} {}\n", request.method(), request.uri());
            for (name, value) in request.headers() {
                text = text + name.as_str() + ": " + value.to_str().unwrap_or("?") + "\n";
            }
            text
        }))
    }

    /// Closes the listener and every connection at once.
    pub(crate) fn kill(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        eventually("the port is closed", || TcpStream::connect(self.address).is_err());
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

/// An instance that does with each connection what it is told.
pub(crate) struct RawApp {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicU64>,
}

impl RawApp {
    /// `serve` gets the connection and its number from 0.
    pub(crate) fn start(serve: impl Fn(Client, u64) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicU64::new(0));
        let (serve, count) = (Arc::new(serve), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let (serve, client) = (Arc::clone(&serve), Client::from_stream(stream.unwrap()));
                std::thread::spawn(move || serve(client, number));
            }
        });
        Self { address, connections }
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Client {
    /// As an instance: the head of the next request, its lines joined by line feeds; `None` at the end.
    pub(crate) fn request(&mut self) -> Option<String> {
        let mut head = String::new();
        loop {
            let line = self.line().ok()?;
            if line.is_empty() {
                return Some(head);
            }
            head += &line;
            head.push('\n');
        }
    }

    /// As an instance: answers 200 with a length.
    pub(crate) fn reply(&mut self, body: &str) {
        self.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    }
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a future with a deadline.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("took too long") })
}
