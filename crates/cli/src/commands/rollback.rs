//! `slipway rollback`: an earlier release again, with the values it ran with.

use std::time::{Duration, Instant};

use engine::{
    journal::{DeployKind, Entry, Event, Migration},
    plan::{plan, rollback_migrations},
    policy::{MigrationsDown, Policy},
    record::{committed, previous, records},
    target::Target,
};
use release::Record;
use stack::Revision;

use crate::{
    begin::begin,
    commands::deploy::{check_target, lease, policy, show_shipping},
    context::{Place, Reach},
    ending::finish,
    exit::{Done, Exit, Failure},
    printer::{Printer, STRONG, paint},
    progress::Progress,
};

/// Go back to an earlier release.
#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// Its id, its number as `#12`, or its version; by default the one before
    release: Option<String>,
    /// Run down the migrations that the earlier release does not know; what they hold is lost
    #[arg(long)]
    with_database: bool,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// How long the lock lives without a sign of life from here
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = lease)]
    lease: Duration,
}

/// Rolls back: a deploy of an earlier release, so it is as safe as one.
pub(crate) async fn run(command: &Rollback, place: &Place, printer: Printer) -> Done {
    let reach = place.reach()?;
    check_target(&reach, printer)?;
    reach.answers().await?;
    if !command.dry_run && !reach.fleet.is_here() {
        reach.fleet.launch().await?;
    }
    let journal = reach.fleet.journal().await?;
    let current = committed(&journal)
        .ok_or_else(|| Failure::new(format!("{} is on no release", reach.resolved.name)).hint("slipway deploy"))?;
    let revision = wanted(command, &reach, &journal, &current)?;
    let record = reach.store()?.find(reach.app(), revision.release.as_str())?;
    let mut policy = policy(&reach);
    if command.with_database {
        policy.migrations_down = migrations_down(&reach, &journal, &current, &revision)?;
        tell_loss(policy.migrations_down.as_ref(), &record, printer);
    }
    if command.dry_run {
        let observed = reach.fleet.observe().await?;
        let plan = plan(Some(&revision), Some(&current), &observed, &[], &policy, DeployKind::Rollback);
        if printer.json {
            printer.document(&plan)?;
        } else {
            printer.data(&plan);
        }
        return Ok(Exit::Done);
    }
    let question = format!(
        "Roll {} of {} back to release {} (#{}, {})?",
        reach.resolved.name,
        reach.app(),
        record.release.short(),
        record.number,
        record.version
    );
    printer.confirm(&question, command.yes)?;
    carry_out(command, &reach, revision, &record, &policy, printer).await
}

async fn carry_out(
    command: &Rollback,
    reach: &Reach,
    revision: Revision,
    record: &Record,
    policy: &Policy,
    printer: Printer,
) -> Done {
    printer.say(format_args!(
        "Rolling {} back to release {} (#{})",
        paint(STRONG, &reach.resolved.name),
        record.release.short(),
        record.number
    ));
    let started = Instant::now();
    let progress = Progress::new(printer);
    let _listening = progress.listen();
    show_shipping(reach, &progress)?;
    let mut watcher = progress.clone();
    let (_turn, mut deployment) =
        begin(&reach.fleet, DeployKind::Rollback, command.lease, policy, &mut watcher).await?;
    deployment.wanted(Some(revision), &record.version, record.number, record.commit.as_deref()).await?;
    let report = deployment.run(policy).await?;
    progress.end();
    finish(reach, &report, Some(record), started.elapsed(), printer).await
}

/// The revision to go to: the one before, or the last that ran with the release that was named.
fn wanted(command: &Rollback, reach: &Reach, journal: &[Entry], current: &Revision) -> Result<Revision, Failure> {
    let Some(text) = &command.release else {
        return previous(journal).ok_or_else(|| {
            Failure::new(format!("{} has no earlier release to go back to", reach.resolved.name))
                .hint("slipway releases lists what was built")
        });
    };
    let record = reach.store()?.find(reach.app(), text)?;
    let ran = records(journal)
        .into_iter()
        .rev()
        .filter_map(|deploy| deploy.revision)
        .find(|revision| revision.release == record.release);
    match ran {
        Some(revision) if revision == *current => {
            Err(Failure::new(format!("{} is on release {} already", reach.resolved.name, record.release.short())))
        }
        Some(revision) => Ok(revision),
        None => Err(Failure::new(format!("release {} never ran in {}", record.release.short(), reach.resolved.name))
            .hint(format!("slipway deploy --release {} deploys it", record.release.short()))),
    }
}

/// Migrations of the current release that the earlier one does not know.
fn migrations_down(
    reach: &Reach,
    journal: &[Entry],
    current: &Revision,
    wanted: &Revision,
) -> Result<Option<MigrationsDown>, Failure> {
    let store = reach.store()?;
    let known = |revision: &Revision| -> Result<Vec<Migration>, Failure> {
        let folder = store.folder(reach.app(), &revision.release).join("migrations");
        let mut all = Vec::new();
        for name in store.manifest(reach.app(), &revision.release)?.migrations.keys() {
            let files =
                migrate::Folder::read(folder.join(name.as_str())).map_err(|error| Failure::new(error.to_string()))?;
            all.extend(files.migrations.iter().map(|file| Migration {
                database: name.clone(),
                version: file.version,
                name: file.name.clone(),
                reversible: file.reversible(),
            }));
        }
        Ok(all)
    };
    // foreign runners have no scripts of ours, and what they applied is in the journal alone
    let foreign = journal.iter().any(|entry| matches!(&entry.event, Event::MigrationsPlanned { migrations } if migrations.iter().any(|migration| migration.version == 0)));
    if foreign {
        return Err(Failure::new("this stack migrates with a command of its own, which slipway cannot run down")
            .hint("roll back without --with-database, then run the tool's own way back with `slipway run`"));
    }
    let migrations = rollback_migrations(&known(current)?, &known(wanted)?);
    Ok((!migrations.is_empty()).then(|| MigrationsDown { revision: current.clone(), migrations }))
}

/// What would be lost, before anything happens.
fn tell_loss(down: Option<&MigrationsDown>, record: &Record, printer: Printer) {
    let Some(down) = down else {
        printer.say(format_args!(
            "release {} knows every migration of the current one: the database stays as it is",
            record.release.short()
        ));
        return;
    };
    printer.say("These migrations are run down, newest first. Rows and columns that they added are lost, also what visitors wrote into them since:");
    for migration in down.migrations.iter().rev() {
        let note = if migration.reversible { "" } else { "  (has no down script and stays)" };
        printer.say(format_args!("  {}: {:03}_{}{note}", migration.database, migration.version, migration.name));
    }
}
