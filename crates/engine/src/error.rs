//! Why the engine stopped without an outcome.

use crate::target::TargetError;

/// The engine stopped. What the deploy had begun is in the journal: whoever recovers it finishes or undoes it.
///
/// A deploy that failed in an orderly way is no error but a
/// [`Report`](crate::deployment::Report) whose outcome says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Somebody else holds the lease; nothing was done.
    #[error(
        "another deploy of this environment holds the lock: {holder}, for at most {expires_in_ms} ms more; wait for it, \
         or look with `slipway status`"
    )]
    Locked {
        /// Who.
        holder: String,
        /// When it lapses unless renewed.
        expires_in_ms: u64,
    },
    /// The lease was lost to somebody else, who finishes or undoes this deploy; nothing was touched since.
    #[error(
        "this deploy lost its lock while it was about to {doing} (token {given}, now {current}): it was silent for too \
         long and is being cleaned up; look with `slipway status` and deploy again"
    )]
    LeaseLost {
        /// What was refused.
        doing: String,
        /// Token of this deploy.
        given: u64,
        /// Newest token.
        current: u64,
    },
    /// No answer for too long. The hosts finish or undo the deploy by themselves once the lease lapsed.
    #[error(
        "could not {doing}: {host} does not answer: {reason} (tried {tries} times in {millis} ms); the hosts finish or \
         undo this deploy by themselves, look with `slipway status`"
    )]
    Unreachable {
        /// What was asked.
        doing: String,
        /// Which host.
        host: String,
        /// Why.
        reason: String,
        /// How often it was asked.
        tries: u32,
        /// For how long.
        millis: u64,
    },
    /// The target refused or failed, and so the deploy could not be brought to an outcome.
    #[error("could not {doing}: {reason}")]
    Refused {
        /// What was asked.
        doing: String,
        /// Why, with the mend.
        reason: String,
    },
    /// A deploy failed, and undoing it failed too. The hosts try again once the lease lapsed.
    #[error("{reason}; undoing it failed too: {cleanup}")]
    Cleanup {
        /// Why the deploy failed.
        reason: String,
        /// Why undoing it failed.
        cleanup: Box<EngineError>,
    },
    /// `run` was called before `wanted`.
    #[error("this deploy was never told which release it is for")]
    NothingWanted,
}

impl EngineError {
    /// What `error` means when it met the verb `doing` after `tries` tries in `millis` milliseconds.
    pub(crate) fn of(error: TargetError, doing: &str, tries: u32, millis: u64) -> Self {
        let doing = doing.to_owned();
        match error {
            TargetError::Locked { holder, expires_in_ms } => EngineError::Locked { holder, expires_in_ms },
            TargetError::Fenced { given, current } => EngineError::LeaseLost { doing, given, current },
            TargetError::Unreachable { host, reason } => {
                EngineError::Unreachable { doing, host, reason, tries, millis }
            }
            TargetError::Failed { reason } => EngineError::Refused { doing, reason },
        }
    }

    /// The lease is gone: nothing may be touched any more.
    pub fn is_lease_lost(&self) -> bool {
        match self {
            EngineError::LeaseLost { .. } => true,
            EngineError::Cleanup { cleanup, .. } => cleanup.is_lease_lost(),
            _ => false,
        }
    }
}
