//! Lines on stderr, from a level up.

use std::sync::atomic::{AtomicU8, Ordering};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

static LEAST: AtomicU8 = AtomicU8::new(Level::Info as u8);

impl Level {
    /// The level of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warn" => Level::Warn,
            "error" => Level::Error,
            _ => return None,
        })
    }
}

/// Lines below `level` are left out from now on.
pub(crate) fn set_level(level: Level) {
    LEAST.store(level as u8, Ordering::Relaxed);
}

/// Writes one line.
pub(crate) fn say(level: Level, line: impl std::fmt::Display) {
    if level as u8 >= LEAST.load(Ordering::Relaxed) {
        let name = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        eprintln!("{name}: {line}");
    }
}
