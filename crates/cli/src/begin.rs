//! Begins a deploy of any kind: this machine's turn, then the lease.

use std::time::Duration;

use engine::{
    deployment::{Begin, Deployment},
    journal::DeployKind,
    policy::Policy,
};
use fleet::{Fleet, SystemClock, Turn};

use crate::{exit::Failure, progress::Progress};

/// A deploy that holds the lease.
pub(crate) type Deploying<'a> = Deployment<'a, Fleet, SystemClock>;

/// Takes this machine's turn, to be held until the deploy is over, and the lease. Where a command of this machine died
/// with the lease, waits until it has lapsed; where somebody alive has it, says who.
pub(crate) async fn begin<'a>(
    fleet: &'a Fleet,
    kind: DeployKind,
    ttl: Duration,
    policy: &Policy,
    progress: &'a mut Progress,
) -> Result<(Option<Turn>, Deploying<'a>), Failure> {
    let cannot = |error| Failure::new(format!("cannot take this machine's turn at deploying: {error}"));
    let turn = fleet.turn().map_err(cannot)?;
    // With the turn in hand, nobody here can be renewing a lease: a colleague elsewhere can, and then the wait ends.
    let lock_wait = if turn.is_some() { 2 * ttl } else { Duration::ZERO };
    let policy = Policy { lock_wait, ..policy.clone() };
    let deployment =
        Deployment::begin(fleet, &SystemClock, Begin { kind, by: release::who(), ttl, policy }, progress).await?;
    Ok((turn, deployment))
}
