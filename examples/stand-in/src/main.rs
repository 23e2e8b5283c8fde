//! Stands in for the services of the example stacks: one program, a role for each.
//!
//! The five founding documents describe whole teams' applications. What matters for a deploy is what they are bound to:
//! rows in PostgreSQL, cached answers in Redis, messages over RabbitMQ, objects in buckets, events that start functions. Each
//! role does that for real, and nothing else. It knows nothing of Slipway but the variables every program is given.

mod bucket;
mod cache;
mod companion;
mod database;
mod event;
mod fetch;
mod jobgraph;
mod jobsprint;
mod queue;
mod server;
mod sign;

use std::process::ExitCode;

/// Why a role could not do its work, for a person.
pub(crate) type Failed = String;

/// What a role's work comes to.
pub(crate) type Done<T = ()> = Result<T, Failed>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let role = std::env::args().nth(1).unwrap_or_default();
    let done = match role.as_str() {
        "pack" => pack(),
        "companion-api" => companion::api().await,
        "companion-digest" => companion::digest().await,
        "jobsprint-frontend" => jobsprint::frontend().await,
        "jobsprint-api" => jobsprint::api().await,
        "jobsprint-ai" => jobsprint::ai().await,
        "jobsprint-integration" => jobsprint::integration().await,
        "jobsprint-n8n" => jobsprint::n8n().await,
        "jobsprint-match" => jobsprint::matching().await,
        "jobgraph-auth" => jobgraph::auth::serve().await,
        "jobgraph-profile" => jobgraph::profile::serve().await,
        "jobgraph-interview" => jobgraph::interview::serve().await,
        "jobgraph-job" => jobgraph::job::serve().await,
        "jobgraph-matching" => jobgraph::matching::serve().await,
        "jobgraph-notification" => jobgraph::notification::serve().await,
        "jobgraph-resume-parser" => jobgraph::profile::parse_resume().await,
        "jobgraph-interview-scorer" => jobgraph::interview::score().await,
        "jobgraph-match-calculator" => jobgraph::matching::calculate().await,
        "jobgraph-notification-sender" => jobgraph::notification::send().await,
        "jobgraph-data-cleanup" => jobgraph::interview::clean_up().await,
        _ => Err(format!("there is no role `{role}`; see the stack files of the examples")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Copies this program to `bin/stand-in` of the folder it is started in: the build of every example.
fn pack() -> Done {
    let own = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    std::fs::create_dir_all("bin").map_err(|error| format!("cannot make bin: {error}"))?;
    // beside and renamed: a copy that runs may not be written
    std::fs::copy(&own, "bin/.stand-in").map_err(|error| format!("cannot copy {}: {error}", own.display()))?;
    std::fs::rename("bin/.stand-in", "bin/stand-in").map_err(|error| format!("cannot place bin/stand-in: {error}"))
}

/// A variable that must be there.
pub(crate) fn variable(name: &str) -> Done<String> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .ok_or_else(|| format!("{name} is not set; add it to `needs`"))
}
