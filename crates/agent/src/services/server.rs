//! What the engines have in common: whom they run as, where their files are, how they are started and asked.

use std::{
    io::Write,
    net::IpAddr,
    os::unix::fs::{PermissionsExt, chown, fchown},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Agreement, Definition,
    book::Entry,
    definition::Engine,
    install::{self, Account},
    postgres, rabbitmq, redis,
};
use crate::{
    environment::Environment,
    error::Error,
    files,
    host::Host,
    shim::{self, Adopted, Spec, Waited},
};

/// How long a server may take to write down what it has in memory and end.
pub(super) const STOP: Duration = Duration::from_mins(1);

/// What starting a server needs to know.
pub(super) struct Work<'a> {
    /// The host.
    pub(super) host: &'a Host,
    /// Where it belongs.
    pub(super) environment: &'a Environment,
    /// What it is to be.
    pub(super) definition: &'a Definition,
    /// How it is reached.
    pub(super) entry: &'a Entry,
    /// Its data and configuration.
    pub(super) data: PathBuf,
    /// Folder of its shim.
    pub(super) shim: &'a Path,
    /// Whom it runs as; `None`: the agent's own user.
    pub(super) account: Option<Account>,
    /// The environment's other hosts.
    pub(super) others: Vec<IpAddr>,
}

/// Makes everything ready for a server, its first data included, and says how it is started.
pub(super) async fn prepare(
    host: &Host,
    environment: &Environment,
    definition: &Definition,
    entry: &Entry,
    shim: &Path,
) -> Result<Spec, Error> {
    let data = environment.data().join(definition.id());
    let account = install::account(definition.engine)?;
    files::make_folder(&data)?;
    files::make_private(&data)?;
    if let Some(account) = &account {
        chown(&data, Some(account.uid), Some(account.gid)).map_err(Error::file("give away", &data))?;
    }
    let others = Agreement::of(environment).map(|agreement| agreement.others).unwrap_or_default();
    let work = Work { host, environment, definition, entry, data, shim, account, others };
    let argv = match definition.engine {
        Engine::Postgres => postgres::prepare(&work).await?,
        Engine::Redis => redis::prepare(&work).await?,
        Engine::Rabbitmq => rabbitmq::prepare(&work)?,
    };
    let mut spec = work.spec(argv, logs(environment, definition));
    spec.keep = true;
    spec.stop_ms = u64::try_from(STOP.as_millis()).unwrap_or(u64::MAX);
    match definition.engine {
        Engine::Postgres => {
            // TERM would wait for all clients to leave. Source: PostgreSQL documentation, section 19.5.
            spec.stop_signal = shim::StopSignal::Interrupt;
            spec.limits.memory = definition.memory;
        }
        Engine::Redis => {}
        Engine::Rabbitmq => rabbitmq::complete(&work, &mut spec),
    }
    spec.limits.cpu_millis = definition.cpu_millis;
    Ok(spec)
}

/// Whether a server lets the application in. One that was not set up is set up first.
pub(super) async fn answers(entry: &Entry, is_set_up: &mut bool) -> Result<(), String> {
    match entry.engine {
        Engine::Postgres => postgres::answers(entry, is_set_up).await,
        Engine::Redis => redis::answers(entry).await,
        Engine::Rabbitmq => rabbitmq::answers(entry).await,
    }
}

/// Lets the application in from `others`, and from no other host, in a server that runs.
pub(super) fn admit(
    host: &Host,
    environment: &Environment,
    definition: &Definition,
    entry: &Entry,
    others: Vec<IpAddr>,
    pid: u32,
) -> Result<(), Error> {
    if definition.engine != Engine::Postgres {
        return Ok(()); // the others ask for the password alone
    }
    let (data, account) = (environment.data().join(definition.id()), install::account(definition.engine)?);
    postgres::admit(&Work { host, environment, definition, entry, data, shim: Path::new(""), account, others }, pid)
}

/// Its engine as a person reads it, with the installed version where that is another.
pub(super) fn name(definition: &Definition) -> String {
    let asked = definition.engine_text();
    match definition.engine {
        Engine::Rabbitmq => match rabbitmq::find_program(definition) {
            Ok(found) if !found.version.starts_with(&definition.version) => format!("{asked} ({})", found.version),
            _ => asked,
        },
        Engine::Postgres | Engine::Redis => asked,
    }
}

/// Where a server's output goes.
pub(super) fn logs(environment: &Environment, definition: &Definition) -> PathBuf {
    environment.folder.join("logs").join(definition.name.to_string())
}

impl Work<'_> {
    /// Where other hosts reach it.
    pub(super) fn shared_at(&self) -> Option<IpAddr> {
        self.definition.shared.as_ref()?.address
    }

    /// A program of this server: as its user, with its data folder at [`shim::HANDED_FOLDER`].
    fn spec(&self, argv: Vec<String>, logs: PathBuf) -> Spec {
        let name = self.definition.name.to_string();
        let mut spec = Spec::new(argv, "/", name, self.definition.id(), logs);
        spec.secrets = self.entry.secrets();
        spec.user = self.account.as_ref().map(|account| account.name.clone());
        spec.hand = Some(self.data.clone());
        spec
    }

    /// Writes a file of the data folder that only the server's user can read.
    pub(super) fn write(&self, name: &str, content: &str) -> Result<(), Error> {
        let path = self.data.join(name);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::Builder::new()
                .prefix(".new-")
                .permissions(std::fs::Permissions::from_mode(0o600))
                .tempfile_in(&self.data)?;
            file.write_all(content.as_bytes())?;
            if let Some(account) = &self.account {
                fchown(file.as_file(), Some(account.uid), Some(account.gid))?;
            }
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            std::fs::File::open(&self.data)?.sync_all()
        };
        write().map_err(Error::file("write", &path))
    }

    /// Runs a program that makes the server's first data to its end. Fails with its output.
    pub(super) async fn run(&self, argv: Vec<String>) -> Result<(), Error> {
        let folder = setup(self.shim);
        let program = argv.first().cloned().unwrap_or_default();
        let spec = self.spec(argv, folder.join("log"));
        let failed = |error: shim::ShimError| Error::failed(error.to_string());
        let running = shim::start(&self.host.binary, &folder, &spec).await.map_err(failed)?;
        let exit = match running.wait().await.map_err(failed)? {
            Waited::Ended(exit) => exit,
            Waited::Orphaned(orphan) => orphan.stop(Duration::ZERO).await.map_err(failed)?,
        };
        let output = crate::run::output(&folder.join("log"));
        files::remove_folder(&folder)?;
        if exit.success() {
            return Ok(());
        }
        Err(Error::failed(format!("{program} {exit}; mend what it says:\n{}", output.trim_end())))
    }
}

/// Ends what an earlier agent began to make: it is begun again.
pub(super) async fn end_setup(shim: &Path) {
    let folder = setup(shim);
    let ended = match shim::adopt(&folder) {
        Ok(Adopted::Running(running)) => running.kill().await.map(drop),
        Ok(Adopted::Orphaned(orphan)) => orphan.stop(Duration::ZERO).await.map(drop),
        Ok(Adopted::Ended(_) | Adopted::Gone) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::warn!("{}: {error}", folder.display());
    }
    if let Err(error) = files::remove_folder(&folder) {
        tracing::warn!("{error}");
    }
}

fn setup(shim: &Path) -> PathBuf {
    shim.join("setup")
}
