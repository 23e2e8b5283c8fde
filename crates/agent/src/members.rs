//! The hosts of one environment, and how they know each other (docs/adr/0006-many-hosts.md).

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where an agent answers its peers, on the host's private address: TLS, certificates on both sides.
pub const PEER_PORT: u16 = 7350;
/// Where an edge takes visitors from the edges of its peers, on the host's private address: TLS, certificates on both
/// sides.
pub const EDGE_PORT: u16 = 7351;

/// The hosts of one environment. Has no `Debug`: it holds keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// The newest list wins.
    pub changed_at: Timestamp,
    /// In order: what must be once is on the first that lives, or, with data, on the first that is not drained.
    pub hosts: Vec<MemberHost>,
    /// How they know each other.
    pub identity: Identity,
}

/// One host of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberHost {
    /// As in `a.example.org`: unique in the environment.
    pub name: String,
    /// Where its peers reach it: an address of a network that only they share, if there is one.
    pub address: IpAddr,
    /// No instances are to run on it, and no visitors are sent to it.
    pub drained: bool,
}

/// What the hosts of one environment share and nobody else has. Has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// 64 hexadecimal digits: keys for ids of values and passwords are derived from it.
    pub secret: String,
    /// The certificate authority, PEM.
    pub authority: String,
    /// The certificate every host shows, signed by the authority, PEM.
    pub certificate: String,
    /// Its private key, PEM.
    pub key: String,
}
