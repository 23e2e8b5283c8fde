//! The environment variables of a program: what it needs, the contract's values, what it asks for itself.
//!
//! | `needs` | variables |
//! |---|---|
//! | `database.main` | `DATABASE_URL` (the first database) and `MAIN_DATABASE_URL`; for PostgreSQL also `PGHOST`, `PGPORT`, `PGDATABASE`, `PGUSER`, `PGPASSWORD` and `PGSSLMODE` of the first |
//! | `cache.redis` | `REDIS_URL` (the first cache) and `REDIS_CACHE_URL` |
//! | `queue.mq` | `AMQP_URL` (the first queue) and `MQ_QUEUE_URL` |
//! | `bucket.files` | `S3_BUCKET` (the first bucket) and `FILES_BUCKET`; to reach all: `S3_ENDPOINT`, `AWS_ENDPOINT_URL_S3`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_DEFAULT_REGION` and `S3_FORCE_PATH_STYLE` |
//! | `service.api` | `API_URL` |
//! | `topic.orders` | `TOPIC_URL` (the first topic) and `ORDERS_TOPIC_URL` |

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use stack::{Command, Database, DatabaseEngine, Kind, ResourceName, ResourceRef, Service};

use crate::{buckets, error::Error, protocol::Scope, revision::Loaded, topics::Address};

/// Where an environment's data lie and at which ports services call each other. Has no `Debug`: it holds passwords.
#[derive(Clone)]
pub(crate) struct Place {
    /// Folder of the data.
    pub(crate) data: PathBuf,
    /// Port of each service that others call.
    pub(crate) internal: BTreeMap<ResourceName, u16>,
    /// Addresses of the servers the agent runs, with their passwords.
    pub(crate) servers: BTreeMap<ResourceRef, String>,
    /// How its buckets are reached, with the key.
    pub(crate) buckets: Option<buckets::Access>,
    /// Where programs publish.
    pub(crate) publishing: Option<Address>,
}

/// The variables of one program.
#[derive(Clone, Default)]
pub(crate) struct Bound {
    /// By name.
    pub(crate) env: BTreeMap<String, String>,
    /// Values among them, or parts of such, that must never be shown.
    pub(crate) secrets: Vec<String>,
}

/// Variables of a service's instances, without those of the single instance.
pub(crate) fn of_service(scope: &Scope, loaded: &Loaded, service: &Service, place: &Place) -> Result<Bound, Error> {
    bind(scope, loaded, &service.needs, &[&service.env], place)
}

/// Variables of a job's or function's run.
pub(crate) fn of_command(scope: &Scope, loaded: &Loaded, command: &Command, place: &Place) -> Result<Bound, Error> {
    match loaded.host_service(command) {
        Some(service) => {
            let needs: Vec<ResourceRef> = service.needs.iter().chain(&command.needs).cloned().collect();
            bind(scope, loaded, &needs, &[&service.env, &command.env], place)
        }
        None => bind(scope, loaded, &command.needs, &[&command.env], place),
    }
}

/// The address of a database: a file of this host, the server the stack names, or the one the agent runs.
pub(crate) fn database_url(loaded: &Loaded, name: &ResourceName, place: &Place) -> Result<String, Error> {
    let database = loaded
        .resolved
        .stack
        .databases
        .get(name)
        .ok_or_else(|| Error::failed(format!("release {} has no database `{name}`", loaded.revision.release)))?;
    match (&database.url, &database.engine) {
        (Some(url), _) => expand(loaded, &format!("database.{name}.url"), url),
        (None, DatabaseEngine::Sqlite) => Ok(format!("sqlite://{}", sqlite_file(name, &place.data).display())),
        (None, DatabaseEngine::Postgres(_)) => {
            server_url(&ResourceRef { kind: Kind::Database, name: name.clone() }, place)
        }
    }
}

/// The address of a cache or a queue: the server the stack names, or the one the agent runs.
pub(crate) fn store_url(loaded: &Loaded, need: &ResourceRef, place: &Place) -> Result<String, Error> {
    let stack = &loaded.resolved.stack;
    let url = match need.kind {
        Kind::Cache => stack.caches.get(&need.name).and_then(|cache| cache.url.as_ref()),
        _ => stack.queues.get(&need.name).and_then(|queue| queue.url.as_ref()),
    };
    match url {
        Some(url) => expand(loaded, &format!("{need}.url"), url),
        None => server_url(need, place),
    }
}

