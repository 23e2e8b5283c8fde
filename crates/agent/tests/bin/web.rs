//! A small service on `PORT`, as an application would be.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use axum::{
    Json, Router,
    extract::Path,
    http::StatusCode,
    routing::{get, post},
};

/// Serves until TERM, then finishes what is in flight.
pub(crate) fn serve() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let port: u16 = std::env::var("PORT").expect("PORT").parse().expect("a port");
        println!("starts with secret {}", std::env::var("TOKEN").unwrap_or_default());
        let router = Router::new()
            .route("/", get(async || format!("pid {}", std::process::id())))
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
