//! Doing the steps of a plan on a machine.

use std::{
    io::SeekFrom,
    time::{Duration, Instant},
};

use tokio::io::AsyncSeekExt;

use super::{
    PROGRAMS, Program,
    plan::{Act, Step, part},
};
use crate::ssh::{Rights, Ssh, SshError};

/// How long sshd may take to listen again after it was told to load its configuration.
const RELOAD: Duration = Duration::from_secs(10);

/// When a host undoes what was changed by itself. Longer than a change and [`RELOAD`] take together.
const UNHEARD: Duration = Duration::from_mins(1);

/// A second sshd that serves one connection, with the configuration that is there now. Root's own path of programs may
/// lack it, and it insists on its whole path.
const REHEARSAL: &str = "$(PATH=$PATH:/usr/sbin:/sbin command -v sshd) -i -e -o LogLevel=ERROR";

/// Between two attempts to get in.
const RETRY: Duration = Duration::from_millis(200);

/// Does one step; `program` is what a step to send one sends. What was done stays done when it fails, and the next plan begins there.
pub async fn step(ssh: &Ssh, step: &Step, program: Option<&Program>) -> Result<(), SshError> {
    match &step.act {
        Act::Script(text) => script(ssh, text).await,
        Act::Send { from } => match program {
            Some(program) => send(ssh, program, *from).await,
            None => Ok(()),
        },
        Act::Login => ssh.renew().await,
        Act::Guarded { change, undo } => guarded(ssh, change, undo).await,
        Act::Rehearsed { change, apply, undo } => {
            let tried = match script(ssh, change).await {
                Ok(()) => ssh.rehearse(REHEARSAL).await,
                failed => failed,
            };
            if let Err(error) = tried {
                script(ssh, undo).await?;
                return Err(error);
            }
            guarded(ssh, apply, &format!("{undo}\n{apply}")).await
        }
    }
}

/// Does it, and undoes it where nobody gets in afterwards. The host undoes it by itself when it hears nothing for a while:
/// whoever did it may be locked out for good.
async fn guarded(ssh: &Ssh, change: &str, undo: &str) -> Result<(), SshError> {
    let file = format!("/run/slipway-undo-{:08x}", rand::random::<u32>());
    let armed = format!(
        "umask 077\ncat > {file} <<'UNDO'\n{undo}\nUNDO\n\
         setsid sh -c 'sleep {seconds}; if [ -e {file} ]; then sh {file}; rm -f {file}; fi' </dev/null >/dev/null 2>&1 &\n\
         {change}",
        seconds = UNHEARD.as_secs()
    );
    let done = match script(ssh, &armed).await {
        // Over a connection of its own: the one at hand stays, whatever sshd and firewall say now.
        Ok(()) => get_in(ssh).await,
        failed => failed,
    };
    let end = if done.is_ok() { format!("rm -f {file}") } else { format!("sh {file}\nrm -f {file}") };
    script(ssh, &end).await?;
    done
}

/// Whether a new connection comes about. An sshd that loads its configuration refuses connections for a moment.
async fn get_in(ssh: &Ssh) -> Result<(), SshError> {
    let began = Instant::now();
    loop {
        match Ssh::connect(ssh.destination().argument()).await {
            Ok(second) => {
                second.close().await;
                return Ok(());
            }
            Err(error) if error.passes() && began.elapsed() < RELOAD => tokio::time::sleep(RETRY).await,
            Err(error) => return Err(error),
        }
    }
}

async fn script(ssh: &Ssh, text: &str) -> Result<(), SshError> {
    let output = ssh.run_as(Rights::Root, &format!("set -e\n{text}")).await?;
    if output.code == 0 { Ok(()) } else { Err(output.failure(ssh.host())) }
}

/// Sends a program from a byte on. Each byte is written where it belongs, so that a connection that was believed dead
/// and lives on writes nothing wrong.
async fn send(ssh: &Ssh, program: &Program, from: u64) -> Result<(), SshError> {
    let here = |error: std::io::Error| SshError::Here {
        host: ssh.host().to_owned(),
        doing: "read this program",
        said: error.to_string(),
    };
    let mut file = tokio::fs::File::open(&program.path).await.map_err(here)?;
    file.seek(SeekFrom::Start(from)).await.map_err(here)?;
    let part = part(&program.folder());
    let line = format!(
        "mkdir -p -m 755 {PROGRAMS} && dd of={part} bs=64k iflag=fullblock oflag=seek_bytes seek={from} conv=notrunc status=none"
    );
    let output = ssh.feed(Rights::Root, &line, file).await?;
    if output.code == 0 { Ok(()) } else { Err(output.failure(ssh.host())) }
}
