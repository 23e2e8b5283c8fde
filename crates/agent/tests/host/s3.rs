//! A small client of S3 that signs by itself, so that nothing of the server's library is asked whether it is right.
//! Source: AWS Signature Version 4, "Signature calculations for the Authorization header" and "query parameters".

use std::{collections::BTreeMap, fmt::Write, net::SocketAddr};

use s3s::crypto::{Checksum, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) struct S3 {
    /// Where requests go.
    pub(crate) address: SocketAddr,
    /// What they say they go to.
    pub(crate) host: String,
    access: String,
    secret: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The texts of all elements of a name, in order.
    pub(crate) fn all(&self, element: &str) -> Vec<String> {
        let (text, begin) = (self.text(), format!("<{element}>"));
        let parts = text.split(&begin).skip(1);
        parts.filter_map(|part| Some(part.split_once('<')?.0.to_owned())).collect()
    }
}

impl S3 {
    /// As a program finds it in its variables.
    pub(crate) fn of(variables: &serde_json::Value) -> Self {
        let text = |name: &str| variables[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
        let host = text("AWS_ENDPOINT_URL_S3").strip_prefix("http://").unwrap().to_owned();
        Self {
            address: host.parse().unwrap(),
            host,
            access: text("AWS_ACCESS_KEY_ID"),
            secret: text("AWS_SECRET_ACCESS_KEY"),
        }
    }

    /// The same through another door.
    pub(crate) fn through(&self, address: SocketAddr, host: &str) -> Self {
        let (access, secret) = (self.access.clone(), self.secret.clone());
        Self { address, host: host.to_owned(), access, secret }
    }

    /// Sends a signed request; `path` is `/<bucket>/<key>`, not encoded.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let now = now();
        let payload = hex(Sha256::checksum(body).as_ref());
        let query = query_text(query);
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{method}\n{}\n{query}\nhost:{}\nx-amz-content-sha256:{payload}\nx-amz-date:{now}\n\n{signed}\n{payload}",
            encode(path, true),
            self.host
        );
        let (scope, signature) = self.sign(&now, &canonical);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
            self.access
        );
        let mut all = vec![("x-amz-content-sha256", payload.as_str()), ("x-amz-date", &now)];
        all.push(("authorization", &authorization));
        all.extend(headers);
        let question = if query.is_empty() { "" } else { "?" };
        self.plain(method, &format!("{}{question}{query}", encode(path, true)), &all, body).await
    }

    /// Path and query of a presigned URL of `seconds` that was made `age` seconds ago.
    pub(crate) fn presign(&self, method: &str, path: &str, seconds: u32, age: i64) -> String {
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(age);
        let at = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let credential = format!("{}/{}/us-east-1/s3/aws4_request", self.access, &at[..8]);
        let seconds = seconds.to_string();
        let query = query_text(&[
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &at),
            ("X-Amz-Expires", &seconds),
            ("X-Amz-SignedHeaders", "host"),
        ]);
        let path = encode(path, true);
        let canonical = format!("{method}\n{path}\n{query}\nhost:{}\n\nhost\nUNSIGNED-PAYLOAD", self.host);
        let (_, signature) = self.sign(&at, &canonical);
        format!("{path}?{query}&X-Amz-Signature={signature}")
    }

    /// Sends a request as it is.
    pub(crate) async fn plain(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.host);
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        write!(head, "content-length: {}\r\n\r\n", body.len()).unwrap();
        let mut stream = TcpStream::connect(self.address).await?;
        let (mut reading, mut writing) = stream.split();
        let write = async {
            writing.write_all(head.as_bytes()).await?;
            writing.write_all(body).await
        };
        let mut answer = Vec::new();
        // A server that refuses does not wait for the body.
        let (_written, read) = tokio::join!(write, reading.read_to_end(&mut answer));
        read?;
        parse(&answer).ok_or_else(|| std::io::Error::other("half an answer"))
    }

    fn sign(&self, at: &str, canonical: &str) -> (String, String) {
        let scope = format!("{}/us-east-1/s3/aws4_request", &at[..8]);
        let hash = hex(Sha256::checksum(canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{hash}");
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in scope.split('/') {
            key = hmac(&key, part.as_bytes());
        }
        (scope, hex(&hmac(&key, text.as_bytes())))
    }
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let headers: BTreeMap<String, String> = lines.filter_map(header).collect();
    let body = answer[end + 4..].to_vec();
    let length: Option<usize> = headers.get("content-length").and_then(|length| length.parse().ok());
    let whole = length.is_none_or(|length| length == body.len() || body.is_empty());
    whole.then_some(Answer { status, headers, body })
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn query_text(query: &[(&str, &str)]) -> String {
    let mut pairs: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false))).collect();
    pairs.sort();
    pairs.join("&")
}

fn encode(text: &str, path: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (path && byte == b'/');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// Source: RFC 2104.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 64 { Sha256::checksum(key).as_ref().to_vec() } else { key.to_vec() };
    block.resize(64, 0);
    let pad = |byte: u8| block.iter().map(|one| one ^ byte).collect::<Vec<u8>>();
    let inner = Sha256::checksum(&[pad(0x36), text.to_vec()].concat());
    Sha256::checksum(&[pad(0x5c), inner.as_ref().to_vec()].concat()).as_ref().to_vec()
}
