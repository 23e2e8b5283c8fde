//! A deploy and a rollback on three hosts, as their visitors see it.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use stories::Fleet;

use crate::{
    Arguments,
    fault::{Doing, Fault},
    machines::{self, well},
    row::{Row, median},
    stand::Stand,
    visit::get,
};

/// Hosts that are deployed to.
const HOSTS: u32 = 3;

/// Times from a command's start until visitors of every host get the release it asks for.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Row>, Fault> {
    let fleet = machines::start(HOSTS)?;
    well(&fleet.slipway(&["deploy", "--yes"]), "the first deploy")?;
    let stand = Stand::harbour()?;
    let (mut forwards, mut back, mut own) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        own.push(millis(stand.own_start()?));
        let marker = format!("round-{round}");
        fleet.story.mark(&marker);
        forwards.push(millis(until_served(&fleet, &["deploy", "--yes"], &marker)?));
        let before = if round == 0 { "one".to_owned() } else { format!("round-{}", round - 1) };
        back.push(millis(until_served(&fleet, &["rollback", "--yes"], &before)?));
        // forwards again, so that the next round begins where this one ended
        until_served(&fleet, &["deploy", "--yes"], &marker)?;
    }
    let label = |what: &str| format!("{what} on {HOSTS} hosts over SSH");
    let over = median(forwards) - median(own);
    Ok(vec![
        Row::limit(&label("deploy to traffic, over the application's own start,"), over, "ms", 1000.0),
        Row::limit(&label("rollback to traffic"), median(back), "ms", 1000.0),
    ])
}

/// From the start of `slipway ARGUMENTS` until the edges of all hosts answer with `marker`, one after the other.
fn until_served(fleet: &Fleet, arguments: &[&str], marker: &str) -> Result<Duration, Fault> {
    let serves =
        |index| get(fleet.hosts.edge(index), "harbour.test", "/").is_some_and(|(_, body)| body.contains(marker));
    let mut command: Command = fleet.command(arguments);
    let begun = Instant::now();
    let child = command.spawn().doing("slipway does not start")?;
    let mut took = None;
    while took.is_none() && begun.elapsed() < Duration::from_mins(1) {
        if (0..fleet.hosts.count()).all(serves) {
            took = Some(begun.elapsed());
        } else {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let output = child.wait_with_output().doing("slipway does not end")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Fault::new(format!("slipway {}: {}", arguments.join(" "), said.trim())));
    }
    took.ok_or_else(|| Fault::new(format!("not every host served `{marker}` within a minute")))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
