//! Runs a gate's command: its lines as they come, and an end in every case.

use std::{
    collections::{BTreeMap, VecDeque},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use secrets::redact::Redactor;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Command,
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};

use crate::progress::Progress;

/// Lines of output that a failure carries.
const TAIL: usize = 40;

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(3);

/// How long something a command left behind may keep its output open once the command itself has ended.
const LINGER: Duration = Duration::from_secs(2);

/// A command of a gate.
pub(super) struct Shell<'a> {
    pub(super) gate: &'a str,
    pub(super) command: &'a str,
    pub(super) folder: &'a Path,
    pub(super) env: &'a BTreeMap<&'static str, String>,
    pub(super) timeout: Duration,
    pub(super) redactor: &'a Redactor,
    pub(super) progress: &'a Progress,
}

impl Shell<'_> {
    /// Runs it to its end. Fails with how it ended and its last lines when it did not succeed, ran too long, or a person
    /// asked to stop; then everything that it started is ended too, as when the future is dropped.
    pub(super) async fn run(&self) -> Result<(), String> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(self.command)
            .current_dir(self.folder)
            .envs(self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // its own group, so that everything it starts can be ended with it
            .process_group(0)
            .spawn()
            .map_err(|error| format!("`{}` cannot be started in {}: {error}", self.command, self.folder.display()))?;
        let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        let (tell, mut lines) = mpsc::unbounded_channel();
        if let Some(output) = child.stdout.take() {
            tokio::spawn(read(output, tell.clone()));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(read(output, tell));
        }
        let deadline = Instant::now() + self.timeout;
        let mut tail = VecDeque::new();
        let why = loop {
            tokio::select! {
                biased;
                Some(line) = lines.recv() => self.take(&line, &mut tail),
                ended = child.wait() => {
                    while let Ok(Some(line)) = timeout(LINGER, lines.recv()).await {
                        self.take(&line, &mut tail);
                    }
                    match ended {
                        Ok(status) if status.success() => return Ok(()),
                        Ok(status) => break said(status),
                        Err(error) => break format!("cannot be waited for: {error}"),
                    }
                }
                () = sleep_until(deadline) => {
                    break format!("did not end within {}", stack::Period(self.timeout));
                }
                () = self.progress.stop_asked() => break "was stopped, as was asked".to_owned(),
            }
        };
        group.signal(Signal::TERM);
        // a command that ended has been waited for
        let _ = timeout(GRACE, child.wait()).await;
        drop(group);
        let output: Vec<String> = tail.into();
        let output = if output.is_empty() { String::new() } else { format!("; its output:\n{}", output.join("\n")) };
        Err(format!("`{}` {why}{output}", self.redactor.redact(self.command)))
    }

    fn take(&self, line: &str, tail: &mut VecDeque<String>) {
        let line = self.redactor.redact(line);
        self.progress.output(self.gate, &line);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line.into_owned());
    }
}

/// Lines without their end, of any bytes.
async fn read(output: impl AsyncRead + Unpin, tell: mpsc::UnboundedSender<String>) {
    let (mut output, mut line) = (BufReader::new(output), Vec::new());
    while let Ok(1..) = output.read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
        line.clear();
        if tell.send(text).is_err() {
            return;
        }
    }
}

fn said(status: ExitStatus) -> String {
    status.code().map_or_else(
        || format!("was ended by signal {}", status.signal().unwrap_or_default()),
        |code| format!("ended with exit code {code}"),
    )
}

/// Everything a command started: killed when nobody waits for it any more.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // gone already is what is wanted
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
