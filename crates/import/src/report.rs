//! What became of every key of every file.

use serde::Serialize;

use crate::trap::Trap;

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// The stack says the same.
    Kept,
    /// The stack says it in another way, or Slipway does it by itself.
    Changed,
    /// The stack does not say it.
    Refused,
}

impl Fate {
    /// As in `kept`.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Kept => "kept",
            Fate::Changed => "changed",
            Fate::Refused => "refused",
        }
    }
}

/// One key of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The file, relative to what was imported.
    pub file: String,
    /// Line of the file, from 1, where it is known.
    pub line: Option<usize>,
    /// Path of the key, as in `services.web.ports[0]`.
    pub key: String,
    /// What became of it.
    pub fate: Fate,
    /// Why, or where it is now.
    pub reason: String,
    /// The known mistake it is.
    pub trap: Option<Trap>,
}

/// Every key of every file that was read, in the files' order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The files that were read.
    pub files: Vec<String>,
    /// The keys.
    pub entries: Vec<Entry>,
}

impl Report {
    /// How many keys had this fate.
    pub fn count(&self, fate: Fate) -> usize {
        self.entries.iter().filter(|entry| entry.fate == fate).count()
    }

    /// The traps that were met, each once, in order.
    pub fn traps(&self) -> Vec<Trap> {
        let mut traps: Vec<Trap> = self.entries.iter().filter_map(|entry| entry.trap).collect();
        traps.sort();
        traps.dedup();
        traps
    }
}
