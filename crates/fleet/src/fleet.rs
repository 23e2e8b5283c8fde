//! The hosts of an environment as one target: this machine alone, or many over SSH.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use agent::{
    Client, LogQuery, SystemClock,
    home::Home,
    protocol::{Call, Reply, Run, Scope},
    upload::Removed,
};
use engine::{
    desired::{Desired, Observed},
    group::Group,
    journal::Entry,
    record::{committed, previous},
    target::{Fence, Target, TargetError, Task, TaskEnd},
};
use futures_util::future::join_all;
use jiff::Timestamp;
use release::Store;
use stack::{AppName, Problem, Problems, ReleaseId, Revision, ValuesId};
use tokio::sync::OnceCell;

use crate::{
    Local, Turn,
    host::{Host, HostTarget, Place, Unusable, unexpected},
    lines::Lines,
    roster,
    ship::{Listener, Sent, Shipper},
};

/// How long a host may be silent within one verb before it is left out.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many releases stay on a host after a deploy, beside those that run or may be gone back to.
pub const KEPT_RELEASES: usize = 5;

/// Why a fleet cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Hosts that cannot take part: every one of them, with its mend. Nothing was changed.
    #[error("{0}")]
    Hosts(Problems),
    /// A host failed.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The releases of this machine cannot be read.
    #[error(transparent)]
    Store(#[from] release::StoreError),
}

/// One environment of an app on its hosts.
///
/// Nothing is asked and nobody is connected to before the first call.
#[derive(Debug)]
pub struct Fleet {
    scope: Scope,
    home: Home,
    ways: Ways,
}

#[derive(Debug)]
enum Ways {
    /// This machine, without SSH.
    Here(Local),
    /// Hosts with agents of their own.
    Hosts(Box<Hosts>),
}

#[derive(Debug)]
struct Hosts {
    places: Vec<Place>,
    /// So many hosts may be lost when a deploy begins.
    max_fail: usize,
    /// Connected to once, shared by all environments that are looked at.
    found: Arc<OnceCell<Vec<Host>>>,
    shipper: OnceCell<Shipper>,
    group: OnceCell<Group<HostTarget, SystemClock>>,
}

/// A host of a fleet as it was found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where it is, as in the stack file; nothing for this machine.
    pub destination: Option<String>,
    /// Whether its agent answers.
    pub alive: bool,
    /// Why it does not.
    pub why: Option<String>,
    /// Version of its agent.
    pub version: Option<String>,
    /// No instances are to run on it.
    pub drained: bool,
    /// Processes that want to run, over the last minute, for each core: 1.0 is busy.
    pub load: Option<f64>,
}

/// What was done for a host that lagged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Healed {
    /// Which.
    pub host: String,
    /// In words; nothing when it was level already.
    pub done: Vec<String>,
    /// Why it is not level.
    pub failed: Option<String>,
}

impl Fleet {
    /// This machine: the environment `scope` of the agent of `home`, which is `binary` and is started when needed.
    pub fn here(binary: PathBuf, home: Home, scope: Scope) -> Self {
        let local = Local::new(binary, home.clone(), scope.clone());
        Self { scope, home, ways: Ways::Here(local) }
    }

    /// Hosts, in order. Releases are sent from the store of `home`, this machine's own folder.
    pub fn of_hosts(home: Home, scope: Scope, places: Vec<Place>) -> Self {
        Self::over(home, scope, places, 0, Arc::default())
    }

    /// Lets a deploy begin while so many hosts do not answer, as long as more than half do.
    #[must_use]
    pub fn allow_lost(mut self, max_fail: usize) -> Self {
        if let Ways::Hosts(hosts) = &mut self.ways {
            hosts.max_fail = max_fail;
        }
        self
    }

    fn over(home: Home, scope: Scope, places: Vec<Place>, max_fail: usize, found: Arc<OnceCell<Vec<Host>>>) -> Self {
        let hosts = Hosts { places, max_fail, found, shipper: OnceCell::new(), group: OnceCell::new() };
        Self { scope, home, ways: Ways::Hosts(Box::new(hosts)) }
    }

