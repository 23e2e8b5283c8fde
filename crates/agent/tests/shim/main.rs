//! Stories of shims with real processes: `agent-test` plays `slipway` and the programs under it.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod bed;
mod ends;
mod limits;
mod secrets;
mod servers;
mod sockets;
mod survives;
