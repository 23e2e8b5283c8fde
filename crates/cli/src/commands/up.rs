//! `slipway up`: the application on this machine, in the foreground: rebuilt on change, stopped by Ctrl-C.

use std::{
    path::{Component, Path},
    time::Duration,
};

use agent::LogQuery;
use notify::{EventKind, RecursiveMode, Watcher};
use stack::TargetKind;
use tokio::sync::mpsc;

use crate::{
    addresses::urls,
    commands::{deploy::bring_up, logs, stop},
    context::{Place, Reach},
    draw,
    exit::{Done, Exit, Failure},
    printer::{BAD, DIM, GOOD, Printer, paint},
    progress::Stopping,
};

/// Run the application here.
#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// Start, print the addresses, leave everything running and return
    #[arg(long)]
    once: bool,
    /// Do not rebuild when files change
    #[arg(long)]
    no_watch: bool,
}

/// How long files must be quiet before they are built again.
const QUIET: Duration = Duration::from_millis(250);

/// Folders whose changes are results, not causes.
const RESULTS: [&str; 6] = [".git", ".slipway", "target", "node_modules", ".venv", "__pycache__"];

/// Builds, migrates, seeds, starts, follows.
pub(crate) async fn run(command: &Up, place: &Place, printer: Printer) -> Done {
    let mut stopping = Stopping::new().map_err(|error| Failure::new(format!("cannot wait for Ctrl-C: {error}")))?;
    let reach = place.reach()?;
    if reach.resolved.environment.target != TargetKind::Local {
        return Err(Failure::usage(format!("environment {} is not on this machine", reach.resolved.name))
            .hint("name one with target = \"local\" by --env"));
    }
    // from before the first build on, so that no change is missed
    let (tell, mut changes) = mpsc::unbounded_channel();
    let watching = if command.no_watch || command.once { None } else { Some(watch(&reach, tell)?) };
    let began = jiff::Timestamp::now();
    let first = first(&reach, printer).await;
    if command.once {
        return first;
    }
    match first {
        // nothing runs, and no change will be seen that could mend it
        Ok(exit @ (Exit::Failed | Exit::RolledBack)) if command.no_watch => return Ok(exit),
        Ok(_) => {}
        Err(failure) => {
            if matches!(failure.exit(), Exit::Usage | Exit::Contract | Exit::Locked) || command.no_watch {
                return Err(failure);
            }
            draw::failure(&failure, printer);
        }
    }
    printer.say(paint(
        DIM,
        if watching.is_some() {
            "   watching for changes, Ctrl-C stops everything"
        } else {
            "   Ctrl-C stops everything"
        },
    ));
    let following = tokio::spawn(follow(reach.fleet.of(reach.fleet.scope().clone()), began, printer));
    loop {
        tokio::select! {
            () = stopping.wait() => break,
            Some(()) = changes.recv() => {
                // wait until an editor or a checkout has written everything
                while tokio::time::timeout(QUIET, changes.recv()).await.is_ok_and(|change| change.is_some()) {}
                again(place, printer).await;
            }
        }
    }
    following.abort();
    printer.say("");
    come_down(&reach, printer).await
}

/// Brings the environment up, or says that it is.
async fn first(reach: &Reach, printer: Printer) -> Done {
    if let Some(exit) = bring_up(reach, printer).await? {
        return Ok(exit);
    }
    printer.say(format_args!("{} {} runs already", paint(GOOD, "ok"), reach.resolved.name));
    for url in urls(reach) {
        printer.say(format_args!("   {url}"));
    }
    Ok(Exit::Done)
}

/// After a change: only what differs is built, and a mistake leaves the last good release running.
async fn again(place: &Place, printer: Printer) {
    let done = match place.reach() {
        Ok(reach) => bring_up(&reach, printer).await.map(drop),
        Err(failure) => Err(failure),
    };
    if let Err(failure) = done {
        draw::failure(&failure, printer);
        printer.say(paint(BAD, "   the last good release goes on; waiting for the next change"));
    }
}

/// Tells of changed files of the project, except those that a build makes.
fn watch(reach: &Reach, changes: mpsc::UnboundedSender<()>) -> Result<notify::RecommendedWatcher, Failure> {
    let cannot = |error: notify::Error| {
        Failure::new(format!("cannot watch the project for changes: {error}"))
            .hint("slipway up --no-watch goes without")
    };
    let folder = reach.project.folder.clone();
    let results = release::outputs(&reach.resolved);
    let root = folder.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let cause = |path: &Path| {
            let Ok(inside) = path.strip_prefix(&root) else { return false };
            let result = inside
                .components()
                .any(|part| matches!(part, Component::Normal(name) if RESULTS.iter().any(|result| name == *result)));
            !result && !results.iter().any(|output| inside.starts_with(output))
        };
        let written = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
        if written && event.paths.iter().any(|path| cause(path)) {
            // nobody listens any more when everything is being stopped
            let _ = changes.send(());
        }
    })
    .map_err(cannot)?;
    watcher.watch(&folder, RecursiveMode::Recursive).map_err(cannot)?;
    Ok(watcher)
}

/// Prints the application's output from `since` on as it comes, also after the agent was restarted.
async fn follow(fleet: fleet::Fleet, since: jiff::Timestamp, printer: Printer) {
    let mut query = LogQuery { service: None, lines: Some(1000), follow: true };
    loop {
        if let Ok(mut lines) = fleet.logs(&query).await {
            while let Some(Ok((_, line))) = lines.next().await {
                // what an earlier session wrote is for `slipway logs`
                if line.at >= since && logs::print(None, &line, printer).is_err() {
                    return;
                }
            }
        }
        query.lines = Some(0);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Stops the environment, and the agent when nothing else is left to look after.
async fn come_down(reach: &Reach, printer: Printer) -> Done {
    stop::stop_one(&reach.fleet, Duration::from_secs(10), printer).await?;
    let mut busy = false;
    for scope in reach.fleet.scopes().await? {
        let fleet = reach.fleet.of(scope);
        busy |= !engine::target::Target::observe(&fleet).await?.desired.running.is_empty();
    }
    if !busy {
        reach.fleet.shut_down().await?;
    }
    printer.say(format_args!("{} everything is stopped; data and releases stay", paint(GOOD, "ok")));
    Ok(Exit::Done)
}
