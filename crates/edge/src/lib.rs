//! The reverse proxy: accepts visitors, routes, balances, holds, drains.
//!
//! It knows one document, the [`table`], and serves it until it gets another; it never decides what should run, and
//! never reads the stack file. The agent talks to it over [`control`].
//!
//! ```no_run
//! // FOLDER/table.json is served at once, FOLDER/control.sock answers
//! let options = edge::Options { workers: 2, ..edge::Options::default() };
//! let mut running = edge::Edge::start(std::path::Path::new("/var/lib/slipway/edge"), &options)?;
//! // PUT /table swaps the table under open connections, POST /drain waits for requests in flight,
//! // POST /quit (or this) finishes and leaves
//! running.quit();
//! running.wait();
//! # Ok::<(), edge::StartError>(())
//! ```
//!
//! A request's way: `worker` (accept) -> `connection` -> `request` (route, limit, CORS) -> `proxy` (choose, send, try
//! again) or `site` -> `body` (passed through frame by frame). One that another host's edge passes on comes in at `peer`
//! and goes straight to `proxy`.

use std::{path::PathBuf, process::ExitCode};

mod access;
mod balance;
mod body;
mod calls;
mod client;
mod compiled;
mod connection;
pub mod control;
mod controller;
mod cors;
mod file;
mod files;
mod framing;
mod gate;
mod headers;
mod health;
mod holders;
mod instance;
mod leftovers;
mod limit;
mod link;
mod listen;
mod page;
mod peer;
mod peer_io;
mod proxy;
mod random;
mod registry;
mod report;
mod representation;
mod request;
mod routes;
mod search;
mod server;
mod shared;
mod site;
mod socket;
mod sticky;
pub mod table;
mod ticks;
mod traffic;
mod tunnel;
mod upstream;
mod way;
mod worker;

pub use compiled::TableError;
pub use server::{Edge, Options, StartError};

/// Runs the edge of `folder` until SIGTERM, SIGINT or `POST /quit`, as a process of its own. Returns success once
/// everything in flight has finished, failure when it could not start.
///
/// `SLIPWAY_SHIM_SOCKET` names the shim that holds the listening sockets, unless the options do.
#[expect(clippy::needless_pass_by_value, reason = "a process gives away what it was started with")]
pub fn main(folder: PathBuf, mut options: Options) -> ExitCode {
    options.shim = options.shim.or_else(|| std::env::var_os("SLIPWAY_SHIM_SOCKET").map(PathBuf::from));
    let mut edge = match Edge::start(&folder, &options) {
        Ok(edge) => edge,
        Err(error) => {
            tracing::error!(%error, "the edge cannot start");
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match edge.quit_on_signal() {
        Ok(()) => {
            edge.wait();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: cannot listen for signals: {error}");
            ExitCode::FAILURE
        }
    }
}
