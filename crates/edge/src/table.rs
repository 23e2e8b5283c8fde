//! The route table: everything the edge knows, as one document that is swapped whole.
//!
//! The agent writes it to `table.json` in the edge's folder and tells the edge; the edge compiles it into a
//! [`Compiled`](crate) form behind an atomic pointer. Requests that began under the old table finish under it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use observe::probe::Probe;
pub use release::{SiteFile, SiteIndex};
use serde::{Deserialize, Serialize};

/// The whole document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Rises with each change; the edge reports the one it serves.
    pub version: u64,
    /// One per address.
    pub listeners: Vec<Listener>,
    /// Groups of instances, by an id such as `jobsprint/production/service.api`.
    pub pools: BTreeMap<String, Pool>,
    /// Static sites, by an id such as `jobsprint/production/site.web`.
    pub sites: BTreeMap<String, Site>,
    /// Networks whose `X-Forwarded-For` is believed (S4.P10, T17), as CIDR.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// How edges of several hosts know each other, by the DNS name in the certificate: it is the server name by which one
    /// of them is chosen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub identities: BTreeMap<String, Identity>,
    /// Where the edges of other hosts connect: TLS, with a certificate of one of the identities on both sides.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub peer_listeners: BTreeSet<SocketAddr>,
}

/// What edges that serve one environment on several hosts share and nobody else has. Its `Debug` shows no key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The certificate authority, PEM. Whoever shows a certificate that it signed is a peer.
    pub authority: String,
    /// The certificate to show, with those between it and the authority if there are any, PEM.
    pub certificate: String,
    /// Its private key, PEM.
    pub key: String,
    /// Pools that peers may ask for, and no others. They hold instances of this host only, so that a request passes
    /// one other host at most.
    pub exports: BTreeSet<String>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("exports", &self.exports).finish_non_exhaustive()
    }
}

/// One address and the hosts it serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    /// Where visitors connect.
    pub address: SocketAddr,
    /// Host name (lowercase, no port) to its routes. `*.name` matches one or more labels before `name`.
    pub hosts: BTreeMap<String, Vec<PathRule>>,
    /// Answers any host that is not listed; 404 when absent.
    pub fallback: Option<Vec<PathRule>>,
}

/// What answers below one path prefix. The longest prefix that matches whole segments wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathRule {
    /// Starts with `/`.
    pub path: String,
    /// What answers.
    pub action: Action,
    /// Name in metrics, as in `api.jobsprint.io/`.
    pub name: String,
    /// The prefix is removed before passing on.
    pub strip: bool,
    /// Token bucket per client address or for all.
    pub limit: Option<Limit>,
    /// Origins that may call from a page; each is echoed one at a time (T4).
    pub cors: Option<Vec<String>>,
    /// A cookie keeps a visitor on one instance.
    pub sticky: bool,
    /// `Upgrade` is passed through.
    pub websocket: bool,
    /// Largest request body in bytes; more is 413.
    pub max_body: Option<u64>,
    /// Headers added to each response unless the application set them (S4.P9).
    pub headers: Vec<(String, String)>,
}

impl PathRule {
    /// A rule that does `action` and nothing more.
    pub fn new(path: impl Into<String>, action: Action, name: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            action,
            name: name.into(),
            strip: false,
            limit: None,
            cors: None,
            sticky: false,
            websocket: false,
            max_body: None,
            headers: Vec::new(),
        }
    }
}

/// What a rule does with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Passes it to a pool.
    Pool(String),
    /// Serves a file of a site.
    Site(String),
    /// Answers GET with the health report that the agent gives at `uri` of its unix socket (S4.4); within two seconds
    /// always, 503 when the agent is silent.
    Report {
        /// The agent's socket.
        socket: PathBuf,
        /// Path and query.
        uri: String,
    },
    /// 308 to the same path and query at this scheme and host, as in `https://jobsprint.io`; without a scheme
    /// the visitor's own is kept.
    Redirect(String),
}

/// A rate limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limit {
    /// Requests per `period`; also the burst.
    pub requests: u32,
    /// In how long.
    pub period: Duration,
    /// Counted for each client address (IPv6 by /64), or for everybody together.
    pub per_client: bool,
}

/// A group of interchangeable instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// The instances.
    pub upstreams: Vec<Upstream>,
    /// How they are checked; `None`: never taken out by a check, only by failed connections.
    pub probe: Option<Probe>,
    /// How long a request waits for an instance when none is available, before 503.
    pub hold: Duration,
}

/// One instance, or all instances of one revision on another host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    /// The instance's id; the same id in the next table keeps its health and counters.
    pub id: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The revision it belongs to: weights and counters are per revision.
    pub revision: String,
    /// Share of visitors for its whole revision in this pool, relative to the other revisions; 0: no new requests.
    /// All upstreams of one revision carry the same number.
    pub weight: u32,
    /// It is the edge of another host, which passes on to its instances; `None`: an instance of this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
}

/// What to ask the edge of another host for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The server name of one of the table's identities.
    pub identity: String,
    /// A pool that the peer exports under this identity.
    pub pool: String,
    /// How many instances there are behind it: so many times an instance's share of visitors goes there. 0 counts as 1.
    pub instances: u32,
}

/// A static site: one folder per release that may still be asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// Folders in order of preference. A file missing in the chosen one is looked for in the others, so that a
    /// page loaded from the old release still finds its scripts; in those of weight 0 only files with a hash of their
    /// content in the name, since what a release left out is meant to be gone.
    pub roots: Vec<SiteRoot>,
    /// An unknown path gets `index.html` when the client accepts HTML and the path does not look like a file.
    pub spa: bool,
}

/// One release's files of a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteRoot {
    /// The folder; `<folder>.index.json` beside it is a `release::SiteIndex`-shaped [`SiteIndex`].
    pub folder: PathBuf,
    /// The revision, for weights and counters.
    pub revision: String,
    /// Share of visitors; 0: only a fallback for missing files with hashed names.
    pub weight: u32,
}
