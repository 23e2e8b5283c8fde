//! Running build commands.

use std::{
    collections::VecDeque,
    io::Read,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::{BuildError, BuildEvent, BuildOptions, CommandFailure, End, Stream, hint::hint, plan::Step};

/// Lines of output an error carries.
const TAIL: usize = 40;

/// A longer line is told in pieces.
const LONGEST_LINE: usize = 64 * 1024;

/// How long a command that is to end has between TERM and KILL.
const GRACE: Duration = Duration::from_secs(3);

/// How long something a command left behind may keep its output open once the command itself has ended.
const LINGER: Duration = Duration::from_secs(2);

/// How often a request to stop and the time limit are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// One command to run.
pub(crate) struct Task<'a> {
    pub(crate) step: &'a Step,
    pub(crate) command: &'a str,
    /// Absolute.
    pub(crate) folder: PathBuf,
}

/// Runs all tasks, at most `options.jobs` at a time; those whose folders overlap one after the other, in order. The
/// first failure ends the others.
pub(crate) fn run_all(
    tasks: &[Task<'_>],
    options: &BuildOptions,
    events: &mut dyn FnMut(BuildEvent),
) -> Result<(), BuildError> {
    let (sender, receiver) = channel();
    let (waiting, running) = ((0..tasks.len()).collect(), Vec::new());
    let secrets = secret_lines(&options.secrets);
    let mut crew = Crew { tasks, options, secrets, sender, receiver, waiting, running };
    let result = crew.work(events);
    if result.is_err() {
        crew.end_all(events);
    }
    result
}

enum Message {
    Line(usize, Stream, String),
    /// An output was closed.
    Closed(usize),
    /// The process has ended, well or not, and waits to be reaped.
    Ended(usize, bool),
}

struct Crew<'a> {
    tasks: &'a [Task<'a>],
    options: &'a BuildOptions,
    secrets: Vec<&'a str>,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
    waiting: Vec<usize>,
    running: Vec<Running>,
}

struct Running {
    task: usize,
    child: Child,
    started: Instant,
    tail: VecDeque<String>,
    open_outputs: u8,
    ended: Option<(ExitStatus, Instant)>,
}