    /// Another environment of the same agents, over the same connections.
    #[must_use]
    pub fn of(&self, scope: Scope) -> Self {
        match &self.ways {
            Ways::Here(local) => {
                let ways = Ways::Here(local.of(scope.clone()));
                Self { scope, home: self.home.clone(), ways }
            }
            Ways::Hosts(hosts) => {
                Self::over(self.home.clone(), scope, hosts.places.clone(), hosts.max_fail, hosts.found.clone())
            }
        }
    }

    /// Which environment.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether it is this machine alone, without SSH.
    pub fn is_here(&self) -> bool {
        matches!(self.ways, Ways::Here(_))
    }

    /// This machine, when the fleet is it.
    pub fn local(&self) -> Option<&Local> {
        match &self.ways {
            Ways::Here(local) => Some(local),
            Ways::Hosts(_) => None,
        }
    }

    /// Takes this machine's turn at deploying the environment; `None` while another command here has it.
    pub fn turn(&self) -> std::io::Result<Option<Turn>> {
        Turn::take(&self.home.environment(&self.scope))
    }

    /// Makes sure that everything is ready for a deploy: an agent of this version answers on every host, all of them
    /// know each other, and none belongs to somebody else.
    ///
    /// Fails with every host that cannot take part, all at once, and has then changed nothing. On this machine, starts
    /// or replaces the agent.
    pub async fn launch(&self) -> Result<(), FleetError> {
        let hosts = match &self.ways {
            Ways::Here(local) => return Ok(local.launch().await?),
            Ways::Hosts(hosts) => hosts,
        };
        let found = hosts.found().await;
        let known = roster::known(found, &self.scope).await?;
        let lost = found.iter().filter(|host| host.way.is_err()).count();
        let bearable = lost <= hosts.max_fail && lost * 2 < found.len();
        let living: Vec<Host> = found.iter().filter(|host| !bearable || host.way.is_ok()).cloned().collect();
        let mut problems = self.unusable(&living);
        match roster::agree(found, &known, &self.scope, Timestamp::now()) {
            Ok(Some(members)) if !problems.has_errors() => roster::spread(found, &known, &self.scope, &members).await?,
            Ok(None) if !problems.has_errors() => {
                for host in
                    found.iter().filter(|host| host.way.as_ref().map_or(true, |reached| reached.address.is_none()))
                {
                    let message = format!("nobody knows the address that the other hosts reach {} by", host.name);
                    problems.push(self.problem("host-address", message).with_mend("name the host by its address"));
                }
            }
            Ok(_) => {}
            Err(foreign) => problems.extend(foreign),
        }
        if problems.has_errors() { Err(FleetError::Hosts(problems)) } else { Ok(()) }
    }

    /// Tells the hosts that answer of each other, also when others do not. Fails with those that belong to somebody else.
    pub async fn acquaint(&self) -> Result<(), FleetError> {
        let Ways::Hosts(hosts) = &self.ways else { return Ok(()) };
        let found = hosts.found().await;
        let known = roster::known(found, &self.scope).await?;
        match roster::agree(found, &known, &self.scope, Timestamp::now()) {
            Ok(Some(members)) => Ok(roster::spread(found, &known, &self.scope, &members).await?),
            // a host that never answered has no address yet, and the others go on as they are
            Ok(None) => Ok(()),
            Err(foreign) => Err(FleetError::Hosts(foreign)),
        }
    }

    /// Whether an agent answers.
    pub async fn answers(&self) -> bool {
        match &self.ways {
            Ways::Here(local) => local.answers().await,
            Ways::Hosts(hosts) => hosts.found().await.iter().any(|host| host.way.is_ok()),
        }
    }

    /// Every host that does not answer or is of another version, as problems.
    pub async fn problems(&self) -> Problems {
        match &self.ways {
            Ways::Here(_) => Problems::new(),
            Ways::Hosts(hosts) => self.unusable(hosts.found().await),
        }
    }

    fn problem(&self, code: &'static str, message: String) -> Problem {
        Problem::error(code, format!("environment.{}.hosts", self.scope.environment), message)
    }

