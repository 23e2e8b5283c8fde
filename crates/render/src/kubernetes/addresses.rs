//! Where things are in a cluster. A part from outside whose name is `secret/key` is that key of that Secret.

use stack::{DatabaseEngine, Kind, ResourceRef, Stack};

use crate::binding::{Addresses, Part, Value, expand, text};

pub(crate) struct Cluster<'s> {
    pub(crate) stack: &'s Stack,
}

fn key(secret: &str, key: &str) -> Part {
    Part::Outside(format!("{secret}/{key}"))
}

impl Addresses for Cluster<'_> {
    fn address(&self, need: &ResourceRef) -> Option<Value> {
        let stack = self.stack;
        let name = need.name.as_str();
        let url = |url: &Option<String>| url.as_deref().map(|url| expand(stack, url));
        match need.kind {
            Kind::Database => {
                let database = stack.databases.get(&need.name)?;
                let ours = matches!(database.engine, DatabaseEngine::Postgres(_));
                // the operator writes this Secret, with a password of its own making
                url(&database.url).or_else(|| ours.then(|| vec![key(&format!("{}-app", cluster(name)), "uri")]))
            }
            Kind::Cache => {
                let cache = stack.caches.get(&need.name)?;
                let ours = || {
                    // any member of a cluster tells of the others, and such a cluster has one database
                    let server =
                        if cache.shards > 1 { format!("@{name}-leader:6379") } else { format!("@{name}:6379/0") };
                    let after = Part::Text(server);
                    vec![Part::Text("redis://:".to_owned()), key(&format!("{name}-auth"), "password"), after]
                };
                Some(url(&cache.url).unwrap_or_else(ours))
            }
            Kind::Queue => {
                let queue = stack.queues.get(&need.name)?;
                let ours = || vec![key(&format!("{name}-default-user"), "connection_string")];
                Some(url(&queue.url).unwrap_or_else(ours))
            }
            Kind::Bucket => {
                let bucket = stack.buckets.get(&need.name)?;
                Some(text(bucket.name.clone().unwrap_or_else(|| format!("{}-{name}", stack.app))))
            }
            Kind::Service => stack.services.get(&need.name)?.port.map(|_| text(format!("http://{name}"))),
            _ => {
                let extra = stack.extras.get(need)?;
                extra.settings.get("url").and_then(serde_json::Value::as_str).map(|url| expand(stack, url))
            }
        }
    }

    fn postgres(&self, need: &ResourceRef) -> Option<[Value; 5]> {
        let database = self.stack.databases.get(&need.name)?;
        let ours = database.url.is_none() && matches!(database.engine, DatabaseEngine::Postgres(_));
        let secret = format!("{}-app", cluster(need.name.as_str()));
        ours.then(|| ["host", "port", "dbname", "username", "password"].map(|part| vec![key(&secret, part)]))
    }
}

/// Name of a database's cluster object: its Services must not take the name of one of ours.
pub(crate) fn cluster(name: &str) -> String {
    format!("{name}-db")
}
