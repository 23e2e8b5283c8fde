//! Databases of a revision: what is pending, backups, migrations up and down, seeds.

use std::path::{Path, PathBuf};

use engine::journal::Migration;
use migrate::{ConnectOptions, Down, Folder, Up, Which};
use stack::{DataClass, Database, DatabaseEngine, Migrations, ResourceName};

use crate::{bindings, command, error::Error, files, revision::Loaded, target::HostTarget, tasks};

/// Copies of one database that are kept.
const KEPT_COPIES: usize = 5;

/// Migrations of all databases that are not applied, in the order they would run. Changes nothing.
pub(crate) async fn pending(target: &HostTarget, loaded: &Loaded) -> Result<Vec<Migration>, Error> {
    let mut found = Vec::new();
    for (name, database) in &loaded.resolved.stack.databases {
        match &database.migrations {
            None => {}
            Some(Migrations::Folder(_)) => {
                let Some(folder) = folder(loaded, name)? else { continue };
                let mut connection = connect(target, loaded, name, false).await?;
                let lines =
                    migrate::pending(&mut connection, &folder).await.map_err(|error| of(loaded, name, &error))?;
                found.extend(lines.into_iter().map(|line| Migration {
                    database: name.clone(),
                    version: line.version,
                    name: line.name,
                    reversible: line.reversible,
                }));
            }
            Some(Migrations::Command { run, .. }) => found.push(foreign(name, run)),
        }
    }
    Ok(found)
}

/// Copies the SQLite databases of this host, and forgets all but the newest copies.
pub(crate) async fn back_up(target: &HostTarget, loaded: &Loaded, deploy: u64) -> Result<(), Error> {
    let data = target.environment.data();
    let folder = data.join("backups");
    for (name, database) in &loaded.resolved.stack.databases {
        let Some(file) = bindings::database_file(database, name, &data) else { continue };
        if !has_content(&file) {
            continue;
        }
        files::make_folder(&folder)?;
        let copy = folder.join(format!("{name}-{deploy}.sqlite"));
        let bytes = migrate::snapshot_sqlite(&file, &copy).await.map_err(|error| of(loaded, name, &error))?;
        tracing::info!(scope = %target.environment.scope, database = %name, bytes, "copied to {}", copy.display());
        prune(&folder, name, KEPT_COPIES);
    }
    Ok(())
}

/// Keeps the newest `keep` copies of a database.
fn prune(folder: &Path, name: &ResourceName, keep: usize) {
    let prefix = format!("{name}-");
    let number = |path: &Path| -> Option<u64> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".sqlite")?;
        stem.strip_prefix(&prefix)?.parse().ok()
    };
    let list = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut copies: Vec<(u64, PathBuf)> = list.filter_map(|path| Some((number(&path)?, path))).collect();
    copies.sort();
    for (_, path) in copies.iter().take(copies.len().saturating_sub(keep)) {
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
    }
}

/// Applies what is pending and fills databases that are new and of data class `seed`. Returns what was applied.
pub(crate) async fn migrate(target: &HostTarget, loaded: &Loaded) -> Result<Vec<Migration>, Error> {
    let mut applied = Vec::new();
    for (name, database) in &loaded.resolved.stack.databases {
        let seed = Seed::of(target, loaded, name, database);
        match &database.migrations {
            None => {}
            Some(Migrations::Folder(_)) => {
                let Some(folder) = folder(loaded, name)? else { continue };
                let mut connection = connect(target, loaded, name, true).await?;
                if let Some(seed) = &seed {
                    let status =
                        migrate::status(&mut connection, &folder).await.map_err(|error| of(loaded, name, &error))?;
                    seed.note_if(status.applied().next().is_none())?;
                }
                let scope = &target.environment.scope;
                let mut tell = |event| tracing::info!(%scope, database = %name, ?event, "migrates");
                let done = migrate::up(&mut connection, &folder, &Up::default(), &mut tell).await;
                let done = done.map_err(|error| of(loaded, name, &error))?;
                applied.extend(done.into_iter().map(|one| Migration {
                    database: name.clone(),
                    version: one.version,
                    name: one.name,
                    reversible: one.reversible,
                }));
            }
            Some(Migrations::Command { run, service }) => {
                if let Some(seed) = &seed {
                    seed.note_if(!seed.has_content)?;
                }
                foreign_command(target, loaded, name, run, service.as_ref()).await?;
                applied.push(foreign(name, run));
            }
        }
        if let Some(seed) = seed {
            if database.migrations.is_none() {
                seed.note_if(!seed.has_content)?;
            }
            seed.sow(target, loaded, name).await?;
        }
    }
    Ok(applied)
}

/// Runs down those of `migrations` that are applied and have a way down, newest first. Returns them.
pub(crate) async fn migrate_down(
    target: &HostTarget,
    loaded: &Loaded,
    migrations: &[Migration],
) -> Result<Vec<Migration>, Error> {
    let mut reverted = Vec::new();
    for name in loaded.resolved.stack.databases.keys().rev() {
        let versions: Vec<u64> =
            migrations.iter().filter(|one| one.database == *name && one.version > 0).map(|one| one.version).collect();
        let Some(folder) = folder(loaded, name)?.filter(|_| !versions.is_empty()) else { continue };
        let mut connection = connect(target, loaded, name, false).await?;
        let down = Down { which: Which::Versions(versions), dry_run: false };
        let scope = &target.environment.scope;
        let mut tell = |event| tracing::info!(%scope, database = %name, ?event, "migrates down");
        let done = migrate::down(&mut connection, &folder, &down, &mut tell)
            .await
            .map_err(|error| of(loaded, name, &error))?;
        reverted.extend(done.into_iter().map(|one| Migration {
            database: name.clone(),
            version: one.version,
            name: one.name,
            reversible: one.reversible,
        }));
    }
    Ok(reverted)
}

