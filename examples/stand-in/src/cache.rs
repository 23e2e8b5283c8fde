//! Cached answers in Redis: three commands over its protocol. Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::{Done, variable};

/// A name in the cache, as it stood when it was looked at: what is read after that look and put under it is not found any more
/// once somebody has forgotten the name, however late it is put.
pub(crate) struct Entry {
    key: Option<String>,
}

impl Entry {
    /// Looks at the name; do so before the rows are read. A cache that does not answer keeps nothing.
    pub(crate) async fn of(name: &str) -> Self {
        let forgotten = ask(&["GET", &count(name)]).await;
        let key = forgotten.ok().map(|times| format!("{name}:{}", times.unwrap_or_default()));
        Self { key }
    }

    /// The value, if it is cached.
    pub(crate) async fn find(&self) -> Option<String> {
        ask(&["GET", self.key.as_deref()?]).await.ok().flatten()
    }

    /// Caches a value for a minute. A cache that does not answer is no reason to fail.
    pub(crate) async fn put(&self, value: &str) {
        let Some(key) = &self.key else { return };
        if let Err(reason) = ask(&["SET", key, value, "EX", "60"]).await {
            eprintln!("not cached: {reason}");
        }
    }
}

/// Forgets a value; do so after the rows are written.
pub(crate) async fn forget(name: &str) {
    if let Err(reason) = ask(&["INCR", &count(name)]).await {
        eprintln!("not forgotten: {reason}");
    }
}

/// Where it is counted how often a name was forgotten.
fn count(name: &str) -> String {
    format!("{name}:forgotten")
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
