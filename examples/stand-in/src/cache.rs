//! Cached answers in Redis: three commands of its protocol. Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::{Done, variable};

/// A value, if it is cached. A cache that does not answer has nothing.
pub(crate) async fn find(key: &str) -> Option<String> {
    ask(&["GET", key]).await.ok().flatten()
}

/// Caches a value for a minute. A cache that does not answer is no reason to fail.
pub(crate) async fn put(key: &str, value: &str) {
    if let Err(reason) = ask(&["SET", key, value, "EX", "60"]).await {
        eprintln!("not cached: {reason}");
    }
}

/// Forgets a value.
pub(crate) async fn forget(key: &str) {
    if let Err(reason) = ask(&["DEL", key]).await {
        eprintln!("not forgotten: {reason}");
    }
}

async fn ask(command: &[&str]) -> Done<Option<String>> {
    let asked = tokio::time::timeout(Duration::from_secs(2), exchange(command)).await;
    asked.unwrap_or_else(|_| Err("the cache does not answer in time".to_owned()))
}

async fn exchange(command: &[&str]) -> Done<Option<String>> {
    let url = variable("REDIS_URL")?;
    let rest = url.strip_prefix("redis://").ok_or("REDIS_URL is no address of Redis")?;
    let (credentials, address) = rest.rsplit_once('@').unwrap_or(("", rest));
    let address = address.split('/').next().unwrap_or(address);
    let failed = |error: std::io::Error| format!("the cache does not answer: {error}");
    let mut stream = BufReader::new(TcpStream::connect(address).await.map_err(failed)?);
    if let Some((user, password)) = credentials.split_once(':') {
        let words = if user.is_empty() { vec!["AUTH", password] } else { vec!["AUTH", user, password] };
        send(&mut stream, &words).await.map_err(failed)?;
        reply(&mut stream).await?;
    }
    send(&mut stream, command).await.map_err(failed)?;
    reply(&mut stream).await
}

async fn send(stream: &mut BufReader<TcpStream>, words: &[&str]) -> std::io::Result<()> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &["$", &word.len().to_string(), "\r\n", word, "\r\n"].concat();
    }
    stream.write_all(text.as_bytes()).await
}

async fn reply(stream: &mut BufReader<TcpStream>) -> Done<Option<String>> {
    let failed = |error: std::io::Error| format!("the cache broke off: {error}");
    let mut line = String::new();
    stream.read_line(&mut line).await.map_err(failed)?;
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1).ok_or("the cache broke off")?;
    match kind {
        "+" | ":" => Ok(Some(rest.to_owned())),
        "$" if rest == "-1" => Ok(None),
        "$" => {
            let length: usize = rest.parse().map_err(|_| "the cache answers something else")?;
            let mut value = vec![0; length + 2];
            stream.read_exact(&mut value).await.map_err(failed)?;
            value.truncate(length);
            String::from_utf8(value).map(Some).map_err(|_| "the cache holds no text".to_owned())
        }
        _ => Err(format!("the cache refused: {rest}")),
    }
}
