//! What the agent knows of the functions of one environment.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use stack::{ResourceName, Revision};
use tokio::sync::Semaphore;

use super::sources::Sources;
use crate::{error::Error, revision::Loaded, topics::Publishing};

/// Runs of one function at a time on one host, when its size says nothing.
const AT_ONCE: u32 = 4;

/// The functions of one environment.
pub(crate) struct Functions {
    /// The sources of their events.
    pub(crate) sources: Sources,
    /// Where programs publish.
    pub(crate) publishing: Publishing,
    /// Where the edge finds a function of a revision.
    listening: Mutex<BTreeMap<(Revision, ResourceName), SocketAddr>>,
    turns: Mutex<BTreeMap<ResourceName, (u32, Arc<Semaphore>)>>,
}

/// Where the edge finds functions, and the address at which programs publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// By revision and function.
    pub(crate) functions: BTreeMap<(Revision, ResourceName), SocketAddr>,
    /// The port that programs know, and where it leads once somebody answers.
    pub(crate) publishing: Option<(u16, Option<SocketAddr>)>,
}

impl Functions {
    /// Those of the environment in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        Ok(Self {
            sources: Sources::new(folder),
            publishing: Publishing::open(folder)?,
            listening: Mutex::default(),
            turns: Mutex::default(),
        })
    }

    /// A function of a revision is answered for at this address; `None`: no more.
    pub(super) fn listens(&self, of: (Revision, ResourceName), address: Option<SocketAddr>) {
        let mut listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        match address {
            Some(address) => drop(listening.insert(of, address)),
            None => drop(listening.remove(&of)),
        }
    }

    /// What the edge must know.
    pub(crate) fn places(&self) -> Places {
        let functions = self.listening.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Places { functions, publishing: self.publishing.place() }
    }

    /// Whose turn it is to run: as many at once as `size.replicas` allows, or 4.
    pub(crate) fn turns(&self, loaded: &Loaded, name: &ResourceName) -> Arc<Semaphore> {
        let function = loaded.resolved.stack.functions.get(name);
        let wanted = function.map_or(1, |function| function.command.size.replicas.max);
        let wanted = if wanted > 1 { wanted } else { AT_ONCE };
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let known = turns.get(name).filter(|(count, _)| *count == wanted);
        if let Some((_, turns)) = known {
            return turns.clone();
        }
        let made = Arc::new(Semaphore::new(wanted as usize));
        turns.insert(name.clone(), (wanted, made.clone()));
        made
    }
}