impl Crew<'_> {
    fn work(&mut self, events: &mut dyn FnMut(BuildEvent)) -> Result<(), BuildError> {
        loop {
            if self.options.stop.requested() {
                return Err(BuildError::Stopped);
            }
            while self.running.len() < self.options.jobs.max(1)
                && let Some(at) = self.waiting.iter().position(|task| self.may_start(*task))
            {
                let task = self.waiting.remove(at);
                self.start(task, events)?;
            }
            if self.running.is_empty() {
                return Ok(());
            }
            match self.receiver.recv_timeout(LOOK) {
                Ok(message) => self.take(message, events)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("this end keeps a sender"),
            }
            self.settle(events)?;
        }
    }

    /// Whether no running and no earlier waiting task shares a folder with this one.
    fn may_start(&self, task: usize) -> bool {
        let folder = &self.tasks[task].folder;
        let overlaps = |other: usize| {
            let other = &self.tasks[other].folder;
            other.starts_with(folder) || folder.starts_with(other)
        };
        let earlier = self.waiting.iter().copied().take_while(|other| *other != task);
        !self.running.iter().map(|running| running.task).chain(earlier).any(overlaps)
    }

    fn start(&mut self, index: usize, events: &mut dyn FnMut(BuildEvent)) -> Result<(), BuildError> {
        let task = &self.tasks[index];
        events(BuildEvent::Started {
            wanted: task.step.label(),
            command: self.clean(task.command.to_owned()),
            folder: task.step.source.dir.clone(),
        });
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(task.command)
            .current_dir(&task.folder)
            .envs(&self.options.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group, so that everything it starts can be ended with it.
            .process_group(0)
            .spawn()
            .map_err(BuildError::io("run a build command in", &task.folder))?;
        if let Some(output) = child.stdout.take() {
            self.read(index, Stream::Stdout, output);
        }
        if let Some(output) = child.stderr.take() {
            self.read(index, Stream::Stderr, output);
        }
        let (sender, pid) = (self.sender.clone(), pid(&child));
        std::thread::spawn(move || {
            // Does not reap, so the process id stays ours until the child is waited for.
            let status = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let well = status.is_ok_and(|status| status.is_some_and(|status| status.exit_status() == Some(0)));
            _ = sender.send(Message::Ended(index, well));
        });
        let started = Instant::now();
        self.running.push(Running { task: index, child, started, tail: VecDeque::new(), open_outputs: 2, ended: None });
        Ok(())
    }

    fn read(&self, index: usize, stream: Stream, output: impl Read + Send + 'static) {
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            read_lines(output, |line| sender.send(Message::Line(index, stream, line)).is_ok());
            _ = sender.send(Message::Closed(index));
        });
    }

    fn take(&mut self, message: Message, events: &mut dyn FnMut(BuildEvent)) -> Result<(), BuildError> {
        match message {
            Message::Line(index, stream, line) => {
                let line = self.clean(line);
                if let Some(running) = self.find(index) {
                    if running.tail.len() == TAIL {
                        running.tail.pop_front();
                    }
                    running.tail.push_back(line.clone());
                }
                events(BuildEvent::Output { wanted: self.tasks[index].step.label(), stream, line });
            }
            Message::Closed(index) => {
                if let Some(running) = self.find(index) {
                    running.open_outputs = running.open_outputs.saturating_sub(1);
                }
            }
            Message::Ended(index, well) => {
                if let Some(running) = self.find(index) {
                    if !well {
                        // What a failed command left running would only disturb the next attempt.
                        _ = kill_process_group(pid(&running.child), Signal::TERM);
                    }
                    let status = running.child.wait();
                    let folder = &self.tasks[index].folder;
                    let status = status.map_err(BuildError::io("wait for a build command in", folder))?;
                    if let Some(running) = self.find(index) {
                        running.ended = Some((status, Instant::now()));
                    }
                }
            }
        }
        Ok(())
    }

    fn find(&mut self, task: usize) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.task == task)
    }

    /// Removes the tasks that are done; fails for one that failed or has run too long.
    fn settle(&mut self, events: &mut dyn FnMut(BuildEvent)) -> Result<(), BuildError> {
        for at in (0..self.running.len()).rev() {
            let running = &mut self.running[at];
            let overdue = self.options.timeout.filter(|limit| running.started.elapsed() >= *limit);
            let end = match running.ended {
                None if overdue.is_some() => End::Timeout(overdue.unwrap_or_default().as_secs()),
                None => continue,
                Some((_, at)) if running.open_outputs > 0 && at.elapsed() < LINGER => continue,
                Some((status, _)) if status.success() => {
                    let took = running.started.elapsed();
                    let wanted = self.tasks[running.task].step.label();
                    self.running.swap_remove(at);
                    events(BuildEvent::Finished { wanted, took });
                    continue;
                }
                Some((status, _)) => {
                    status.code().map_or_else(|| End::Signal(status.signal().unwrap_or_default()), End::Code)
                }
            };
            let (task, output) = (&self.tasks[running.task], running.tail.iter().cloned().collect::<Vec<_>>());
            let code = if let End::Code(code) = end { Some(code) } else { None };
            let folder = task.step.source.dir.clone();
            return Err(BuildError::Command(Box::new(CommandFailure {
                wanted: task.step.wanted.iter().map(|wanted| wanted.by.to_string()).collect(),
                hint: hint(task.command, &folder, code, &output),
                command: self.clean(task.command.to_owned()),
                folder,
                end,
                output,
            })));
        }
        Ok(())
    }

    /// Ends every running command and all it started: TERM, then KILL.
    fn end_all(&mut self, events: &mut dyn FnMut(BuildEvent)) {
        self.running.retain(|running| running.ended.is_none());
        for running in &self.running {
            _ = kill_process_group(pid(&running.child), Signal::TERM);
        }
        let deadline = Instant::now() + GRACE;
        while self.running.iter().any(|running| running.ended.is_none()) && Instant::now() < deadline {
            if let Ok(message) = self.receiver.recv_timeout(LOOK) {
                // The failure that led here is the one to tell.
                _ = self.take(message, events);
            }
        }
        for running in &mut self.running {
            if running.ended.is_none() {
                _ = kill_process_group(pid(&running.child), Signal::KILL);
                _ = running.child.wait();
            }
        }
    }

    /// The text without any secret.
    fn clean(&self, text: String) -> String {
        let hide = |text: String, secret: &&str| {
            if text.contains(secret) { text.replace(secret, "[secret]") } else { text }
        };
        self.secrets.iter().fold(text, hide)
    }
}

/// What to look for in single lines, longest first: each secret, and the lines of one that has several (a key file),
/// unless they are too short to tell anything.
fn secret_lines(secrets: &[String]) -> Vec<&str> {
    let long_lines = |secret: &&str| secret.len() >= 8;
    let lines = secrets.iter().flat_map(|secret| secret.lines().map(str::trim).filter(long_lines));
    let mut all: Vec<&str> =
        secrets.iter().map(String::as_str).filter(|secret| !secret.is_empty()).chain(lines).collect();
    all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    all
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Calls `tell` with each line, without its end; of a line drawn over itself with carriage returns, the last state.
fn read_lines(mut output: impl Read, mut tell: impl FnMut(String) -> bool) {
    let mut line = Vec::new();
    let mut block = [0; 8192];
    let mut say = |line: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\r');
        let told = tell(text.rsplit('\r').next().unwrap_or_default().to_owned());
        line.clear();
        told
    };
    while let Ok(length @ 1..) = output.read(&mut block) {
        for piece in block[..length].split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            if (piece.ends_with(b"\n") || line.len() >= LONGEST_LINE) && !say(&mut line) {
                return;
            }
        }
    }
    if !line.is_empty() {
        say(&mut line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_whatever_the_output_looks_like() {
        let mut lines = Vec::new();
        let text = format!("one\n\n10%\r50%\r100%\r\n{}\nlast", "x".repeat(LONGEST_LINE + 10_000));
        read_lines(text.as_bytes(), |line| {
            lines.push(line);
            true
        });
        assert_eq!(lines.iter().map(String::len).sum::<usize>(), 3 + 4 + LONGEST_LINE + 10_000 + 4);
        assert_eq!((lines[0].as_str(), lines[1].as_str(), lines[2].as_str()), ("one", "", "100%"));
        assert_eq!(lines.last().unwrap(), "last");
    }
}
