//! Exit codes and the one error type of the commands.

use std::process::ExitCode;

use stack::Problems;

/// Documented in `docs/src/reference/exit-codes.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Something failed; nothing visible changed unless the message says so.
    Failed = 1,
    /// The arguments or the stack file are wrong.
    Usage = 2,
    /// The environment contract is not met.
    Contract = 3,
    /// The new release was unhealthy and the environment went back.
    RolledBack = 4,
    /// What runs is not what was deployed.
    Drift = 5,
    /// Another deploy holds the lock.
    Locked = 6,
    /// It succeeded, and something of it was left undone.
    Partial = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Problems of an input, drawn one by one.
    Problems(Problems, Exit),
    /// One sentence, and how to mend it.
    Message {
        /// The exit code.
        exit: Exit,
        /// What is wrong.
        message: String,
        /// How to mend it.
        hint: Option<String>,
    },
}

impl Failure {
    /// A failure with exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Message { exit: Exit::Failed, message: message.into(), hint: None }
    }

    /// Wrong usage: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Message { exit: Exit::Usage, message: message.into(), hint: None }
    }

    /// Adds how to mend it.
    pub(crate) fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Message { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Problems(_, exit) | Self::Message { exit, .. } => *exit,
        }
    }
}

/// What every command returns.
pub(crate) type Done = Result<Exit, Failure>;

impl From<engine::target::TargetError> for Failure {
    fn from(error: engine::target::TargetError) -> Self {
        let exit =
            if matches!(error, engine::target::TargetError::Locked { .. }) { Exit::Locked } else { Exit::Failed };
        Self::Message { exit, message: error.to_string(), hint: None }
    }
}

impl From<fleet::FleetError> for Failure {
    fn from(error: fleet::FleetError) -> Self {
        match error {
            fleet::FleetError::Hosts(problems) => Self::Problems(problems, Exit::Failed),
            fleet::FleetError::Target(error) => error.into(),
            fleet::FleetError::Store(error) => error.into(),
        }
    }
}

impl From<engine::error::EngineError> for Failure {
    fn from(error: engine::error::EngineError) -> Self {
        let exit = if matches!(error, engine::error::EngineError::Locked { .. }) { Exit::Locked } else { Exit::Failed };
        Self::Message { exit, message: error.to_string(), hint: None }
    }
}

impl From<release::StoreError> for Failure {
    fn from(error: release::StoreError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<release::BuildError> for Failure {
    fn from(error: release::BuildError) -> Self {
        match error {
            release::BuildError::Problems(problems) => Self::Problems(problems, Exit::Failed),
            error => Self::new(error.to_string()),
        }
    }
}
