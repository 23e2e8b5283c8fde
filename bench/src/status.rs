//! What `slipway status` asks of twenty hosts.

use std::time::Instant;

use engine::target::Target;

use crate::{
    Arguments,
    fault::{Doing, Fault},
    hosts::Hosts,
    row::{Row, median},
};

/// Milliseconds until all of twenty agents of this machine have answered everything.
pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Row>, Fault> {
    let hosts = Hosts::start(20)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing("no runtime")?;
    runtime.block_on(hosts.fleet()?.launch()).doing("the hosts do not know each other")?;
    let mut times = Vec::new();
    for _ in 0..arguments.rounds {
        // a command line connects anew each time
        let fleet = hosts.fleet()?;
        let begun = Instant::now();
        let (members, journal, observed, runs, _) = runtime.block_on(async {
            tokio::join!(fleet.members(), fleet.journal(), fleet.observe(), fleet.runs(), fleet.health())
        });
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        let alive = members.doing("members")?.iter().filter(|member| member.alive).count();
        journal.doing("journal")?;
        observed.doing("observe")?;
        runs.doing("runs")?;
        if alive != 20 {
            return Err(Fault::new(format!("{alive} of 20 hosts answered")));
        }
    }
    Ok(vec![Row::limit("status of 20 hosts", median(times), "ms", 500.0)])
}
