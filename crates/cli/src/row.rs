//! A deploy as `--json` has it.

use engine::{
    journal::Outcome,
    record::{DeployRecord, Status as Standing},
};
use serde_json::{Value, json};

/// The record with its outcome in plain keys.
pub(crate) fn deploy_row(deploy: &DeployRecord) -> Value {
    let (status, step, reason) = match &deploy.status {
        Standing::Running => ("running", None, None),
        Standing::Interrupted => ("interrupted", None, None),
        Standing::Ended { outcome: Outcome::Succeeded } => ("succeeded", None, None),
        Standing::Ended { outcome: Outcome::Failed { step, reason } } => ("failed", *step, Some(reason)),
        Standing::Ended { outcome: Outcome::RolledBack { reason } } => ("rolled-back", None, Some(reason)),
    };
    json!({
        "number": deploy.number,
        "kind": deploy.kind,
        "status": status,
        "step": step,
        "reason": reason,
        "version": deploy.version,
        "release": deploy.release_number,
        "commit": deploy.commit,
        "by": deploy.by,
        "started_at": deploy.started_at,
        "ended_at": deploy.ended_at,
        "previous": deploy.previous,
        "revision": deploy.revision,
        "steps": deploy.steps,
        "checks": deploy.checks,
        "notes": deploy.notes,
    })
}
