//! `services.json` of one environment: where each server listens, and its passwords.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use stack::{AppName, Kind, ResourceRef};

use super::{
    Agreement,
    definition::{Definition, Engine},
};
use crate::{
    error::Error,
    files,
    home::Home,
    ports::{self, Port, Ports},
    protocol::Scope,
};

/// How a server is reached. Has no `Debug`: it must not be printed by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Which program.
    pub(crate) engine: Engine,
    /// On `host`, and on 127.0.0.1 of the host it runs on.
    pub(crate) port: u16,
    /// Further ports of the server's own, on 127.0.0.1.
    #[serde(default)]
    pub(crate) more_ports: Vec<u16>,
    /// The application's user, and its database.
    pub(crate) user: String,
    /// The application's password.
    pub(crate) password: String,
    /// The superuser's password.
    pub(crate) admin_password: String,
    /// Where this host reaches it.
    #[serde(default = "loopback")]
    pub(crate) host: IpAddr,
    /// The host that has the data, when the environment is on several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keeper: Option<String>,
}

fn loopback() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

impl Entry {
    /// The address a program connects to, with the password.
    pub(crate) fn url(&self) -> String {
        let (Self { engine, user, password, .. }, place) = (self, self.place());
        match engine {
            Engine::Postgres => format!("postgres://{user}:{password}@{place}/{user}"),
            Engine::Redis => format!("redis://:{password}@{place}/0"),
            Engine::Rabbitmq => format!("amqp://{user}:{password}@{place}"),
        }
    }

    /// Where this host connects to it.
    pub(crate) fn place(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    /// Every port.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        std::iter::once(self.port).chain(self.more_ports.iter().copied())
    }

    /// What must never be shown.
    pub(crate) fn secrets(&self) -> Vec<String> {
        vec![self.password.clone(), self.admin_password.clone()]
    }
}

/// All servers of one environment that ever were.
#[derive(Default)]
pub(crate) struct Book {
    path: PathBuf,
    entries: BTreeMap<ResourceRef, Entry>,
    kept: BTreeMap<u16, Port>,
}

