//! A database's address: what it says, and how to speak of it without its password.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::Serialize;
use sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

use crate::error::MigrateError;

/// Which database engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// A parsed address.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) options: Options,
    /// How people call it; no password.
    pub(crate) place: String,
    secrets: Vec<String>,
}

#[derive(Clone)]
pub(crate) enum Options {
    Postgres(Box<PgConnectOptions>),
    Sqlite {
        options: Box<SqliteConnectOptions>,
        /// `None` for a database in memory.
        file: Option<PathBuf>,
        read_only: bool,
    },
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.place).finish()
    }
}

const POSTGRES_SHAPE: &str = "expected postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special characters of the password \
                              percent-encoded (`@` is %40, `/` is %2F, `#` is %23, `?` is %3F)";

impl Address {
    /// Parses `sqlite://path`, `sqlite:path`, `postgres://...` or `postgresql://...`.
    pub(crate) fn parse(url: &str) -> Result<Self, MigrateError> {
        let scheme = url.split(':').next().unwrap_or_default();
        match scheme {
            "sqlite" => Self::sqlite(url),
            "postgres" | "postgresql" => Self::postgres(url),
            _ => Err(MigrateError::Address(
                "it begins with neither `sqlite:` nor `postgres://`; no other engine is supported".to_owned(),
            )),
        }
    }

    fn sqlite(url: &str) -> Result<Self, MigrateError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(|error| MigrateError::Address(format!("{}; expected sqlite://PATH", plain(&error))))?;
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let path = options.get_filename().to_owned();
        if path.as_os_str().is_empty() {
            return Err(MigrateError::Address("it names no file; expected sqlite://PATH".to_owned()));
        }
        let in_memory = path.to_string_lossy().starts_with("file:sqlx-in-memory") || query.contains("mode=memory");
        let place =
            if in_memory { "SQLite in memory".to_owned() } else { format!("SQLite database {}", path.display()) };
        let read_only = query.contains("mode=ro") || query.contains("immutable=");
        let file = (!in_memory).then_some(path);
        Ok(Self {
            options: Options::Sqlite { options: Box::new(options), file, read_only },
            place,
            secrets: Vec::new(),
        })
    }

    fn postgres(url: &str) -> Result<Self, MigrateError> {
        let bad = |reason: &str| MigrateError::Address(format!("{reason}; {POSTGRES_SHAPE}"));
        let Some((_, rest)) = url.split_once("://") else {
            return Err(bad("it has no `//`"));
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        // an unescaped `/`, `?`, `#` or `@` in a password would make part of it the host, the port or the database
        if tail.contains(['@', '#']) || authority.matches('@').count() > 1 {
            return Err(bad("it has an `@` or `#` in the wrong place"));
        }
        let mut secrets = Vec::new();
        if let Some((user, _)) = authority.rsplit_once('@')
            && let Some((_, password)) = user.split_once(':')
        {
            secrets.push(password.to_owned());
        }
        let query = tail.split_once('?').map_or("", |(_, query)| query);
        secrets.extend(query.split('&').filter_map(|pair| pair.strip_prefix("password=")).map(ToOwned::to_owned));
        for at in 0..secrets.len() {
            secrets.push(percent_decoded(&secrets[at]));
        }
        // shorter ones would blank out letters everywhere
        secrets.retain(|secret| secret.len() > 2);
        let base = url.split_once('?').map_or(url, |(base, _)| base);
        let known = query.split('&').filter_map(known_parameter).collect::<Vec<_>>().join("&");
        let options = PgConnectOptions::from_str(&format!("{base}?{known}"))
            .map_err(|error| bad(&scrub(&secrets, plain(&error))))?;
        let host = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None if options.get_host().starts_with('/') => options.get_host().to_owned(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let user = options.get_username();
        let database = options.get_database().unwrap_or(user);
        let place = format!("PostgreSQL database `{database}` at {host} as `{user}`");
        Ok(Self { options: Options::Postgres(Box::new(options)), place, secrets })
    }

    /// Which engine.
    pub(crate) fn engine(&self) -> Engine {
        match self.options {
            Options::Postgres(_) => Engine::Postgres,
            Options::Sqlite { .. } => Engine::Sqlite,
        }
    }

    /// The file of an SQLite database that is not in memory.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.options {
            Options::Sqlite { file, .. } => file.as_deref(),
            Options::Postgres(_) => None,
        }
    }

    /// The words of an error, without the password.
    pub(crate) fn words(&self, error: &sqlx::Error) -> String {
        scrub(&self.secrets, plain(error))
    }
}

