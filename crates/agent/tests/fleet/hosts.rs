//! Several hosts on this machine, each with a home, an agent and a loopback address of its own, that make one
//! environment; and a laptop that deploys to them and may die at any moment.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use agent::{
    Client, SystemClock,
    members::{Identity, MemberHost, Members},
    protocol::{Call, PeerState, Reply, Scope},
};
use engine::{
    deployment::{Begin, Deployment, Report},
    desired::{Desired, Observed},
    error::EngineError,
    group::Group,
    journal::{DeployKind, Entry, Step},
    policy::Policy,
    target::{Fence, Level, Target, TargetError, Task, TaskEnd},
    watcher::{Progress, Watcher},
};
use release::delta::Delta;
use stack::Revision;

use crate::bed::{Bed, DEADLINE};

pub(crate) struct Fleet {
    pub(crate) beds: Vec<Bed>,
    pub(crate) members: Members,
}

impl Fleet {
    /// So many hosts that know each other.
    pub(crate) async fn of(count: usize) -> Self {
        let mut fleet = Self::of_strangers(count).await;
        fleet.put_members().await;
        fleet.all_alive().await;
        fleet
    }

    /// So many hosts that have yet to be told of each other.
    pub(crate) async fn of_strangers(count: usize) -> Self {
        let mut beds = Vec::new();
        for _ in 0..count {
            beds.push(Bed::new().await);
        }
        let hosts = (0..count).map(|place| MemberHost { name: name(place), address: address(), drained: false });
        let identity = Identity::generate().unwrap();
        Self { members: Members { changed_at: jiff::Timestamp::now(), hosts: hosts.collect(), identity }, beds }
    }