impl Book {
    /// Reads the book in an environment's folder; without one it is empty.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("services.json");
        let entries = files::find_json(&path, "restore it from a backup: it holds the passwords of the data")?;
        Ok(Self { path, entries: entries.unwrap_or_default(), kept: BTreeMap::new() })
    }

    /// Keeps the ports from being given out to others.
    pub(crate) fn keep(&mut self, ports: &Ports) {
        self.kept = self.entries.values().flat_map(Entry::ports).map(|port| (port, ports.keep(port))).collect();
    }

    /// How a server is reached.
    pub(crate) fn find(&self, name: &ResourceRef) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// The addresses of all servers, with their passwords.
    pub(crate) fn urls(&self) -> BTreeMap<ResourceRef, String> {
        self.entries.iter().map(|(name, entry)| (name.clone(), entry.url())).collect()
    }

    /// Gives a server a port and passwords, unless it has them: those that the hosts agreed on, if they did. Durable
    /// when it returns.
    pub(crate) fn enter(
        &mut self,
        app: &AppName,
        definition: &Definition,
        agreement: Option<&Agreement>,
        ports: &Ports,
    ) -> Result<Entry, Error> {
        if let Some(agreement) = agreement {
            return self.agree(app, definition, agreement, ports);
        }
        if let Some(entry) = self.entries.get(&definition.name) {
            return Ok(entry.clone());
        }
        let taken = take(definition.engine, ports)?;
        let secret = || secrets::generate(0).expose().to_owned();
        let entry = Entry {
            engine: definition.engine,
            port: taken.first().map(Port::number).unwrap_or_default(),
            more_ports: taken.iter().skip(1).map(Port::number).collect(),
            user: user(app),
            password: secret(),
            admin_password: secret(),
            host: loopback(),
            keeper: None,
        };
        self.replace(&definition.name, &entry)?;
        self.kept.extend(taken.into_iter().map(|port| (port.number(), port)));
        Ok(entry)
    }

    /// The same as on every host, but for what only the one that keeps the data needs.
    fn agree(
        &mut self,
        app: &AppName,
        definition: &Definition,
        agreement: &Agreement,
        ports: &Ports,
    ) -> Result<Entry, Error> {
        let name = &definition.name;
        let known = self.entries.get(name);
        let (mut more, mut taken) = (known.map(|entry| entry.more_ports.clone()).unwrap_or_default(), Vec::new());
        if agreement.is_here() && more.is_empty() {
            taken = take_more(definition.engine, ports)?;
            more = taken.iter().map(Port::number).collect();
        }
        let entry = Entry {
            engine: definition.engine,
            port: agreement.port(name),
            more_ports: more,
            user: user(app),
            password: agreement.password(name),
            admin_password: known
                .map_or_else(|| secrets::generate(0).expose().to_owned(), |entry| entry.admin_password.clone()),
            host: if agreement.is_here() { loopback() } else { agreement.address },
            keeper: known.and_then(|entry| entry.keeper.clone()).or_else(|| Some(agreement.keeper.clone())),
        };
        if known != Some(&entry) {
            self.replace(name, &entry)?;
            self.kept.extend(taken.into_iter().map(|port| (port.number(), port)));
        }
        Ok(entry)
    }

    /// The data are on the host `keeper` from now on.
    pub(super) fn keep_data(&mut self, name: &ResourceRef, keeper: &str) -> Result<(), Error> {
        match self.entries.get(name) {
            Some(entry) if entry.keeper.as_deref() != Some(keeper) => {
                let entry = Entry { keeper: Some(keeper.to_owned()), ..entry.clone() };
                self.replace(name, &entry)
            }
            _ => Ok(()),
        }
    }

    /// Gives a server other ports: somebody else listens on its own.
    pub(crate) fn renumber(&mut self, name: &ResourceRef, ports: &Ports) -> Result<(), Error> {
        let Some(old) = self.entries.get(name).cloned() else { return Ok(()) };
        let taken = take(old.engine, ports)?;
        let entry = Entry {
            port: taken.first().map(Port::number).unwrap_or_default(),
            more_ports: taken.iter().skip(1).map(Port::number).collect(),
            ..old.clone()
        };
        self.replace(name, &entry)?;
        self.kept.retain(|port, _| old.ports().all(|old| old != *port));
        self.kept.extend(taken.into_iter().map(|port| (port.number(), port)));
        Ok(())
    }

    /// Only what is on disk becomes true.
    fn replace(&mut self, name: &ResourceRef, entry: &Entry) -> Result<(), Error> {
        let mut entries = self.entries.clone();
        entries.insert(name.clone(), entry.clone());
        files::replace_json(&self.path, &entries)?;
        self.entries = entries;
        Ok(())
    }
}

/// As many ports as a server listens on.
fn take(engine: Engine, ports: &Ports) -> Result<Vec<Port>, Error> {
    let mut taken = vec![ports.take(ports::INSTANCES)?];
    taken.extend(take_more(engine, ports)?);
    Ok(taken)
}

/// Those that only the server itself uses.
fn take_more(engine: Engine, ports: &Ports) -> Result<Vec<Port>, Error> {
    // RabbitMQ's nodes talk to each other, and find each other's port, on two more.
    let count = if engine == Engine::Rabbitmq { 2 } else { 0 };
    (0..count).map(|_| ports.take(ports::INSTANCES)).collect()
}

/// The user and the database of an application: its name, unless the server has one of that name itself.
fn user(app: &AppName) -> String {
    let name = app.as_str().replace('-', "_");
    let taken = ["postgres", "template0", "template1", "default", "public", "none"];
    if taken.contains(&name.as_str()) || name.starts_with("pg_") { format!("app_{name}") } else { name }
}

