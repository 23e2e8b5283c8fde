//! Where everything lies on a host.
//!
//! ```text
//! <home>/                          0700; 0711 on a host that was added
//!   agent.sock                     the API (protocol.rs)
//!   agent.lock                     held by the one agent of this home
//!   host.json                      who this host is, on a host that was added (host_file.rs)
//!   values.key                     makes the ids of values, 0600
//!   agent/                         the keeper shim of the agent: its log, its pid
//!   store/                         release::Store: objects/, releases/<app>/<id>/
//!   uploads/<digest>               parts of releases that are on their way here
//!   edge/                          control.sock, table.json, its log; shims/<n>/ for each version of it
//!   apps/<app>/<environment>/
//!     state.json                   lease and desired state, replaced whole
//!     journal.jsonl                engine::journal, one checksummed line per entry
//!     values/<values id>.json      variable values, 0600
//!     services.json                ports and passwords of data services, 0600 (services/)
//!     services/<kind>-<name>/      shim of a data service; its data in data/<kind>-<name>/, its output in logs/<kind>.<name>/
//!     journal-<time>.jsonl         what this host alone had, when it took over that of other hosts
//!     scaling.json                 numbers of instances that follow the load (scaling/)
//!     members.json                 the hosts of the environment and their keys, 0600 (members.rs)
//!     buckets.json                 ports and keys of buckets, 0600 (buckets/); their objects in data/bucket-<name>/
//!     internal.json                ports at which a revision's services call each other
//!     instances/<instance id>/     shim.json, exit.json, control.sock, instance.json
//!     logs/<name>/                 output of all instances of a service, of all runs of a job or function
//!     data/                        SQLite files, uploads; backups/ of the former
//!     tasks/<run>/                 jobs, functions, commands and foreign migrations that are at work
//!     runs.jsonl                   the last 100 runs of each job and function
//!     claims.json                  which host runs what was due (claims.rs)
//!     events.json                  port and token of the address at which programs publish, 0600
//!     events/                      what waits for functions (functions/)
//! ```

use std::path::{Path, PathBuf};

use crate::{error::Error, protocol::Scope};

/// Longest path of a home: the edge and its shim have sockets up to 30 bytes below it, and the address of a socket
/// holds 107. Source: `unix(7)`.
const LONGEST: usize = 77;

/// The agent's folder on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// A home at `path`; nothing is created.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Fails when sockets below it would have no address.
    pub(crate) fn check_length(&self) -> Result<(), Error> {
        let length = self.0.as_os_str().len();
        if length <= LONGEST {
            return Ok(());
        }
        Err(Error::failed(format!(
            "the path {} has {length} bytes, and sockets below it allow {LONGEST}; choose a shorter one with --home",
            self.0.display()
        )))
    }

    /// The agent's API.
    pub fn agent_socket(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    /// Folder of the agent's keeper.
    pub fn agent_folder(&self) -> PathBuf {
        self.0.join("agent")
    }

    /// Folder of the edge.
    pub fn edge_folder(&self) -> PathBuf {
        self.0.join("edge")
    }

    /// Releases and objects.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// The file of an SQLite database that an environment keeps.
    pub fn sqlite(&self, scope: &Scope, database: &stack::ResourceName) -> PathBuf {
        self.environment(scope).join("data").join(format!("{database}.sqlite"))
    }

    /// Folder of one environment of one app.
    pub fn environment(&self, scope: &Scope) -> PathBuf {
        self.0.join("apps").join(scope.app.as_str()).join(scope.environment.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_whose_sockets_would_have_no_address_is_refused_before_anything_starts() {
        assert!(Home::at(format!("/{}", "x".repeat(LONGEST - 1))).check_length().is_ok());
        let refused = Home::at(format!("/{}", "x".repeat(LONGEST))).check_length().unwrap_err().to_string();
        assert!(refused.contains("has 78 bytes") && refused.ends_with("choose a shorter one with --home"), "{refused}");
    }
}
