//! What a stack says of its parts, as far as the target runs them.

use std::collections::{BTreeMap, BTreeSet};

use render::Target;
use stack::{CommandSource, DatabaseEngine, EnvironmentName, Kind, Resolved, ResourceName, ResourceRef, Source, Stack};

use super::{
    fact::{Fact, Said, Scene},
    said::{cron, given, rate, served, words},
};

impl Scene<'_> {
    /// Environments that are not this machine.
    pub(crate) fn elsewhere(&self) -> Vec<&EnvironmentName> {
        let all = self.all.iter().filter(|one| one.environment.target != stack::TargetKind::Local);
        all.map(|one| &one.name).collect()
    }

    pub(crate) fn environments(&self, all: &[Resolved]) -> Said {
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
    pub(crate) fn services(&self, stack: &Stack) -> impl Iterator<Item = (String, stack::Service)> {
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
    pub(crate) fn built(&self, name: &str) -> bool {
        self.first.stack.services.get(name).is_some_and(|service| !matches!(service.source, Source::Image(_)))
    }

    /// Whether visitors come to a service.
    pub(crate) fn open(&self, name: &str) -> bool {
        self.first.stack.services.get(name).is_some_and(|service| service.port.is_some())
    }

    /// Whether a service is asked for its health.
    pub(crate) fn asked(&self, name: &str) -> bool {
        self.open(name) && self.first.stack.services.get(name).is_some_and(|service| service.health.is_some())
    }

    /// Whether the target runs a program at all: units start no images.
    pub(crate) fn runs(&self, name: &str) -> bool {
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

    pub(crate) fn in_folder(&self, name: &str) -> bool {
        self.first.stack.services.get(name).is_some_and(|service| matches!(service.source, Source::Folder(_)))
    }

    /// The programs of a stack: services, jobs and functions on a schedule, with what they need and their variables.
    pub(crate) fn programs(&self, stack: &Stack) -> Vec<(String, Vec<ResourceRef>, BTreeMap<String, String>)> {
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

    pub(crate) fn env(&self, stack: &Stack, plain: bool) -> Said {
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
    pub(crate) fn outside(&self, stack: &Stack) -> BTreeSet<String> {
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

    pub(crate) fn needs(&self, stack: &Stack) -> Said {
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

    pub(crate) fn files(&self, stack: &Stack) -> Said {
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

    pub(crate) fn buckets(&self, stack: &Stack) -> Said {
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

    pub(crate) fn jobs(&self, fact: Fact, stack: &Stack) -> Said {
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

    pub(crate) fn routes(&self, fact: Fact, stack: &Stack) -> Said {
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
