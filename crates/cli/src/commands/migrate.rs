//! `slipway migrate`: the database's schema by hand. A deploy does the same as one of its steps.

use std::{collections::BTreeMap, path::PathBuf};

use comfy_table::{Table, presets};
use migrate::{ConnectOptions, Database, Down, Event, Folder, Mend, State, Status, Up, Which};
use stack::{DatabaseEngine, Migrations, ResourceName};

use crate::{
    context::{Place, Reach},
    exit::{Done, Exit, Failure},
    printer::{DIM, GOOD, Printer, STRONG, WARN, paint},
    values::values,
};

/// Change the database's schema.
#[derive(Debug, clap::Args)]
pub(crate) struct Migrate {
    #[command(subcommand)]
    action: Action,
    /// The database; by default the only one with a folder of migrations
    #[arg(long, global = true, value_name = "NAME")]
    database: Option<ResourceName>,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show which migrations are applied and which are pending
    Status,
    /// Apply the pending migrations, in order, each in a transaction
    Up {
        /// Up to this number
        #[arg(long, value_name = "NUMBER")]
        to: Option<u64>,
        /// Only say what would be applied
        #[arg(long)]
        dry_run: bool,
        /// Also apply migrations older than the newest applied one
        #[arg(long)]
        allow_out_of_order: bool,
    },
    /// Run the newest migrations down; what they hold is lost
    Down {
        /// How many
        #[arg(default_value_t = 1)]
        steps: usize,
        /// Only say what would be run down
        #[arg(long)]
        dry_run: bool,
        /// Do not ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
    /// Say what became of a migration that was cut short outside a transaction
    #[command(group(clap::ArgGroup::new("found").required(true)))]
    Mend {
        /// Its number
        version: u64,
        /// All of it is in the database: record it as applied
        #[arg(long, group = "found")]
        applied: bool,
        /// None of it is in the database: forget that it was begun
        #[arg(long, group = "found")]
        not_applied: bool,
    },
    /// Write the two files of a new migration
    New {
        /// What it does, in a few words
        #[arg(required = true)]
        name: Vec<String>,
    },
}

/// Runs one of them.
pub(crate) async fn run(command: &Migrate, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    let folders = folders(&reach, command.database.as_ref())?;
    match &command.action {
        Action::New { name } => create(&folders, &name.join(" "), printer),
        Action::Status => status(&reach, &folders, printer).await,
        Action::Up { to, dry_run, allow_out_of_order } => {
            let up = Up { to: *to, dry_run: *dry_run, allow_out_of_order: *allow_out_of_order };
            for (name, folder) in &folders {
                let mut database = connect(&reach, name, printer).await?;
                let applied = migrate::up(&mut database, &read(folder)?, &up, &mut |event| show(&event, printer))
                    .await
                    .map_err(failed)?;
                database.close().await;
                let done = if up.dry_run { "would be applied" } else { "applied" };
                printer.say(format_args!("{} {name}: {} {done}", paint(GOOD, "ok"), applied.len()));
                for migration in applied.iter().filter(|_| up.dry_run) {
                    printer.say(format_args!("  {:03}_{}", migration.version, migration.name));
                }
            }
            Ok(Exit::Done)
        }
        Action::Mend { version, applied, .. } => mend(&reach, &folders, *version, *applied, printer).await,
        Action::Down { steps, dry_run, yes } => down(&reach, &folders, *steps, *dry_run, *yes, printer).await,
    }
}

/// Runs down, after saying what goes.
async fn down(
    reach: &Reach,
    folders: &BTreeMap<ResourceName, PathBuf>,
    steps: usize,
    dry_run: bool,
    yes: bool,
    printer: Printer,
) -> Done {
    let (name, folder) = only(folders)?;
    let folder = read(folder)?;
    let mut database = connect(reach, name, printer).await?;
    let plan = Down { which: Which::Steps(steps), dry_run: true };
    let planned = migrate::down(&mut database, &folder, &plan, &mut |_| {}).await.map_err(failed)?;
    if planned.is_empty() {
        printer.say(format_args!("{name}: nothing is applied"));
        return Ok(Exit::Done);
    }
    printer.say("These migrations are run down; the tables and columns they added are lost with what is in them:");
    for migration in &planned {
        printer.say(format_args!("  {:03}_{}", migration.version, migration.name));
    }
    if !dry_run {
        printer.confirm(&format!("Run them down in {name} of {}?", reach.resolved.name), yes)?;
        let plan = Down { dry_run: false, ..plan };
        let done =
            migrate::down(&mut database, &folder, &plan, &mut |event| show(&event, printer)).await.map_err(failed)?;
        printer.say(format_args!("{} {name}: {} run down", paint(GOOD, "ok"), done.len()));
    }
    database.close().await;
    Ok(Exit::Done)
}

/// Records what a person found.
async fn mend(
    reach: &Reach,
    folders: &BTreeMap<ResourceName, PathBuf>,
    version: u64,
    applied: bool,
    printer: Printer,
) -> Done {
    let (name, folder) = only(folders)?;
    let folder = read(folder)?;
    let mut database = connect(reach, name, printer).await?;
    let found = if applied { Mend::Applied } else { Mend::NotApplied };
    migrate::mend(&mut database, &folder, version, found, &mut |event| show(&event, printer)).await.map_err(failed)?;
    database.close().await;
    let state = if applied { "applied" } else { "not applied" };
    printer.say(format_args!("{} {name}: migration {version} is {state}", paint(GOOD, "ok")));
    Ok(Exit::Done)
}

async fn status(reach: &Reach, folders: &BTreeMap<ResourceName, PathBuf>, printer: Printer) -> Done {
    let mut all: BTreeMap<&ResourceName, Status> = BTreeMap::new();
    for (name, folder) in folders {
        let mut database = connect(reach, name, printer).await?;
        all.insert(name, migrate::status(&mut database, &read(folder)?).await.map_err(failed)?);
        database.close().await;
    }
    if printer.json {
        let rows: BTreeMap<_, _> = all
            .iter()
            .map(|(name, status)| {
                (
                    name,
                    serde_json::json!({
                        "database": status.database,
                        "migrations": status.migrations,
                        "applied": status.applied().collect::<Vec<_>>(),
                        "pending": status.pending().collect::<Vec<_>>(),
                    }),
                )
            })
            .collect();
        printer.document(&rows)?;
        return Ok(Exit::Done);
    }
    for (name, status) in &all {
        printer.data(format_args!("{} {}", paint(STRONG, name), paint(DIM, &status.database)));
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        for line in &status.migrations {
            let (word, style) = match line.state {
                State::Applied => ("applied", GOOD),
                State::Pending => ("pending", WARN),
                State::OutOfOrder => ("pending, out of order", WARN),
                State::Changed => ("applied, and its file was changed since", WARN),
                State::Missing => ("applied, and its file is not here", WARN),
                State::Interrupted { .. } => ("cut short", WARN),
            };
            let at = line.applied_at.map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string());
            let way = if line.reversible { "" } else { "no way down" };
            table.add_row([format!("  {:03}_{}", line.version, line.name), paint(style, word), at, way.to_owned()]);
        }
        printer.data(table);
    }
    Ok(Exit::Done)
}

