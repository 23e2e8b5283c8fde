//! Instances that are containers: the engine's client runs in the foreground under the same shim as any program, so
//! its output, its end, its signals and its adoption are those of a process.
//!
//! What the client cannot do itself is done here: a client or shim that is killed leaves its container behind, which
//! is found again by its name or its labels and removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use release::container::{self, ContainerError};
use stack::{Kind, Service, Size};

use crate::{
    bindings::Bound,
    command,
    environment::Environment,
    error::Error,
    instance_spec::Record,
    protocol::source_name,
    revision::Loaded,
    run::{self, Program},
    shim::{Spec, limits},
};

/// Label with the environment's folder: unique on the machine.
const HOME: &str = "slipway.home";
/// Label with the app and the environment, for people.
const SCOPE: &str = "slipway.scope";
/// Label with the instance.
const INSTANCE: &str = "slipway.instance";

/// Variables by which the engine's client itself is steered: they reach a container as arguments, never through the
/// client's own environment.
const STEERING: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "GODEBUG",
    "GOGC",
    "GOMAXPROCS",
    "GOMEMLIMIT",
    "GOTRACEBACK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "SLIPWAY_SHIM_SOCKET",
];

/// Whose network a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    /// Its own; its port is published on the instance's.
    Own,
    /// The host's: something it needs listens on the host's loopback only.
    Host,
}

/// The name of an instance's container.
pub(crate) fn name(environment: &Environment, id: &str) -> String {
    let digest = blake3::hash(environment.folder.as_os_str().as_encoded_bytes()).to_hex();
    let scope = &environment.scope;
    format!("slipway-{}-{}-{id}-{}", scope.app, scope.environment, &digest[..6])
}

/// One container that the engine's client is to run.
struct Container<'a> {
    id: &'a str,
    /// A digest or an id.
    image: &'a str,
    /// In place of the image's command; empty: that one.
    run: Vec<String>,
    /// Variables that the application chose itself.
    chosen: BTreeSet<&'a String>,
    size: Option<&'a Size>,
    stop: Duration,
    port: Option<Ports>,
    /// A file it reads as its standard input, and finds at the same path.
    stdin: Option<&'a Path>,
}

/// Where an instance listens.
struct Ports {
    /// The instance's own, on the host.
    host: u16,
    /// The service's, in a network of its own.
    inside: u16,
    /// Somebody may connect.
    published: bool,
}

/// What the shim of an instance is told to run: the engine's client. `bound` holds the variables of the container.
pub(crate) fn spec(
    environment: &Environment,
    loaded: &Loaded,
    service: &Service,
    record: &Record,
    image: &str,
    mut bound: Bound,
) -> Result<Spec, Error> {
    let container = Container {
        id: &record.id,
        image,
        run: service.run.as_deref().map_or(Ok(Vec::new()), command::parse)?,
        chosen: loaded.values.values.keys().chain(service.env.keys()).collect(),
        size: Some(&service.size),
        stop: service.stop.0,
        port: Some(Ports {
            host: record.port,
            inside: service.port.unwrap_or(record.port),
            published: Loaded::has_address(service),
        }),
        stdin: None,
    };
    let argv = container.client(environment, &mut bound)?;
    let source = source_name(Kind::Service, &record.service);
    let mut spec = Spec::new(argv, environment.data(), source, &record.id, environment.logs(&record.service));
    (spec.env, spec.secrets) = (bound.env, bound.secrets);
    spec.stop_ms = u64::from(service.stop);
    Ok(spec)
}

/// Lets a program that runs to its end run in an image: its command line and variables become those of the engine's
/// client. `own` are the tables of variables that the application chose.
pub(crate) fn enter(
    environment: &Environment,
    loaded: &Loaded,
    image: &str,
    own: &[&BTreeMap<String, String>],
    program: &mut Program<'_>,
) -> Result<(), Error> {
    let container = Container {
        id: program.id,
        image,
        run: std::mem::take(&mut program.argv),
        chosen: loaded.values.values.keys().chain(own.iter().flat_map(|env| env.keys())).collect(),
        size: program.size.take(),
        stop: run::GRACE,
        port: None,
        stdin: program.stdin.as_deref(),
    };
    program.argv = container.client(environment, &mut program.bound)?;
    program.cwd = environment.data();
    Ok(())
}

