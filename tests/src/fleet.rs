//! Several hosts that are deployed as one: the `harbour` application on all of them, one replica each.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{Hosts, Load, Outcome, Story, project::finish, until, visit};

/// The name visitors ask for.
const NAME: &str = "harbour.test";
/// How long hosts may take until all are level; a few seconds where nothing else runs.
const LEVEL: Duration = Duration::from_secs(90);

/// Hosts, and a project that deploys `harbour` on them.
#[derive(Debug)]
pub struct Fleet {
    /// The project first: it ends before its hosts do.
    pub story: Story,
    /// The hosts.
    pub hosts: Hosts,
}

impl Fleet {
    /// Starts machines, makes them hosts, and deploys the first release, marker `one`.
    #[track_caller]
    pub fn start(number: u32) -> Self {
        let started = Instant::now();
        let hosts = Hosts::start(usize::try_from(number).expect("a few hosts"));
        let story = hosts.harbour("harbour", number);
        hosts.add(&story);
        let fleet = Self { story, hosts };
        fleet.slipway(&["deploy", "--yes"]).expect(0);
        fleet.level("one");
        println!("{number} hosts and a first release after {:.1?}", started.elapsed());
        fleet
    }

    /// Runs `slipway ARGS` to its end.
    pub fn slipway(&self, arguments: &[&str]) -> Outcome {
        finish(self.command(arguments))
    }

    /// `slipway ARGS` as a command that has not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.story.command(arguments);
        self.hosts.reach(&mut command);
        command
    }

    /// Starts a deploy of a new release whose marker is `marker`; what it says goes to a file that
    /// [`said`](Self::said) reads.
    pub fn begin(&self, marker: &str, arguments: &[&str]) -> Deploying {
        self.story.mark(marker);
        let said = fs::File::create(self.story.home().with_extension("said")).expect("a file");
        let mut command = self.command(&["deploy", "--yes"]);
        command.args(arguments).stdout(Stdio::null()).stderr(said);
        Deploying { child: command.spawn().expect("slipway starts") }
    }

    /// What the last deploy that was begun has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.story.home().with_extension("said")).unwrap_or_default()
    }

    /// Lets visitors move in other stages from the next deploy on.
    pub fn rollout(&self, rollout: &str) {
        let stack = self.story.read("slipway.toml");
        let kept = stack.lines().filter(|line| !line.starts_with("rollout = "));
        let stack: Vec<&str> = kept.collect();
        self.story.write("slipway.toml", &format!("{}\nrollout = \"{rollout}\"\n", stack.join("\n")));
    }

    /// Visitors with steady GETs at the edges of these hosts.
    pub fn load(&self, hosts: &[usize]) -> Load {
        let addresses: Vec<_> = hosts.iter().map(|index| self.hosts.edge(*index)).collect();
        let load = Load::of_gets(&addresses, NAME, 2);
        until("visitors", Duration::from_secs(30), || (load.requests() > 50).then_some(()));
        load
    }

    /// The body that a visitor of a host's edge gets; `None` when there is no good answer.
    pub fn get(&self, index: usize, path: &str) -> Option<String> {
        let answer = visit(self.hosts.edge(index), NAME, path);
        answer.ok().filter(|(status, _)| *status == 200).map(|(_, body)| body.trim().to_owned())
    }

    /// The journal as a host keeps it.
    pub fn journal(&self, index: usize) -> String {
        let path = "var/lib/slipway/apps/harbour/production/journal.jsonl";
        fs::read_to_string(self.hosts.root(index).join(path)).unwrap_or_default()
    }

    /// `status --json`.
    pub fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.slipway(&["status", "--json"]).stdout).ok()
    }

    /// Waits until all hosts have come to one decision: the same ended journal on all, one ready instance on each, of the
    /// release that all visitors get. Returns its marker.
    #[track_caller]
    pub fn settled(&self) -> String {
        let hosts = 0..self.hosts.count();
        let mut seen = Value::Null;
        let settled = || {
            let first = self.journal(0);
            let ended = first.lines().last().is_some_and(|line| line.contains("\"ended\""));
            if !ended || hosts.clone().any(|index| self.journal(index) != first) {
                return None;
            }
            seen = self.status()?;
            let mut ready: Vec<&str> = seen["instances"].as_array()?.iter().map(ready_on).collect::<Option<_>>()?;
            ready.sort_unstable();
            ready.dedup();
            let release = seen["revision"].clone();
            let same = seen["instances"].as_array()?.iter().all(|instance| instance["revision"] == release);
            let all = ready.len() == self.hosts.count() && seen["instances"].as_array()?.len() == ready.len();
            let shared = seen["traffic"].as_object()?.len() == 1;
            (all && same && shared && seen["lock"].is_null()).then_some(())
        };
        self.until_or_tell("all hosts on one release", settled);
        let marker = self.get(0, "/").expect("an answer");
        for index in hosts {
            self.serves(index, &marker);
        }
        marker
    }

    /// Waits until all hosts are level and serve this release.
    #[track_caller]
    pub fn level(&self, marker: &str) {
        assert_eq!(self.settled(), marker);
    }

    /// Every visitor of a host's edge gets this release.
    #[track_caller]
    pub fn serves(&self, index: usize, marker: &str) {
        for _ in 0..10 {
            assert_eq!(self.get(index, "/").as_deref(), Some(marker), "at the edge of host {index}\n{}", self.said());
        }
    }

    /// As [`until`], and tells what every host has journalled when it takes too long.
    #[track_caller]
    fn until_or_tell(&self, what: &str, mut check: impl FnMut() -> Option<()>) {
        let started = Instant::now();
        while check().is_none() {
            if started.elapsed() > LEVEL {
                for index in 0..self.hosts.count() {
                    let journal = self.journal(index);
                    let lines: Vec<&str> = journal.lines().collect();
                    eprintln!("--- journal of host {index}\n{}", lines[lines.len().saturating_sub(25)..].join("\n"));
                }
                eprintln!("--- status\n{}", self.slipway(&["status"]).stdout);
                panic!("waited {LEVEL:?} for: {what}; the last deploy said\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// The host of an instance that is ready.
fn ready_on(instance: &Value) -> Option<&str> {
    instance["host"].as_str().filter(|_| instance["state"]["is"] == "ready")
}

/// A deploy that is going on. Ends with the story.
#[derive(Debug)]
pub struct Deploying {
    child: std::process::Child,
}

impl Deploying {
    /// Whether it is still going on.
    pub fn goes_on(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// kill -9; it may have ended by itself.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its exit code, once it ended.
    pub fn end(mut self) -> i32 {
        self.child.wait().expect("it ends").code().unwrap_or(-1)
    }
}
