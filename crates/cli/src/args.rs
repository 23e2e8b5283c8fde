//! The command line: what can be typed, and which command file answers.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    commands,
    context::Place,
    draw,
    exit::{Exit, Failure},
    printer::Printer,
};

const TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}{all-args}{after-help}";

/// Takes an application from a laptop to servers and looks after it there.
#[derive(Debug, Parser)]
#[command(name = "slipway", version, help_template = TEMPLATE, max_term_width = 110, before_help = "\
Examples:
  slipway init                        write a first slipway.toml for this folder
  slipway up                          run the application here, rebuild on change
  slipway deploy --env production     build, migrate and switch without losing a request
  slipway rollback --env production   back to the release before
  slipway status                      what runs, and how it is

")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Verb,
}

/// Options every command takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The stack file; by default `slipway.toml` here or in a folder above
    #[arg(long, global = true, value_name = "PATH", env = "SLIPWAY_FILE", help_heading = "Everywhere")]
    pub(crate) file: Option<PathBuf>,
    /// The environment; by default `dev`, or the only one there is
    #[arg(long, short = 'e', global = true, value_name = "NAME", env = "SLIPWAY_ENV", help_heading = "Everywhere")]
    pub(crate) env: Option<String>,
    /// Print data as JSON
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// Folder of this machine's agent [default: /var/lib/slipway as root, else ~/.local/state/slipway]
    #[arg(long, global = true, value_name = "DIR", env = "SLIPWAY_HOME", help_heading = "Everywhere")]
    pub(crate) home: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[command(help_template = TEMPLATE)]
pub(crate) enum Verb {
    /// Write a first slipway.toml for a folder
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway init\n  slipway init path/to/project\n\n")]
    Init(commands::init::Init),
    /// Write a stack file from compose files, manifests, Terraform, Procfiles and others, and tell of every key
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway import                            everything in this folder that is known
  slipway import docker-compose.yml --print
  slipway import ../shop --out slipway.toml --all

")]
    Import(commands::import::Import),
    /// Check the stack file: every problem at once
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway check\n  slipway check --json\n\n")]
    Check(commands::check::Check),
    /// Print the JSON Schema of the stack file, for editors
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway schema > slipway.schema.json\n\n")]
    Schema,
    /// Build a release, and only that
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway build\n  slipway build --rebuild\n\n")]
    Build(commands::build::Build),
    /// List the releases, newest first
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway releases\n  slipway releases --json\n\n")]
    Releases(commands::releases::Releases),
    /// Build, migrate, start, switch visitors, watch: or leave everything as it was
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway deploy                            the environment `dev`, or the only one
  slipway deploy --env production --yes     without asking
  slipway deploy --release 3f9c2a1b         a release that was built before
  slipway deploy --dry-run                  show the plan

")]
    Deploy(commands::deploy::Deploy),
    /// Go back to an earlier release
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway rollback                          to the release before
  slipway rollback 3f9c2a1b                 to that one
  slipway rollback --with-database          undo its migrations as well, after saying what is lost

")]
    Rollback(commands::rollback::Rollback),
    /// Show what runs: releases, health, uptime, memory, last deploys
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway status\n  slipway status --json\n\n")]
    Status(commands::status::Status),
    /// Print the application's output
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway logs                              the last 100 lines of everything
  slipway logs api --follow                 as they come
  slipway logs match                        of a job or function

")]
    Logs(commands::logs::Logs),
    /// Change the database's schema: up, down, status, new
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway migrate status
  slipway migrate up --dry-run
  slipway migrate down 1
  slipway migrate new add_email_to_users

")]
    Migrate(commands::migrate::Migrate),
    /// Run a command with a service's files and environment
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway run api -- node scripts/report.js\n\n")]
    Run(commands::run::Run),
    /// Run a command beside a running instance
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway exec api -- sh                    in the folder, environment and limits of an instance
  slipway exec api-3f9c2a1b-1 -- env        of this one
  slipway exec api -- cat log.txt > here    its output as it comes

")]
    Exec(commands::exec::Exec),
    /// List the runs of jobs and functions, newest first
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway runs                              of all
  slipway runs match --failed               of one, those that failed
  slipway runs --dead                       events that functions failed to take

")]
    Runs(commands::runs::Runs),
    /// Start a job or a function now
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway trigger match --wait              a job, and wait for its end
  slipway trigger parse --data '{\"key\": \"a.pdf\"}'
  slipway trigger parse --dead              what it failed to take, once more

")]
    Trigger(commands::trigger::Trigger),
    /// Run the application here: build, migrate, seed, start, follow, rebuild on change; Ctrl-C stops all
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway up\n  slipway up --once\n\n")]
    Up(commands::up::Up),
    /// Run what was deployed again without building, after a reboot for example
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway start --env production\n\n")]
    Start(commands::start::Start),
    /// Stop an environment; its data and releases stay
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway stop --env dev\n\n")]
    Stop(commands::stop::Stop),
    /// Write the stack as the files that other engines read
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway render compose                    into deploy/compose
  slipway render kubernetes --env production --images ghcr.io/acme
  slipway render runbook --stdout

")]
    Render(commands::render::Render),
    /// Bring every host level: one that was away, or lost its releases
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway heal --env production\n\n")]
    Heal(commands::heal::Heal),
    /// Release a deploy that waits at a stage: on to the next share of visitors
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway promote --env production\n\n")]
    Promote(commands::promote::Promote),
    /// Make machines hosts, and look after them: add, list, check, harden, drain, upgrade, remove
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  slipway host add deploy@a.example.org     put Slipway there and let it run as a service
  slipway host list --env production        what they are and how they are
  slipway host upgrade --env production     this version on all of them; what runs goes on

")]
    Host(commands::host::Host),
    /// Print the health report
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway health --env production\n\n")]
    Health(commands::health::Health),
    /// Print completions for a shell
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  source <(slipway completions bash)\n\n")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(help_template = TEMPLATE, before_help = "Examples:\n  slipway man | man -l -\n\n")]
    Man,
    /// The host's side (started by Slipway itself)
    #[command(hide = true)]
    Agent(commands::serve::Agent),
    /// The reverse proxy (started by the agent)
    #[command(hide = true)]
    Edge {
        /// Its folder
        folder: PathBuf,
        /// Worker threads; by default one per core
        #[arg(long)]
        workers: Option<usize>,
    },
}

