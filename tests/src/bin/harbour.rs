//! The application the stories deploy: real HTTP, WebSocket and uploads, and faults on demand.
//!
//! It answers with what its release says: the files `marker.txt` (shown on `/`) and `faults.txt` (words such as
//! `unhealthy`, `crash`, `slow-start`, `errors`) in its working folder, so that each release of a story behaves
//! in its own way.

use std::{net::SocketAddr, time::Duration};

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
        .route("/env", get(async || std::env::var("GREETING").unwrap_or_default()))
        .with_state(app);
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(4000);
    let listener = match tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await {
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
