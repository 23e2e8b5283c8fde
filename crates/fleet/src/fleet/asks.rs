//! What is asked of every host at once, and its answers as one.

use std::collections::BTreeMap;

use agent::{
    Client, LogQuery,
    asks::unexpected,
    protocol::{Call, Reply, Run, Scope},
};
use engine::{
    record::{committed, previous},
    target::{Target, TargetError},
};
use futures_util::future::join_all;
use stack::{ReleaseId, ValuesId};

use super::{Fleet, FleetError, Ways};
use crate::{host::Host, lines::Lines};

impl Fleet {
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
            (host.name.clone(), host.ask(|client| async move { client.health(&self.scope).await }).await)
        });
        let reports: Vec<_> = join_all(asked).await;
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
                let asked = hosts.found().await.iter().filter(|host| host.way.is_ok()).map(|host| async move {
                    let logs = host.ask(|client| async move { client.logs(&self.scope, query).await });
                    (host.name.clone(), logs.await)
                });
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

    /// Promotes the present stage of a deploy.
    pub async fn promote(&self, deploy: u64) -> Result<(), TargetError> {
        self.everywhere(&Call::Promote { deploy }).await.map(drop)
    }

    /// Ends the agent of this machine, and the edge when nothing is wanted any more. Agents of hosts are left alone.
    pub async fn shut_down(&self) -> Result<(), TargetError> {
        match &self.ways {
            Ways::Here(local) => local.client().call(None, Call::Shutdown).await.map(drop),
            Ways::Hosts(_) => Ok(()),
        }
    }

    /// Asks every host that answers; fails when one refuses, or none answers.
    pub(super) async fn everywhere(&self, call: &Call) -> Result<Vec<(String, Reply)>, TargetError> {
        let hosts = match &self.ways {
            Ways::Here(local) => {
                let client = local.client();
                return Ok(vec![(client.host().to_owned(), client.call(Some(&self.scope), call.clone()).await?)]);
            }
            Ways::Hosts(hosts) => hosts.found().await,
        };
        let asked = hosts.iter().filter(|host| host.way.is_ok()).map(|host| async move {
            let answer = host.ask(|client| async move { client.call(Some(&self.scope), call.clone()).await });
            (host.name.clone(), answer.await)
        });
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

    pub(super) fn silent(&self) -> TargetError {
        TargetError::Unreachable { host: self.scope.to_string(), reason: "no host of it answers".to_owned() }
    }
}
