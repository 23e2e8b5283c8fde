//! Redis.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{book::Entry, install, server::Work};
use crate::{error::Error, shim::HANDED_FOLDER};

/// Its settings, with its password.
const CONFIG: &str = "redis.conf";

/// How long a server that is well takes to answer at most.
const PATIENCE: Duration = Duration::from_secs(3);

/// Its program, as Debian and Fedora call it, as Amazon Linux 2023 does, and that of Valkey, which took its place.
const PROGRAMS: [&str; 3] = ["redis-server", "redis6-server", "valkey-server"];

/// The server program of a major version.
pub(super) async fn find_program(major: &str) -> Result<PathBuf, Error> {
    let mend = install::command("redis-server", "redis");
    let mut other = None;
    for program in PROGRAMS.iter().filter_map(|name| install::in_path(name)) {
        let version = install::version(&program, "v=").await;
        if version.as_deref().and_then(|version| version.split('.').next()) == Some(major) {
            return Ok(program);
        }
        other.get_or_insert((program, version));
    }
    let Some((program, version)) = other else {
        return Err(Error::failed(format!("Redis {major} is not installed on this host; run `{mend}`")));
    };
    Err(Error::failed(format!(
        "Redis {major} is not installed on this host ({} is {}); write `engine = \"redis:{}\"`, or install it with \
         `{mend}` from a repository that has it",
        program.display(),
        version.as_deref().unwrap_or("of no known version"),
        version.as_deref().and_then(|version| version.split('.').next()).unwrap_or("7"),
    )))
}

/// Writes the settings and says what is started.
///
/// Every change is appended to a file that is flushed each second; when the memory is full, keys that would expire go
/// first, and keys without an expiry never go.
pub(super) async fn prepare(work: &Work<'_>) -> Result<Vec<String>, Error> {
    let program = find_program(work.definition.major()).await?;
    let Entry { port, password, .. } = work.entry;
    let addresses: Vec<String> =
        ["127.0.0.1".to_owned()].into_iter().chain(work.shared_at().map(|address| address.to_string())).collect();
    let mut text = String::from("# Written by Slipway at each start.\n");
    let mut line = |name: &str, value: &str| {
        let _infallible = writeln!(text, "{name} {value}");
    };
    line("bind", &addresses.join(" "));
    line("port", &port.to_string());
    line("requirepass", password);
    line("dir", HANDED_FOLDER);
    line("appendonly", "yes");
    line("appendfsync", "everysec");
    line("daemonize", "no");
    line("supervised", "no");
    if let Some(memory) = work.definition.memory {
        line("maxmemory", &memory.to_string());
        line("maxmemory-policy", "volatile-lru");
    }
    work.write(CONFIG, &text)?;
    Ok(vec![program.display().to_string(), format!("{HANDED_FOLDER}/{CONFIG}")])
}

/// Whether it lets the application in.
pub(super) async fn answers(entry: &Entry) -> Result<(), String> {
    let place = format!("redis on {}", entry.place());
    match tokio::time::timeout(PATIENCE, ping(entry)).await {
        Ok(Ok(answer)) if answer.ends_with("+PONG\r\n") => Ok(()),
        Ok(Ok(answer)) => Err(format!("{place} answers: {}", answer.trim())),
        Ok(Err(error)) => Err(format!("{place} does not answer: {}", crate::socket::plain(&error))),
        Err(_) => Err(format!("{place} does not answer within {} s", PATIENCE.as_secs())),
    }
}

/// Source: Redis protocol specification (RESP), inline commands.
async fn ping(entry: &Entry) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(entry.place()).await?;
    stream.write_all(format!("AUTH {}\r\nPING\r\nQUIT\r\n", entry.password).as_bytes()).await?;
    let mut answer = Vec::new();
    (&mut stream).take(4096).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    Ok(answer.strip_suffix("+OK\r\n").filter(|rest| rest.contains("PONG")).map_or(answer.clone(), str::to_owned))
}