/// Parses the arguments and runs the command.
pub(crate) fn run() -> ExitCode {
    if std::env::args_os().len() == 1 {
        let _ = write!(anstream::stderr(), "{}", Arguments::command().render_help().ansi());
        return Exit::Usage.into();
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // A closed pipe is the reader's wish, not a failure.
            let _ = error.print();
            return exit.into();
        }
    };
    let printer = Printer::new(arguments.common.json);
    let place = Place::new(arguments.common);
    let done = match arguments.command {
        Verb::Agent(command) => return commands::serve::agent(&command, &place),
        Verb::Edge { folder, workers } => return commands::serve::edge(folder, workers),
        Verb::Init(command) => commands::init::run(&command, printer),
        Verb::Import(command) => commands::import::run(&command, printer),
        Verb::Check(command) => commands::check::run(&command, &place, printer),
        Verb::Schema => commands::schema::run(printer),
        Verb::Build(command) => commands::build::run(&command, &place, printer),
        Verb::Releases(command) => block_on(commands::releases::run(&command, &place, printer)),
        Verb::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "slipway", &mut text);
            printer.data(String::from_utf8_lossy(&text).trim_end());
            Ok(Exit::Done)
        }
        Verb::Man => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Arguments::command())
                .render(&mut text)
                .map(|()| printer.data(String::from_utf8_lossy(&text).trim_end()))
                .map(|()| Exit::Done)
                .map_err(|error| Failure::new(format!("cannot write the manual page: {error}")))
        }
        Verb::Deploy(command) => block_on(commands::deploy::run(&command, &place, printer)),
        Verb::Rollback(command) => block_on(commands::rollback::run(&command, &place, printer)),
        Verb::Status(command) => block_on(commands::status::run(&command, &place, printer)),
        Verb::Logs(command) => block_on(commands::logs::run(&command, &place, printer)),
        Verb::Migrate(command) => block_on(commands::migrate::run(&command, &place, printer)),
        Verb::Run(command) => block_on(commands::run::run(&command, &place, printer)),
        Verb::Exec(command) => block_on(commands::exec::run(&command, &place, printer)),
        Verb::Runs(command) => block_on(commands::runs::run(&command, &place, printer)),
        Verb::Trigger(command) => block_on(commands::trigger::run(&command, &place, printer)),
        Verb::Up(command) => block_on(commands::up::run(&command, &place, printer)),
        Verb::Start(command) => block_on(commands::start::run(&command, &place, printer)),
        Verb::Stop(command) => block_on(commands::stop::run(&command, &place, printer)),
        Verb::Render(command) => commands::render::run(&command, &place, printer),
        Verb::Heal(command) => block_on(commands::heal::run(&command, &place, printer)),
        Verb::Promote(command) => block_on(commands::promote::run(&command, &place, printer)),
        Verb::Host(command) => block_on(commands::host::run(&command, &place, printer)),
        Verb::Health(command) => block_on(commands::health::run(&command, &place, printer)),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            draw::failure(&failure, printer);
            failure.exit().into()
        }
    }
}

/// Runs a command that talks to agents: one thread is enough for one person.
fn block_on(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(command)
}
