//! The `slipway` program: parses arguments, prints, sets the exit code. No logic of its own.

mod addresses;
mod args;
mod begin;
mod commands;
mod context;
mod draw;
mod ending;
mod exit;
mod gates;
mod printer;
mod progress;
mod row;
mod values;

use std::process::ExitCode;

/// The static program's. What is lent out and given back by every request must cost nothing to speak of.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A shim must stay under a megabyte, so it starts before anything else is set up.
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if let Some(code) = agent::shim::dispatch(&arguments) {
        return code;
    }
    args::run()
}
