//! Databases, caches, queues, buckets and search servers as compose services, each with a check that means "usable".

use serde_json::{Map, Value, json};
use stack::{ByteSize, DatabaseEngine, Kind, Millicpu, ResourceRef, Stack};

use super::addresses::{database_name, host, password};
use crate::{Input, binding::Part};

/// How compose tells when a server is ready.
fn check(test: &[&str]) -> Value {
    json!({ "test": test, "interval": "5s", "timeout": "3s", "retries": 10, "start_period": "30s" })
}

fn limits(cpu: Option<Millicpu>, memory: Option<ByteSize>) -> Value {
    if cpu.is_none() && memory.is_none() {
        return Value::Null;
    }
    json!({ "resources": { "limits": {
        "cpus": cpu.map(cores),
        "memory": memory.map(size),
    } } })
}

/// Cores as compose writes them.
pub(crate) fn cores(cpu: Millicpu) -> String {
    let text = format!("{}.{:03}", cpu.0 / 1000, cpu.0 % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Bytes as compose writes them: its `m` is 1024 times 1024.
pub(crate) fn size(size: ByteSize) -> String {
    for (unit, factor) in [("g", 1u64 << 30), ("m", 1 << 20), ("k", 1 << 10)] {
        if size.0 >= factor && size.0.is_multiple_of(factor) {
            return format!("{}{unit}", size.0 / factor);
        }
    }
    format!("{}b", size.0)
}

/// A server of ours: restarted, on the back network only, with capped logs.
fn server(mut own: Value) -> Value {
    let common = json!({
        "restart": "unless-stopped",
        "networks": ["back"],
        "security_opt": ["no-new-privileges:true"],
        "logging": super::service::logging(),
    });
    if let (Value::Object(own), Value::Object(common)) = (&mut own, common) {
        own.extend(common);
    }
    own
}

/// An S3 server in front of folders: one per bucket, made before it starts.
fn buckets(
    stack: &Stack,
    services: &mut Map<String, Value>,
    volumes: &mut Map<String, Value>,
    outside: &mut Vec<String>,
) {
    let folders = stack.buckets.iter().map(|(name, bucket)| {
        format!("/buckets/{}", bucket.name.clone().unwrap_or_else(|| format!("{}-{name}", stack.app)))
    });
    let mut make = vec!["mkdir".to_owned(), "-p".to_owned()];
    make.extend(folders);
    outside.push(S3_SECRET.to_owned());
    services.insert(
        "s3-buckets".to_owned(),
        json!({
            "image": "alpine:3.22",
            "command": make,
            "restart": "no",
            "network_mode": "none",
            "volumes": ["s3-data:/buckets"],
        }),
    );
    services.insert(
        "s3".to_owned(),
        server(json!({
            "image": "versity/versitygw:v1.0.18",
            "command": ["--port", ":9000", "--health", "/health", "posix", "/buckets"],
            "environment": {
                "ROOT_ACCESS_KEY": stack.app.as_str(),
                "ROOT_SECRET_KEY": super::interpolated(&[Part::Outside(S3_SECRET.to_owned())]),
            },
            "depends_on": { "s3-buckets": { "condition": "service_completed_successfully" } },
            "healthcheck": check(&["CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1:9000/health"]),
            "volumes": ["s3-data:/buckets"],
        })),
    );
    volumes.insert("s3-data".to_owned(), json!({}));
}

/// The variable that holds the S3 server's secret key.
pub(crate) const S3_SECRET: &str = "S3_SECRET_ACCESS_KEY";

#[expect(clippy::too_many_lines, reason = "one resource after another, in the order of the file")]
pub(crate) fn all(
    input: &Input,
    services: &mut Map<String, Value>,
    volumes: &mut Map<String, Value>,
    outside: &mut Vec<String>,
) {
    let stack = &input.resolved.stack;
    if !stack.buckets.is_empty() {
        buckets(stack, services, volumes, outside);
    }
    let mut add = |kind: Kind, name: &stack::ResourceName, secret: bool, make: &dyn Fn(&str, &Value) -> Value| {
        let need = ResourceRef { kind, name: name.clone() };
        let host = host(stack, &need);
        let volume = format!("{host}-data");
        let given = if secret {
            outside.push(password(&need));
            super::interpolated(&[Part::Outside(password(&need))])
        } else {
            Value::Null
        };
        services.insert(host, server(make(&volume, &given)));
        volumes.insert(volume, json!({}));
    };
    let app = stack.app.as_str();
    for (name, database) in &stack.databases {
        let (None, DatabaseEngine::Postgres(version)) = (&database.url, &database.engine) else { continue };
        let database_name = database_name(stack, &ResourceRef { kind: Kind::Database, name: name.clone() });
        let mut command = vec!["postgres".to_owned()];
        for (key, value) in &database.settings {
            command.extend(["-c".to_owned(), format!("{key}={}", value.replace('$', "$$"))]);
        }
        let size = database.size.as_ref();
        add(Kind::Database, name, true, &|volume, given| {
            // the data directory moved in 18, whose image keeps one folder per major
            let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
            let folder = if major >= 18 { "/var/lib/postgresql" } else { "/var/lib/postgresql/data" };
            json!({
                "image": format!("postgres:{version}-alpine"),
                "environment": {
                    "POSTGRES_USER": app,
                    "POSTGRES_PASSWORD": given,
                    "POSTGRES_DB": database_name,
                    "POSTGRES_INITDB_ARGS": "--data-checksums --auth-host=scram-sha-256",
                },
                "command": if command.len() > 1 { json!(command) } else { Value::Null },
                "shm_size": "128m",
                "stop_grace_period": "1m",
                "healthcheck": check(&["CMD", "pg_isready", "--username", app, "--dbname", &database_name]),
                "volumes": [format!("{volume}:{folder}")],
                "deploy": limits(size.and_then(|s| s.cpu).map(|c| c.max), size.and_then(|s| s.memory).map(|m| m.max)),
            })
        });
    }
    for (name, cache) in stack.caches.iter().filter(|(_, cache)| cache.url.is_none()) {
        add(Kind::Cache, name, true, &|volume, given| {
            let memory = cache.memory.map(|memory| format!("{}mb", (memory.0 >> 20).max(1)));
            let limit = memory
                .map_or_else(String::new, |memory| format!(" --maxmemory {memory} --maxmemory-policy allkeys-lru"));
            let script = format!(
                "umask 077; printf 'requirepass %s\\n' \"$$REDISCLI_AUTH\" > /tmp/redis.conf; exec redis-server /tmp/redis.conf --dir /data --appendonly yes{limit}"
            );
            json!({
                "image": format!("{}-alpine", cache.engine),
                "user": "redis",
                "# by a file: arguments can be read by everybody on the host": null,
                "command": ["sh", "-c", script],
                "tmpfs": ["/tmp"],
                "environment": { "REDISCLI_AUTH": given },
                "healthcheck": check(&["CMD", "redis-cli", "ping"]),
                "volumes": [format!("{volume}:/data")],
                // a copy of the memory is written while it changes
                "deploy": limits(None, cache.memory.map(|memory| ByteSize(memory.0 + memory.0 / 2))),
            })
        });
    }
    for (name, queue) in stack.queues.iter().filter(|(_, queue)| queue.url.is_none()) {
        add(Kind::Queue, name, true, &|volume, given| {
            json!({
                "image": format!("{}-management-alpine", queue.engine),
                "# a fixed name: the data folder is called after it": null,
                "hostname": name.as_str(),
                "environment": { "RABBITMQ_DEFAULT_USER": app, "RABBITMQ_DEFAULT_PASS": given },
                "healthcheck": {
                    "test": ["CMD", "rabbitmq-diagnostics", "--quiet", "check_port_connectivity"],
                    "interval": "15s", "timeout": "15s", "retries": 5, "start_period": "1m",
                },
                "volumes": [format!("{volume}:/var/lib/rabbitmq")],
            })
        });
    }
    let searches =
        stack.extras.iter().filter(|(need, extra)| need.kind == Kind::Search && !extra.settings.contains_key("url"));
    for (need, extra) in searches {
        let engine = extra.settings.get("engine").and_then(Value::as_str).unwrap_or("opensearch:2");
        let (engine, version) = engine.split_once(':').unwrap_or((engine, "2"));
        add(Kind::Search, &need.name, false, &|volume, _| {
            json!({
                "image": format!("{engine}project/{engine}:{version}"),
                "environment": {
                    "discovery.type": "single-node",
                    "# reachable from the back network only": null,
                    "DISABLE_SECURITY_PLUGIN": "true",
                    "OPENSEARCH_JAVA_OPTS": "-Xms512m -Xmx512m",
                },
                "healthcheck": check(&["CMD", "curl", "--fail", "--silent", "http://localhost:9200/_cluster/health"]),
                "volumes": [format!("{volume}:/usr/share/opensearch/data")],
            })
        });
    }
}

/// Variables by which every S3 client finds the server.
pub(crate) fn s3(stack: &Stack) -> [(String, crate::binding::Value); 4] {
    use crate::binding::text;
    [
        ("AWS_ACCESS_KEY_ID".to_owned(), text(stack.app.as_str())),
        ("AWS_ENDPOINT_URL_S3".to_owned(), text("http://s3:9000")),
        ("AWS_REGION".to_owned(), text("us-east-1")),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), vec![Part::Outside(S3_SECRET.to_owned())]),
    ]
}
