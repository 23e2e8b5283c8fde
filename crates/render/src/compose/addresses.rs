//! Where things are on a compose network: each under its own name.

use stack::{DatabaseEngine, Kind, ResourceRef, Stack};

use crate::{
    binding::{Addresses, Part, Value, expand, text},
    program::capitals,
};

pub(crate) struct Compose<'s> {
    pub(crate) stack: &'s Stack,
}

/// Name of the variable that holds a server's password.
pub(crate) fn password(need: &ResourceRef) -> String {
    format!("{}_{}_PASSWORD", capitals(need.name.as_str()), capitals(need.kind.as_str()))
}

/// Name of a store's compose service: its own, unless a program has it.
pub(crate) fn host(stack: &Stack, need: &ResourceRef) -> String {
    let taken = stack.services.contains_key(&need.name)
        || stack.functions.contains_key(&need.name)
        || stack.jobs.contains_key(&need.name)
        || ["main", "edge"].contains(&need.name.as_str())
        || stores(stack).filter(|other| other.name == need.name).count() > 1;
    if taken { format!("{}-{}", need.kind, need.name) } else { need.name.to_string() }
}

fn stores(stack: &Stack) -> impl Iterator<Item = ResourceRef> {
    let of = |kind: Kind| move |name: &stack::ResourceName| ResourceRef { kind, name: name.clone() };
    let databases = stack.databases.keys().map(of(Kind::Database));
    let caches = stack.caches.keys().map(of(Kind::Cache));
    let queues = stack.queues.keys().map(of(Kind::Queue));
    let buckets = stack.buckets.keys().map(of(Kind::Bucket));
    databases.chain(caches).chain(queues).chain(buckets)
}

impl Compose<'_> {
    fn with_password(&self, need: &ResourceRef, before: &str, after: &str) -> Value {
        let after = after.replace("HOST", &host(self.stack, need));
        vec![Part::Text(before.to_owned()), Part::Outside(password(need)), Part::Text(after)]
    }
}

impl Addresses for Compose<'_> {
    fn address(&self, need: &ResourceRef) -> Option<Value> {
        let stack = self.stack;
        let app = stack.app.as_str();
        let url = |url: &Option<String>| url.as_deref().map(|url| expand(stack, url));
        match need.kind {
            Kind::Database => {
                let database = stack.databases.get(&need.name)?;
                let ours = || match database.engine {
                    DatabaseEngine::Sqlite => text(format!("sqlite:///data/{}.sqlite", need.name)),
                    DatabaseEngine::Postgres(_) => {
                        let name = database_name(stack, need);
                        self.with_password(need, &format!("postgres://{app}:"), &format!("@HOST:5432/{name}"))
                    }
                };
                Some(url(&database.url).unwrap_or_else(ours))
            }
            Kind::Cache => {
                let cache = stack.caches.get(&need.name)?;
                Some(url(&cache.url).unwrap_or_else(|| self.with_password(need, "redis://:", "@HOST:6379/0")))
            }
            Kind::Queue => {
                let queue = stack.queues.get(&need.name)?;
                let ours = || self.with_password(need, &format!("amqp://{app}:"), "@HOST:5672/");
                Some(url(&queue.url).unwrap_or_else(ours))
            }
            Kind::Bucket => stack
                .buckets
                .get(&need.name)
                .map(|bucket| text(bucket.name.clone().unwrap_or_else(|| format!("{app}-{}", need.name)))),
            Kind::Service => {
                let port = stack.services.get(&need.name)?.port?;
                Some(text(format!("http://{}:{port}", need.name)))
            }
            Kind::Search | Kind::Mail => {
                let extra = stack.extras.get(need)?;
                match extra.settings.get("url").and_then(serde_json::Value::as_str) {
                    Some(url) => Some(expand(stack, url)),
                    None if need.kind == Kind::Search => Some(text(format!("http://{}:9200", host(stack, need)))),
                    None => None,
                }
            }
            _ => None,
        }
    }

    fn postgres(&self, need: &ResourceRef) -> Option<[Value; 5]> {
        let database = self.stack.databases.get(&need.name)?;
        let ours = database.url.is_none() && matches!(database.engine, DatabaseEngine::Postgres(_));
        ours.then(|| {
            [
                text(host(self.stack, need)),
                text("5432"),
                text(database_name(self.stack, need)),
                text(self.stack.app.as_str()),
                vec![Part::Outside(password(need))],
            ]
        })
    }
}

/// Name of the database inside the server: what the stack says, else the app's, else app and database.
pub(crate) fn database_name(stack: &Stack, need: &ResourceRef) -> String {
    let said = stack.databases.get(&need.name).and_then(|database| database.cloud.get("name")?.as_str());
    match said {
        Some(name) => name.to_owned(),
        None if stack.databases.len() == 1 => stack.app.as_str().replace('-', "_"),
        None => format!("{}_{}", stack.app, need.name).replace('-', "_"),
    }
}
