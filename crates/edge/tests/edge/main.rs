//! The edge over real sockets.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod balancing;
mod client_address;
mod control_calls;
mod cors;
mod framing;
mod headers;
mod holding;
mod leaving;
mod limits;
mod listening;
mod lost_hosts;
mod peers;
mod routing;
mod static_sites;
mod sticky;
mod streaming;
mod support;
mod swapping;
mod traps;
mod websockets;