    fn unusable(&self, found: &[Host]) -> Problems {
        let mut problems = Problems::new();
        for host in found {
            let (code, message, mend) = match &host.way {
                Err(Unusable::Unreachable(reason)) => {
                    let mend = format!("mend it, or leave it out once with --without {}", host.name);
                    ("host-unreachable", reason.clone(), mend)
                }
                Err(Unusable::NoAgent(reason)) => (
                    "host-no-agent",
                    format!("no agent answers on {} ({reason})", host.name),
                    format!("slipway host add {}", host.destination),
                ),
                Ok(reached) if reached.version != env!("CARGO_PKG_VERSION") => (
                    "host-version",
                    format!(
                        "the agent of {} is version {}, and this is slipway {}",
                        host.name,
                        reached.version,
                        env!("CARGO_PKG_VERSION")
                    ),
                    format!("slipway host upgrade {}, or use the version of the host", host.destination),
                ),
                Ok(_) => continue,
            };
            problems.push(self.problem(code, message).with_mend(mend));
        }
        problems
    }

    /// The hosts in order, as they were found.
    pub async fn members(&self) -> Result<Vec<Member>, FleetError> {
        let hosts = match &self.ways {
            Ways::Here(local) => {
                let info = local.client().call(None, Call::Info).await;
                let (version, load) = match &info {
                    Ok(Reply::Info { version, load, .. }) => (Some(version.clone()), *load),
                    _ => (None, None),
                };
                let why = info.err().map(|error| error.to_string());
                let name = agent::client::THIS_MACHINE.to_owned();
                return Ok(vec![Member {
                    name,
                    destination: None,
                    alive: why.is_none(),
                    why,
                    version,
                    drained: false,
                    load,
                }]);
            }
            Ways::Hosts(hosts) => hosts,
        };
        let found = hosts.found().await;
        let known = roster::known(found, &self.scope).await?;
        let newest = known.iter().flatten().max_by_key(|list| list.changed_at);
        let drained =
            |name: &str| newest.is_some_and(|list| list.hosts.iter().any(|host| host.name == name && host.drained));
        let member = |host: &Host| Member {
            name: host.name.clone(),
            destination: Some(host.destination.clone()),
            alive: host.way.is_ok(),
            why: host.way.as_ref().err().map(|why| why.reason().to_owned()),
            version: host.way.as_ref().ok().map(|reached| reached.version.clone()),
            drained: drained(&host.name),
            load: host.way.as_ref().ok().and_then(|reached| reached.load),
        };
        Ok(found.iter().map(member).collect())
    }

    /// Keeps a set of variable values with every host. The same values get the same id, on all of them.
    pub async fn put_values(
        &self,
        values: BTreeMap<String, String>,
        secrets: Vec<String>,
    ) -> Result<ValuesId, FleetError> {
        if let Ways::Here(local) = &self.ways {
            return Ok(local.put_values(values, secrets).await?);
        }
        let call = Call::PutValues { values, secrets };
        let mut agreed: Option<(String, ValuesId)> = None;
        for (host, reply) in self.everywhere(&call).await? {
            let Reply::Values { id } = reply else { return Err(unexpected(&reply).into()) };
            match &agreed {
                Some((other, known)) if *known != id => {
                    let reason = format!(
                        "{other} and {host} name the same values differently, so they do not know each other; deploy \
                         again, which tells them"
                    );
                    return Err(TargetError::Failed { reason }.into());
                }
                Some(_) => {}
                None => agreed = Some((host, id)),
            }
        }
        agreed.map(|(_, id)| id).ok_or_else(|| self.silent().into())
    }

    /// Ways to the agents that answer, in the order of their hosts.
    pub async fn clients(&self) -> Vec<Client> {
        match &self.ways {
            Ways::Here(local) => vec![local.client().clone()],
            Ways::Hosts(hosts) => hosts.found().await.iter().filter_map(Host::client).cloned().collect(),
        }
    }

    /// Past runs of jobs and functions on all hosts, newest first.
    pub async fn runs(&self) -> Result<Vec<Run>, TargetError> {
        if let Ways::Here(local) = &self.ways {
            return local.runs().await;
        }
        let mut all = Vec::new();
        for (_, reply) in self.everywhere(&Call::Runs).await? {
            let Reply::Runs { runs } = reply else { return Err(unexpected(&reply)) };
            all.extend(runs);
        }
        all.sort_by_key(|run| std::cmp::Reverse(run.started_at));
        all.truncate(100);
        Ok(all)
    }

