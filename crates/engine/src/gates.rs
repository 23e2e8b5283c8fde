//! Gates: what only whoever runs a deploy can find out, by commands, by looking, or by asking a person.
//!
//! Those that stand before a deploy are a step of it ([`Step::Gate`](crate::journal::Step)), as a build is. Those that
//! stand after it are passed beside the last watch, once all visitors are moved, and the engine waits for them.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use stack::ResourceName;

/// One thing a gate made sure of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The gate.
    pub gate: ResourceName,
    /// What was to be made sure of, as the stack file says it; a command as `` `sh verify.sh` succeeds ``.
    pub check: String,
    /// Whether it is so.
    pub passed: bool,
    /// Who answered for it, as `user@machine`; `None`: it was found out.
    pub by: Option<String>,
    /// What was seen, or why it is not so. Empty when there is nothing to add.
    pub detail: String,
    /// How long it took.
    pub millis: u64,
}

/// Where checks are told as they are made: all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<Vec<Checked>>>);

impl Told {
    /// Tells of one.
    pub fn tell(&self, checked: Checked) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(checked);
    }

    /// Takes those that nobody has taken yet, oldest first.
    pub fn take(&self) -> Vec<Checked> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The work of passing gates.
pub struct Passing<'a> {
    /// Ends well when all are passed, else with the reason and its mend.
    pub work: Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>,
    /// Where it tells what it found.
    pub told: Told,
}

impl fmt::Debug for Passing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing").field("told", &self.told).finish_non_exhaustive()
    }
}

/// ``gate `smoke` was`` or ``gates `smoke`, `visit` were``.
pub(crate) fn named(gates: &[ResourceName]) -> String {
    let names: Vec<String> = gates.iter().map(|gate| format!("`{gate}`")).collect();
    let (plural, were) = if names.len() == 1 { ("", "was") } else { ("s", "were") };
    format!("gate{plural} {} {were}", names.join(", "))
}
