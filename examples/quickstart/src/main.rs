//! Harbour log: a small real application for Slipway's first command.
//!
//! - `quickstart serve` answers visitors: the log, uploads, and a WebSocket that tells of new entries as they come;
//! - `quickstart tidy` is the job: it removes forgotten drafts and counts what came in;
//! - `quickstart build-site` and `quickstart pack` are its build.
//!
//! It knows nothing of Slipway but the variables every program is given: `PORT`, `HOST`, `DATABASE_URL`,
//! `SLIPWAY_DATA`, and `SLIPWAY_RELEASE` to show who answered.

mod build;
mod database;
mod entries;
mod fault;
mod files;
mod health;
mod live;
mod minify;
mod output;
mod server;
mod settings;
mod tidy;

use std::process::ExitCode;

use settings::Settings;

const USAGE: &str = "usage: quickstart serve | tidy | build-site | pack

  serve       answer visitors at HOST:PORT
  tidy        remove forgotten drafts and write a summary
  build-site  make site/dist from site
  pack        copy this program to bin/quickstart
";

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_else(|| "serve".to_owned());
    let done = match command.as_str() {
        "serve" => with_settings(|settings| block_on(server::serve(settings))),
        "tidy" => with_settings(|settings| block_on(tidy::tidy(&settings))),
        "build-site" => build::site("site".as_ref(), "site/dist".as_ref()),
        "pack" => build::pack("bin/quickstart".as_ref()),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn with_settings(run: impl FnOnce(Settings) -> Result<(), String>) -> Result<(), String> {
    let settings = Settings::read(|name| std::env::var(name).ok())?;
    output::set_level(settings.level);
    run(settings)
}

fn block_on(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    runtime.map_err(|error| format!("cannot start the runtime: {error}"))?.block_on(work)
}