    /// Tells every host that lives of the others, as of now.
    pub(crate) async fn put_members(&mut self) {
        self.members.changed_at = jiff::Timestamp::now();
        for (place, bed) in self.beds.iter().enumerate() {
            let call = Call::PutMembers { me: name(place), members: Box::new(self.members.clone()) };
            match bed.call(call).await {
                Ok(Reply::Done) | Err(TargetError::Unreachable { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn all_alive(&self) {
        self.all_alive_of(self.beds.len()).await;
    }

    /// The first `count` hosts hear a majority.
    pub(crate) async fn all_alive_of(&self, count: usize) {
        for bed in &self.beds[..count] {
            let began = Instant::now();
            // An agent that hears a majority says that it has nothing to catch up with.
            while !matches!(bed.call(Call::Level).await, Ok(Reply::Level { .. })) {
                assert!(began.elapsed() < DEADLINE, "the hosts do not hear each other\n{}", bed.agent_log());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// A release on every host of `hosts`, with the values it runs with.
    pub(crate) async fn revision(&self, text: &str, hosts: &[usize]) -> Revision {
        let first = &self.beds[hosts[0]];
        let release = first.release_with(&stack_of(text), &[]);
        let from = release::Store::open(first.home.store()).unwrap();
        let delta = Delta::between(&from, &first.scope.app, &release, &[]).unwrap();
        let mut bytes = Vec::new();
        delta.write(&mut bytes, 1).unwrap();
        let mut ids = Vec::new();
        for host in hosts {
            let bed = &self.beds[*host];
            release::Store::open(bed.home.store()).unwrap().receive(&mut bytes.as_slice()).unwrap();
            let values = BTreeMap::from([("TOKEN".to_owned(), "xyzzy-plugh-1".to_owned())]);
            let call = Call::PutValues { values, secrets: vec!["TOKEN".to_owned()] };
            let Ok(Reply::Values { id }) = bed.call(call).await else { panic!() };
            ids.push(id);
        }
        assert!(ids.iter().all(|id| *id == ids[0]), "the same values have the same id on every host: {ids:?}");
        Revision { release, values: ids.remove(0) }
    }

    fn group(&self) -> Group<Reached, SystemClock> {
        let reached = self.beds.iter().enumerate();
        let reached = reached.map(|(place, bed)| {
            (
                name(place),
                Reached { client: Client::over(bed.home.agent_socket(), name(place)), scope: bed.scope.clone() },
            )
        });
        Group::new(reached.collect(), SystemClock, Duration::from_secs(3))
    }

    /// Deploys from a laptop that dies when it sees `last`. `None`: it died.
    pub(crate) fn deploy(&self, revision: &Revision, last: Option<Last>) -> Option<Report> {
        self.deploy_losing(revision, last, 0)
    }

    /// The same, while one host may be lost.
    pub(crate) fn deploy_with_loss(&self, revision: &Revision, last: Option<Last>) -> Option<Report> {
        self.deploy_losing(revision, last, 1)
    }

    /// On a thread of its own, as a command has: what an unoptimised engine does needs more than a test's stack.
    fn deploy_losing(&self, revision: &Revision, last: Option<Last>, max_fail: usize) -> Option<Report> {
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let laptop = std::thread::Builder::new().stack_size(64 << 20);
                let deploy = || runtime.block_on(self.deploy_here(revision, last, max_fail));
                laptop.spawn_scoped(scope, deploy).unwrap().join().unwrap()
            })
        })
    }

    async fn deploy_here(&self, revision: &Revision, last: Option<Last>, max_fail: usize) -> Option<Report> {
        let group = self.group();
        let mut laptop = Laptop { last, died: None };
        let (died, dead) = tokio::sync::oneshot::channel();
        laptop.died = Some(died);
        let deployed = async {
            let begin = Begin { ttl: Duration::from_secs(4), ..Begin::new(DeployKind::Deploy, "ann@desk") };
            let mut deployment = Deployment::begin(&group, &SystemClock, begin, &mut laptop).await?;
            deployment.wanted(Some(revision.clone()), "1.0", 1, None).await?;
            let policy = Policy { poll: Duration::from_millis(50), max_fail, ..Policy::default() };
            deployment.run(&policy).await
        };
        let report: Result<Report, EngineError> = tokio::select! {
            biased;
            Ok(()) = dead => return None,
            report = deployed => report,
        };
        Some(report.unwrap_or_else(|error| panic!("{error}\n{}", self.logs())))
    }

    /// Everything of a host ends at once, as when its power is cut.
    pub(crate) fn power_off(&mut self, host: usize) {
        self.beds[host].kill_agent();
        self.beds[host].end_all();
    }

    /// Waits until all of these hosts have the same journal, whose last deploy has an end, and want the same.
    pub(crate) async fn level(&self, hosts: &[usize]) -> (Vec<Entry>, Desired) {
        let began = Instant::now();
        loop {
            let mut states = Vec::new();
            for host in hosts {
                states.extend(self.state(*host).await);
            }
            let same = |one: &PeerState| one.head == states[0].head && one.desired == states[0].desired;
            if states.len() == hosts.len()
                && states.iter().all(|one| same(one) && !one.head.unfinished && one.held_ms.is_none())
            {
                let Ok(Reply::Journal { entries }) = self.beds[hosts[0]].call(Call::Journal).await else { panic!() };
                return (entries, states.remove(0).desired);
            }
            assert!(began.elapsed() < 2 * DEADLINE, "the hosts do not become level: {states:#?}\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn state(&self, host: usize) -> Option<PeerState> {
        match self.beds[host].call(Call::PeerState).await {
            Ok(Reply::PeerState { state }) => Some(*state),
            _ => None,
        }
    }

    fn logs(&self) -> String {
        let logs = self.beds.iter().enumerate().map(|(at, bed)| ["--- ", &name(at), "\n", &bed.agent_log()].concat());
        logs.collect()
    }
}

/// What a laptop sees last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Last {
    Begin(Step),
    End(Step),
}

struct Laptop {
    last: Option<Last>,
    died: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Watcher for Laptop {
    fn see(&mut self, progress: &Progress<'_>) {
        let seen = match progress {
            Progress::StepStarted { step } => Some(Last::Begin(*step)),
            Progress::StepEnded { step, .. } => Some(Last::End(*step)),
            _ => None,
        };
        if seen.is_some() && seen == self.last {
            let _dead_already = self.died.take().map(|died| died.send(()));
        }
    }
}

pub(crate) fn name(place: usize) -> String {
    format!("h{place}")
}

/// An address of this machine that no other test has.
pub(crate) fn address() -> IpAddr {
    Ipv4Addr::new(127, rand::random_range(1..=254), rand::random_range(1..=254), rand::random_range(2..=254)).into()
}

/// A stack file for several agents on one machine: they cannot listen for visitors at one address, so none does.
fn stack_of(text: &str) -> String {
    let web = format!("{} web", crate::bed::binary().display());
    let (text, burn) = (text.replace("WEB", &web), format!("{} burn", crate::bed::binary().display()));
    let text = text.replace("BURN", &burn);
    format!(
        "app = \"shop\"\n{text}\n[environment.dev]\ntarget = \"local\"\ndata = \"seed\"\nlisten = [\"127.0.0.1:0\"]\n"
    )
}

/// One host as the laptop reaches it.
struct Reached {
    client: Client,
    scope: Scope,
}

impl Reached {
    async fn ask(&self, call: Call) -> Result<Reply, TargetError> {
        self.client.call(Some(&self.scope), call).await
    }

    async fn tell(&self, call: Call) -> Result<(), TargetError> {
        self.ask(call).await.map(drop)
    }
}

impl Target for Reached {
    async fn lock(&self, holder: &str, ttl: Duration) -> Result<Fence, TargetError> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap();
        match self.ask(Call::Lock { holder: holder.to_owned(), ttl_ms }).await? {
            Reply::Fence { fence } => Ok(fence),
            other => panic!("{other:?}"),
        }
    }

    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), TargetError> {
        self.tell(Call::Renew { fence, ttl_ms: u64::try_from(ttl.as_millis()).unwrap() }).await
    }

    async fn unlock(&self, fence: Fence) -> Result<(), TargetError> {
        self.tell(Call::Unlock { fence }).await
    }

    async fn observe(&self) -> Result<Observed, TargetError> {
        match self.ask(Call::Observe).await? {
            Reply::Observed { observed } => Ok(*observed),
            other => panic!("{other:?}"),
        }
    }

    async fn ship(&self, revision: &Revision, fence: Fence) -> Result<(), TargetError> {
        self.tell(Call::Ship { revision: revision.clone(), fence }).await
    }

    async fn want(&self, desired: &Desired, fence: Fence) -> Result<(), TargetError> {
        self.tell(Call::Want { desired: desired.clone(), fence }).await
    }

    async fn task(&self, task: &Task, fence: Fence) -> Result<TaskEnd, TargetError> {
        match self.ask(Call::Task { task: task.clone(), fence }).await? {
            Reply::Task { end } => Ok(end),
            other => panic!("{other:?}"),
        }
    }

    async fn journal(&self) -> Result<Vec<Entry>, TargetError> {
        match self.ask(Call::Journal).await? {
            Reply::Journal { entries } => Ok(entries),
            other => panic!("{other:?}"),
        }
    }

    async fn append(&self, entry: &Entry, fence: Fence) -> Result<(), TargetError> {
        self.tell(Call::Append { entry: entry.clone(), fence }).await
    }

    async fn level(&self, level: &Level, fence: Fence) -> Result<(), TargetError> {
        self.tell(Call::Adopt { level: Box::new(level.clone()), fence }).await
    }
}
