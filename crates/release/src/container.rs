//! The container engine of this machine, through its command line: the interface people know.
//!
//! Only the `docker` command is called, so Docker's own configuration holds: `docker login`, contexts, `DOCKER_HOST`.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;

/// The engine's command.
pub const PROGRAM: &str = "docker";

/// How long a question may take. Answers come within milliseconds; an engine that hangs must not hang us.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long fetching one image may take.
const PULL: Duration = Duration::from_mins(30);

/// How often the end of a command is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// Why the engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerError {
    /// There is none.
    #[error(
        "this machine has no container engine: `docker` was not found in the PATH; install one, for example with \
         `sudo apt-get install docker.io`"
    )]
    Missing,
    /// It refused or failed.
    #[error("cannot {doing}: {said}; {mend}")]
    Failed {
        /// What was tried, as in `pull n8nio/n8n:1`.
        doing: String,
        /// The engine's last words.
        said: String,
        /// What helps.
        mend: &'static str,
    },
}

/// An image that is on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Image {
    /// `sha256:` and 64 hexadecimal digits.
    pub id: String,
    /// `repository@sha256:...` for each image store it came from or went to; empty when it was made here.
    #[serde(default, deserialize_with = "none_is_empty")]
    pub repo_digests: Vec<String>,
    /// As in `amd64`; empty when nobody knows.
    #[serde(default)]
    pub architecture: String,
}

/// The image that `reference` (a name, a digest, an id) means on this machine; `None` when it is not here.
///
/// Fails when the engine does not answer within 20 s.
pub fn find_image(reference: &str) -> Result<Option<Image>, ContainerError> {
    let doing = format!("look for the image `{reference}`");
    let json = match run(&["image", "inspect", reference], PATIENCE, &doing) {
        Ok(json) => json,
        Err(ContainerError::Failed { said, .. }) if says_absent(&said) => return Ok(None),
        Err(error) => return Err(error),
    };
    let images: Vec<Image> = serde_json::from_str(&json).map_err(|error| ContainerError::Failed {
        said: format!("its answer is not understood: {error}"),
        doing,
        mend: "check `docker version`",
    })?;
    Ok(images.into_iter().next())
}

/// Fetches an image from its store, with the rights of this user's `docker login`. Takes up to 30 minutes.
pub fn pull(reference: &str) -> Result<(), ContainerError> {
    run(&["pull", "--quiet", reference], PULL, &format!("pull `{reference}`")).map(drop)
}

/// Hands an image to the engine: the files of a release that carries it. Takes up to 30 minutes; done at once when the
/// engine has its layers.
pub fn load(folder: &std::path::Path) -> Result<(), ContainerError> {
    let doing = format!("load the image in {}", folder.display());
    let failed = |said: String, mend: &'static str| ContainerError::Failed { doing: doing.clone(), said, mend };
    let mut tar = Command::new("tar");
    tar.args(["-c", "-f", "-", "-C"]).arg(folder).arg(".");
    let tar = tar.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut tar = tar.map_err(|error| failed(format!("tar: {error}"), "install tar on this machine"))?;
    let archive = tar.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let loaded = run_with(&["load", "--quiet"], archive, PULL, &doing);
    // It ends when nobody reads any more.
    _ = tar.wait();
    loaded.map(drop)
}

/// Gives an image one more name.
pub(crate) fn name(id: &str, name: &str) -> Result<(), ContainerError> {
    run(&["tag", id, name], PATIENCE, &format!("name the image `{name}`")).map(drop)
}

/// Ids of the containers with all of these labels, running or not, each with the value of the label `tell`.
pub fn find_containers(labels: &[String], tell: &str) -> Result<Vec<(String, String)>, ContainerError> {
    let format = format!("{{{{.ID}}}} {{{{.Label \"{tell}\"}}}}");
    let filters: Vec<String> = labels.iter().map(|label| format!("label={label}")).collect();
    let mut words = vec!["ps", "--all", "--no-trunc", "--format", &format];
    words.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
    let list = run(&words, PATIENCE, "list containers")?;
    let pair = |line: &str| line.split_once(' ').map(|(id, value)| (id.to_owned(), value.trim().to_owned()));
    Ok(list.lines().filter_map(pair).collect())
}