impl Container<'_> {
    /// The client's command line; `bound` turns from the container's variables into the client's.
    fn client(self, environment: &Environment, bound: &mut Bound) -> Result<Vec<String>, Error> {
        let mut env = std::mem::take(&mut bound.env);
        // What the host's programs inherit means nothing inside of an image.
        for inherited in ["PATH", "HOME", "LANG", "TZ"] {
            if !self.chosen.iter().any(|name| *name == inherited) {
                env.remove(inherited);
            }
        }
        let made = env.iter().filter(|(name, _)| !self.chosen.contains(name));
        let network = network(made.map(|(name, value)| (name.as_str(), value.as_str())));
        if network == Network::Own {
            env.insert("HOST".to_owned(), "0.0.0.0".to_owned());
        }
        let fixed = ["run", "--rm", "--init", "--pull", "never", "--log-driver", "none"];
        let mut argv: Vec<String> = [container::PROGRAM].into_iter().chain(fixed).map(str::to_owned).collect();
        let mut option = |name: &str, value: String| argv.extend([format!("--{name}"), value]);
        option("name", name(environment, self.id));
        option("label", format!("{HOME}={}", environment.folder.display()));
        option("label", format!("{SCOPE}={}", environment.scope));
        option("label", format!("{INSTANCE}={}", self.id));
        if network == Network::Host {
            option("network", "host".to_owned());
        }
        if let Some(Ports { host, inside, published }) = self.port {
            let listens = if network == Network::Own { inside } else { host };
            env.insert("PORT".to_owned(), listens.to_string());
            if published && network == Network::Own {
                option("publish", format!("127.0.0.1:{host}:{inside}"));
            }
        }
        let (data, sockets) = (environment.data(), socket_folder(env.get("PGHOST").map(String::as_str)));
        for folder in [Some(data.as_path()), sockets, self.stdin].into_iter().flatten() {
            option("mount", mount(folder)?);
        }
        if let Some(memory) = self.size.and_then(|size| size.memory) {
            option("memory", memory.max.0.to_string());
            // No swap beside it: the limit is the limit.
            option("memory-swap", memory.max.0.to_string());
        }
        if let Some(cpu) = self.size.and_then(|size| size.cpu) {
            option("cpus", format!("{}.{:03}", cpu.max.0 / 1000, cpu.max.0 % 1000));
        }
        option("stop-timeout", self.stop.as_millis().div_ceil(1000).to_string());
        bound.env = std::env::vars().filter(|(name, _)| steers(name) && !name.starts_with("LD_")).collect();
        for (name, value) in env {
            if !steers(&name) {
                // Taken from the client's environment: no value is ever seen in a list of processes.
                option("env", name.clone());
                bound.env.insert(name, value);
            } else if bound.secrets.iter().any(|secret| !secret.is_empty() && value.contains(secret.as_str())) {
                return Err(Error::failed(format!(
                    "the variable `{name}` holds a secret, and the container engine's client reads it itself; choose \
                     another name"
                )));
            } else {
                option("env", format!("{name}={value}"));
            }
        }
        if self.stdin.is_some() {
            argv.push("--interactive".to_owned());
        }
        argv.push(self.image.to_owned());
        argv.extend(self.run);
        Ok(argv)
    }
}

/// Lets a command run in the container of an instance: its command line becomes that of the engine's client.
pub(crate) fn attach(environment: &Environment, id: &str, spec: &mut Spec) {
    let fixed = [container::PROGRAM, "exec", "--interactive"].map(str::to_owned);
    let command = std::mem::take(&mut spec.argv);
    spec.argv = fixed.into_iter().chain([name(environment, id)]).chain(command).collect();
    spec.cwd = environment.data();
    spec.env.retain(|name, _| steers(name));
}

/// A folder of the host under the same path in a container.
fn mount(folder: &Path) -> Result<String, Error> {
    let path = folder.display().to_string();
    if path.contains([',', '"']) {
        let mend = "use a path without `,` and `\"`";
        return Err(Error::failed(format!("the folder {path} cannot be given to a container; {mend}")));
    }
    Ok(format!("type=bind,source={path},target={path}"))
}

/// Whether a variable steers the engine's client, or the loader that starts it.
fn steers(name: &str) -> bool {
    STEERING.contains(&name) || ["DOCKER_", "BUILDKIT_", "LD_"].iter().any(|prefix| name.starts_with(prefix))
}

