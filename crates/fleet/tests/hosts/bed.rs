//! Three hosts and a laptop. Everything they started is gone when they are dropped, however the test ends.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use agent::{
    Client, SystemClock,
    home::Home,
    protocol::{Call, Scope},
};
use engine::{
    deployment::{Begin, Deployment, Report},
    error::EngineError,
    journal::DeployKind,
    policy::Policy,
    watcher::{Progress, Watcher},
};
use fleet::{Fleet, Place};
use release::{BuildOptions, Record, Store};
use stack::{ReleaseId, Revision};

#[path = "../../../agent/tests/host/left.rs"]
mod left;

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) struct HostBed {
    pub(crate) name: String,
    pub(crate) home: Home,
    pub(crate) address: IpAddr,
    agent: Option<Child>,
}

pub(crate) struct Bed {
    root: tempfile::TempDir,
    pub(crate) scope: Scope,
    pub(crate) hosts: Vec<HostBed>,
}

impl Bed {
    /// So many hosts whose agents run.
    pub(crate) async fn of(count: usize) -> Self {
        let root = tempfile::Builder::new().prefix("fleet-").tempdir_in("/tmp").unwrap();
        let scope = Scope { app: "shop".parse().unwrap(), environment: "live".parse().unwrap() };
        let net: [u8; 2] = rand::random();
        let host = |index: usize| {
            let name = ["a", "b", "c", "d", "e"][index].to_owned();
            let home = Home::at(root.path().join(&name));
            let last = u8::try_from(index + 1).unwrap();
            let address = IpAddr::V4(Ipv4Addr::new(127, 1 + net[0] % 250, net[1], last));
            HostBed { name, home, address, agent: None }
        };
        let hosts = (0..count).map(host).collect();
        let mut bed = Self { root, scope, hosts };
        for index in 0..count {
            bed.start(index).await;
        }
        bed
    }