/// The process id, on this machine, of a container's first process; `None` when it does not run.
pub fn find_process(name: &str) -> Result<Option<u32>, ContainerError> {
    let words = ["container", "inspect", "--format", "{{.State.Pid}}", name];
    match run(&words, PATIENCE, &format!("look at the container `{name}`")) {
        Ok(pid) => Ok(pid.trim().parse().ok().filter(|pid| *pid > 0)),
        Err(ContainerError::Failed { said, .. }) if says_absent(&said) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Ends a container at once and takes it away, by name or id. One that is not there is no error.
pub fn remove(name: &str) -> Result<(), ContainerError> {
    match run(&["rm", "--force", "--volumes", name], PATIENCE, &format!("remove the container `{name}`")) {
        Err(ContainerError::Failed { said, .. }) if says_absent(&said) || said.contains("already in progress") => {
            Ok(())
        }
        other => other.map(drop),
    }
}

impl Image {
    /// A name that means this image for ever: the digest of the repository that `reference` names, else its id.
    pub fn pinned(&self, reference: &str) -> String {
        if reference.contains('@') {
            return reference.to_owned();
        }
        let wanted = repository(reference);
        let same = self.repo_digests.iter().find(|digest| repository(digest) == wanted);
        same.or_else(|| self.repo_digests.first()).unwrap_or(&self.id).clone()
    }

    /// Whether it was made on this machine and no image store has it.
    pub fn is_local(&self) -> bool {
        self.repo_digests.is_empty()
    }

    /// Why it cannot run on this machine's processor; `None` when it can.
    pub fn mismatch(&self) -> Option<String> {
        let here = architecture();
        let runs = match here {
            "amd64" => ["amd64", "386", ""].contains(&self.architecture.as_str()),
            "arm64" => ["arm64", "arm", ""].contains(&self.architecture.as_str()),
            here => [here, ""].contains(&self.architecture.as_str()),
        };
        (!runs).then(|| {
            format!(
                "it is built for {}, and this machine is {here}; build or pull it with `--platform linux/{here}`",
                self.architecture
            )
        })
    }
}

/// What helps when the engine said this.
pub(crate) fn mend(said: &str) -> Option<&'static str> {
    let any = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
    if any(&["permission denied while trying to connect", "permission denied: /var/run/docker.sock"]) {
        return Some("this user may not use the engine: `sudo usermod -aG docker $USER`, then log in again");
    }
    if any(&["Cannot connect to the Docker daemon", "Is the docker daemon running", "failed to connect to the docker"])
    {
        return Some("start the engine: `sudo systemctl start docker`, or set DOCKER_HOST to where it listens");
    }
    if any(&[
        "unauthorized",
        "authentication required",
        "no basic auth credentials",
        "access denied",
        "requested access",
    ]) {
        return Some("check the image's name; when its store is private, `docker login` to it as this user");
    }
    if any(&["no matching manifest for"]) {
        return Some("the store has no image for this machine's processor; choose one built for it");
    }
    if any(&["manifest unknown", "not found", "repository does not exist", "does not exist"]) {
        return Some("check the image's name and tag");
    }
    if any(&["no space left"]) {
        return Some("free some space, for example with `docker system prune`");
    }
    if any(&[
        "no such host",
        "i/o timeout",
        "connection refused",
        "TLS handshake",
        "network is unreachable",
        "deadline exceeded",
    ]) {
        return Some("the image store cannot be reached; check the network and the image's name");
    }
    None
}

/// Docker's name of this machine's processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The repository of a reference, in its shortest form.
fn repository(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let name = name[last..].find(':').map_or(name, |colon| &name[..last + colon]);
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

fn says_absent(said: &str) -> bool {
    let said = said.to_lowercase();
    ["no such image", "no such container", "no such object", "image not known"].iter().any(|sign| said.contains(sign))
}

/// Runs `docker WORDS` and returns its output.
fn run(words: &[&str], limit: Duration, doing: &str) -> Result<String, ContainerError> {
    run_with(words, Stdio::null(), limit, doing)
}

/// The same of a command that reads something.
fn run_with(words: &[&str], input: Stdio, limit: Duration, doing: &str) -> Result<String, ContainerError> {
    let failed = |said: String, mend: &'static str| ContainerError::Failed { doing: doing.to_owned(), said, mend };
    let started = Command::new(PROGRAM).args(words).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(ContainerError::Missing),
        Err(error) => return Err(failed(error.to_string(), "check that `docker version` works for this user")),
    };
    let out = child.stdout.take().map(read);
    let err = child.stderr.take().map(read);
    let Some(well) = end(&mut child, limit) else {
        let said = format!("the engine did not answer within {} s", limit.as_secs());
        return Err(failed(said, "look at it with `docker info` and `journalctl -u docker`"));
    };
    let text = |reader: Option<std::thread::JoinHandle<String>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    let (out, err) = (text(out), text(err));
    if well {
        return Ok(out);
    }
    let said = err.trim().lines().next_back().unwrap_or("it failed without a word").to_owned();
    let mend = mend(&err).unwrap_or("see whether `docker info` works for this user");
    Err(failed(said, mend))
}

fn read(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Whether it ended well; `None` when it took too long and was killed.
fn end(child: &mut Child, limit: Duration) -> Option<bool> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) if began.elapsed() < limit => std::thread::sleep(LOOK),
            Ok(None) | Err(_) => {
                _ = child.kill();
                _ = child.wait();
                return None;
            }
        }
    }
}

