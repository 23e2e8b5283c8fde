//! Visitors who never stop while releases follow each other and the agent is killed now and then.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use stories::Load;

use crate::{
    Arguments,
    fault::{Doing, Fault},
    process::signal,
    row::Row,
    stand::{HOST, Stand},
};

/// Keep-alive clients beside the uploads and the WebSocket.
const CLIENTS: usize = 8;

/// Requests that failed; the bar is none.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Row>, Fault> {
    let stand = Stand::harbour()?;
    stand.slipway(&["deploy", "--yes"])?;
    let load = Load::start(stand.address, HOST, CLIENTS);
    let begun = Instant::now();
    for round in 1..=arguments.deploys {
        stand.mark(&format!("round-{round}"))?;
        let deploy = stand.command(&["deploy", "--yes"])?;
        run(deploy, &stand, round % 10 == 5)?;
        let (requests, failures) = (load.requests(), load.failures());
        eprintln!("deploy {round} of {}: {requests} requests, {failures} failed", arguments.deploys);
    }
    // the rest of the requests, at most twice as long as the deploys took and a minute more
    let patience = begun.elapsed() * 2 + Duration::from_mins(30);
    while load.requests() < arguments.requests && begun.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(200));
    }
    let report = load.stop();
    for failure in report.failures.iter().take(10) {
        eprintln!("failed: {failure}");
    }
    let failures = u32::try_from(report.failures.len()).map_or(f64::from(u32::MAX), f64::from);
    #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
    let requests = report.requests as f64;
    #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
    let wanted = arguments.requests as f64;
    let name = format!("failed requests over {} deploys", arguments.deploys);
    Ok(vec![
        Row::limit(&name, failures, "requests", 0.0),
        Row::peer("requests in that time", requests, "requests", "wanted", wanted, None),
    ])
}

fn run(mut deploy: Command, stand: &Stand, kill_the_agent: bool) -> Result<(), Fault> {
    let child = deploy.spawn().doing("slipway does not start")?;
    if kill_the_agent {
        std::thread::sleep(Duration::from_millis(rand::random_range(20..800)));
        // between two lives of the agent there is nobody to kill
        if let Ok(agent) = stand.agent() {
            signal(agent, Signal::KILL);
        }
    }
    let output = child.wait_with_output().doing("slipway does not end")?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Fault::new(format!("a deploy failed under load: {}", String::from_utf8_lossy(&output.stderr).trim())))
    }
}