    /// Every environment of the agents.
    pub async fn scopes(&self) -> Result<Vec<Scope>, TargetError> {
        if let Ways::Here(local) = &self.ways {
            return local.scopes().await;
        }
        let mut all = std::collections::BTreeSet::new();
        for (_, reply) in self.everywhere(&Call::Scopes).await? {
            let Reply::Scopes { scopes } = reply else { return Err(unexpected(&reply)) };
            all.extend(scopes);
        }
        Ok(all.into_iter().collect())
    }

    /// The health report, and whether all is well. Of many hosts: the worst of their verdicts, and each host's own report.
    pub async fn health(&self) -> Result<(bool, serde_json::Value), TargetError> {
        let hosts = match &self.ways {
            Ways::Here(local) => return local.client().health(&self.scope).await,
            Ways::Hosts(hosts) => hosts,
        };
        let found = hosts.found().await;
        let asked = found.iter().map(|host| async move {
            let report = match (&host.way, host.client()) {
                (Err(why), _) => Err(host.error(why)),
                (Ok(_), None) => return None,
                (Ok(_), Some(client)) => client.health(&self.scope).await,
            };
            Some((host.name.clone(), report))
        });
        let reports: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        if let [(_, report)] = &reports[..] {
            return report.clone();
        }
        // where nothing was deployed there is no health
        if let Some((_, Err(error))) = reports.first()
            && reports.iter().all(|(_, report)| report.is_err())
        {
            return Err(error.clone());
        }
        Ok(crate::health::merge(reports))
    }

    /// Lines of output of all hosts, by time.
    pub async fn logs(&self, query: &LogQuery) -> Result<Lines, TargetError> {
        let wanted = query.lines.unwrap_or(100);
        let sources = match &self.ways {
            Ways::Here(local) => {
                vec![(local.client().host().to_owned(), local.client().logs(&self.scope, query).await?)]
            }
            Ways::Hosts(hosts) => {
                let clients = hosts.found().await.iter().filter_map(|host| Some((host.name.clone(), host.client()?)));
                let asked = clients.map(|(name, client)| async move { (name, client.logs(&self.scope, query).await) });
                let answers = join_all(asked).await;
                let mut sources = Vec::new();
                let mut failed = None;
                for (name, answer) in answers {
                    match answer {
                        Ok(logs) => sources.push((name, logs)),
                        Err(error) => failed = Some(error),
                    }
                }
                match failed {
                    Some(error) if sources.is_empty() => return Err(error),
                    _ => sources,
                }
            }
        };
        Ok(Lines::new(sources, wanted, query.follow))
    }

    /// Releases of this app that run in one of its environments, or that a rollback would go to.
    pub async fn pinned(&self) -> Result<Vec<ReleaseId>, TargetError> {
        let mut pinned = Vec::new();
        for scope in self.scopes().await?.into_iter().filter(|scope| scope.app == self.scope.app) {
            let entries = self.of(scope).journal().await?;
            let kept = [committed(&entries), previous(&entries)];
            pinned.extend(kept.into_iter().flatten().map(|revision| revision.release));
        }
        Ok(pinned)
    }

    /// Ends the agent of this machine, and the edge when nothing is wanted any more. Agents of hosts are left alone.
    pub async fn shut_down(&self) -> Result<(), TargetError> {
        match &self.ways {
            Ways::Here(local) => local.client().call(None, Call::Shutdown).await.map(drop),
            Ways::Hosts(_) => Ok(()),
        }
    }

    /// Promotes the present stage of a deploy.
    pub async fn promote(&self, deploy: u64) -> Result<(), TargetError> {
        self.everywhere(&Call::Promote { deploy }).await.map(drop)
    }

    /// Removes old releases from the hosts, never one that an environment runs or may go back to; says what each of them
    /// removed. This machine's own releases stay until `slipway releases prune`.
    pub async fn prune(&self, keep: usize) -> Vec<(String, Result<Removed, TargetError>)> {
        let Ways::Hosts(hosts) = &self.ways else { return Vec::new() };
        let clients = hosts.found().await.iter().filter_map(Host::client);
        let asked =
            clients.map(|client| async { (client.host().to_owned(), client.prune(&self.scope.app, keep).await) });
        join_all(asked).await
    }

