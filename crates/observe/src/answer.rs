//! Asks an address as a visitor does: by name, over TLS where it says so.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Empty;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::probe::{ProbeFailure, over, plain};

/// Asks `url` (`http` or `https`) once with GET, and returns how long the whole answer took.
///
/// With `at`, the one who listens there is asked over plain HTTP, whatever the name resolves to: an edge that a name does
/// not lead to yet. Connecting, asking and reading the answer all count towards `within`; at most 64 KiB are read.
/// Redirects are good answers and are not followed. Fails when nothing listens, the certificate is not one that visitors
/// trust, the answer is late, is not HTTP, or is not 200 to 399.
pub async fn answers(url: &str, at: Option<SocketAddr>, within: Duration) -> Result<Duration, ProbeFailure> {
    let began = Instant::now();
    match tokio::time::timeout(within, exchange(url, at)).await {
        Ok(Ok(())) => Ok(began.elapsed()),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(ProbeFailure::Timeout(within)),
    }
}

async fn exchange(url: &str, at: Option<SocketAddr>) -> Result<(), ProbeFailure> {
    let wrong = || ProbeFailure::Broken(format!("`{url}` is not an address that can be asked"));
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(wrong()),
    };
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, authority.as_str())
        .header(header::USER_AGENT, "slipway-gate/1")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| wrong())?;
    let failed = |error: std::io::Error| ProbeFailure::Connect(plain(&error));
    if let Some(at) = at {
        return over(TcpStream::connect(at).await.map_err(failed)?, request).await;
    }
    let host = uri.host().ok_or_else(wrong)?.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
    if !secure {
        return over(stream, request).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
    let stream = TlsConnector::from(trust()?).connect(name, stream).await.map_err(failed)?;
    over(stream, request).await
}

/// The certificates that this machine trusts.
fn trust() -> Result<Arc<ClientConfig>, ProbeFailure> {
    let cannot = |why: String| ProbeFailure::Connect(format!("no certificates to trust: {why}"));
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(|| "install ca-certificates".to_owned(), ToString::to_string);
        return Err(cannot(why));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| cannot(error.to_string()))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(5);

    /// Answers every connection alike and tells what it was asked.
    async fn server(answer: &'static str) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut block = [0; 4096];
                let length = stream.read(&mut block).await.unwrap_or(0);
                let _ = tell.send(String::from_utf8_lossy(&block[..length]).into_owned());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (address, told)
    }

    #[tokio::test]
    async fn an_edge_is_asked_for_a_name_that_does_not_lead_to_it() {
        let (edge, mut told) = server("HTTP/1.1 204 No Content\r\n\r\n").await;
        answers("https://shop.example/health?full=1", Some(edge), SECOND).await.unwrap();
        let asked = told.recv().await.unwrap();
        assert!(asked.starts_with("GET /health?full=1 HTTP/1.1\r\nhost: shop.example\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn bad_answers_are_told() {
        let (address, _told) = server("HTTP/1.1 500 Broken\r\ncontent-length: 5\r\n\r\nno db").await;
        let url = format!("http://{address}/");
        assert_eq!(answers(&url, None, SECOND).await.unwrap_err().to_string(), "answered 500: no db");
        let refused = answers(&format!("https://{address}/"), None, SECOND).await.unwrap_err();
        assert!(refused.to_string().starts_with("no connection: "), "{refused}");
        for bad in ["ftp://shop.example/", "/health", "http://"] {
            assert!(matches!(answers(bad, None, SECOND).await, Err(ProbeFailure::Broken(_))), "{bad}");
        }
    }
}
