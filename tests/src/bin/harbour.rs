//! The application the stories deploy: real HTTP, WebSocket and uploads, and faults on demand.
//!
//! It answers with what its release says: the files `marker.txt` (shown on `/`) and `faults.txt` (words such as
//! `unhealthy`, `crash`, `slow-start`, `errors`) in its working folder, so that each release of a story behaves
//! in its own way.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{
        Query, State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::StatusCode,
    response::IntoResponse,
    routing::{get, post},
};
use futures_util::StreamExt;
use tokio::sync::watch;

#[derive(Clone)]
struct App {
    marker: String,
    faults: String,
    stopping: watch::Receiver<bool>,
}

#[derive(serde::Deserialize)]
struct Slow {
    #[serde(default)]
    ms: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let read = |name: &str| std::fs::read_to_string(name).unwrap_or_default().trim().to_owned();
    let faults = read("faults.txt");
    if std::env::args().nth(1).as_deref() == Some("tick") {
        println!("tick of {}", read("marker.txt"));
        return;
    }
    if std::env::args().nth(1).as_deref() == Some("take") {
        take_event(&read("marker.txt"));
        return;
    }
    println!("harbour {} starts with secret {}", read("marker.txt"), std::env::var("API_SECRET").unwrap_or_default());
    if faults.contains("crash") {
        eprintln!("cannot open the harbour: the pier is gone");
        std::process::exit(3);
    }
    if faults.contains("slow-start") {
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    let (stop, stopping) = watch::channel(false);
    let app = App { marker: read("marker.txt"), faults, stopping: stopping.clone() };
    let router = Router::new()
        .route("/", get(async |State(app): State<App>| app.marker))
        .route("/health", get(health))
        .route("/work", get(work))
        .route("/upload", post(upload))
        .route("/echo", get(echo))
        .route("/pid", get(async || std::process::id().to_string()))
        .route("/host", get(async || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default()))
        .route("/ships", get(async || told(ships(false).await)))
        .route("/ships/add", get(async || told(ships(true).await)))
        .route("/visits", get(async || told(visits().await)))
        .route("/letters", get(async |Query(of)| told(letters(of, false).await)))
        .route("/letters/add", get(async |Query(of)| told(letters(of, true).await)))
        .route("/letters/take", get(async |Query(of)| told(take_letter(of).await)))
        .route("/bucket", get(async || bucket()))
        .route("/env", get(async || std::env::var("GREETING").unwrap_or_default()))
        .route("/memory", get(async || memory_limit()))
        .route("/neighbour", get(async || neighbour().await))
        .with_state(app);
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(4000);
    let host = std::env::var("HOST").ok().and_then(|host| host.parse().ok()).unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let listener = match tokio::net::TcpListener::bind(SocketAddr::new(host, port)).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on {port}: {error}");
            std::process::exit(2);
        }
    };
    let mut term = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            eprintln!("cannot wait for TERM: {error}");
            std::process::exit(2);
        }
    };
    let shutdown = async move {
        term.recv().await;
        println!("harbour closes");
        // Tells the open WebSockets, which say goodbye to their clients.
        let _ = stop.send(true);
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(shutdown).await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

/// Bytes this process may use, as its control group says.
fn memory_limit() -> String {
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let read = files.into_iter().find_map(|file| std::fs::read_to_string(file).ok());
    read.unwrap_or_default().trim().to_owned()
}

/// What the service `plain`, which this one needs, answers.
async fn neighbour() -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let asked = async {
        let url = std::env::var("PLAIN_URL").map_err(|error| error.to_string())?;
        let address = url.strip_prefix("http://").unwrap_or(&url).to_owned();
        let mut stream = tokio::net::TcpStream::connect(&address).await.map_err(|error| error.to_string())?;
        let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(answer.rsplit("\r\n").next().unwrap_or_default().to_owned())
    };
    asked.await.unwrap_or_else(|error| format!("no answer: {error}"))
}

