//! Services, functions and jobs seen alike: something with an image, a command, needs and variables.

use std::collections::BTreeMap;

use stack::{Command, CommandSource, Kind, ResourceName, ResourceRef, Service, Size, Source, Stack};

/// One program of the stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'s> {
    pub(crate) kind: Kind,
    pub(crate) name: &'s ResourceName,
    /// The service whose files it runs in: itself, or the one a command names.
    pub(crate) host: Option<(&'s ResourceName, &'s Service)>,
    /// The command, for functions and jobs.
    pub(crate) command: Option<&'s Command>,
}

impl<'s> Program<'s> {
    pub(crate) fn service(name: &'s ResourceName, service: &'s Service) -> Self {
        Self { kind: Kind::Service, name, host: Some((name, service)), command: None }
    }

    fn command(stack: &'s Stack, kind: Kind, name: &'s ResourceName, command: &'s Command) -> Self {
        let host = match &command.source {
            CommandSource::Own(_) => None,
            CommandSource::Service(service) => stack.services.get_key_value(service),
        };
        Self { kind, name, host, command: Some(command) }
    }

    pub(crate) fn function(stack: &'s Stack, name: &'s ResourceName) -> Option<Self> {
        stack.functions.get(name).map(|function| Self::command(stack, Kind::Function, name, &function.command))
    }

    pub(crate) fn job(stack: &'s Stack, name: &'s ResourceName) -> Option<Self> {
        stack.jobs.get(name).map(|job| Self::command(stack, Kind::Job, name, &job.command))
    }

    /// Its reference, as messages name it.
    pub(crate) fn reference(&self) -> ResourceRef {
        ResourceRef { kind: self.kind, name: self.name.clone() }
    }

    /// How its files come to be, and under which name they are built.
    pub(crate) fn source(&self) -> (&'s ResourceName, &'s Source) {
        match (self.command.map(|command| &command.source), self.host) {
            (Some(CommandSource::Own(source)), _) => (self.name, source),
            (_, Some((name, service))) => (name, &service.source),
            (_, None) => unreachable!("a checked stack has every service that a command names"),
        }
    }

    /// Its command line; `None` when the image brings its own.
    pub(crate) fn run(&self) -> Option<&'s str> {
        match self.command {
            Some(command) => Some(&command.run),
            None => self.host.and_then(|(_, service)| service.run.as_deref()),
        }
    }

    /// What it uses, in order, each once.
    pub(crate) fn needs(&self) -> Vec<&'s ResourceRef> {
        let host = self.host.map(|(_, service)| service.needs.as_slice()).unwrap_or_default();
        let own = self.command.map(|command| command.needs.as_slice()).unwrap_or_default();
        let mut needs: Vec<&ResourceRef> = Vec::new();
        for need in host.iter().chain(own) {
            let itself = need.kind == self.kind && need.name == *self.name;
            if !itself && !needs.contains(&need) {
                needs.push(need);
            }
        }
        needs
    }

    /// Its own variables.
    pub(crate) fn env(&self) -> BTreeMap<&'s str, &'s str> {
        let host = self.host.map(|(_, service)| &service.env);
        let own = self.command.map(|command| &command.env);
        host.into_iter().chain(own).flatten().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// Its size.
    pub(crate) fn size(&self) -> Option<&'s Size> {
        match self.command {
            Some(command) => Some(&command.size),
            None => self.host.map(|(_, service)| &service.size),
        }
    }
}

/// All programs: services, functions, jobs, each by name.
pub(crate) fn all(stack: &Stack) -> Vec<Program<'_>> {
    let services = stack.services.iter().map(|(name, service)| Program::service(name, service));
    let functions = stack.functions.keys().filter_map(|name| Program::function(stack, name));
    let jobs = stack.jobs.keys().filter_map(|name| Program::job(stack, name));
    services.chain(functions).chain(jobs).collect()
}

/// `job-board` as a variable's name: `JOB_BOARD`.
pub(crate) fn capitals(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}
