//! Who watches a deploy: progress for a terminal, lines for a log.

use stack::Revision;

use crate::journal::{DeployKind, Outcome, Step};

/// Is told what happens, as it happens, and may ask to stop.
pub trait Watcher: Send {
    /// Something happened.
    fn see(&mut self, progress: &Progress<'_>);

    /// Whether the person asked to stop. A deploy that can still be undone is undone then; one that is past that goes
    /// on to its end.
    fn asked_to_stop(&self) -> bool {
        false
    }
}

/// Sees nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Watcher for Silent {
    fn see(&mut self, _: &Progress<'_>) {}
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress<'a> {
    /// An earlier deploy was not finished and is finished or undone now.
    Recovering {
        /// Its number.
        deploy: u64,
        /// Who began it.
        by: &'a str,
    },
    /// A deploy began.
    Started {
        /// Its number.
        deploy: u64,
        /// Its kind.
        kind: DeployKind,
    },
    /// The revision it wants is known.
    Wanted {
        /// Which; `None` for a stop.
        revision: Option<&'a Revision>,
        /// Shown to people.
        version: &'a str,
    },
    /// A step began.
    StepStarted {
        /// Which.
        step: Step,
    },
    /// A step ended well.
    StepEnded {
        /// Which.
        step: Step,
        /// How long it took.
        millis: u64,
    },
    /// Something worth a line, as in `waiting for 2 of 3 instances`. Said once until it changes.
    Note {
        /// One line.
        text: &'a str,
    },
    /// Visitors are about to be moved.
    Stage {
        /// Percent of visitors for the new revision.
        percent: u8,
    },
    /// The deploy is over.
    Ended {
        /// Its number.
        deploy: u64,
        /// How it ended.
        outcome: &'a Outcome,
    },
}