async fn health(State(app): State<App>) -> impl IntoResponse {
    if app.faults.contains("unhealthy") {
        return (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"unhealthy","reason":"the tide is out"}"#);
    }
    (StatusCode::OK, r#"{"status":"healthy"}"#)
}

async fn work(State(app): State<App>, Query(slow): Query<Slow>) -> impl IntoResponse {
    if slow.ms > 0 {
        tokio::time::sleep(Duration::from_millis(slow.ms)).await;
    }
    if app.faults.contains("errors") {
        return (StatusCode::INTERNAL_SERVER_ERROR, "the crane is broken".to_owned());
    }
    (StatusCode::OK, app.marker)
}

fn told(answer: Result<String, Box<dyn std::error::Error + Send + Sync>>) -> (StatusCode, String) {
    answer.map_or_else(|error| (StatusCode::BAD_GATEWAY, error.to_string()), |text| (StatusCode::OK, text))
}

/// How many ships the database `DATABASE_URL` has, one more if asked.
async fn ships(add: bool) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    use sqlx::Connection;
    let mut database = sqlx::PgConnection::connect(&std::env::var("DATABASE_URL")?).await?;
    if add {
        sqlx::query("INSERT INTO ships (name) VALUES ('Argo')").execute(&mut database).await?;
    }
    let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM ships").fetch_one(&mut database).await?;
    database.close().await?;
    Ok(count.to_string())
}

/// A queue at the broker `AMQP_URL`.
#[derive(serde::Deserialize)]
struct Letters {
    #[serde(default = "Letters::usual")]
    queue: String,
}

impl Letters {
    fn usual() -> String {
        "letters".to_owned()
    }
}

/// How many letters a queue holds, one more if asked.
async fn letters(of: Letters, add: bool) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    Ok(stories::amqp::letters(&std::env::var("AMQP_URL")?, &of.queue, add).await?.to_string())
}

/// Whether there was a letter to take out of a queue.
async fn take_letter(of: Letters) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    Ok(stories::amqp::take(&std::env::var("AMQP_URL")?, &of.queue).await?.to_string())
}

/// How the bucket is reached: endpoint, name, key and secret.
fn bucket() -> String {
    let names = ["S3_ENDPOINT", "S3_BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    names.map(|name| std::env::var(name).unwrap_or_default()).join(" ")
}

/// As a function: leaves a note of its event among the data.
fn take_event(marker: &str) {
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    let inside = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
    let note = format!("{} {} by {marker} under {}", of("CE_TYPE"), of("CE_SUBJECT"), inside.trim());
    println!("took {note}");
    let path = std::path::Path::new(&of("SLIPWAY_DATA")).join(format!("took-{}", of("CE_ID").replace('/', "-")));
    if let Err(error) = std::fs::write(&path, note) {
        eprintln!("cannot write {}: {error}", path.display());
        std::process::exit(1);
    }
}

/// How often this was asked, counted in the cache `REDIS_URL`.
async fn visits() -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let url = std::env::var("REDIS_URL")?;
    let (password, place) = url.trim_start_matches("redis://:").split_once('@').ok_or("no password")?;
    let mut stream = tokio::net::TcpStream::connect(place.trim_end_matches("/0")).await?;
    stream.write_all(format!("AUTH {password}\r\nINCR visits\r\nQUIT\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let count = answer.lines().find_map(|line| line.strip_prefix(':'));
    Ok(count.ok_or_else(|| answer.clone())?.to_owned())
}

/// Answers with how many bytes came and their sum, so that a client knows that each one arrived.
async fn upload(body: Body) -> impl IntoResponse {
    let (mut count, mut sum) = (0u64, 0u64);
    let mut stream = body.into_data_stream();
    while let Some(chunk) = stream.next().await {
        let Ok(chunk) = chunk else {
            return (StatusCode::BAD_REQUEST, "the upload broke off".to_owned());
        };
        count += chunk.len() as u64;
        sum += chunk.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    }
    (StatusCode::OK, format!("{count} {sum}"))
}

async fn echo(State(app): State<App>, upgrade: WebSocketUpgrade) -> impl IntoResponse {
    upgrade.on_upgrade(move |socket| talk(socket, app.stopping))
}

/// Sends back what comes; at the end of the process it closes with 1001 "going away", as a good server does.
async fn talk(mut socket: WebSocket, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return,
            },
            _ = stopping.changed() => {
                let frame = axum::extract::ws::CloseFrame { code: 1001, reason: "going away".into() };
                let _ = socket.send(Message::Close(Some(frame))).await;
                return;
            }
        }
    }
}