/// A foreign runner as a migration: what it does inside is not known.
fn foreign(name: &ResourceName, run: &str) -> Migration {
    Migration { database: name.clone(), version: 0, name: run.to_owned(), reversible: false }
}

async fn foreign_command(
    target: &HostTarget,
    loaded: &Loaded,
    name: &ResourceName,
    run: &str,
    service: Option<&ResourceName>,
) -> Result<(), Error> {
    let service = command_service(loaded, name, service)?;
    let (code, output) = tasks::in_service(target, loaded, service, command::parse(run)?, "migrate").await?;
    if code != 0 {
        return Err(Error::failed(format!(
            "`{run}` for database `{name}` ended with code {code}; mend what it says and deploy again:\n{}",
            output.trim_end()
        )));
    }
    Ok(())
}

/// The service in whose files a database's commands run.
fn command_service<'a>(
    loaded: &'a Loaded,
    name: &ResourceName,
    service: Option<&'a ResourceName>,
) -> Result<&'a ResourceName, Error> {
    let services = &loaded.resolved.stack.services;
    let needing = || services.iter().find(|(_, service)| service.needs.iter().any(|need| need.name == *name));
    service.or_else(|| needing().map(|(name, _)| name)).or_else(|| services.keys().next()).ok_or_else(|| {
        Error::failed(format!("the commands of database `{name}` need a service to run in; declare one"))
    })
}

fn folder(loaded: &Loaded, name: &ResourceName) -> Result<Option<Folder>, Error> {
    let path = loaded.folder.join("migrations").join(name.as_str());
    if !path.is_dir() {
        return Ok(None);
    }
    Folder::read(&path).map(Some).map_err(|error| of(loaded, name, &error))
}

async fn connect(
    target: &HostTarget,
    loaded: &Loaded,
    name: &ResourceName,
    create: bool,
) -> Result<migrate::Database, Error> {
    let url = bindings::database_url(loaded, name, &target.environment.place(&loaded.revision))?;
    let options = ConnectOptions { create, ..ConnectOptions::default() };
    migrate::Database::connect(&url, &options).await.map_err(|error| of(loaded, name, &error))
}

/// A failure as the person knows the files: by the project's folder, not by the release's copy of it.
fn of(loaded: &Loaded, name: &ResourceName, error: &migrate::MigrateError) -> Error {
    let mut text = format!("database `{name}`: {error}");
    let database = loaded.resolved.stack.databases.get(name);
    if let Some(Migrations::Folder(declared)) = database.and_then(|database| database.migrations.as_ref()) {
        let copy = loaded.folder.join("migrations").join(name.as_str());
        text = text.replace(&copy.display().to_string(), declared.trim_end_matches('/'));
    }
    Error::failed(text)
}

fn has_content(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0)
}

/// What fills a new database, and whether that was begun or done.
struct Seed {
    run: String,
    /// `begun` from the moment the database is known to be new, `done` once it was filled.
    note: PathBuf,
    /// The database held something before.
    has_content: bool,
}

impl Seed {
    /// The seed of a database of invented data that was not filled yet.
    fn of(target: &HostTarget, loaded: &Loaded, name: &ResourceName, database: &Database) -> Option<Self> {
        let run = database.seed.clone().filter(|_| loaded.resolved.environment.data == DataClass::Seed)?;
        let data = target.environment.data();
        let note = data.join(format!(".seed-{name}"));
        let done = std::fs::read_to_string(&note).is_ok_and(|text| text == "done");
        let has_content = match bindings::database_file(database, name, &data) {
            Some(file) => has_content(&file),
            // Nobody can tell of a server without asking; one that holds real data is not of this class.
            None => database.engine == DatabaseEngine::Sqlite,
        };
        (!done).then_some(Self { run, note, has_content })
    }

    /// Notes that the database is new, before anything is in it.
    fn note_if(&self, new: bool) -> Result<(), Error> {
        if new && !self.note.exists() { files::replace(&self.note, b"begun") } else { Ok(()) }
    }

    async fn sow(&self, target: &HostTarget, loaded: &Loaded, name: &ResourceName) -> Result<(), Error> {
        if !self.note.exists() {
            return Ok(());
        }
        if Path::new(&self.run).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("sql")) {
            let file = loaded.find_file(&self.run).ok_or_else(|| {
                Error::failed(format!(
                    "seed `{}` of database `{name}` is not in the release; put it into the folder of a service",
                    self.run
                ))
            })?;
            let mut connection = connect(target, loaded, name, true).await?;
            migrate::fill(&mut connection, &file).await.map_err(|error| of(loaded, name, &error))?;
        } else {
            let service = command_service(loaded, name, None)?;
            let (code, output) =
                tasks::in_service(target, loaded, service, command::parse(&self.run)?, "migrate-seed").await?;
            if code != 0 {
                return Err(Error::failed(format!(
                    "seed `{}` of database `{name}` ended with code {code}; mend what it says and deploy again:\n{}",
                    self.run,
                    output.trim_end()
                )));
            }
        }
        tracing::info!(scope = %target.environment.scope, database = %name, "filled with invented data");
        files::replace(&self.note, b"done")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_copies_of_a_database_stay() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["main-9", "main-10", "main-11", "other-1", "main-2", "main-old"] {
            std::fs::write(folder.path().join(format!("{name}.sqlite")), "x").unwrap();
        }
        prune(folder.path(), &"main".parse().unwrap(), 2);
        let mut left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["main-10.sqlite", "main-11.sqlite", "main-old.sqlite", "other-1.sqlite"]);
    }
}