/// The host's network when one of the addresses that Slipway made is on the host's loopback, which no container's own
/// network reaches.
fn network<'v>(made: impl Iterator<Item = (&'v str, &'v str)>) -> Network {
    let loopback = |host: &str| matches!(host, "127.0.0.1" | "localhost" | "[::1]" | "::1");
    let points = |(name, value): (&str, &str)| match name {
        "HOST" => false,
        "PGHOST" => loopback(value),
        _ => value.split_once("://").is_some_and(|(_, rest)| {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            // Several, as in `mongodb://a:1,b:2`, count when one of them does.
            let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
            hosts.split(',').any(|host| {
                let end = if host.starts_with('[') { host.find(']').map(|at| at + 1) } else { host.find(':') };
                loopback(&host[..end.unwrap_or(host.len())])
            })
        }),
    };
    if made.into_iter().any(points) { Network::Host } else { Network::Own }
}

/// The folder of a server's unix socket, as libpq names it.
fn socket_folder(host: Option<&str>) -> Option<&Path> {
    host.filter(|host| host.starts_with('/')).map(Path::new)
}

/// Makes sure that the engine has an image: one that is missing comes from the release that carries it, or from its
/// image store by its digest. Done at once when it is there.
pub(crate) async fn ready(loaded: &Loaded, image: &str) -> Result<(), Error> {
    let (image, carried) = (image.to_owned(), loaded.carried(image).map(Path::to_owned));
    let why = blocking(move || {
        let mut found = container::find_image(&image)?;
        if found.is_none() {
            match &carried {
                Some(folder) => container::load(folder)?,
                None if image.contains('@') => container::pull(&image)?,
                None => {}
            }
            found = container::find_image(&image)?;
        }
        Ok(match found {
            Some(found) => found.mismatch().map(|why| format!("the image {image} cannot run here: {why}")),
            None if carried.is_some() => Some(format!(
                "the engine of this machine keeps the image {image} under another id than the one that built it; let both \
                 use the same image store (`docker info` names it)"
            )),
            None => Some(format!(
                "the image {image} was made on a machine and is not there any more; build the release again"
            )),
        })
    });
    why.await?.map_or(Ok(()), |why| Err(Error::failed(why)))
}

/// Ends the container of an instance and takes it away, should there be one.
pub(crate) async fn remove(environment: &Environment, id: &str) -> Result<(), Error> {
    let name = name(environment, id);
    blocking(move || container::remove(&name)).await
}

/// Removes containers of this environment that no instance and no run owns any more: their clients were killed. On a host without an engine there are none.
pub(crate) async fn sweep(environment: &Environment) {
    let label = format!("{HOME}={}", environment.folder.display());
    let owners = ["instances", "tasks"].map(|folder| environment.folder.join(folder));
    let swept = blocking(move || {
        let found = match container::find_containers(&[label], INSTANCE) {
            Err(ContainerError::Missing) => return Ok(0),
            found => found?,
        };
        // Whatever owns one has its folder before it begins.
        let forgotten = found.iter().filter(|(_, owner)| !owners.iter().any(|folder| folder.join(owner).is_dir()));
        forgotten.map(|(id, _)| container::remove(id).map(|()| 1)).sum::<Result<u32, _>>()
    });
    match swept.await {
        Ok(0) => {}
        Ok(count) => tracing::warn!(scope = %environment.scope, count, "removed containers that nothing owned"),
        Err(error) => tracing::warn!(scope = %environment.scope, "cannot look for left containers: {error}"),
    }
}

/// What goes on inside of an instance's container; the client that the shim watches tells nothing of that.
#[derive(Clone)]
pub(crate) struct Inside {
    name: String,
    port: u16,
    process: Option<u32>,
}

impl Inside {
    /// Of an instance of `service`.
    pub(crate) fn new(environment: &Environment, record: &Record, service: &Service) -> Self {
        let port = service.port.unwrap_or(record.port);
        Self { name: name(environment, &record.id), port, process: None }
    }

    /// Bytes of memory; `None` while it does not run, or where the engine keeps its control groups to itself.
    pub(crate) async fn memory(&mut self) -> Option<u64> {
        if let Some(memory) = self.process.and_then(limits::memory_around) {
            return Some(memory);
        }
        self.look().await.ok()?;
        self.process.and_then(limits::memory_around)
    }

