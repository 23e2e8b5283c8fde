//! Whether the hosts of a fleet can take part: who answers, which version, who knows whom.

use jiff::Timestamp;
use stack::{Problem, Problems};

use agent::protocol::{Call, Reply};

use super::{Fleet, FleetError, Member, Ways};
use crate::{
    host::{Host, Unusable},
    roster,
};

impl Fleet {
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
        for host in roster::unheard(found, &known) {
            let message =
                format!("{host} does not answer, and what the environment did last is known to most of its hosts only");
            let mend = "mend it before the list of hosts changes, or change the list when it answers";
            problems.push(self.problem("host-majority", message).with_mend(mend));
        }
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

    /// Names of the hosts that do not answer, each with the reason, which ends with the mend.
    pub async fn absent(&self) -> Vec<(String, String)> {
        let Ways::Hosts(hosts) = &self.ways else { return Vec::new() };
        hosts.found().await.iter().filter_map(|host| Some((host.name.clone(), host.why_not()?))).collect()
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
                Err(Unusable::Strange(reason)) => (
                    "host-version",
                    format!("the agent of {} is of another version ({reason})", host.name),
                    format!("slipway host upgrade {}, or use the version of the host", host.destination),
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
            alive: host.client().is_some(),
            why: host.why_not(),
            version: host.way.as_ref().ok().map(|reached| reached.version.clone()),
            drained: drained(&host.name),
            load: host.way.as_ref().ok().and_then(|reached| reached.load),
        };
        Ok(found.iter().map(member).collect())
    }
}
