//! Images that are data services or reverse proxies rather than a part of the application.

use crate::{
    draft::{Draft, label},
    text,
};

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Database,
    Cache,
    Queue,
    Bucket,
    Search,
    Proxy,
    Program,
}

/// What a known image is.
pub(crate) fn role(image: &str) -> Role {
    let (name, _) = text::image(image);
    match name {
        "postgres" | "postgis" | "timescaledb" | "pgvector" | "postgresql" => Role::Database,
        "redis" | "valkey" | "redis-stack-server" | "redis-stack" => Role::Cache,
        "rabbitmq" => Role::Queue,
        "minio" | "localstack-s3" | "versitygw" => Role::Bucket,
        "opensearch" => Role::Search,
        "nginx" | "traefik" | "caddy" | "haproxy" | "nginx-proxy" | "envoy" | "httpd" => Role::Proxy,
        _ => Role::Program,
    }
}

/// Declares the data service an image is and returns its reference; `None` for everything else.
pub(crate) fn declare(image: &str, name: &str, draft: &mut Draft) -> Option<String> {
    let version = version(image);
    let major = |otherwise: &str| {
        version.as_deref().and_then(|version| version.split('.').next()).unwrap_or(otherwise).to_owned()
    };
    let minor = |otherwise: &str| {
        version
            .as_deref()
            .map_or(otherwise.to_owned(), |version| version.split('.').take(2).collect::<Vec<_>>().join("."))
    };
    let (kind, engine) = match role(image) {
        Role::Database => ("database", format!("postgres:{}", major("17"))),
        Role::Cache => ("cache", format!("redis:{}", major("7"))),
        Role::Queue => ("queue", format!("rabbitmq:{}", minor("4"))),
        Role::Search => ("search", format!("opensearch:{}", major("2"))),
        Role::Bucket => {
            draft.section("bucket", name);
            return Some(format!("bucket.{name}"));
        }
        Role::Proxy | Role::Program => return None,
    };
    draft.section(kind, name).set("engine", engine);
    Some(format!("{kind}.{name}"))
}

/// The version of the engine inside an image; images that add to PostgreSQL name theirs first, or `pg15`.
fn version(image: &str) -> Option<String> {
    let (_, tag) = image.rsplit('/').next()?.split_once(':')?;
    let tag = tag.split('@').next()?;
    let after = tag.split("pg").nth(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    match after {
        Some(rest) => Some(rest.chars().take_while(char::is_ascii_digit).collect()),
        None => text::image(image).1,
    }
}

/// The memory that the command line of a Redis, or the configuration in it, caps it at.
pub(crate) fn cache_memory(line: &str) -> Option<String> {
    let rest = line.split("maxmemory ").nth(1)?;
    text::size(rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?)
}

/// The kind of a reference, as in `database` of `database.main`.
pub(crate) fn kind(reference: &str) -> &str {
    reference.split('.').next().unwrap_or_default()
}

/// The reference of the data service called `host`, if the draft has one.
pub(crate) fn find(host: &str, draft: &Draft) -> Option<String> {
    if let Some(reference) = draft.hosts.get(host) {
        return Some(reference.clone());
    }
    // Kamal puts the application's name before it
    let short = draft.app.as_deref().and_then(|app| host.strip_prefix(app)?.strip_prefix('-'));
    let name = label(short.unwrap_or(host), "");
    ["database", "cache", "queue", "bucket"]
        .into_iter()
        .find(|kind| !name.is_empty() && draft.has(kind, &name))
        .map(|kind| format!("{kind}.{name}"))
}

/// What a program is told about a data service, by kind.
pub(crate) fn injected(reference: &str) -> &'static str {
    match kind(reference) {
        "database" => "DATABASE_URL and PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE",
        "cache" => "REDIS_URL",
        "queue" => "AMQP_URL",
        _ => "the bucket's address and keys",
    }
}

/// The variable that holds the address, by kind.
pub(crate) fn variable(reference: &str) -> &'static str {
    match kind(reference) {
        "database" => "DATABASE_URL",
        "cache" => "REDIS_URL",
        "queue" => "AMQP_URL",
        _ => "AWS_ENDPOINT_URL_S3",
    }
}
