//! Whether a revision could run on this host: every reason against it at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use engine::desired::Desired;
use stack::{Kind, Source};

use crate::{
    bindings::{self, Bound},
    buckets, command, container, edge_process,
    error::Error,
    revision::Loaded,
    services,
    target::HostTarget,
    traffic,
};

/// Bytes that must stay free beside what the release takes.
const RESERVE: u64 = 64 << 20;

/// Longest wait for a database, in each of a few tries.
const PATIENCE: Duration = Duration::from_secs(2);

/// Looks at everything. Fails with all reasons, one per line. Changes nothing.
pub(crate) async fn run(target: &HostTarget, loaded: &Loaded) -> Result<(), Error> {
    let mut reasons = Vec::new();
    target.environment.services.enter(&target.host, &target.environment, loaded)?;
    if let Err(error) = buckets::ensure(&target.host, &target.environment, loaded).await {
        reasons.push(error.to_string());
    }
    contract(target, loaded, &mut reasons);
    programs(target, loaded, &mut reasons);
    functions(loaded, &mut reasons);
    addresses(target, loaded, &mut reasons);
    disk(target, &mut reasons);
    services::check(&target.environment, loaded, &mut reasons).await;
    databases(target, loaded, &mut reasons).await;
    images(target, loaded, &mut reasons).await;
    match reasons.as_slice() {
        [] => Ok(()),
        [reason] => Err(Error::failed(reason.clone())),
        reasons => Err(Error::failed(format!("{} reasons against it:\n- {}", reasons.len(), reasons.join("\n- ")))),
    }
}

/// The environment contract (S4.P6).
fn contract(target: &HostTarget, loaded: &Loaded, reasons: &mut Vec<String>) {
    let variables = &loaded.resolved.stack.variables;
    let environment = &target.environment.scope.environment;
    if let Err(problems) = secrets::contract::check(variables, environment, &loaded.values.values) {
        for problem in &problems {
            let mend = problem.mend.as_ref().map(|mend| format!("; {mend}")).unwrap_or_default();
            reasons.push(format!("{}{mend}", problem.message));
        }
    }
}

/// Every program that would be started is there.
fn programs(target: &HostTarget, loaded: &Loaded, reasons: &mut Vec<String>) {
    let scope = &target.environment.scope;
    let place = target.environment.place(&loaded.revision);
    let stack = &loaded.resolved.stack;
    let mut look = |what: String, files: Result<&Path, Error>, run: Option<&str>, bound: Result<Bound, Error>| {
        let checked = files.and_then(|files| {
            let run = run.ok_or_else(|| Error::failed("it has no `run`; say how it starts"))?;
            find_program(files, run, &bound?)
        });
        if let Err(error) = checked {
            reasons.push(format!("{what}: {error}"));
        }
    };
    for (name, service) in stack.services.iter().filter(|(_, service)| matches!(service.source, Source::Folder(_))) {
        let bound = bindings::of_service(scope, loaded, service, &place);
        look(format!("service `{name}`"), loaded.files(&service.source), service.run.as_deref(), bound);
    }
    let jobs = stack.jobs.iter().map(|(name, job)| (Kind::Job, name, &job.command));
    let functions = stack.functions.iter().map(|(name, function)| (Kind::Function, name, &function.command));
    for (kind, name, command) in jobs.chain(functions) {
        // The others are looked at with the images.
        if let Ok(source @ Source::Folder(_)) = loaded.command_source(command) {
            let bound = bindings::of_command(scope, loaded, command, &place);
            look(format!("{kind} `{name}`"), loaded.files(source), Some(&command.run), bound);
        }
    }
}

/// Finds the program of a command line, as its shim will.
fn find_program(files: &Path, run: &str, bound: &Bound) -> Result<(), Error> {
    if !files.is_dir() {
        return Err(Error::failed(format!("its folder {} is missing; build the release again", files.display())));
    }
    let argv = command::parse(run)?;
    let Some(program) = argv.first() else { return Ok(()) };
    let path = bound.env.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![files.join(program)]
    } else {
        path.split(':').filter(|folder| !folder.is_empty()).map(|folder| Path::new(folder).join(program)).collect()
    };
    let found = candidates.iter().find_map(|path| Some((path, std::fs::metadata(path).ok()?)));
    match found {
        Some((_, metadata)) if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 => Ok(()),
        Some((path, _)) => Err(Error::failed(format!(
            "`{}` is not an executable file; run `chmod +x` on it before the build, or name its interpreter in `run`",
            path.strip_prefix(files).unwrap_or(path).display()
        ))),
        None if program.contains('/') => Err(Error::failed(format!(
            "`{program}` is not among the files of the release; check `run`, and `out` of the build"
        ))),
        None => Err(Error::failed(format!("program `{program}` was not found in {path}; install it on this host"))),
    }
}

/// What only other targets can start.
fn functions(loaded: &Loaded, reasons: &mut Vec<String>) {
    for (name, function) in &loaded.resolved.stack.functions {
        let told = |kind| matches!(kind, Kind::Bucket | Kind::Queue | Kind::Topic | Kind::Service);
        if let Some(trigger) = function.on.as_ref().filter(|trigger| !told(trigger.on.kind)) {
            reasons.push(format!(
                "function `{name}` starts on `{}`, of which this host hears nothing; start it by a bucket, queue, topic, \
                 service or `schedule`, or deploy to a target that can",
                trigger.on
            ));
        }
    }
}

