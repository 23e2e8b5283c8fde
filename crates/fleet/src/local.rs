//! This machine as a target: a fleet of one host, reached without SSH.

use std::{collections::BTreeMap, path::PathBuf};

use agent::{
    Client,
    asks::{Asks, unexpected},
    home::Home,
    protocol::{Call, Reply, Run, Scope},
};
use engine::target::TargetError;
use stack::ValuesId;

use crate::Turn;

/// One environment on this machine.
#[derive(Debug, Clone)]
pub struct Local {
    home: Home,
    client: Client,
    /// The program that is started when no agent answers.
    binary: PathBuf,
    scope: Scope,
}

impl Local {
    /// The environment `scope` of the agent of `home`, whether or not an agent runs.
    pub fn new(binary: PathBuf, home: Home, scope: Scope) -> Self {
        Self { client: Client::new(&home), home, binary, scope }
    }

    /// Another environment of the same agent.
    #[must_use]
    pub fn of(&self, scope: Scope) -> Self {
        Self { scope, ..self.clone() }
    }

    /// Makes sure that an agent of this very program runs, and starts or replaces it otherwise. Instances and
    /// visitors notice nothing.
    pub async fn launch(&self) -> Result<(), TargetError> {
        agent::launch(&self.binary, &self.home).await.map_err(|error| TargetError::Failed { reason: error.to_string() })
    }

    /// Takes this machine's turn at deploying the environment; `None` while another command here has it.
    pub fn turn(&self) -> std::io::Result<Option<Turn>> {
        Turn::take(&self.home.environment(&self.scope))
    }

    /// Which environment.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The way to the agent.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether an agent answers.
    pub async fn answers(&self) -> bool {
        self.client.call(None, Call::Info).await.is_ok()
    }

    /// Keeps a set of variable values with the host. The same values get the same id.
    pub async fn put_values(
        &self,
        values: BTreeMap<String, String>,
        secrets: Vec<String>,
    ) -> Result<ValuesId, TargetError> {
        match self.ask(Call::PutValues { values, secrets }).await? {
            Reply::Values { id } => Ok(id),
            other => Err(unexpected(&other)),
        }
    }

    /// Past runs of jobs and functions, newest first.
    pub async fn runs(&self) -> Result<Vec<Run>, TargetError> {
        match self.ask(Call::Runs).await? {
            Reply::Runs { runs } => Ok(runs),
            other => Err(unexpected(&other)),
        }
    }

    /// Every environment of the agent.
    pub async fn scopes(&self) -> Result<Vec<Scope>, TargetError> {
        match self.client.call(None, Call::Scopes).await? {
            Reply::Scopes { scopes } => Ok(scopes),
            other => Err(unexpected(&other)),
        }
    }
}

impl Asks for Local {
    /// Asks, and when nobody answers starts the agent again, so that a killed agent costs a deploy a moment and
    /// no more. Whether the first call was done is then unknown, so the engine repeats it: verbs may be repeated.
    async fn ask(&self, call: Call) -> Result<Reply, TargetError> {
        let answer = self.client.call(Some(&self.scope), call).await;
        if matches!(answer, Err(TargetError::Unreachable { .. })) {
            self.launch().await?;
        }
        answer
    }
}