fn server_url(name: &ResourceRef, place: &Place) -> Result<String, Error> {
    let missing = || Error::failed(format!("`{name}` has no `url`, and this host does not run one; set its `url`"));
    place.servers.get(name).cloned().ok_or_else(missing)
}

/// The file of an SQLite database that this host keeps; `None` when its server is elsewhere.
pub(crate) fn database_file(database: &Database, name: &ResourceName, data: &Path) -> Option<PathBuf> {
    let ours = database.url.is_none() && database.engine == DatabaseEngine::Sqlite;
    ours.then(|| sqlite_file(name, data))
}

fn sqlite_file(name: &ResourceName, data: &Path) -> PathBuf {
    data.join(format!("{name}.sqlite"))
}

/// The text of key `key` with the contract's values in it.
pub(crate) fn expand(loaded: &Loaded, key: &str, text: &str) -> Result<String, Error> {
    stack::template::expand(text, |name| loaded.values.values.get(name))
        .map_err(|error| Error::failed(format!("`{key}` cannot be filled in: {error}")))
}

fn bind(
    scope: &Scope,
    loaded: &Loaded,
    needs: &[ResourceRef],
    own: &[&BTreeMap<String, String>],
    place: &Place,
) -> Result<Bound, Error> {
    let mut bound = Bound { env: BTreeMap::new(), secrets: loaded.values.secret_values().cloned().collect() };
    bound.secrets.extend(place.publishing.iter().map(|address| address.secret().to_owned()));
    for need in needs {
        bind_need(loaded, need, place, &mut bound)?;
    }
    bound.env.extend(loaded.values.values.clone());
    for env in own {
        for (name, text) in *env {
            bound.env.insert(name.clone(), expand(loaded, &format!("env.{name}"), text)?);
        }
    }
    let fixed = [
        ("HOST", "127.0.0.1".to_owned()),
        ("SLIPWAY_APP", scope.app.to_string()),
        ("SLIPWAY_ENVIRONMENT", scope.environment.to_string()),
        ("SLIPWAY_RELEASE", loaded.revision.release.as_str().to_owned()),
        ("SLIPWAY_VERSION", loaded.version.clone()),
        ("SLIPWAY_DATA", place.data.display().to_string()),
    ];
    bound.env.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
    for name in ["PATH", "HOME", "LANG", "TZ"] {
        if let Ok(value) = std::env::var(name) {
            bound.env.entry(name.to_owned()).or_insert(value);
        }
    }
    Ok(bound)
}

fn bind_need(loaded: &Loaded, need: &ResourceRef, place: &Place, bound: &mut Bound) -> Result<(), Error> {
    let name = &need.name;
    match need.kind {
        Kind::Database => {
            let url = database_url(loaded, name, place)?;
            if let Some(password) = postgres(&url).remove("PGPASSWORD") {
                bound.secrets.push(password);
            }
            if !bound.env.contains_key("DATABASE_URL") {
                bound.env.extend(postgres(&url).into_iter().map(|(name, value)| (name.to_owned(), value)));
            }
            bound.set("DATABASE_URL", name, "DATABASE_URL", url);
        }
        Kind::Cache => {
            bound.set_secret("REDIS_URL", name, "CACHE_URL", store_url(loaded, need, place)?);
        }
        Kind::Queue => {
            bound.set_secret("AMQP_URL", name, "QUEUE_URL", store_url(loaded, need, place)?);
        }
        Kind::Bucket => {
            bind_bucket(loaded, name, place, bound)?;
        }
        Kind::Topic => {
            if let Some(address) = &place.publishing {
                bound.set("TOPIC_URL", name, "TOPIC_URL", address.url(need));
            }
        }
        Kind::Service => {
            if let Some(port) = place.internal.get(name) {
                bound.env.insert(format!("{}_URL", capitals(name)), format!("http://127.0.0.1:{port}"));
            }
        }
        _ => {
            return Err(Error::failed(format!(
                "`{need}` is needed, and this host cannot provide a {}; deploy to a target that can",
                need.kind
            )));
        }
    }
    Ok(())
}

