//! Prints each bar of `DESIGN.md` as a ratio against a peer or a limit, measured in one run.
//!
//! ```console
//! $ cargo build --release --workspace --bins
//! $ target/release/bench all
//! ```
//!
//! Figures depend on the machine, so no test waits for them; ratios in one run are what counts.

mod bucket;
mod build;
mod check;
mod deploy;
mod edge;
mod fault;
mod hosts;
mod load;
mod machines;
mod memory;
mod peers;
mod process;
mod programs;
mod render;
mod rollout;
mod row;
mod ship;
mod stand;
mod status;
mod visit;
mod wrk;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::{fault::Fault, row::Row};

/// Measures Slipway beside its peers and against its limits.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// What to measure
    #[command(subcommand)]
    what: Option<What>,
    /// Print the table as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Leave these out of all
    #[arg(long, global = true, value_enum, value_delimiter = ',')]
    without: Vec<What>,
    /// Rounds of each measurement; the median counts
    #[arg(long, global = true, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in each round
    #[arg(long, global = true, default_value_t = 4)]
    seconds: u64,
    /// Connections of the load
    #[arg(long, global = true, default_value_t = 32)]
    connections: u32,
    /// Requests of the long load
    #[arg(long, global = true, default_value_t = 1_000_000)]
    requests: u64,
    /// Deploys under the long load
    #[arg(long, global = true, default_value_t = 100)]
    deploys: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand, ValueEnum)]
enum What {
    /// CPU for each request and latency, beside nginx and HAProxy
    Edge,
    /// `slipway check` of a stack with 200 services
    Check,
    /// Every target of `slipway render` for a stack with 200 services
    Render,
    /// Deploy, rollback and a deploy that changes nothing
    Deploy,
    /// Agent, edge and shim at rest
    Memory,
    /// Requests that fail while deploys follow each other
    Load,
    /// A redeploy of a changed program to three hosts over SSH, beside rsync
    Ship,
    /// Deploy and rollback on three hosts over SSH
    Hosts,
    /// Objects of a bucket, beside nginx and the disk
    Bucket,
    /// What `slipway status` asks of twenty hosts
    Status,
    /// A cold release build of the whole workspace
    Build,
    /// All of them
    All,
}

/// What a measurement is: it gives rows, or a reason why not.
type Measure = fn(&Arguments) -> Result<Vec<Row>, Fault>;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(ship::SEND) {
        let sent = ship::send(&words.collect::<Vec<_>>());
        return sent.map_or_else(
            |fault| {
                eprintln!("error: {fault}");
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        );
    }
    let arguments = Arguments::parse();
    let what = arguments.what.unwrap_or(What::All);
    let all: [(What, Measure); 11] = [
        (What::Edge, edge::measure),
        (What::Check, check::measure),
        (What::Render, render::measure),
        (What::Deploy, deploy::measure),
        (What::Memory, memory::measure),
        (What::Load, load::measure),
        (What::Ship, ship::measure),
        (What::Hosts, rollout::measure),
        (What::Bucket, bucket::measure),
        (What::Status, status::measure),
        (What::Build, build::measure),
    ];
    if stand::slipway().is_ok_and(|path| path.parent().is_some_and(|folder| folder.ends_with("debug"))) {
        eprintln!("warning: this is a debug build of slipway, so its figures mean nothing");
    }
    let mut rows = Vec::new();
    let mut failed = false;
    for (name, measure) in all {
        if what != name && (what != What::All || arguments.without.contains(&name)) {
            continue;
        }
        match measure(&arguments) {
            Ok(measured) => rows.extend(measured),
            Err(fault) => {
                failed = true;
                eprintln!("error: {}: {fault}", format!("{name:?}").to_lowercase());
            }
        }
    }
    if arguments.json {
        println!("{}", row::json(&rows));
    } else if !rows.is_empty() {
        println!("{}", row::table(&rows));
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