/// Engines write `null` for an empty list.
fn none_is_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(digests: &[&str], architecture: &str) -> Image {
        let json = serde_json::json!({ "Id": "sha256:1d", "RepoDigests": digests, "Architecture": architecture });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_image_is_pinned_by_the_digest_of_its_own_repository() {
        let both = image(&["other/n8n@sha256:aa", "n8nio/n8n@sha256:bb"], "amd64");
        assert_eq!(both.pinned("n8nio/n8n:1"), "n8nio/n8n@sha256:bb");
        assert_eq!(both.pinned("docker.io/n8nio/n8n"), "n8nio/n8n@sha256:bb");
        assert_eq!(both.pinned("elsewhere:1"), "other/n8n@sha256:aa");
        assert_eq!(both.pinned("n8nio/n8n:1@sha256:cc"), "n8nio/n8n:1@sha256:cc");
        assert_eq!(image(&[], "amd64").pinned("made/here:1"), "sha256:1d");
        assert_eq!(repository("localhost:5000/a/b:1@sha256:aa"), "localhost:5000/a/b");
        assert_eq!(repository("docker.io/library/redis:7"), "redis");
    }

    #[test]
    fn an_image_for_another_processor_is_told() {
        assert_eq!(image(&[], architecture()).mismatch(), None);
        assert_eq!(image(&[], "").mismatch(), None);
        let why = image(&[], "s390x").mismatch().unwrap();
        assert!(why.contains("built for s390x") && why.contains("--platform linux/"), "{why}");
        let null: Image = serde_json::from_str(r#"{"Id":"sha256:1d","RepoDigests":null}"#).unwrap();
        assert!(null.is_local());
    }

    #[test]
    fn what_the_engine_says_is_turned_into_what_helps() {
        let denied =
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock";
        for (said, helps) in [
            (denied, "usermod -aG docker"),
            (
                "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
                "systemctl start docker",
            ),
            ("pull access denied for a/b, repository does not exist or may require 'docker login'", "docker login"),
            ("manifest for redis:nope not found: manifest unknown: manifest unknown", "name and tag"),
            ("no matching manifest for linux/amd64 in the manifest list entries", "processor"),
            ("dial tcp: lookup registry.example: no such host", "cannot be reached"),
            ("write /var/lib/docker/x: no space left on device", "docker system prune"),
        ] {
            assert!(mend(said).is_some_and(|mend| mend.contains(helps)), "{said}: {:?}", mend(said));
        }
        assert_eq!(mend("something else"), None);
    }
}