/// The names that the SDKs of AWS look for, and those that many programs do.
fn bind_bucket(loaded: &Loaded, name: &ResourceName, place: &Place, bound: &mut Bound) -> Result<(), Error> {
    let missing = || Error::failed(format!("`bucket.{name}` is not open on this host yet; try again"));
    let buckets::Access { endpoint, keys } = place.buckets.clone().ok_or_else(missing)?;
    bound.secrets.push(keys.secret.clone());
    for (variable, value) in [
        ("AWS_ACCESS_KEY_ID", keys.access),
        ("AWS_SECRET_ACCESS_KEY", keys.secret),
        ("AWS_REGION", buckets::REGION.to_owned()),
        ("AWS_DEFAULT_REGION", buckets::REGION.to_owned()),
        ("AWS_ENDPOINT_URL_S3", endpoint.clone()),
        ("S3_ENDPOINT", endpoint),
        ("S3_FORCE_PATH_STYLE", "true".to_owned()),
    ] {
        bound.env.insert(variable.to_owned(), value);
    }
    bound.set("S3_BUCKET", name, "BUCKET", buckets::wire_name(loaded, name));
    Ok(())
}

impl Bound {
    /// Sets an address; the password in it must never be shown.
    fn set_secret(&mut self, first: &str, name: &ResourceName, suffix: &str, url: String) {
        self.secrets.extend(password(&url));
        self.set(first, name, suffix, url);
    }

    /// Sets `<NAME>_<suffix>`, and `first` unless another resource of its kind has it.
    fn set(&mut self, first: &str, name: &ResourceName, suffix: &str, value: String) {
        self.env.entry(first.to_owned()).or_insert_with(|| value.clone());
        self.env.insert(format!("{}_{suffix}", capitals(name)), value);
    }
}

/// `job-board` as a variable's name: `JOB_BOARD`.
fn capitals(name: &ResourceName) -> String {
    name.as_str().to_ascii_uppercase().replace('-', "_")
}

/// The variables of libpq for an address of PostgreSQL; none for another.
/// Source: PostgreSQL documentation, sections 34.1.1.2 and 34.15.
fn postgres(url: &str) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    let Some(rest) = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")) else {
        return found;
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':').unwrap_or("")),
        None => host.split_once(':').unwrap_or((host, "")),
    };
    let parameter = |name: &str| {
        query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
    };
    let parts = [
        ("PGHOST", if host.is_empty() { parameter("host").unwrap_or("") } else { host }),
        ("PGPORT", port),
        ("PGDATABASE", database),
        ("PGUSER", user),
        ("PGPASSWORD", password),
        ("PGSSLMODE", parameter("sslmode").unwrap_or("")),
    ];
    for (name, value) in parts {
        if !value.is_empty() {
            found.insert(name, decode(value));
        }
    }
    found
}

/// The password in an address, as it is written there.
fn password(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    (!password.is_empty()).then(|| password.to_owned())
}

/// Undoes percent-encoding. What is not a correct escape stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.get(..2)).flatten();
        let value = escaped.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        bytes.push(value.unwrap_or(first));
        rest = if value.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_postgres_address_is_taken_apart() {
        let all = postgres("postgres://jobs:p%40ss%2Fw@db.example:5433/job%20board?sslmode=require&x=1");
        let expected = [
            ("PGDATABASE", "job board"),
            ("PGHOST", "db.example"),
            ("PGPASSWORD", "p@ss/w"),
            ("PGPORT", "5433"),
            ("PGSSLMODE", "require"),
            ("PGUSER", "jobs"),
        ];
        assert_eq!(all.into_iter().collect::<Vec<_>>(), expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(postgres("postgresql:///jobs?host=/run/postgresql")["PGHOST"], "/run/postgresql");
        assert_eq!(postgres("postgres://[::1]:5432/a")["PGHOST"], "::1");
        assert!(postgres("sqlite:///a/b").is_empty());
        assert_eq!(password("redis://:a%40b@127.0.0.1:1/0").unwrap(), "a%40b");
        assert_eq!(password("amqp://127.0.0.1:1/a:b@c"), None);
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%é"), "%zz%é");
    }
}