/// The address, password included, of the server that the agent of `home` runs for `database` of `scope`; `None` when
/// it never ran one. Asks no agent, and does not look whether the server runs.
pub fn service_url(home: &Home, scope: &Scope, database: &stack::ResourceName) -> Result<Option<String>, Error> {
    let name = ResourceRef { kind: Kind::Database, name: database.clone() };
    Ok(Book::open(&home.environment(scope))?.find(&name).map(Entry::url))
}

#[cfg(test)]
mod tests {
    use super::{super::agreement::tests::three, *};
    use crate::members::Identity;

    #[test]
    fn a_server_keeps_its_port_and_its_passwords() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let ports = Ports::default();
        let app: AppName = "job-board".parse().unwrap();
        let definition = Definition {
            name: "database.main".parse().unwrap(),
            engine: Engine::Postgres,
            version: "15".to_owned(),
            settings: BTreeMap::new(),
            memory: None,
            cpu_millis: None,
            shared: None,
        };
        let first = Book::open(folder.path()).unwrap().enter(&app, &definition, None, &ports).unwrap();
        let mut again = Book::open(folder.path()).unwrap();
        assert!(again.enter(&app, &definition, None, &ports).unwrap() == first);
        assert!(first.password != first.admin_password && first.password.len() >= 43);
        let Entry { port, password, .. } = &first;
        assert_eq!(first.url(), format!("postgres://job_board:{password}@127.0.0.1:{port}/job_board"));
        again.renumber(&definition.name, &ports).unwrap();
        let moved = Book::open(folder.path()).unwrap().find(&definition.name).unwrap().clone();
        assert!(moved.port != first.port && moved.password == first.password);
        let mode = std::fs::metadata(folder.path().join("services.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn every_host_writes_down_the_same_and_only_the_keeper_more() {
        let identity = Identity::generate().unwrap();
        let app: AppName = "shop".parse().unwrap();
        let definition = Definition {
            name: "queue.mq".parse().unwrap(),
            engine: Engine::Rabbitmq,
            version: "3".to_owned(),
            settings: BTreeMap::new(),
            memory: None,
            cpu_millis: None,
            shared: None,
        };
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let enter = |folder: &tempfile::TempDir, me: &str, drained: &[&str]| {
            let mut book = Book::open(folder.path()).unwrap();
            book.enter(&app, &definition, Some(&three(&identity, me, drained)), &Ports::default()).unwrap()
        };
        let (here, there) = (enter(&one, "a", &[]), enter(&other, "b", &[]));
        assert_eq!(here.url().replace("127.0.0.1", "10.0.0.1"), there.url());
        assert_eq!((here.more_ports.len(), there.more_ports.len()), (2, 0));
        assert!(enter(&one, "a", &[]) == here, "again the same");
        let moved = enter(&other, "b", &["a"]);
        assert_eq!(moved.keeper.as_deref(), Some("a"), "it never had the data");
        assert!(moved.host.is_loopback() && moved.admin_password == there.admin_password);
        let moved = enter(&one, "a", &["a"]);
        assert_eq!(moved.url(), here.url().replace("127.0.0.1", "10.0.0.2"));

        // An environment that was on one host keeps its superuser.
        let alone = tempfile::tempdir().unwrap();
        let before = Book::open(alone.path()).unwrap().enter(&app, &definition, None, &Ports::default()).unwrap();
        let after = enter(&alone, "a", &[]);
        assert!(after.password != before.password && after.admin_password == before.admin_password);
        assert_eq!((after.port, after.more_ports), (here.port, before.more_ports));
    }

    #[test]
    fn names_the_server_has_itself_are_not_taken() {
        let user = |name: &str| user(&name.parse().unwrap());
        assert_eq!([user("shop"), user("postgres"), user("pg-x")], ["shop", "app_postgres", "app_pg_x"]);
    }
}
