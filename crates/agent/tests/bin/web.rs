//! A small service on `PORT`, as an application would be.

use std::{collections::BTreeMap, io::Write, process::ExitCode, time::Duration};

use axum::{
    Json, Router,
    extract::Path,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};

/// Serves until TERM, then finishes what is in flight.
pub(crate) fn serve() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let port: u16 = std::env::var("PORT").expect("PORT").parse().expect("a port");
        println!("starts with secret {}", std::env::var("TOKEN").unwrap_or_default());
        let router = Router::new()
            .route("/", get(async || format!("pid {}", std::process::id())).post(take))
            .route("/health", get(health))
            .route("/env", get(async || Json(std::env::vars().collect::<BTreeMap<_, _>>())))
            .route("/slow/{millis}", get(slow))
            .route("/call/{service}", get(call))
            .route("/exit/{code}", post(async |Path(code): Path<i32>| -> String { std::process::exit(code) }));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        println!("listens on {port}");
        let term = async {
            let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals");
            term.recv().await;
            println!("was told to end");
        };
        axum::serve(listener, router).with_graceful_shutdown(term).await.expect("an end");
    });
    ExitCode::SUCCESS
}

/// Well unless the file `unwell` lies in the data folder.
async fn health() -> (StatusCode, &'static str) {
    let data = std::env::var("SLIPWAY_DATA").unwrap_or_default();
    if std::path::Path::new(&data).join("unwell").exists() {
        return (StatusCode::SERVICE_UNAVAILABLE, "unwell");
    }
    (StatusCode::OK, "well")
}

/// Keeps an event that was posted; what the file `mood` says is the answer's status.
async fn take(headers: HeaderMap, body: String) -> StatusCode {
    let data = std::env::var("SLIPWAY_DATA").unwrap_or_default();
    let data = std::path::Path::new(&data);
    let id = serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default()["id"].clone();
    let kind = headers.get("content-type").map(|kind| kind.to_str().unwrap_or_default().to_owned());
    let mut log = std::fs::OpenOptions::new().create(true).append(true).open(data.join("posts")).expect("a log");
    writeln!(log, "{} {}", id.as_str().unwrap_or_default(), kind.unwrap_or_default()).expect("a line");
    let mood = std::fs::read_to_string(data.join("mood")).unwrap_or_default();
    if let Ok(status) = mood.trim().parse() {
        return StatusCode::from_u16(status).expect("a status");
    }
    std::fs::write(data.join(format!("posted-{}", id.as_str().unwrap_or_default())), body).expect("a file");
    StatusCode::NO_CONTENT
}

async fn slow(Path(millis): Path<u64>) -> String {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    format!("pid {}", std::process::id())
}

/// What another service of the release answers.
async fn call(Path(service): Path<String>) -> String {
    let url = std::env::var(format!("{}_URL", service.to_uppercase())).unwrap_or_default();
    let authority = url.strip_prefix("http://").unwrap_or_default().to_owned();
    let asked = async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(&authority).await?;
        let request = format!("GET / HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match asked.await {
        Ok(answer) => answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned(),
        Err(error) => format!("cannot ask {url}: {error}"),
    }
}
