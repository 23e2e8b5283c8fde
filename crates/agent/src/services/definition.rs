//! What a server is to be, as the stack says it.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use stack::{DatabaseEngine, Kind, Resolved, ResourceRef};

use super::Agreement;

/// A program that keeps data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// PostgreSQL.
    Postgres,
    /// Redis.
    Redis,
    /// RabbitMQ.
    Rabbitmq,
}

/// One server. Two that are equal need no restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Definition {
    /// As in `database.main`.
    pub(crate) name: ResourceRef,
    /// Which program.
    pub(crate) engine: Engine,
    /// As in `15` or `7.2`.
    pub(crate) version: String,
    /// Settings of the program, passed on as they are.
    pub(crate) settings: BTreeMap<String, String>,
    /// Bytes of memory it may use.
    pub(crate) memory: Option<u64>,
    /// Thousandths of a core it may use.
    pub(crate) cpu_millis: Option<u32>,
    /// What it shares with other hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shared: Option<Shared>,
}

/// A server of an environment whose hosts know each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shared {
    /// Where other hosts reach it; `None` when there are none.
    pub(crate) address: Option<IpAddr>,
    /// Another mark, another password.
    pub(crate) mark: String,
}

impl Definition {
    /// The servers a stack asks for and names no address of, by kind and name.
    pub(crate) fn all(resolved: &Resolved) -> Vec<Self> {
        let stack = &resolved.stack;
        let mut found = Vec::new();
        for (name, database) in stack.databases.iter().filter(|(_, database)| database.url.is_none()) {
            let DatabaseEngine::Postgres(version) = &database.engine else { continue };
            let size = database.size.as_ref();
            found.push(Self {
                name: ResourceRef { kind: Kind::Database, name: name.clone() },
                engine: Engine::Postgres,
                version: version.clone(),
                settings: database.settings.clone(),
                memory: size.and_then(|size| size.memory).map(|memory| memory.max.0),
                cpu_millis: size.and_then(|size| size.cpu).map(|cpu| cpu.max.0),
                shared: None,
            });
        }
        for (name, cache) in stack.caches.iter().filter(|(_, cache)| cache.url.is_none()) {
            let Some(("redis", version)) = cache.engine.split_once(':') else { continue };
            found.push(Self {
                name: ResourceRef { kind: Kind::Cache, name: name.clone() },
                engine: Engine::Redis,
                version: version.to_owned(),
                settings: BTreeMap::new(),
                memory: cache.memory.map(|memory| memory.0),
                cpu_millis: None,
                shared: None,
            });
        }
        for (name, queue) in stack.queues.iter().filter(|(_, queue)| queue.url.is_none()) {
            let Some(("rabbitmq", version)) = queue.engine.split_once(':') else { continue };
            found.push(Self {
                name: ResourceRef { kind: Kind::Queue, name: name.clone() },
                engine: Engine::Rabbitmq,
                version: version.to_owned(),
                settings: BTreeMap::new(),
                memory: None,
                cpu_millis: None,
                shared: None,
            });
        }
        found
    }

    /// The same with what the hosts agreed on, where it runs.
    pub(super) fn agreed(self, agreement: Option<&Agreement>) -> Self {
        let shared = agreement.map(|agreement| Shared {
            address: (!agreement.others.is_empty()).then_some(agreement.address),
            mark: agreement.mark(&self.name),
        });
        Self { shared, ..self }
    }

    /// The name of its folders: `database-main`.
    pub(crate) fn id(&self) -> String {
        id(&self.name)
    }

    /// The first number of its version.
    pub(crate) fn major(&self) -> &str {
        self.version.split('.').next().unwrap_or(&self.version)
    }

    /// As in the stack file: `postgres:15`.
    pub(crate) fn engine_text(&self) -> String {
        let name = match self.engine {
            Engine::Postgres => "postgres",
            Engine::Redis => "redis",
            Engine::Rabbitmq => "rabbitmq",
        };
        format!("{name}:{}", self.version)
    }
}

/// The name of a server's folders.
pub(crate) fn id(name: &ResourceRef) -> String {
    format!("{}-{}", name.kind, name.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::Loaded;

    #[test]
    fn only_servers_without_an_address_are_run_here() {
        let text = r#"
            app = "shop"
            [service.api]
            run = "true"
            [database.main]
            engine = "postgres:15.4"
            settings = { max_connections = "50" }
            size = { memory = "512Mi" }
            [database.other]
            engine = "postgres:16"
            url = "postgres://elsewhere/x"
            [database.file]
            engine = "sqlite"
            [cache.redis]
            engine = "redis:7"
            memory = "64Mi"
            [queue.mq]
            engine = "rabbitmq:3.12"
            [environment.dev]
            target = "local"
        "#;
        let loaded = Loaded::of_text(text, "dev", 'a', &[]);
        let found = Definition::all(&loaded.resolved);
        let lines: Vec<String> =
            found.iter().map(|one| format!("{} {} {:?}", one.id(), one.engine_text(), one.memory)).collect();
        let expected = [
            "database-main postgres:15.4 Some(536870912)",
            "cache-redis redis:7 Some(67108864)",
            "queue-mq rabbitmq:3.12 None",
        ];
        assert_eq!(lines, expected);
        assert_eq!(found[0].major(), "15");
        assert_eq!(found[0].settings["max_connections"], "50");
    }
}
