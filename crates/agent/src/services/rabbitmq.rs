//! RabbitMQ.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Definition, book::Entry, install, server::Work};
use crate::{error::Error, shim::Spec};

/// Its settings, with the application's password.
const CONFIG: &str = "rabbitmq.conf";

/// The data folder as the server sees it: it is started there. Programs it starts itself get no descriptor of it.
const HERE: &str = "/proc/self/cwd";

/// How long a server that is well takes to answer at most.
const PATIENCE: Duration = Duration::from_secs(3);

/// An installed server.
pub(super) struct Installed {
    program: PathBuf,
    /// As in `3.10.8`.
    pub(super) version: String,
}

/// The server program of a major version. Another minor version will do: they understand each other's clients.
pub(super) fn find_program(definition: &Definition) -> Result<Installed, Error> {
    let mend = install::command("rabbitmq-server", "rabbitmq-server");
    let major = definition.major();
    match installed() {
        Some(found) if found.version.split('.').next() == Some(major) => Ok(found),
        Some(found) => Err(Error::failed(format!(
            "RabbitMQ {major} is not installed on this host (installed: {}); write `engine = \"rabbitmq:{}\"`, or install \
             it with `{mend}` from a repository that has it",
            found.version,
            found.version.split('.').take(2).collect::<Vec<_>>().join("."),
        ))),
        None => Err(Error::failed(format!("RabbitMQ {major} is not installed on this host; run `{mend}`"))),
    }
}

/// The program in `PATH` may be a wrapper of the distribution that runs one server for the whole host.
fn installed() -> Option<Installed> {
    let packaged = Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    let program = if packaged.is_file() { packaged.to_owned() } else { install::in_path("rabbitmq-server")? };
    let program = program.canonicalize().ok()?;
    let root = program.parent()?.parent()?;
    let version = |folder: &Path| folder.file_name()?.to_str()?.strip_prefix("rabbitmq_server-").map(str::to_owned);
    let below = std::fs::read_dir(root.join("lib")).into_iter().flatten().flatten();
    let version = version(root).or_else(|| below.filter_map(|entry| version(&entry.path())).max())?;
    Some(Installed { program, version })
}

/// Writes the settings and says what is started.
pub(super) fn prepare(work: &Work<'_>) -> Result<Vec<String>, Error> {
    let found = find_program(work.definition)?;
    let wanted = &work.definition.version;
    if !found.version.starts_with(wanted.as_str()) {
        tracing::warn!(
            scope = %work.environment.scope, service = %work.definition.name,
            "RabbitMQ {wanted} is asked for, and RabbitMQ {} of this host runs; `{}` would say so", found.version,
            format_args!("engine = \"rabbitmq:{}\"", found.version)
        );
    }
    let Entry { port, user, password, admin_password, .. } = work.entry;
    let mut text = String::from("# Written by Slipway at each start.\n");
    let mut line = |name: &str, value: &str| {
        let _infallible = writeln!(text, "{name} = {value}");
    };
    line("listeners.tcp.1", &format!("127.0.0.1:{port}"));
    if let Some(address) = work.shared_at() {
        line("listeners.tcp.2", &SocketAddr::new(address, *port).to_string());
    }
    // Made with the first data.
    line("default_user", user);
    line("default_pass", password);
    line("loopback_users", "none");
    line("log.file", "false");
    line("log.console", "true");
    line("log.console.level", "info");
    line("log.connection.level", "warning");
    // A host has other programs too.
    line("vm_memory_high_watermark.relative", "0.25");
    work.write(CONFIG, &text)?;
    work.write("enabled_plugins", "[].\n")?;
    work.write("env.conf", "# The host's own settings are for the host's own server.\n")?;
    work.write(".erlang.cookie", admin_password)?;
    Ok(vec![found.program.display().to_string()])
}

