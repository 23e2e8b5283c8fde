//! What the agent knows of the functions of one environment.

use std::path::Path;

use super::sources::Sources;

/// The functions of one environment.
pub(crate) struct Functions {
    /// The sources of their events.
    pub(crate) sources: Sources,
}

impl Functions {
    /// Those of the environment in `folder`.
    pub(crate) fn open(folder: &Path) -> Self {
        Self { sources: Sources::new(folder) }
    }
}
