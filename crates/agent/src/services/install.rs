//! Which server programs are installed on this host, and how to install what is missing.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Agreement, Definition, definition::Engine, postgres, rabbitmq, redis, state};
use crate::{environment::Environment, error::Error, revision::Loaded};

/// How long a program may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// A user of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Adds every reason why a server of the release could not run here. Changes no server that runs.
pub(crate) async fn check(environment: &Environment, loaded: &Loaded, reasons: &mut Vec<String>) {
    let agreement = Agreement::of(environment);
    if agreement.as_ref().is_some_and(|agreement| !agreement.is_here()) {
        return; // they run on another host
    }
    let before = reasons.len();
    for definition in Definition::all(&loaded.resolved) {
        let data = environment.data().join(definition.id());
        let checks = [
            account(definition.engine).map(drop),
            match definition.engine {
                Engine::Postgres => match postgres::find_programs(definition.major()).await {
                    Ok(programs) => postgres::check(&definition, &data, &programs).await,
                    Err(error) => Err(error),
                },
                Engine::Redis => redis::find_program(definition.major()).await.map(drop),
                Engine::Rabbitmq => rabbitmq::find_program(&definition).map(drop),
            },
        ];
        reasons
            .extend(checks.into_iter().filter_map(Result::err).map(|error| format!("`{}`: {error}", definition.name)));
    }
    if reasons.len() == before && agreement.is_some_and(|agreement| !agreement.others.is_empty()) {
        // The tasks of this deploy may run on another host, which cannot start them here.
        state::call(environment, loaded);
    }
}

/// Whom an engine's server runs as: the engine's own user when the agent is root, `None` (the agent's user) otherwise.
pub(super) fn account(engine: Engine) -> Result<Option<Account>, Error> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    let name = match engine {
        Engine::Postgres => "postgres",
        Engine::Redis => "redis",
        Engine::Rabbitmq => "rabbitmq",
    };
    let user = nix::unistd::User::from_name(name)
        .map_err(|error| Error::failed(format!("cannot look for user `{name}`: {error}")))?;
    let user = user.ok_or_else(|| {
        Error::failed(format!(
            "its server runs as user `{name}`, which this host does not have; its package makes it, or \
             `useradd --system --user-group {name}`"
        ))
    })?;
    Ok(Some(Account { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
}

/// The command that installs a package here: one name for Debian and its like, one for Fedora and its like.
pub(super) fn command(debian: &str, fedora: &str) -> String {
    if in_path("apt-get").is_none() && in_path("dnf").is_some() {
        format!("dnf install {fedora}")
    } else {
        format!("apt-get install {debian}")
    }
}

/// A program in the agent's `PATH`, or where servers usually are.
pub(super) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/local/bin", "/usr/bin", "/usr/sbin", "/usr/local/sbin"]);
    folders.filter(|folder| !folder.is_empty()).map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// The first number after `mark` in what `program --version` prints.
pub(super) async fn version(program: &Path, mark: &str) -> Option<String> {
    let output = tokio::process::Command::new(program).arg("--version").kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = text.split_once(mark)?;
    let number: String = rest.chars().take_while(|char| char.is_ascii_digit() || *char == '.').collect();
    (!number.is_empty()).then_some(number)
}

/// Versions as a person reads them: `15, 16`, or `none`.
pub(super) fn list(installed: &BTreeMap<String, PathBuf>) -> String {
    if installed.is_empty() {
        return "none".to_owned();
    }
    installed.keys().cloned().collect::<Vec<_>>().join(", ")
}