/// A parameter as sqlx reads it. It would write the value of any other into the log, so those, which are meant for
/// other drivers, are left out; Prisma's `schema` is what everybody else calls the search path.
fn known_parameter(pair: &str) -> Option<String> {
    let (key, value) = pair.split_once('=')?;
    match key {
        "schema" => Some(format!("options=-csearch_path%3D{value}")),
        "sslmode" | "ssl-mode" | "sslrootcert" | "ssl-root-cert" | "ssl-ca" | "sslcert" | "ssl-cert" | "sslkey"
        | "ssl-key" | "host" | "hostaddr" | "port" | "dbname" | "user" | "password" | "application_name"
        | "options" => Some(pair.to_owned()),
        _ if key.starts_with("options[") || key.starts_with("options%5B") => Some(pair.to_owned()),
        _ => None,
    }
}

fn scrub(secrets: &[String], mut text: String) -> String {
    for secret in secrets {
        text = text.replace(secret.as_str(), "***");
    }
    text
}

/// sqlx's words without its own frame, and without the line of the server's source code.
fn plain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => format!("TLS failed: {error}"),
        sqlx::Error::Configuration(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_everything_but_the_password() {
        let address = Address::parse("postgres://ann:s3cr%40t@db.example:6543/shop?sslmode=prefer").unwrap();
        assert_eq!(address.place, "PostgreSQL database `shop` at db.example:6543 as `ann`");
        assert!(!format!("{address:?}").contains("s3cr"));
        let error = sqlx::Error::Protocol("s3cr@t and s3cr%40t".to_owned());
        assert!(!address.words(&error).contains("s3cr"));
        assert_eq!(Address::parse("sqlite:a/b.db").unwrap().file(), Some(Path::new("a/b.db")));
        assert_eq!(Address::parse("sqlite:///a/b.db").unwrap().file(), Some(Path::new("/a/b.db")));
        assert_eq!(Address::parse("sqlite::memory:").unwrap().file(), None);
    }

    #[test]
    fn parameters_of_other_drivers_are_left_out() {
        let address = Address::parse("postgres://ann@h/d?schema=shop&passwd=hunter2&connection_limit=5").unwrap();
        let Options::Postgres(options) = address.options else { panic!("not PostgreSQL") };
        assert_eq!(options.get_options(), Some("-csearch_path=shop"));
    }

    #[test]
    fn a_bad_address_never_shows_its_password() {
        for bad in [
            "postgres://ann:hunter2/x@host/db",
            "postgres://ann:hunter2#x@host/db",
            "postgres://ann:12345#hunter2@host/db",
            "postgres://ann:12345/hunter2@host/db",
            "postgres://ann:12345?hunter2@host/db",
            "postgres://ann:hunter2@x@host/db",
            "postgres://ann:hunter2@host:port/db",
            "postgres://ann:hunter2@host/db?sslmode=hunter2",
            "postgres:ann:hunter2@host/db",
            "mysql://ann:hunter2@host/db",
            "ann:hunter2@host",
            "",
        ] {
            let error = Address::parse(bad).unwrap_err();
            let (shown, debugged) = (error.to_string(), format!("{error:?}"));
            assert!(!shown.contains("hunter2") && !debugged.contains("hunter2") && !shown.contains("12345"), "{shown}");
        }
    }
}
