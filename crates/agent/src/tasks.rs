//! Tasks: what runs to its end for a deploy or a person.

use engine::target::{Fence, TargetError, Task, TaskEnd};
use stack::{Kind, ResourceName, Revision};

use crate::{
    bindings, buckets, container, databases,
    error::Error,
    preflight,
    protocol::source_name,
    revision::Loaded,
    run::{self, Program},
    services,
    state::LeaseState,
    target::HostTarget,
};

/// Runs a task to its end.
pub(crate) async fn run(target: &HostTarget, task: &Task, fence: Fence) -> Result<TaskEnd, TargetError> {
    target.check(fence)?;
    match task {
        Task::Preflight { revision } => {
            let loaded = load(target, revision).await?;
            preflight::run(target, &loaded).await?;
            Ok(TaskEnd::Done)
        }
        Task::PendingMigrations { revision } => {
            let loaded = serve(target, revision).await?;
            Ok(TaskEnd::Migrations { migrations: databases::pending(target, &loaded).await? })
        }
        Task::Backup { revision, deploy } => {
            let _turn = turn(target, fence).await?;
            let loaded = serve(target, revision).await?;
            databases::back_up(target, &loaded, *deploy).await?;
            Ok(TaskEnd::Done)
        }
        Task::Migrate { revision } => {
            let _turn = turn(target, fence).await?;
            let loaded = serve(target, revision).await?;
            Ok(TaskEnd::Migrations { migrations: databases::migrate(target, &loaded).await? })
        }
        Task::MigrateDown { revision, migrations } => {
            let _turn = turn(target, fence).await?;
            let loaded = serve(target, revision).await?;
            Ok(TaskEnd::Migrations { migrations: databases::migrate_down(target, &loaded, migrations).await? })
        }
        Task::Run { revision, service, command } => {
            let loaded = serve(target, revision).await?;
            let (code, output) = in_service(target, &loaded, service, command.clone(), "run").await?;
            Ok(TaskEnd::Exited { code, output })
        }
    }
}

/// Waits for earlier tasks that change databases. Whoever waited looks again whether its lease is still good.
///
/// Where other hosts make the environment too, a lease that lapsed is not good any more: once it has, whoever drives the
/// hosts may have the task done by another one.
async fn turn(target: &HostTarget, fence: Fence) -> Result<tokio::sync::MutexGuard<'_, ()>, TargetError> {
    let turn = target.environment.databases.lock().await;
    target.check(fence)?;
    let has_peers = target.environment.membership().is_some_and(|known| !known.peers.is_empty());
    let lease = target.environment.state().lease(std::time::Instant::now());
    if has_peers && !matches!(lease, LeaseState::Held(_)) {
        return Err(TargetError::Fenced { given: fence.0, current: fence.0 });
    }
    Ok(turn)
}

/// Reads a revision and starts the data services it asks for.
async fn serve(target: &HostTarget, revision: &Revision) -> Result<std::sync::Arc<Loaded>, Error> {
    let loaded = load(target, revision).await?;
    services::ensure(&target.host, &target.environment, &loaded).await?;
    buckets::ensure(&target.host, &target.environment, &loaded).await?;
    Ok(loaded)
}

async fn load(target: &HostTarget, revision: &Revision) -> Result<std::sync::Arc<Loaded>, Error> {
    let (target, revision) = (target.clone(), revision.clone());
    let read = tokio::task::spawn_blocking(move || {
        let environment = &target.environment;
        environment.revisions.get(&target.host.store, &environment.scope, &environment.folder, &revision)
    });
    read.await.map_err(|error| Error::failed(format!("the agent broke down: {error}")))?
}

/// Runs a command with the files and the environment of a service.
pub(crate) async fn in_service(
    target: &HostTarget,
    loaded: &Loaded,
    name: &ResourceName,
    argv: Vec<String>,
    stem: &str,
) -> Result<(i32, String), Error> {
    let service = loaded.service(name)?;
    let environment = &target.environment;
    let place = environment.place(&loaded.revision);
    let mut bound = bindings::of_service(&environment.scope, loaded, service, &place)?;
    bound.env.insert("SLIPWAY_SERVICE".to_owned(), name.to_string());
    let id = run::id(stem);
    let mut program = Program {
        id: &id,
        source: source_name(Kind::Service, name),
        argv,
        cwd: std::path::PathBuf::new(),
        bound,
        size: None,
        log_folder: std::path::PathBuf::new(),
        stdin: None,
        stdout: None,
    };
    let contained = program.enter(environment, loaded, &service.source, &[&service.env])?;
    let ended = run::to_end(&target.host, environment, program).await;
    if contained {
        // Its client may have been killed and left the container behind.
        container::sweep(environment).await;
    }
    ended
}
