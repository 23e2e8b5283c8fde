//! What the edge tells the agent, over HTTP on the unix socket `control.sock` in its folder.
//!
//! `PUT /table` with a [`Table`](crate::table::Table) swaps the table and answers [`Status`]; `GET /status`
//! answers [`Status`]; `POST /drain` with `{"upstreams": [id], "deadline_ms": n}` is answered once none of them
//! has a request or tunnel in flight, or after the deadline; `POST /quit` stops accepting, finishes and exits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The edge as it is now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Process id.
    pub pid: u32,
    /// Version of the table that is served.
    pub table: u64,
    /// Addresses it accepts on.
    pub listening: Vec<std::net::SocketAddr>,
    /// Addresses of the table that could not be bound, with the reason.
    pub refused: BTreeMap<String, String>,
    /// By upstream id.
    pub upstreams: BTreeMap<String, UpstreamStatus>,
    /// By pool or site id, then revision.
    pub traffic: BTreeMap<String, BTreeMap<String, Traffic>>,
    /// Requests answered since the edge started.
    pub requests: u64,
    /// Open connections from visitors.
    pub connections: u64,
}

/// One instance as the edge sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Takes visitors.
    pub healthy: bool,
    /// Last failed check, until a good one.
    pub failure: Option<String>,
    /// Requests in flight.
    pub requests: u64,
    /// Upgraded connections open.
    pub tunnels: u64,
}

/// What visitors got from one revision since the edge started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests answered.
    pub requests: u64,
    /// Of those, answered 500 to 599, by the application or by the edge for want of an answer.
    pub errors: u64,
    /// Latency histogram: answers within 1, 2, 4 ... 2^n ms, not cumulative; the last is everything slower.
    pub latency_ms_pow2: Vec<u64>,
}

/// Body of `POST /drain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Instance ids.
    pub upstreams: Vec<String>,
    /// Answer after this many milliseconds at the latest.
    pub deadline_ms: u64,
}