    pub(crate) async fn start(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let log = self.root.path().join(format!("{}.log", host.name));
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        let agent = Command::new(env!("CARGO_BIN_EXE_fleet-test"))
            .args(["agent", "--home"])
            .arg(host.home.path())
            .env("SLIPWAY_LOG", "info")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        host.agent = Some(agent);
        let client = Client::new(&host.home);
        let began = Instant::now();
        while client.call(None, Call::Info).await.is_err() {
            assert!(began.elapsed() < DEADLINE, "the agent of {} does not answer", self.hosts[index].name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kill -9 of the agent and of everything that runs on the host.
    pub(crate) fn kill(&mut self, index: usize) {
        self.kill_agent(index);
        left::end_all_of(self.hosts[index].home.path());
    }

    pub(crate) fn kill_agent(&mut self, index: usize) {
        let mut agent = self.hosts[index].agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// Its agent says nothing any more, and refuses nothing.
    pub(crate) fn pause(&self, index: usize) {
        let pid = i32::try_from(self.hosts[index].agent.as_ref().unwrap().id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::STOP)
            .unwrap();
    }

    pub(crate) fn runs(&self, index: usize) -> bool {
        self.hosts[index].agent.is_some()
    }

    /// The fleet as a command line on the laptop has it.
    pub(crate) fn fleet(&self) -> Fleet {
        self.fleet_of(&self.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>())
    }

    pub(crate) fn fleet_of(&self, names: &[&str]) -> Fleet {
        let place = |host: &HostBed| Place::Known {
            name: host.name.clone(),
            client: Client::over(host.home.agent_socket(), host.name.clone()),
            address: host.address,
        };
        let places = self.hosts.iter().filter(|host| names.contains(&host.name.as_str())).map(place).collect();
        Fleet::of_hosts(self.laptop(), self.scope.clone(), places)
    }

    pub(crate) fn laptop(&self) -> Home {
        Home::at(self.root.path().join("laptop"))
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(self.laptop().store()).unwrap()
    }

    pub(crate) fn client(&self, index: usize) -> Client {
        Client::over(self.hosts[index].home.agent_socket(), self.hosts[index].name.clone())
    }

    pub(crate) fn host_store(&self, index: usize) -> Store {
        Store::open(self.hosts[index].home.store()).unwrap()
    }

    /// Builds a release on the laptop. Its service has no route: all hosts of the test have the same addresses for visitors.
    pub(crate) fn build(&self, files: &[(&str, &[u8])]) -> Record {
        let project = self.root.path().join("project");
        fs::create_dir_all(project.join("web")).unwrap();
        for (path, content) in files {
            fs::write(project.join(path), content).unwrap();
        }
        let names: Vec<String> = self.hosts.iter().map(|host| format!("\"{}\"", host.name)).collect();
        let text = format!(
            "app = \"shop\"\n[service.web]\ndir = \"web\"\nrun = \"{} web\"\nport = 4000\n\
             health = {{ path = \"/\", every = \"1s\", timeout = \"1s\", up = 1 }}\nsize = {{ replicas = \"3\" }}\n\
             [environment.live]\ntarget = \"hosts\"\nhosts = [{}]\n\
             data = \"seed\"\nlisten = [\"127.0.0.1:0\"]\n",
            env!("CARGO_BIN_EXE_fleet-test"),
            names.join(", "),
        );
        fs::write(project.join("slipway.toml"), &text).unwrap();
        let resolved = match stack::resolve("slipway.toml", &text, &self.scope.environment) {
            Ok(resolved) => resolved,
            Err(problems) => panic!("{problems}\n{text}"),
        };
        release::build(&resolved, &text, &project, &self.store(), &BuildOptions::default(), &mut |_| {}).unwrap().record
    }

    /// What `slipway deploy` does after the build. `watch` sees the deploy as it goes.
    pub(crate) async fn deploy(
        &self,
        fleet: &Fleet,
        record: &Record,
        policy: Policy,
        watch: impl FnMut(&Progress<'_>) + Send,
    ) -> Result<Report, EngineError> {
        Self::deploy_over(fleet, record, policy, watch).await
    }

    /// The same, while the bed is changed.
    pub(crate) async fn deploy_over(
        fleet: &Fleet,
        record: &Record,
        policy: Policy,
        watch: impl FnMut(&Progress<'_>) + Send,
    ) -> Result<Report, EngineError> {
        fleet.launch().await.unwrap();
        let values = BTreeMap::from([("TOKEN".to_owned(), "hush".to_owned())]);
        let values = fleet.put_values(values, vec!["TOKEN".to_owned()]).await.unwrap();
        let revision = Revision { release: record.release.clone(), values };
        let begin = Begin {
            ttl: Duration::from_secs(4),
            policy: policy.clone(),
            ..Begin::new(DeployKind::Deploy, "ann@laptop")
        };
        let mut watcher = Watch(watch);
        let mut deployment = Deployment::begin(fleet, &SystemClock, begin, &mut watcher).await?;
        deployment.wanted(Some(revision), &record.version, record.number, None).await?;
        deployment.run(&policy).await
    }

    /// A policy for a machine that is busy with other tests.
    pub(crate) fn policy() -> Policy {
        Policy { patience: Duration::from_secs(20), drain: Duration::from_secs(20), ..Policy::default() }
    }

    pub(crate) fn log(&self, index: usize) -> String {
        fs::read_to_string(self.root.path().join(format!("{}.log", self.hosts[index].name))).unwrap_or_default()
    }

    pub(crate) fn has(&self, index: usize, release: &ReleaseId) -> bool {
        self.host_store(index).has(&self.scope.app, release)
    }
}

/// Waits until something holds.
pub(crate) async fn eventually<F: Future<Output = Result<(), String>>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    loop {
        match holds().await {
            Ok(()) => return,
            Err(reason) => assert!(began.elapsed() < DEADLINE, "{what} did not come about: {reason}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

struct Watch<F>(F);

impl<F: FnMut(&Progress<'_>) + Send> Watcher for Watch<F> {
    fn see(&mut self, progress: &Progress<'_>) {
        (self.0)(progress);
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for index in 0..self.hosts.len() {
            if std::thread::panicking() {
                let log = self.log(index);
                let tail: Vec<&str> = log.lines().rev().take(40).collect();
                eprintln!("--- {}", self.hosts[index].name);
                tail.into_iter().rev().for_each(|line| eprintln!("{line}"));
            }
            if let Some(mut agent) = self.hosts[index].agent.take() {
                drop(agent.kill());
                drop(agent.wait());
            }
            left::end_all_of(self.hosts[index].home.path());
        }
    }
}
