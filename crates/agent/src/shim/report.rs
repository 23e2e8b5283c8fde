//! What a shim tells the agent that started it, once, on its stdout.

use serde::{Deserialize, Serialize};

use super::{Record, Refusal};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Report {
    /// The program runs and `shim.json` is durable.
    Started(Box<Record>),
    /// The program does not run and the shim is about to end.
    Refused(Refusal),
    /// Another shim has the folder.
    Busy { pid: u32 },
}
