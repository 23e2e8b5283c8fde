//! A program without a shim, for a person who waits for it: its streams are pipes, and it ends with who started it.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    net::unix::pipe,
    process::{Child, Command},
};

use super::{Record, Refusal, ShimError, Spec, child, stage::Order};

/// How long the step between may take: it waits for nothing but a file system.
const STAGE: Duration = Duration::from_secs(30);

/// A program that runs.
pub(crate) struct Attached {
    /// Its process, which leads a group of its own. Its outputs are pipes.
    pub(crate) child: Child,
    /// What is written here it reads.
    pub(crate) stdin: pipe::Sender,
}

/// Starts a program with pipes in place of logs, beside another one when `beside` names its record: then it shares
/// that one's limits.
pub(crate) async fn attach(binary: &Path, spec: &Spec, beside: Option<&Record>) -> Result<Attached, ShimError> {
    let env = child::environment(spec, Path::new(""));
    let program = child::find(spec, env.get("PATH").map_or("", String::as_str))?;
    let (stdin, input) = pipe::pipe().map_err(ShimError::io("making a pipe"))?;
    // Opened anew by the step between, so that what one does not block does not make the other wait.
    let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), input.as_raw_fd()));
    let groups = beside.map(|record| record.groups.folders().into_iter().map(Path::to_owned).collect());
    let order = Order {
        program,
        argv: spec.argv.clone(),
        env,
        cwd: spec.cwd.clone(),
        groups: groups.unwrap_or_default(),
        open_files: spec.limits.open_files,
        user: spec.user.clone(),
        hand: None,
        stdin: Some(path),
    };
    let order = serde_json::to_vec(&order).map_err(|error| ShimError::io("writing the order")(error.into()))?;
    let (mut ours, theirs) = UnixStream::pair().map_err(ShimError::io("making a socket"))?;
    let mut command = Command::new(binary);
    command.arg0("slipway").arg("shim-exec").env_clear().kill_on_drop(true);
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(ShimError::io("starting a process"))?;
    // The command holds their end of the socket: while it does, the socket has no end.
    drop(command);
    let answer = tokio::task::spawn_blocking(move || {
        ours.set_read_timeout(Some(STAGE))?;
        ours.set_write_timeout(Some(STAGE))?;
        ours.write_all(&order)?;
        ours.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        ours.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    });
    let answer = answer.await.map_err(std::io::Error::other).and_then(|answer| answer);
    drop(input);
    match answer {
        Ok(answer) if answer.is_empty() => Ok(Attached { child, stdin }),
        Ok(reason) => {
            let program = spec.argv.first().cloned().unwrap_or_default();
            Err(Refusal::Failed { program, reason }.into())
        }
        Err(error) => Err(ShimError::io("waiting for the step before a program")(error)),
    }
}
