//! A host of its own for each test: a home, an agent process, releases, visitors. Everything it started is gone when it
//! is dropped, however the test ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use agent::{
    Client,
    home::Home,
    protocol::{Call, Reply, Scope},
};
use engine::{
    desired::{Desired, Instance, InstanceState, Observed},
    target::{Fence, TargetError, Task, TaskEnd},
};
use stack::Revision;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[path = "left.rs"]
mod left;

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_agent-test"))
}

pub(crate) struct Bed {
    root: tempfile::TempDir,
    pub(crate) home: Home,
    pub(crate) scope: Scope,
    pub(crate) address: SocketAddr,
    agent: Option<Child>,
    mounted: bool,
}

impl Bed {
    /// A host whose agent runs.
    pub(crate) async fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap()).await
    }

    /// A host whose home is on a disk of its own of so many megabytes.
    pub(crate) async fn on_disk_of(megabytes: u32) -> Self {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        fs::create_dir(&home).unwrap();
        let size = format!("size={megabytes}m,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&home).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "this test needs a small disk: run it as root, or in `unshare --user --map-root-user --mount`"
        );
        let mut bed = Self::on(root).await;
        bed.mounted = true;
        bed
    }

    async fn on(root: tempfile::TempDir) -> Self {
        let home = Home::at(root.path().join("home"));
        let scope = Scope { app: "shop".parse().unwrap(), environment: "dev".parse().unwrap() };
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut bed = Self { root, home, scope, address, agent: None, mounted: false };
        bed.start_agent().await;
        bed
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.home.environment(&self.scope)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.home)
    }

    pub(crate) fn agent_pid(&self) -> u32 {
        self.agent.as_ref().unwrap().id()
    }

    pub(crate) async fn start_agent(&mut self) {
        self.start_agent_of(binary()).await;
    }

    pub(crate) async fn start_agent_of(&mut self, binary: &Path) {
        let log = fs::File::options().create(true).append(true).open(self.path().join("agent.log")).unwrap();
        let agent = Command::new(binary)
            .args(["agent", "--home"])
            .arg(self.home.path())
            .env("SLIPWAY_LOG", "debug,hyper=info,rustls=info")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(agent);
        let client = self.client();
        let began = Instant::now();
        while client.call(None, Call::Info).await.is_err() {
            assert!(began.elapsed() < DEADLINE, "the agent does not answer:\n{}", self.agent_log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kill -9.
    pub(crate) fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Everything that the agent started ends at once.
    pub(crate) fn end_all(&self) {
        left::end_all_of(self.path());
    }

    /// How many processes are left of a host that is over. They end.
    pub(crate) fn left_of(folder: &Path) -> usize {
        left::end_all_of(folder)
    }

    /// Bytes of memory that are the agent's own: the pages of an unoptimised program are many and say nothing.
    pub(crate) fn agent_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.agent_pid())).unwrap();
        let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        own.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    pub(crate) fn agent_log(&self) -> String {
        fs::read_to_string(self.path().join("agent.log")).unwrap_or_default()
    }

    /// A stack file for this host: `text` and the environment `dev`. `WEB` is the command of the test service.
    pub(crate) fn stack(&self, text: &str) -> String {
        let web = format!("{} web", binary().display());
        let head = "app = \"shop\"\n";
        let tail =
            format!("\n[environment.dev]\ntarget = \"local\"\ndata = \"seed\"\nlisten = [\"{}\"]\n", self.address);
        format!("{head}{}{tail}", text.replace("WEB", &web))
    }

    /// A release of a stack file whose project has the given files.
    pub(crate) fn release(&self, text: &str, files: &[(&str, &str)]) -> stack::ReleaseId {
        self.release_with(&self.stack(text), files)
    }

    /// The same of a whole stack file.
    pub(crate) fn release_with(&self, text: &str, files: &[(&str, &str)]) -> stack::ReleaseId {
        let project = self.path().join("project");
        let _none = fs::remove_dir_all(&project);
        fs::create_dir_all(&project).unwrap();
        for (path, content) in files {
            let path = project.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fs::write(project.join("slipway.toml"), text).unwrap();
        let resolved = match stack::resolve("slipway.toml", text, &self.scope.environment) {
            Ok(resolved) => resolved,
            Err(problems) => panic!("{problems}\n{text}"),
        };
        let store = release::Store::open(self.home.store()).unwrap();
        let options = release::BuildOptions::default();
        release::build(&resolved, text, &project, &store, &options, &mut |_| {}).unwrap().release
    }

    /// A release with the values it is to run with.
    pub(crate) async fn revision(&self, text: &str, files: &[(&str, &str)], values: &[(&str, &str)]) -> Revision {
        let release = self.release(text, files);
        let values: BTreeMap<String, String> =
            values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let secrets = values.keys().filter(|name| *name == "TOKEN").cloned().collect();
        let Reply::Values { id } = self.call(Call::PutValues { values, secrets }).await.unwrap() else { panic!() };
        Revision { release, values: id }
    }

    pub(crate) async fn call(&self, call: Call) -> Result<Reply, TargetError> {
        self.client().call(Some(&self.scope), call).await
    }

    pub(crate) async fn lock(&self, ttl: Duration) -> Fence {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap();
        match self.call(Call::Lock { holder: "ann@desk".to_owned(), ttl_ms }).await {
            Ok(Reply::Fence { fence }) => fence,
            other => panic!("{other:?}"),
        }
    }

    /// Wants exactly these revisions, with these shares of the visitors.
    pub(crate) async fn want(&self, running: &[&Revision], traffic: &[(&Revision, u8)]) {
        let fence = self.lock(DEADLINE).await;
        let desired = Desired {
            running: running.iter().map(|one| (*one).clone()).collect::<BTreeSet<_>>(),
            traffic: traffic.iter().map(|(one, percent)| ((*one).clone(), *percent)).collect(),
            schedules: traffic.first().map(|(one, _)| (*one).clone()),
            by_host: false,
        };
        self.call(Call::Want { desired, fence }).await.unwrap();
        self.call(Call::Unlock { fence }).await.unwrap();
    }

    /// The same, as often as it takes while the agent is killed again and again.
    pub(crate) async fn insist(&self, running: &[&Revision], traffic: &[(&Revision, u8)]) {
        let desired = Desired {
            running: running.iter().map(|one| (*one).clone()).collect::<BTreeSet<_>>(),
            traffic: traffic.iter().map(|(one, percent)| ((*one).clone(), *percent)).collect(),
            schedules: None,
            by_host: false,
        };
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < DEADLINE, "nobody takes the change");
            let lock = Call::Lock { holder: "ann@desk".to_owned(), ttl_ms: 500 };
            if let Ok(Reply::Fence { fence }) = self.call(lock).await {
                let done = self.call(Call::Want { desired: desired.clone(), fence }).await;
                let _lapses_otherwise = self.call(Call::Unlock { fence }).await;
                if done.is_ok() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until what is observed is as wanted, also through restarts of the agent.
    pub(crate) async fn settled(&self, what: &str, mut holds: impl FnMut(&Observed) -> bool) {
        let began = Instant::now();
        loop {
            let answer = self.call(Call::Observe).await;
            if let Ok(Reply::Observed { observed }) = &answer
                && holds(observed)
            {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "{what} did not come about: {answer:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts a revision beside what runs and, once it is ready, gives it all visitors.
    pub(crate) async fn deploy(&self, revision: &Revision) {
        let before = self.observe().await.desired;
        let mut running: Vec<&Revision> = before.running.iter().collect();
        running.push(revision);
        let traffic: Vec<(&Revision, u8)> = before.traffic.iter().map(|(one, percent)| (one, *percent)).collect();
        self.want(&running, &traffic).await;
        self.until("it is ready", |seen| {
            let all = seen.instances.iter().filter(|one| one.revision == *revision);
            let ready = all.filter(|one| one.state == InstanceState::Ready).count();
            seen.expected.get(revision).is_some_and(|expected| ready == *expected as usize)
        })
        .await;
        self.want(&[revision], &[(revision, 100)]).await;
        self.until("it serves", |seen| {
            let all = seen.expected.get(revision).is_some_and(|expected| {
                let ready =
                    seen.instances.iter().filter(|one| one.revision == *revision && one.state == InstanceState::Ready);
                ready.count() == *expected as usize
            });
            all && seen.serving.get(revision) == Some(&100)
                && seen.instances.iter().all(|one| one.revision == *revision)
        })
        .await;
    }

    pub(crate) async fn task(&self, task: Task) -> Result<TaskEnd, TargetError> {
        let fence = self.lock(DEADLINE).await;
        let end = self.call(Call::Task { task, fence }).await;
        self.call(Call::Unlock { fence }).await.unwrap();
        match end? {
            Reply::Task { end } => Ok(end),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn observe(&self) -> Observed {
        match self.call(Call::Observe).await {
            Ok(Reply::Observed { observed }) => *observed,
            other => panic!("{other:?}\n{}", self.agent_log()),
        }
    }

    /// Waits until what is observed is as wanted.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut(&Observed) -> bool) -> Observed {
        let began = Instant::now();
        loop {
            let seen = self.observe().await;
            if holds(&seen) {
                return seen;
            }
            assert!(began.elapsed() < DEADLINE, "{what} did not come about: {seen:#?}\n{}", self.agent_log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn instances(&self) -> Vec<Instance> {
        self.observe().await.instances
    }

    /// What a visitor of `host` gets: status and body.
    pub(crate) async fn get(&self, host: &str, path: &str) -> std::io::Result<(u16, String)> {
        get(self.address, host, path).await
    }

    /// Asks all the time until it is told to stop; returns how many answers were 200, and all others.
    pub(crate) fn visitors(&self) -> Visitors {
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let address = self.address;
        let task = tokio::spawn(async move {
            let (mut good, mut bad) = (0, Vec::new());
            while !*stopped.borrow_and_update() {
                match get(address, "shop.test", "/").await {
                    Ok((200, _)) => good += 1,
                    other => bad.push(format!("{other:?}")),
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            (good, bad)
        });
        Visitors { stop, task }
    }

    /// What the shim of an instance wrote down.
    pub(crate) fn shim_record(&self, instance: &str) -> agent::shim::Record {
        let path = self.folder().join("instances").join(instance).join("shim.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// The newest edge that has started.
    pub(crate) fn edge_pid(&self) -> u32 {
        let shims = fs::read_dir(self.home.edge_folder().join("shims")).into_iter().flatten().flatten();
        let started = shims.filter_map(|shim| {
            let number = shim.file_name().to_str()?.parse::<u32>().ok()?;
            let record = fs::read(shim.path().join("shim.json")).ok()?;
            Some((number, serde_json::from_slice::<agent::shim::Record>(&record).ok()?.pid))
        });
        started.max().unwrap().1
    }
}

pub(crate) struct Visitors {
    stop: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<(usize, Vec<String>)>,
}

impl Visitors {
    /// Every visitor had an answer of 200. Returns how many there were.
    pub(crate) async fn all_well(self) -> usize {
        self.stop.send(true).unwrap();
        let (good, bad) = self.task.await.unwrap();
        assert!(bad.is_empty(), "{good} good, {} bad: {:?}", bad.len(), &bad[..bad.len().min(5)]);
        good
    }
}

/// One request on a connection of its own.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> std::io::Result<(u16, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let body =
            if head.to_lowercase().contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
        Ok((status, body))
    };
    tokio::time::timeout(DEADLINE, asked).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        if size == 0 || rest.len() < size {
            break;
        }
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

pub(crate) fn kill9(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the agent's log\n{}", self.agent_log());
            for line in agent::log::read(&self.home.agent_folder().join("log"), 200).unwrap_or_default() {
                eprintln!("{} {}", line.at, line.line);
            }
        }
        if let Some(mut agent) = self.agent.take() {
            drop(agent.kill());
            drop(agent.wait());
        }
        self.end_all();
        if self.mounted {
            drop(Command::new("umount").arg("-l").arg(self.home.path()).status());
        }
    }
}
