//! What can be said of a stack, fact by fact, so that two stacks can be compared on what a format carries.

use std::collections::BTreeMap;

use render::Target;
use stack::{EnvironmentName, Kind, Migrations, Resolved, Source};

use super::said::{backups, cap, engines, one, served, settings, size, words};

/// What one fact says of a stack: a key and its value for each thing it is about.
pub(crate) type Said = BTreeMap<String, String>;

macro_rules! facts {
    ($($name:ident $about:literal;)*) => {
        /// Something a format may carry.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Fact { $(#[doc = $about] $name),* }

        impl Fact {
            /// Every fact, in the order of the guide.
            pub(crate) const ALL: &'static [Fact] = &[$(Fact::$name),*];

            /// What it is, for the guide.
            pub(crate) fn about(self) -> &'static str {
                match self { $(Fact::$name => $about),* }
            }
        }
    };
}

facts! {
    App "name of the application";
    Environment "name of the environment";
    Environments "names of all environments that are not this machine, and which of them ask for a yes";
    Listen "address that visitors come to";
    Services "services";
    Sites "sites: folder, command that builds them, where the pages are, fallback";
    Images "images that are not built here";
    Commands "command lines of services that run an image";
    Runs "command lines of services that are built from a folder";
    Ports "ports";
    Health "health checks: path, period, timeout, failures until unhealthy";
    Rise "successes until ready, and the path that says so";
    Start "how long a start may take";
    Grace "how long an instance gets to end";
    Replicas "number of replicas";
    Scaling "range of replicas, and the use at which they are added";
    Sizes "CPU and memory: what is asked for and where it is capped";
    Caps "CPU and memory: where they are capped";
    Env "variables of every program and their values";
    Plain "variables of every program that hold no address and no secret";
    Outside "names of the variables that come from outside";
    Secrets "which of the variables from outside are secret";
    Needs "what each program needs of databases, caches, queues and services";
    Buckets "buckets, and which programs need them";
    Jobs "jobs and functions on a schedule: command, schedule, time zone";
    Overlap "whether the next run of a job ends the last";
    Retries "how often a job is tried again, and how long it may take";
    Engines "databases, caches and queues with engine and version";
    Followers "replicas of databases, caches and queues";
    Files "databases in one file (SQLite), and which programs need them";
    Settings "settings of databases";
    OpenSettings "settings of databases that an operator leaves to people";
    CacheMemory "memory of caches";
    DatabaseCaps "CPU and memory of databases: where they are capped";
    DatabaseSizes "CPU and memory of databases: what is asked for and where it is capped";
    Storage "disk of databases";
    Migrations "folders and commands that migrate";
    MigrationCommands "commands that migrate";
    Backups "backups: time, what stays, bucket";
    BackupReach "backups: time, days that are reached back, bucket";
    Routes "hosts and paths that lead to services, and redirects";
    RouteLimits "limits of paths";
    RouteBodies "largest body of paths";
    RouteRules "prefixes that are removed, origins, services whose visitors stay at an instance";
    CloudDatabases "rented databases: engine, class, names, retention, windows, disk, replicas, capacity";
    CloudCaches "rented caches: engine, class, shards, replicas";
    CloudBuckets "rented buckets: name, versions, when objects move and end";
    CloudServices "services and their ranges of replicas";
    CloudTables "tables with their keys";
    CloudTopics "topics";
    CloudSearch "search domains: nodes, masters, classes";
    CloudNetwork "address range of the network";
}

/// Both ends of a round trip: names that only the first one knows are not asked of the second.
pub(crate) struct Scene<'s> {
    /// What it was rendered for.
    pub(crate) target: Target,
    /// The stack that was rendered.
    pub(crate) first: &'s Resolved,
    /// The stack that came back.
    pub(crate) back: &'s Resolved,
    /// Every environment of the first.
    pub(crate) all: &'s [Resolved],
}