fn create(folders: &BTreeMap<ResourceName, PathBuf>, name: &str, printer: Printer) -> Done {
    let (_, folder) = only(folders)?;
    let (up, down) = migrate::create(folder, name).map_err(failed)?;
    printer.data(up.display());
    printer.data(down.display());
    Ok(Exit::Done)
}

/// The databases with a folder of migrations, or the one that was named.
fn folders(reach: &Reach, wanted: Option<&ResourceName>) -> Result<BTreeMap<ResourceName, PathBuf>, Failure> {
    let databases = &reach.resolved.stack.databases;
    if let Some(name) = wanted.filter(|name| !databases.contains_key(*name)) {
        let known = databases.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(Failure::usage(format!("no database `{name}` in this stack")).hint(format!("it has {known}")));
    }
    let mut found = BTreeMap::new();
    for (name, database) in databases.iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name)) {
        match &database.migrations {
            Some(Migrations::Folder(folder)) => {
                found.insert(name.clone(), reach.project.folder.join(folder));
            }
            Some(Migrations::Command { run, .. }) if wanted.is_some() => {
                return Err(Failure::usage(format!("database `{name}` migrates with `{run}`"))
                    .hint(format!("slipway run SERVICE -- {run}")));
            }
            _ => {}
        }
    }
    if found.is_empty() {
        return Err(Failure::usage("no database of this stack has a folder of migrations")
            .hint("add migrations = \"migrations\" to [database.…]"));
    }
    Ok(found)
}

/// The database that is meant, where only one can be.
fn only(folders: &BTreeMap<ResourceName, PathBuf>) -> Result<(&ResourceName, &PathBuf), Failure> {
    let mut all = folders.iter();
    match (all.next(), all.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(Failure::usage("this stack has several databases").hint("add --database NAME")),
    }
}

fn read(folder: &PathBuf) -> Result<Folder, Failure> {
    Folder::read(folder).map_err(|error| Failure::Message { exit: Exit::Usage, message: error.to_string(), hint: None })
}

async fn connect(reach: &Reach, name: &ResourceName, printer: Printer) -> Result<Database, Failure> {
    let database = &reach.resolved.stack.databases[name];
    let url = match (&database.url, &database.engine) {
        (Some(url), _) => {
            let values = values(reach, &[], &[], printer)?;
            secrets::interpolate(url, &values.all).map_err(|bad| {
                let names = bad.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                Failure::new(format!("the address of database `{name}` cannot be filled in: {names}"))
            })?
        }
        (None, _) if !reach.fleet.is_here() => {
            return Err(Failure::usage(format!(
                "database `{name}` of environment {} is on its hosts and answers nobody else",
                reach.resolved.name
            ))
            .hint(format!(
                "slipway deploy --env {} applies what is pending; slipway rollback --with-database runs it down",
                reach.resolved.name
            )));
        }
        (None, DatabaseEngine::Sqlite) => {
            format!("sqlite://{}", reach.home().sqlite(reach.fleet.scope(), name).display())
        }
        (None, DatabaseEngine::Postgres(_)) => agent::service_url(reach.home(), reach.fleet.scope(), name)
            .map_err(|error| Failure::new(error.to_string()))?
            .ok_or_else(|| {
                Failure::new(format!("database `{name}` of environment {} was never started here", reach.resolved.name))
                    .hint(format!("slipway deploy --env {} starts it", reach.resolved.name))
            })?,
    };
    Database::connect(&url, &ConnectOptions::default()).await.map_err(failed)
}

fn show(event: &Event, printer: Printer) {
    match event {
        Event::Waiting { holder } => printer.say(format_args!("  waiting for another run: {holder}")),
        Event::Retrying { version, name, tries, reason } => {
            printer.say(format_args!("  {version:03}_{name}: try {tries}: {reason}"));
        }
        Event::Started { .. } => {}
        Event::Ended { version, name, direction, millis } => {
            printer.say(format_args!("  {version:03}_{name} {direction} in {millis} ms"));
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn failed(error: migrate::MigrateError) -> Failure {
    Failure::new(error.to_string())
}