/// Visitors can come to the addresses the environment names, and its hosts are nobody else's.
fn addresses(target: &HostTarget, loaded: &Loaded, reasons: &mut Vec<String>) {
    let edge = target.host.edge.state();
    let serves = |address| edge.made.table.listeners.iter().any(|listener| listener.address == address);
    for address in &loaded.resolved.environment.listen {
        if serves(*address) && !edge.refused.contains_key(&address.to_string()) {
            continue;
        }
        if let Err(error) = TcpListener::bind(address) {
            let mend = match error.kind() {
                std::io::ErrorKind::AddrInUse => "stop the program that listens there (`ss -ltnp`)",
                std::io::ErrorKind::PermissionDenied => "use a port from 1024 on, or run the agent as root",
                _ => "use an address of this machine",
            };
            reasons.push(format!(
                "cannot listen on {address}: {}; {mend}, or set `listen` of environment `{}` to another address",
                crate::socket::plain(&error),
                target.environment.scope.environment
            ));
        }
    }
    // The table as it would be.
    let mut parts = edge_process::parts(&target.host);
    if let Some(part) = parts.iter_mut().find(|part| part.scope == target.environment.scope) {
        let traffic = BTreeMap::from([(loaded.revision.clone(), 100)]);
        part.desired = Desired { traffic, ..part.desired.clone() };
        if let Ok(read) = target.environment.revisions.get(
            &target.host.store,
            &target.environment.scope,
            &target.environment.folder,
            &loaded.revision,
        ) {
            part.loaded.insert(loaded.revision.clone(), read);
        }
    }
    reasons.extend(traffic::plan(&parts).troubles.remove(&target.environment.scope).unwrap_or_default());
}

/// There is room for logs, data and copies.
fn disk(target: &HostTarget, reasons: &mut Vec<String>) {
    let folder = &target.environment.folder;
    match rustix::fs::statvfs(folder) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let databases = size_of(&target.environment.data());
            if free < RESERVE + databases {
                reasons.push(format!(
                    "{} MB are free on the disk of {}, and {} MB are needed; free some space",
                    free >> 20,
                    folder.display(),
                    (RESERVE + databases) >> 20
                ));
            }
        }
        Err(error) => reasons.push(format!("cannot look at the disk of {}: {error}", folder.display())),
    }
}

/// Bytes of the databases that a backup copies.
fn size_of(data: &Path) -> u64 {
    let list = std::fs::read_dir(data).into_iter().flatten().flatten();
    list.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "sqlite"))
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum()
}

/// Databases elsewhere answer: one that is just being restarted is waited for like a migration would (S4.E4).
async fn databases(target: &HostTarget, loaded: &Loaded, reasons: &mut Vec<String>) {
    for (name, database) in &loaded.resolved.stack.databases {
        if database.url.is_none() {
            continue;
        }
        let checked = match bindings::database_url(loaded, name, &target.environment.place(&loaded.revision)) {
            Ok(url) => {
                let options = migrate::ConnectOptions { timeout: PATIENCE, create: false, ..Default::default() };
                match migrate::Database::connect(&url, &options).await {
                    Ok(connected) => {
                        connected.close().await;
                        Ok(())
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
            Err(error) => Err(error.to_string()),
        };
        reasons.extend(checked.err().map(|reason| format!("database `{name}` cannot be reached: {reason}")));
    }
}

/// The engine answers and has every image; one that is missing is fetched by its digest.
async fn images(target: &HostTarget, loaded: &Loaded, reasons: &mut Vec<String>) {
    let (scope, place) = (&target.environment.scope, target.environment.place(&loaded.revision));
    let stack = &loaded.resolved.stack;
    let mut wanted = Vec::new();
    for (name, service) in &stack.services {
        let bound = bindings::of_service(scope, loaded, service, &place);
        wanted.push((format!("service `{name}`"), Ok(&service.source), bound));
    }
    let jobs = stack.jobs.iter().map(|(name, job)| (Kind::Job, name, &job.command));
    let functions = stack.functions.iter().map(|(name, function)| (Kind::Function, name, &function.command));
    for (kind, name, command) in jobs.chain(functions) {
        let bound = bindings::of_command(scope, loaded, command, &place);
        wanted.push((format!("{kind} `{name}`"), loaded.command_source(command), bound));
    }
    let mut seen = BTreeSet::new();
    for (what, source, bound) in wanted {
        let image = match source.and_then(|source| loaded.image(source)) {
            Ok(Some(image)) => image,
            // A process.
            Ok(None) => continue,
            Err(error) => {
                reasons.push(format!("{what}: {error}"));
                continue;
            }
        };
        reasons.extend(bound.err().map(|error| format!("{what}: {error}")));
        if seen.insert(image) {
            let ready = container::ready(loaded, image).await;
            reasons.extend(ready.err().map(|why| format!("{what}: {why}")));
        }
    }
}