impl Scene<'_> {
    /// What a fact says of a stack, `second` being one of the two.
    #[expect(clippy::too_many_lines, reason = "a table of what each fact says")]
    pub(crate) fn says(&self, fact: Fact, second: &Resolved, all: &[Resolved]) -> Said {
        let stack = &second.stack;
        match fact {
            Fact::App => one("app", stack.app.as_str()),
            Fact::Environment => one("environment", second.name.as_str()),
            Fact::Environments => self.environments(all),
            // without a route nothing listens
            Fact::Listen if self.first.stack.routes.is_empty() => Said::new(),
            Fact::Listen => {
                let first = second.environment.listen.first();
                one("listen", &first.map_or_else(|| "127.0.0.1:8080".to_owned(), ToString::to_string))
            }
            Fact::Services => self.services(stack).map(|(name, _)| (name, String::new())).collect(),
            Fact::Sites => stack
                .sites
                .iter()
                .filter(|(name, _)| {
                    // the image of the proxy holds only pages that a route leads to
                    let mut paths = self.first.stack.routes.iter().flat_map(|route| &route.paths);
                    paths.any(|path| path.to.kind == Kind::Site && path.to.name == **name)
                })
                .map(|(name, site)| {
                    let source = &site.source;
                    (
                        name.to_string(),
                        format!("{} {:?} {:?} {} {}", source.dir, source.build, source.out, site.spa, site.hashed),
                    )
                })
                .collect(),
            Fact::Images => self
                .services(stack)
                .filter_map(|(name, service)| match &service.source {
                    Source::Image(image) if !self.built(&name) => Some((name, image.clone())),
                    _ => None,
                })
                .collect(),
            Fact::Commands => self
                .services(stack)
                .filter(|(name, _)| !self.in_folder(name))
                .filter_map(|(name, service)| Some((name, words(service.run.as_deref()?))))
                .collect(),
            Fact::Runs => self
                .services(stack)
                .filter(|(name, _)| self.in_folder(name))
                .filter_map(|(name, service)| Some((name, words(service.run.as_deref()?))))
                .collect(),
            Fact::Ports => self.services(stack).filter_map(|(name, one)| Some((name, one.port?.to_string()))).collect(),
            Fact::Health => self
                .services(stack)
                .filter_map(|(name, service)| {
                    let health = service.health.filter(|_| service.port.is_some())?;
                    Some((name, format!("{} {} {} {}", health.path, health.every, health.timeout, health.down)))
                })
                .collect(),
            Fact::Rise => self
                .services(stack)
                .filter_map(|(name, service)| {
                    let health = service.health.filter(|_| service.port.is_some())?;
                    Some((name, format!("{} {}", health.up, service.ready.unwrap_or(health.path))))
                })
                .collect(),
            Fact::Start => self
                .services(stack)
                .filter(|(name, _)| self.asked(name))
                .map(|(name, service)| (name, service.start.to_string()))
                .collect(),
            Fact::Grace => self
                .services(stack)
                .filter(|(name, _)| self.open(name))
                .map(|(name, service)| (name, format!("{}s", (service.drain.0 + service.stop.0).as_secs())))
                .collect(),
            Fact::Replicas => self
                .services(stack)
                // a unit without a port has no instances
                .filter(|(name, _)| self.target != Target::Systemd || self.open(name))
                .map(|(name, one)| (name, one.size.replicas.min.to_string()))
                .collect(),
            Fact::Scaling => self
                .services(stack)
                .map(|(name, service)| {
                    let size = service.size;
                    let range = size.replicas;
                    if range.max == range.min {
                        return (name, range.min.to_string());
                    }
                    // without a number the target adds at 70 % of CPU
                    let at = size.scale_at.map_or((Some(70), None), |at| (at.cpu, at.memory));
                    (name, format!("{}..{} at {at:?}", range.min, range.max))
                })
                .collect(),
            Fact::Sizes => self.services(stack).filter_map(|(name, one)| Some((name, size(&one.size)?))).collect(),
            Fact::Caps => self.services(stack).filter_map(|(name, one)| Some((name, cap(&one.size)?))).collect(),
            Fact::Env => self.env(stack, false),
            Fact::Plain => self.env(stack, true),
            Fact::Outside => self.outside(stack).into_iter().map(|name| (name, String::new())).collect(),
            Fact::Secrets => {
                let elsewhere: Vec<&EnvironmentName> = self.elsewhere();
                let all = all.iter().filter(|one| elsewhere.contains(&&one.name));
                all.flat_map(|one| &one.stack.variables)
                    .filter(|(_, variable)| variable.default.is_none() && (variable.secret || !variable.optional))
                    .map(|(name, variable)| (name.clone(), variable.secret.to_string()))
                    .collect()
            }
            Fact::Files => self.files(stack),
            Fact::Needs => self.needs(stack),
            Fact::Buckets => self.buckets(stack),
            Fact::Jobs | Fact::Overlap | Fact::Retries => self.jobs(fact, stack),
            Fact::Engines | Fact::Followers => engines(fact, stack),
            Fact::Settings | Fact::OpenSettings => settings(fact, stack),
            Fact::CacheMemory => stack
                .caches
                .iter()
                .filter(|(_, cache)| cache.url.is_none())
                .filter_map(|(name, cache)| Some((name.to_string(), (cache.memory?.0 >> 20).max(1).to_string())))
                .collect(),
            Fact::DatabaseCaps | Fact::DatabaseSizes => stack
                .databases
                .iter()
                .filter(|(_, database)| served(database))
                .filter_map(|(name, database)| {
                    let own = database.size.as_ref()?;
                    Some((name.to_string(), if fact == Fact::DatabaseCaps { cap(own) } else { size(own) }?))
                })
                .collect(),
            Fact::Storage => stack
                .databases
                .iter()
                .filter(|(_, database)| served(database))
                .map(|(name, one)| (name.to_string(), one.storage.map_or("10Gi".to_owned(), |at| at.min.to_string())))
                .collect(),
            Fact::Migrations | Fact::MigrationCommands => stack
                .databases
                .iter()
                .filter(|(_, database)| served(database))
                .filter_map(|(name, database)| match database.migrations.as_ref()? {
                    Migrations::Folder(folder) => {
                        (fact == Fact::Migrations).then(|| (name.to_string(), format!("folder {folder}")))
                    }
                    Migrations::Command { run, .. } => Some((name.to_string(), words(run))),
                })
                .collect(),
            Fact::Backups | Fact::BackupReach => backups(fact, stack),
            Fact::Routes | Fact::RouteLimits | Fact::RouteBodies | Fact::RouteRules => self.routes(fact, stack),
            Fact::CloudDatabases
            | Fact::CloudCaches
            | Fact::CloudBuckets
            | Fact::CloudServices
            | Fact::CloudTables
            | Fact::CloudTopics
            | Fact::CloudSearch
            | Fact::CloudNetwork => super::cloud::says(fact, &self.first.stack, stack, &self.back.stack),
        }
    }
}
