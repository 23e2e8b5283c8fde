//! Makes sure that an agent of this program runs in a home.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    client::Client,
    error::Error,
    files,
    home::Home,
    program,
    protocol::{Call, Reply},
    shim::{self, Adopted, Spec},
};

/// How long an agent may take to answer after it was started, or to end.
const DEADLINE: Duration = Duration::from_secs(10);

/// Makes sure that the agent of `home` runs and is `binary`: starts it when nobody answers, replaces it when it is
/// another program. Instances and visitors notice nothing. Returns once it answers, within 10 s.
///
/// Fails with the end of the agent's log when it does not come up.
pub async fn launch(binary: &Path, home: &Home) -> Result<(), Error> {
    home.check_length()?;
    let client = Client::new(home);
    if let Ok(Reply::Info { binary: running, pid, .. }) = client.call(None, Call::Info).await {
        if program::is_same_file(binary, pid) == Some(true)
            || program::digest(binary.to_owned()).await.is_ok_and(|digest| digest == running)
        {
            return Ok(());
        }
        tracing::info!(pid, "replaces an agent of another version");
        drop(client.call(None, Call::Shutdown).await);
    }
    files::make_folder(home.path())?;
    let folder = home.agent_folder();
    let log = folder.join("log");
    files::make_folder(&log)?;
    let mut spec = Spec::new(
        [binary.as_os_str(), "agent".as_ref(), "--home".as_ref(), home.path().as_os_str()]
            .map(|word| word.to_string_lossy().into_owned()),
        home.path(),
        "agent",
        "agent",
        &log,
    );
    spec.keep = true;
    // Instances and the edge outlive the agent that started them.
    spec.starts_shims = true;
    // Where the container engine listens, and how it is reached.
    let engine = ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"];
    for name in ["SLIPWAY_LOG", "RUST_BACKTRACE", "TMPDIR", "USER", "XDG_RUNTIME_DIR"].into_iter().chain(engine) {
        spec.env.extend(std::env::var(name).ok().map(|value| (name.to_owned(), value)));
    }
    let began = Instant::now();
    loop {
        if client.call(None, Call::Info).await.is_ok() {
            return Ok(());
        }
        let kept = shim::adopt(&folder).map_err(|error| Error::failed(error.to_string()))?;
        if matches!(kept, Adopted::Ended(_) | Adopted::Gone) && lock(home)?.is_some() {
            match shim::start(binary, &folder, &spec).await {
                // Somebody else started one at the same moment.
                Ok(_) | Err(shim::ShimError::Busy { .. }) => {}
                Err(error) => return Err(Error::failed(format!("the agent cannot be started: {error}"))),
            }
        }
        if began.elapsed() > DEADLINE {
            return Err(Error::failed(format!(
                "the agent of {} does not answer after {} s; its last words, from {}:\n{}",
                home.path().display(),
                DEADLINE.as_secs(),
                log.display(),
                last_words(&log)
            )));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Takes the lock that only one agent of a home can have; `None` while another has it.
pub(crate) fn lock(home: &Home) -> Result<Option<std::fs::File>, Error> {
    let path = home.path().join("agent.lock");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Error::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(Error::file("lock", &path)(error)),
    }
}

fn last_words(log: &Path) -> String {
    let lines = crate::log::read(log, 20).unwrap_or_default();
    if lines.is_empty() {
        return "(none)".to_owned();
    }
    lines.iter().map(|line| line.line.as_str()).collect::<Vec<_>>().join("\n")
}