/// Completes how it is started: where it finds its files, and its own ports on 127.0.0.1.
pub(super) fn complete(work: &Work<'_>, spec: &mut Spec) {
    let scope = &work.environment.scope;
    let ports: Vec<String> = work.entry.more_ports.iter().map(ToString::to_string).collect();
    let [nodes, names] = [0, 1].map(|index| ports.get(index).cloned().unwrap_or_default());
    let node = format!("{}-{}-{}@localhost", scope.app, scope.environment, work.definition.name.name);
    let here = |name: &str| format!("{HERE}/{name}");
    let env = [
        ("HOME", HERE.to_owned()),
        ("ERL_EPMD_PORT", names),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ("RABBITMQ_DIST_PORT", nodes),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}".to_owned()),
        ("RABBITMQ_NODENAME", node),
        ("RABBITMQ_CONF_ENV_FILE", here("env.conf")),
        ("RABBITMQ_CONFIG_FILE", here(CONFIG)),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", here("advanced.config")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", here("enabled_plugins")),
        ("RABBITMQ_MNESIA_BASE", here("mnesia")),
        ("RABBITMQ_LOG_BASE", here("log")),
        ("RABBITMQ_LOGS", "-".to_owned()),
        ("RABBITMQ_PID_FILE", here("pid")),
        // The server itself instead of a shell that waits for it.
        ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
    ];
    spec.env = env.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<BTreeMap<_, _>>();
    spec.cwd.clone_from(&work.data);
    spec.hand = None;
}

/// Whether it lets the application in.
pub(super) async fn answers(entry: &Entry) -> Result<(), String> {
    let place = format!("rabbitmq on {}", entry.place());
    match tokio::time::timeout(PATIENCE, visit(entry)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("{place} does not answer: {}", crate::socket::plain(&error))),
        Err(_) => Err(format!("{place} does not answer within {} s", PATIENCE.as_secs())),
    }
}

/// Methods of the class `connection`. Source: AMQP 0-9-1 specification, section 1.4.
const CONNECTION: u16 = 10;
const START: u16 = 10;
const START_OK: u16 = 11;
const TUNE: u16 = 30;
const TUNE_OK: u16 = 31;
const OPEN: u16 = 40;
const OPEN_OK: u16 = 41;
const CLOSE: u16 = 50;
const CLOSE_OK: u16 = 51;

/// Logs in, opens the connection and closes it in order.
async fn visit(entry: &Entry) -> io::Result<()> {
    let mut stream = TcpStream::connect(entry.place()).await?;
    stream.write_all(b"AMQP\0\0\x09\x01").await?;
    expect(&mut stream, START).await?;
    let login = format!("\0{}\0{}", entry.user, entry.password);
    let mut start = vec![0; 4];
    start.extend(b"\x05PLAIN");
    start.extend(u32::try_from(login.len()).unwrap_or_default().to_be_bytes());
    start.extend(login.as_bytes());
    start.extend(b"\x05en_US");
    send(&mut stream, START_OK, &start).await?;
    let limits = expect(&mut stream, TUNE).await?;
    send(&mut stream, TUNE_OK, &limits).await?;
    send(&mut stream, OPEN, b"\x01/\0\0").await?;
    expect(&mut stream, OPEN_OK).await?;
    // 200, no text, no method that failed.
    send(&mut stream, CLOSE, b"\0\xc8\0\0\0\0\0").await?;
    expect(&mut stream, CLOSE_OK).await.map(drop)
}

async fn send(stream: &mut TcpStream, method: u16, arguments: &[u8]) -> io::Result<()> {
    let size = u32::try_from(arguments.len() + 4).unwrap_or_default();
    let mut frame = vec![1, 0, 0];
    frame.extend(size.to_be_bytes());
    frame.extend(CONNECTION.to_be_bytes());
    frame.extend(method.to_be_bytes());
    frame.extend(arguments);
    frame.push(0xce);
    stream.write_all(&frame).await
}

/// Reads one frame, which must be a method of the connection, and returns its arguments.
async fn expect(stream: &mut TcpStream, method: u16) -> io::Result<Vec<u8>> {
    const LARGEST: usize = 64 << 10;
    let mut head = [0; 7];
    stream.read_exact(&mut head).await?;
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    let mut payload = vec![0; size.min(LARGEST) + 1];
    stream.read_exact(&mut payload).await?;
    let start = [CONNECTION.to_be_bytes(), method.to_be_bytes()].concat();
    match payload.strip_prefix(start.as_slice()) {
        Some(arguments) if head[0] == 1 && size <= LARGEST => Ok(arguments[..arguments.len() - 1].to_vec()),
        _ => Err(io::Error::other("it refuses the application's user")),
    }
}