    /// Fails while nobody listens for visitors: the engine accepts connections to a published port before anything
    /// listens behind it, and also when nothing ever does. What cannot be seen counts as well.
    pub(crate) async fn listens(&mut self) -> Result<(), String> {
        let Ok(()) = self.look().await else { return Ok(()) };
        let Some(pid) = self.process else { return Err("its container does not run yet".to_owned()) };
        let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        if network("self") == network(&pid.to_string()) {
            return Ok(());
        }
        let tables = ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")));
        let [Ok(four), six] = tables else {
            // It has ended since, or runs where its processes are hidden from us.
            let hidden = self.look().await.is_err() || self.process == Some(pid);
            return if hidden { Ok(()) } else { Err("its container ended".to_owned()) };
        };
        let six = six.unwrap_or_default();
        if four.lines().chain(six.lines()).any(|line| is_open(line, self.port)) {
            return Ok(());
        }
        Err(format!(
            "nothing in its container listens on port {} of all addresses (HOST and PORT name them)",
            self.port
        ))
    }

    async fn look(&mut self) -> Result<(), Error> {
        let name = self.name.clone();
        self.process = blocking(move || container::find_process(&name)).await?;
        Ok(())
    }
}

/// Whether a line of `/proc/PID/net/tcp` or `tcp6` is a socket that listens on this port, not on the loopback alone.
/// Source: `proc_pid_net(5)`.
fn is_open(line: &str, port: u16) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let (Some(local), _remote, Some(state)) = (words.next(), words.next(), words.next()) else { return false };
    let Some((address, number)) = local.split_once(':') else { return false };
    let loopback = ["0100007F", "00000000000000000000000001000000"].contains(&address);
    state == "0A" && u16::from_str_radix(number, 16) == Ok(port) && !loopback
}

/// Asks the engine where waiting disturbs nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, ContainerError> + Send + 'static,
) -> Result<T, Error> {
    let asked = tokio::task::spawn_blocking(ask).await;
    let asked = asked.map_err(|error| Error::failed(format!("the agent broke down: {error}")))?;
    asked.map_err(|error| Error::failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_shares_the_hosts_network_when_what_it_needs_is_on_the_loopback() {
        let of = |name, value| network([(name, value)].into_iter());
        for (name, value) in [
            ("API_URL", "http://127.0.0.1:32001"),
            ("MAIN_DATABASE_URL", "postgres://jobs:a@b@localhost:5432/jobs?sslmode=disable"),
            ("REDIS_URL", "redis://[::1]:6379"),
            ("MQ_QUEUE_URL", "amqp://a.example,127.0.0.1:5672/x"),
            ("PGHOST", "127.0.0.1"),
        ] {
            assert_eq!(of(name, value), Network::Host, "{name}={value}");
        }
        for (name, value) in [
            ("HOST", "127.0.0.1"),
            ("DATABASE_URL", "postgres://jobs:localhost@db.example/jobs"),
            ("DATABASE_URL", "sqlite:///home/127.0.0.1/main.sqlite"),
            ("SLIPWAY_VERSION", "localhost"),
            ("PGHOST", "/run/postgresql"),
        ] {
            assert_eq!(of(name, value), Network::Own, "{name}={value}");
        }
    }

    #[test]
    fn what_steers_the_client_never_comes_from_an_application() {
        assert!(["PATH", "DOCKER_HOST", "LD_PRELOAD", "GODEBUG"].into_iter().all(steers));
        assert!(!["GOOGLE_API_KEY", "DATABASE_URL", "HOST", "LANG"].into_iter().any(steers));
    }

    #[test]
    fn a_listening_socket_is_told_from_others() {
        let line = |local: &str, state: &str| format!("   0: {local} 00000000:0000 {state} 00000000:00000000 00:0 0 0");
        assert!(is_open(&line("00000000:0FA0", "0A"), 4000));
        assert!(is_open(&line("00000000000000000000000000000000:0FA0", "0A"), 4000));
        assert!(!is_open(&line("0100007F:0FA0", "0A"), 4000), "on the loopback alone");
        assert!(!is_open(&line("00000000:0FA0", "01"), 4000), "a connection");
        assert!(!is_open(&line("00000000:0FA1", "0A"), 4000), "another port");
        assert!(!is_open("  sl  local_address rem_address   st tx_queue", 4000));
    }
}
