//! How many instances of a service this host keeps: its share of what the stack asks for, and between its shares of
//! minimum and maximum by what the instances use.
//!
//! `course` decides (pure), `meter` measures, `keeper` does both for as long as the agent runs. Each host decides for
//! itself: edges spread visitors evenly, so hosts see the same load.

mod course;
mod keeper;
mod meter;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use stack::ResourceName;

pub(crate) use course::Bounds;
/// Looks after the numbers of an environment for as long as the agent runs.
pub(crate) use keeper::{run, scaled};

use crate::files;

/// How quickly numbers of instances follow the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one look at the load to the next; what is used in between is averaged. 10 s.
    pub look: Duration,
    /// From one addition to the next: new instances take over a part of the load first. 30 s.
    pub up: Duration,
    /// So long must fewer have been enough before some are taken away: load comes in waves. 5 min.
    pub down: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { look: Duration::from_secs(10), up: Duration::from_secs(30), down: Duration::from_mins(5) }
    }
}

/// The numbers of one environment on this host, in `scaling.json`. A number that is lost is found again by the load.
#[derive(Debug)]
pub(crate) struct Scaling {
    path: PathBuf,
    numbers: Mutex<BTreeMap<ResourceName, Number>>,
}

/// How many instances of a service this host means to keep, before its bounds are applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Number {
    /// So many.
    pub(crate) replicas: u32,
    /// In words for a person.
    pub(crate) why: String,
}

impl Scaling {
    /// The numbers of the environment in `folder` as they were last; without them or when they are damaged, none.
    pub(crate) fn open(folder: &Path) -> Self {
        let path = folder.join("scaling.json");
        let numbers = files::find_json(&path, "remove it").ok().flatten().unwrap_or_default();
        Self { path, numbers: Mutex::new(numbers) }
    }

    /// The number of a service, once there is one.
    pub(crate) fn find(&self, service: &ResourceName) -> Option<Number> {
        self.numbers().get(service).cloned()
    }

    /// Replaces the number of a service. Says whether it is another one.
    fn set(&self, service: &ResourceName, number: Number) -> bool {
        let mut numbers = self.numbers();
        let replicas = number.replicas;
        let before = numbers.insert(service.clone(), number);
        let changed = before.is_none_or(|before| before.replicas != replicas);
        if changed && let Err(error) = files::replace_lightly(&self.path, &*numbers) {
            tracing::warn!("the numbers of instances cannot be kept over a restart of the agent: {error}");
        }
        changed
    }

    fn numbers(&self) -> MutexGuard<'_, BTreeMap<ResourceName, Number>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