    /// What was sent to the hosts so far.
    pub fn sent(&self) -> Vec<Sent> {
        match &self.ways {
            Ways::Here(_) => Vec::new(),
            Ways::Hosts(hosts) => hosts.shipper.get().map(Shipper::sent).unwrap_or_default(),
        }
    }

    /// Sends a release of this machine to every host that answers and lacks it, and says how much travelled. Changes
    /// nothing visible: a deploy does the same as one of its steps.
    pub async fn send(&self, release: &ReleaseId) -> Result<Vec<Sent>, FleetError> {
        let Ways::Hosts(hosts) = &self.ways else { return Ok(Vec::new()) };
        let shipper = hosts.shipper(&self.home, &self.scope.app)?;
        let clients = hosts.found().await.iter().filter_map(Host::client);
        let asked = clients.map(|client| {
            let shipper = &shipper;
            async move {
                let bytes = shipper.send(client, release).await?;
                Ok(Sent { host: client.host().to_owned(), release: release.clone(), bytes })
            }
        });
        join_all(asked).await.into_iter().collect()
    }

    /// Whom to tell what is on its way to the hosts: host, bytes so far, bytes in all.
    pub fn on_shipping(&self, listener: Listener) -> Result<(), FleetError> {
        if let Ways::Hosts(hosts) = &self.ways {
            hosts.shipper(&self.home, &self.scope.app)?.tell(listener);
        }
        Ok(())
    }

    /// Brings every host level with the others: each has the list of hosts, the journal and the desired state of the
    /// majority, and the releases that are wanted; what no peer can give it is sent from here. Says what was done.
    pub async fn heal(&self) -> Result<Vec<Healed>, FleetError> {
        let Ways::Hosts(hosts) = &self.ways else { return Ok(Vec::new()) };
        let shipper = hosts.shipper(&self.home, &self.scope.app)?;
        let desired = self.group().await?.observe().await?.desired;
        let wanted: Vec<ReleaseId> = desired.running.iter().map(|revision| revision.release.clone()).collect();
        let asked = hosts.found().await.iter().map(|host| {
            let (shipper, wanted) = (&shipper, &wanted);
            async move {
                let name = host.name.clone();
                let healed = match (&host.way, host.client()) {
                    (Ok(_), Some(client)) => self.level(client, shipper, wanted).await,
                    (Err(why), _) => Err(host.error(why)),
                    (Ok(_), None) => Ok(Vec::new()),
                };
                match healed {
                    Ok(done) => Healed { host: name, done, failed: None },
                    Err(error) => Healed { host: name, done: Vec::new(), failed: Some(error.to_string()) },
                }
            }
        });
        Ok(join_all(asked).await)
    }

    async fn level(
        &self,
        client: &agent::Client,
        shipper: &Shipper,
        wanted: &[ReleaseId],
    ) -> Result<Vec<String>, TargetError> {
        // first what its peers have: their link is likely the faster one
        let level = || async {
            match client.call(Some(&self.scope), Call::Level).await? {
                Reply::Level { done } => Ok(done),
                other => Err(unexpected(&other)),
            }
        };
        let first = level().await;
        let mut sent = Vec::new();
        for release in wanted.iter().filter(|release| shipper.has(release)) {
            let bytes = shipper.send(client, release).await?;
            if bytes > 0 {
                sent.push(format!("sent release {release}, {bytes} bytes"));
            }
        }
        if sent.is_empty() {
            return first;
        }
        let mut done = first.unwrap_or_default();
        done.append(&mut sent);
        done.extend(level().await?);
        Ok(done)
    }

    /// Asks every host that answers; fails when one refuses, or none answers.
    async fn everywhere(&self, call: &Call) -> Result<Vec<(String, Reply)>, TargetError> {
        let clients: Vec<&agent::Client> = match &self.ways {
            Ways::Here(local) => vec![local.client()],
            Ways::Hosts(hosts) => hosts.found().await.iter().filter_map(Host::client).collect(),
        };
        let asked = clients
            .into_iter()
            .map(|client| async { (client.host().to_owned(), client.call(Some(&self.scope), call.clone()).await) });
        let mut replies = Vec::new();
        let mut lost = None;
        for (host, answer) in join_all(asked).await {
            match answer {
                Ok(reply) => replies.push((host, reply)),
                Err(error @ TargetError::Unreachable { .. }) => lost = Some(error),
                Err(error) => return Err(error),
            }
        }
        if replies.is_empty() { Err(lost.unwrap_or_else(|| self.silent())) } else { Ok(replies) }
    }

