//! The shim: one tiny process per instance that outlives the agent.
//!
//! `slipway shim FOLDER` reads a [`Spec`] from its stdin, starts the program and then sits in one `poll` loop: it
//! pumps the program's output into log files (redacted before anything reaches the disk), answers on
//! `FOLDER/control.sock`, keeps listening sockets open, stops the program with everything it started, and writes
//! down exactly how it ended. It has no runtime and no thread.
//!
//! ```text
//! agent --spawns--> slipway shim FOLDER --spawns--> slipway shim-exec --becomes--> the program
//! ```
//!
//! `shim-exec` is the step between: it runs in the new process and may allocate, which code between `fork` and
//! `exec` may not. It takes a session of its own, joins the control groups, sets limits and turns into the program.
//!
//! | in FOLDER | |
//! |---|---|
//! | `shim.json` | [`Record`]: what runs, durable before [`start`] returns |
//! | `exit.json` | [`Exit`]: how the last run ended |
//! | `control.sock` | see [`control`](mod@control) |
//! | `out`, `err` | named pipes the program writes to. The program holds them open for reading too, so it lives on when the shim is killed, and a new shim ([`reshim`]) reads what is waiting in them |
//! | `reserve` | room for `exit.json`, set aside so that a full disk cannot hide how the program ended |
//! | `shim.err` | what the shim itself had to complain about |

use std::{ffi::OsString, path::Path, process::ExitCode};

mod attach;
mod begin;
mod child;
pub mod control;
mod error;
pub mod limits;
mod process;
mod record;
mod report;
mod running;
mod server;
mod sockets;
mod spec;
mod stage;
mod supervise;

pub(crate) use attach::{Attached, attach};
pub use error::{Refusal, ShimError};
pub use record::{Ending, Exit, Record};
pub use running::{Adopted, Orphan, Running, Waited, adopt, reshim, start};
pub use spec::{HANDED_FOLDER, Limits, Spec, StopSignal};

/// Runs `slipway shim ...` and `slipway shim-exec ...`; `None` when the arguments (the program's own name first) are
/// something else. To be called before anything else in `main`: a shim must stay under a megabyte.
pub fn dispatch(arguments: &[OsString]) -> Option<ExitCode> {
    let words: Vec<&str> = arguments.iter().skip(1).map(|word| word.to_str().unwrap_or("")).collect();
    if matches!(words.first(), Some(&("shim" | "shim-exec"))) {
        process::close_inherited();
    }
    match words.as_slice() {
        ["shim-exec"] => Some(stage::main()),
        ["shim", _] => Some(supervise::main(Path::new(&arguments[2]), false)),
        ["shim", _, "--adopt"] => Some(supervise::main(Path::new(&arguments[2]), true)),
        ["shim" | "shim-exec", ..] => {
            eprintln!("usage: slipway shim FOLDER [--adopt], with a spec as JSON on stdin; the agent does that");
            Some(ExitCode::from(2))
        }
        _ => None,
    }
}
