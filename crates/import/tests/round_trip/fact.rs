//! What can be said of a stack, fact by fact, so that two stacks can be compared on what a format carries.

use std::collections::{BTreeMap, BTreeSet};

use render::Target;
use stack::{
    CommandSource, DatabaseEngine, EnvironmentName, Kind, Migrations, Resolved, ResourceName, ResourceRef, Source,
    Stack,
};

use super::said::{backups, cap, cron, engines, given, one, rate, served, settings, size, words};

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

    /// Environments that are not this machine.
    fn elsewhere(&self) -> Vec<&EnvironmentName> {
        let all = self.all.iter().filter(|one| one.environment.target != stack::TargetKind::Local);
        all.map(|one| &one.name).collect()
    }

    fn environments(&self, all: &[Resolved]) -> Said {
        let elsewhere = self.elsewhere();
        all.iter()
            .filter(|one| elsewhere.contains(&&one.name))
            .map(|one| {
                let guarded = one.environment.approve || one.environment.data == stack::DataClass::Real;
                (one.name.to_string(), guarded.to_string())
            })
            .collect()
    }

    /// Services; a site that came back as the service of its image is none.
    fn services(&self, stack: &Stack) -> impl Iterator<Item = (String, stack::Service)> {
        let sites = self.first.stack.sites.keys().cloned().collect::<BTreeSet<ResourceName>>();
        let searches: BTreeSet<ResourceName> = self
            .first
            .stack
            .extras
            .keys()
            .filter(|need| need.kind == Kind::Search)
            .map(|need| need.name.clone())
            .collect();
        let services: Vec<_> =
            stack.services.clone().into_iter().filter(|(name, _)| self.runs(name.as_str())).collect();
        services
            .into_iter()
            .filter(move |(name, _)| !sites.contains(name) && !searches.contains(name))
            .map(|(name, service)| (name.to_string(), service))
    }

    /// Whether the rendered stack builds a service's image.
    fn built(&self, name: &str) -> bool {
        self.first.stack.services.get(name).is_some_and(|service| !matches!(service.source, Source::Image(_)))
    }

    /// Whether visitors come to a service.
    fn open(&self, name: &str) -> bool {
        self.first.stack.services.get(name).is_some_and(|service| service.port.is_some())
    }

    /// Whether a service is asked for its health.
    fn asked(&self, name: &str) -> bool {
        self.open(name) && self.first.stack.services.get(name).is_some_and(|service| service.health.is_some())
    }

    /// Whether the target runs a program at all: units start no images.
    fn runs(&self, name: &str) -> bool {
        if self.target != Target::Systemd && self.target != Target::Nginx {
            return true;
        }
        let stack = &self.first.stack;
        let jobs = stack.jobs.get(name).map(|job| &job.command);
        let command = jobs.or_else(|| stack.functions.get(name).map(|function| &function.command));
        match command.map(|command| &command.source) {
            Some(CommandSource::Service(service)) => self.in_folder(service.as_str()),
            Some(CommandSource::Own(source)) => matches!(source, Source::Folder(_)),
            None => !stack.services.contains_key(name) || self.in_folder(name),
        }
    }

    fn in_folder(&self, name: &str) -> bool {
        self.first.stack.services.get(name).is_some_and(|service| matches!(service.source, Source::Folder(_)))
    }

    /// The programs of a stack: services, jobs and functions on a schedule, with what they need and their variables.
    fn programs(&self, stack: &Stack) -> Vec<(String, Vec<ResourceRef>, BTreeMap<String, String>)> {
        let mut programs: Vec<_> =
            self.services(stack).map(|(name, service)| (name, service.needs, service.env)).collect();
        let jobs = stack.jobs.iter().map(|(name, job)| (name, &job.command));
        let functions = stack.functions.iter().filter(|(_, function)| function.schedule.is_some());
        let commands = jobs.chain(functions.map(|(name, function)| (name, &function.command)));
        for (name, command) in commands.filter(|(name, _)| self.runs(name.as_str())) {
            let host = match &command.source {
                CommandSource::Service(service) => stack.services.get(service),
                CommandSource::Own(_) => None,
            };
            let mut needs = host.map(|host| host.needs.clone()).unwrap_or_default();
            needs.extend(command.needs.clone());
            let mut env = host.map(|host| host.env.clone()).unwrap_or_default();
            env.extend(command.env.clone());
            programs.push((name.to_string(), needs, env));
        }
        programs
    }

    fn env(&self, stack: &Stack, plain: bool) -> Said {
        // what the rendered stack's needs give a program is asked for by `Needs`
        let given: BTreeMap<String, BTreeSet<String>> =
            self.programs(&self.first.stack).into_iter().map(|(name, needs, _)| (name, given(&needs))).collect();
        let mut said = Said::new();
        for (program, _, own) in self.programs(stack) {
            let mut env: BTreeMap<String, String> = BTreeMap::new();
            for (name, variable) in &stack.variables {
                match &variable.default {
                    Some(default) => drop(env.insert(name.clone(), default.clone())),
                    None if variable.optional && !variable.secret => {}
                    None => drop(env.insert(name.clone(), format!("${{{name}}}"))),
                }
            }
            for (name, value) in own {
                if plain && value.contains("${") {
                    continue;
                }
                let value = stack::template::expand(&value, |name| {
                    let default = stack.variables.get(name).and_then(|variable| variable.default.clone());
                    Some(default.unwrap_or_else(|| format!("${{{name}}}")))
                });
                env.insert(name, value.expect("a good template"));
            }
            for (name, value) in env {
                let known = given.get(&program).is_some_and(|given| given.contains(&name));
                let outside = value.contains("${");
                let told = known || ["PORT", "HOST", "SLIPWAY_APP"].contains(&name.as_str());
                if !(told || plain && outside) {
                    said.insert(format!("{program}.{name}"), value);
                }
            }
        }
        said
    }

    /// Variables without a value that a program is given.
    fn outside(&self, stack: &Stack) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = stack
            .variables
            .iter()
            .filter(|(_, variable)| variable.default.is_none() && (variable.secret || !variable.optional))
            .map(|(name, _)| name.clone())
            .collect();
        for (_, _, env) in self.programs(stack) {
            for value in env.values() {
                let used = stack::template::variables(value).expect("a good template");
                let open = used
                    .into_iter()
                    .filter(|name| stack.variables.get(*name).is_none_or(|variable| variable.default.is_none()));
                names.extend(open.map(str::to_owned));
            }
        }
        let urls = stack.databases.values().filter_map(|database| database.url.as_deref());
        for url in urls.chain(stack.caches.values().filter_map(|cache| cache.url.as_deref())) {
            names.extend(stack::template::variables(url).expect("a good template").into_iter().map(str::to_owned));
        }
        names
    }

    fn needs(&self, stack: &Stack) -> Said {
        let mut said = Said::new();
        for (program, needs, _) in self.programs(stack) {
            for need in needs {
                let here = match need.kind {
                    Kind::Database => stack.databases.get(&need.name).is_some_and(served),
                    Kind::Cache => stack.caches.get(&need.name).is_some_and(|one| one.url.is_none()),
                    Kind::Queue => stack.queues.get(&need.name).is_some_and(|one| one.url.is_none()),
                    Kind::Service => {
                        self.first.stack.services.contains_key(&need.name)
                            && stack.services.get(&need.name).is_some_and(|service| service.port.is_some())
                    }
                    _ => false,
                };
                if here && need.name.as_str() != program {
                    said.insert(format!("{program} {need}"), String::new());
                }
            }
        }
        said
    }

    fn files(&self, stack: &Stack) -> Said {
        let mut said = Said::new();
        for (program, needs, _) in self.programs(stack) {
            let file = |need: &&ResourceRef| {
                let database = stack.databases.get(&need.name).filter(|_| need.kind == Kind::Database);
                database.is_some_and(|database| database.engine == DatabaseEngine::Sqlite)
            };
            said.extend(needs.iter().filter(file).map(|need| (format!("{program} {need}"), String::new())));
        }
        said
    }

    fn buckets(&self, stack: &Stack) -> Said {
        let called = |name: &ResourceName| {
            let bucket = stack.buckets.get(name)?;
            Some(bucket.name.clone().unwrap_or_else(|| format!("{}-{name}", stack.app)))
        };
        let mut said: Said = stack.buckets.keys().filter_map(called).map(|name| (name, String::new())).collect();
        for (program, needs, _) in self.programs(stack) {
            for need in needs.iter().filter(|need| need.kind == Kind::Bucket) {
                said.extend(called(&need.name).map(|name| (format!("{program} {name}"), String::new())));
            }
        }
        said
    }

    fn jobs(&self, fact: Fact, stack: &Stack) -> Said {
        let jobs =
            stack.jobs.iter().map(|(name, job)| (name, &job.command, &job.schedule, format!("{:?}", job.overlap)));
        let functions = stack.functions.iter().filter_map(|(name, function)| {
            Some((name, &function.command, function.schedule.as_ref()?, "Skip".to_owned()))
        });
        jobs.chain(functions)
            .filter(|(name, ..)| self.runs(name.as_str()))
            .map(|(name, command, schedule, overlap)| {
                let said = match fact {
                    Fact::Overlap => (overlap == "Replace").to_string(),
                    Fact::Retries => format!("{} {}", command.retries, command.timeout),
                    _ => format!("{} | {} | {}", words(&command.run), cron(&schedule.cron), schedule.time_zone),
                };
                (name.to_string(), said)
            })
            .collect()
    }

    fn routes(&self, fact: Fact, stack: &Stack) -> Said {
        let mut said = Said::new();
        for route in &stack.routes {
            // a stack without routes is led to by any name
            if self.first.stack.routes.is_empty() {
                continue;
            }
            let host = &route.host;
            let mut any = false;
            for path in &route.paths {
                let to = self.first.stack.services.contains_key(&path.to.name)
                    && path.to.kind == Kind::Service
                    && self.runs(path.to.name.as_str());
                if !to {
                    continue;
                }
                any = true;
                let key = format!("{host}{}", path.path);
                match fact {
                    Fact::Routes => drop(said.insert(key, path.to.to_string())),
                    Fact::RouteLimits => said.extend(path.limit.as_ref().map(|limit| (key, rate(limit)))),
                    Fact::RouteBodies => said.extend(path.max_body.map(|size| (key, size.0.to_string()))),
                    _ => {
                        if path.strip && path.path != "/" {
                            said.insert(format!("{key} strip"), String::new());
                        }
                        if path.sticky {
                            said.insert(format!("{} sticky", path.to), String::new());
                        }
                        let origins = path.cors.as_ref().and_then(|name| stack.variables.get(name)?.default.clone());
                        said.extend(origins.map(|origins| {
                            let origins: Vec<&str> =
                                origins.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
                            (format!("{key} cors"), origins.join(","))
                        }));
                    }
                }
            }
            if fact == Fact::Routes && any {
                said.extend(route.redirect_from.iter().map(|from| (from.clone(), format!("to {host}"))));
            }
        }
        said
    }
}