    fn silent(&self) -> TargetError {
        TargetError::Unreachable { host: self.scope.to_string(), reason: "no host of it answers".to_owned() }
    }

    async fn group(&self) -> Result<&Group<HostTarget, SystemClock>, TargetError> {
        let Ways::Hosts(hosts) = &self.ways else {
            return Err(TargetError::Failed { reason: "this machine is no group of hosts".to_owned() });
        };
        hosts.group(&self.home, &self.scope).await
    }
}

impl Hosts {
    async fn found(&self) -> &Vec<Host> {
        self.found.get_or_init(|| join_all(self.places.iter().cloned().map(Host::reach))).await
    }

    fn shipper(&self, home: &Home, app: &AppName) -> Result<Shipper, release::StoreError> {
        if let Some(shipper) = self.shipper.get() {
            return Ok(shipper.clone());
        }
        let made = Shipper::new(Store::open(home.store())?, app.clone());
        // of two that were made at once the first counts
        drop(self.shipper.set(made.clone()));
        Ok(self.shipper.get().cloned().unwrap_or(made))
    }

    async fn group(&self, home: &Home, scope: &Scope) -> Result<&Group<HostTarget, SystemClock>, TargetError> {
        let make = || async {
            let failed = |error: release::StoreError| TargetError::Failed { reason: error.to_string() };
            let shipper = self.shipper(home, &scope.app).map_err(failed)?;
            let target = |host: &Host| {
                let target = HostTarget { host: host.clone(), scope: scope.clone(), shipper: shipper.clone() };
                (host.name.clone(), target)
            };
            Ok(Group::new(self.found().await.iter().map(target).collect(), SystemClock, PATIENCE))
        };
        self.group.get_or_try_init(make).await
    }
}

impl Target for Fleet {
    async fn lock(&self, holder: &str, ttl: Duration) -> Result<Fence, TargetError> {
        match &self.ways {
            Ways::Here(local) => local.lock(holder, ttl).await,
            Ways::Hosts(_) => self.group().await?.lock(holder, ttl).await,
        }
    }

    async fn renew(&self, fence: Fence, ttl: Duration) -> Result<(), TargetError> {
        match &self.ways {
            Ways::Here(local) => local.renew(fence, ttl).await,
            Ways::Hosts(_) => self.group().await?.renew(fence, ttl).await,
        }
    }

    async fn unlock(&self, fence: Fence) -> Result<(), TargetError> {
        match &self.ways {
            Ways::Here(local) => local.unlock(fence).await,
            Ways::Hosts(_) => self.group().await?.unlock(fence).await,
        }
    }

    async fn observe(&self) -> Result<Observed, TargetError> {
        match &self.ways {
            Ways::Here(local) => local.observe().await,
            Ways::Hosts(_) => self.group().await?.observe().await,
        }
    }

    async fn ship(&self, revision: &Revision, fence: Fence) -> Result<(), TargetError> {
        match &self.ways {
            Ways::Here(local) => local.ship(revision, fence).await,
            Ways::Hosts(_) => self.group().await?.ship(revision, fence).await,
        }
    }

    async fn want(&self, desired: &Desired, fence: Fence) -> Result<(), TargetError> {
        match &self.ways {
            Ways::Here(local) => local.want(desired, fence).await,
            Ways::Hosts(_) => self.group().await?.want(desired, fence).await,
        }
    }

    async fn task(&self, task: &Task, fence: Fence) -> Result<TaskEnd, TargetError> {
        match &self.ways {
            Ways::Here(local) => local.task(task, fence).await,
            Ways::Hosts(_) => self.group().await?.task(task, fence).await,
        }
    }

    async fn journal(&self) -> Result<Vec<Entry>, TargetError> {
        match &self.ways {
            Ways::Here(local) => local.journal().await,
            Ways::Hosts(_) => self.group().await?.journal().await,
        }
    }

    async fn append(&self, entry: &Entry, fence: Fence) -> Result<(), TargetError> {
        match &self.ways {
            Ways::Here(local) => local.append(entry, fence).await,
            Ways::Hosts(_) => self.group().await?.append(entry, fence).await,
        }
    }
}
